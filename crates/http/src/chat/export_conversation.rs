//! `GET /v1/conversations/{id}/export`

use std::fmt::Write as _;
use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use anteroom_domain::chat::{Conversation, Message, MessageStatus, Speaker};
use bytes::Bytes;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tracing::warn;

use super::{ConversationResponse, MessageResponse};
use crate::Api;
use crate::caller::Known;
use crate::problem::Problem;
use crate::query;

/// How it is written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// For programs.
    #[default]
    Json,
    /// For people.
    Markdown,
}

/// The query of an export.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportQuery {
    /// `json` (without it) or `markdown`.
    #[serde(default)]
    #[param(inline)]
    format: ExportFormat,
}

/// A whole conversation.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ConversationExport)]
pub struct ExportResponse {
    /// The conversation.
    pub conversation: ConversationResponse,
    /// All that was said, oldest first.
    pub messages: Vec<MessageResponse>,
}

/// A whole conversation as a file. A body that ends without its proper end is not all of it.
#[utoipa::path(get, path = "/v1/conversations/{id}/export", tag = "chat",
    params(("id" = uuid::Uuid, Path, description = "The conversation."), ExportQuery),
    responses((status = 200, description = "The conversation with all its messages.",
        headers(("content-disposition" = String, description = "An attachment, with a name for the file.")),
        content((ExportResponse = "application/json"), (String = "text/markdown")))))]
pub async fn handle(caller: Known, api: web::Data<Api>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let id = query::id(&request, "conversation")?;
    let asked: ExportQuery = query::read(&request)?;
    let (chat, who) = (Arc::clone(&api.chat), caller.who);
    let (conversation, pages) = api.run(async move { chat.export_conversation(&who, id).await }).await?;
    let (kind, ending) = match asked.format {
        ExportFormat::Json => ("application/json", "json"),
        ExportFormat::Markdown => ("text/markdown; charset=utf-8", "md"),
    };
    let name = format!("attachment; filename=\"conversation-{}.{ending}\"", conversation.id);
    let mut writer = Writer::new(asked.format);
    let head = writer.head(&conversation);
    let state = Some((pages, writer, Some(head)));
    let body = stream::unfold(state, |state| async move {
        let (mut pages, mut writer, head) = state?;
        if let Some(head) = head {
            return Some((Ok(head), Some((pages, writer, None))));
        }
        Some(match pages.recv().await {
            Some(Ok(page)) if page.is_empty() => (Ok(writer.tail()), None),
            Some(Ok(page)) => (Ok(writer.page(&page)), Some((pages, writer, None))),
            Some(Err(e)) => (Err(cut(&e.to_string())), None),
            None => (Err(cut("its task ended")), None),
        })
    });
    let mut answer = HttpResponse::Ok();
    answer
        .content_type(kind)
        .insert_header((header::CONTENT_DISPOSITION, name))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    Ok(answer.streaming(body))
}

/// The body ends where it is, and the connection with it: the only way left to say that it is not whole.
fn cut(reason: &str) -> actix_web::Error {
    warn!(event = "chat.export.cut", reason);
    actix_web::error::ErrorInternalServerError("cut off")
}

/// Writes a conversation piece by piece.
struct Writer {
    format: ExportFormat,
    any: bool,
}

impl Writer {
    fn new(format: ExportFormat) -> Self {
        Self { format, any: false }
    }

    fn head(&mut self, conversation: &Conversation) -> Bytes {
        match self.format {
            ExportFormat::Json => {
                let conversation = json(&ConversationResponse::from(conversation));
                format!("{{\"conversation\":{conversation},\"messages\":[").into()
            }
            ExportFormat::Markdown => front_matter(conversation).into(),
        }
    }

    fn page(&mut self, messages: &[Message]) -> Bytes {
        let mut text = String::new();
        for message in messages {
            match self.format {
                ExportFormat::Json => {
                    if std::mem::replace(&mut self.any, true) {
                        text.push(',');
                    }
                    text.push_str(&json(&MessageResponse::from(message)));
                }
                ExportFormat::Markdown => markdown(message, &mut text),
            }
        }
        text.into()
    }

    fn tail(&mut self) -> Bytes {
        match self.format {
            ExportFormat::Json => Bytes::from_static(b"]}"),
            // An empty piece would be taken for the end of the body before it.
            ExportFormat::Markdown => Bytes::from_static(b"\n"),
        }
    }
}

fn json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// YAML, in which every JSON string is one.
fn front_matter(conversation: &Conversation) -> String {
    let title = conversation.title.as_deref().unwrap_or("Conversation");
    let mut text = format!("---\ntitle: {}\n", json(&title));
    for (name, value) in [
        ("model", &conversation.model),
        ("instructions", &conversation.instructions),
    ] {
        if let Some(value) = value {
            let _ = writeln!(text, "{name}: {}", json(value));
        }
    }
    let (begun, changed) = (conversation.created_at, conversation.updated_at);
    let _ = write!(text, "created_at: {begun}\nupdated_at: {changed}\n---\n\n# {title}\n");
    text
}

fn markdown(message: &Message, text: &mut String) {
    let who = match (message.role, &message.model) {
        (Speaker::User, _) => "User".to_owned(),
        (Speaker::Assistant, None) => "Assistant".to_owned(),
        (Speaker::Assistant, Some(model)) => format!("Assistant ({model})"),
    };
    let _ = write!(text, "\n## {who}, {}\n", message.created_at);
    if message.status != MessageStatus::Complete {
        let _ = write!(text, "\n*{}*\n", message.status.as_str().replace('_', " "));
    }
    if !message.content.is_empty() {
        let _ = write!(text, "\n{}\n", message.content.trim_end());
    }
}
