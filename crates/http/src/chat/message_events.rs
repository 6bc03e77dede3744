//! The events of a streamed answer of a conversation.

use actix_web::HttpResponse;
use anteroom_services::chat::MessageEvent;
use bytes::Bytes;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::MessageResponse;
use crate::Api;
use crate::connection::WatchGuard;
use crate::problem::{Problem, ProblemBody};
use crate::sse::{self, Frames};

/// The data of `message.started`, `message.completed` and `message.cancelled`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MessageEventData {
    /// The message as it stands.
    message: MessageResponse,
}

/// The data of `message.delta`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct MessageDeltaEventData {
    /// The message that goes on.
    message_id: uuid::Uuid,
    /// More of its text.
    text: String,
}

/// The data of `error`, which ends a stream.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ErrorEventData {
    /// What went wrong.
    #[schema(value_type = ProblemBody)]
    problem: Value,
}

/// A streamed answer. An event's `id` is how many bytes of the answer's text there are by then, and one more once it has
/// ended: that is where a reader who lost the line goes on.
pub(super) fn stream(
    api: &Api,
    events: mpsc::Receiver<MessageEvent>,
    after: Option<usize>,
    watch: WatchGuard,
    request_id: String,
) -> HttpResponse {
    let mut at = after.unwrap_or(0);
    sse::translated(events, watch, api.options.heartbeat, move |event| {
        frame(event, &mut at, &request_id)
    })
}

fn frame(event: MessageEvent, at: &mut usize, request_id: &str) -> Frames {
    let whole = |name, id, message: MessageResponse| sse::event_at(name, id, &MessageEventData { message });
    let last = |bytes: Bytes| Frames::last(bytes);
    match event {
        MessageEvent::Started(message, window) => {
            let message = MessageResponse::from(&message).shown(window);
            Frames::more(whole("message.started", *at, message))
        }
        MessageEvent::Delta(id, text, end) => {
            *at = end;
            let message_id = id.0;
            Frames::more(sse::event_at(
                "message.delta",
                end,
                &MessageDeltaEventData { message_id, text },
            ))
        }
        MessageEvent::Completed(message) => {
            last(whole("message.completed", message.content.len() + 1, (&message).into()))
        }
        MessageEvent::Cancelled(message) => {
            last(whole("message.cancelled", message.content.len() + 1, (&message).into()))
        }
        MessageEvent::Failed(error) => {
            let problem = Problem::from(error).body(request_id);
            last(sse::event_at("error", *at + 1, &ErrorEventData { problem }))
        }
    }
}
