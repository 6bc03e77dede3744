//! The operator's assistants: which of them the caller may use, and a call made through one. What they tell the model is
//! told to nobody else.

use std::sync::Arc;

use anteroom_domain::billing::Access;
use anteroom_domain::chat::{Assistant, ChatRequest, ModelAlias};
use anteroom_ports::chat::{ProviderError, ProviderErrorKind};

use super::Chat;
use super::asked::only_said;
use super::call::Call;
use super::call_refused::CallRefused;
use super::complete_chat::ChatError;
use crate::access::Principal;

/// An assistant, as clients are shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedAssistant {
    /// Its name in the API.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// What it is for.
    pub description: Option<String>,
    /// The model that answers.
    pub model: String,
}

/// What is asked of which model, once everything that the operator says of it has been heard.
pub(super) struct Prepared {
    pub(super) alias: Arc<ModelAlias>,
    pub(super) request: ChatRequest,
    /// Parameters that gave way to those which the assistant fixes.
    pub(super) gave_way: Vec<String>,
    /// Whether an assistant was asked.
    pub(super) assisted: bool,
}

impl Chat {
    /// The assistants that the caller's plan has, and whose models the plan, and the key, may use, in the operator's order.
    pub async fn list_assistants(&self, who: &Principal) -> Result<Vec<ListedAssistant>, ProviderError> {
        let offered = self.offered().await?;
        let plan = self.access_of(who).plan;
        let models = plan.models_of(&offered);
        let usable = |assistant: &&Arc<Assistant>| {
            let has_model = models.iter().any(|alias| alias.name == assistant.model);
            assistant.open_to(&plan.key) && has_model && who.allows(&assistant.model)
        };
        let shown = |assistant: &Arc<Assistant>| ListedAssistant {
            id: assistant.id.clone(),
            title: assistant.title.clone(),
            description: assistant.description.clone(),
            model: assistant.model.clone(),
        };
        Ok(self.options.assistants.iter().filter(usable).map(shown).collect())
    }

    /// Refuses an assistant that the caller's plan does not have.
    pub(super) fn check_assistant(&self, access: &Access, id: &str) -> Result<Arc<Assistant>, CallRefused> {
        let known = self.options.assistants.iter().find(|assistant| assistant.id == id);
        let open = known.filter(|assistant| assistant.open_to(&access.plan.key));
        open.map(Arc::clone).ok_or_else(|| CallRefused::AssistantNotInPlan {
            assistant: id.to_owned(),
            plan: access.plan.key.clone(),
        })
    }

    /// A request as it will be asked: where it names an assistant, of that one's model and with what that one says.
    pub(super) async fn prepare(&self, access: &Access, request: ChatRequest) -> Result<Prepared, ChatError> {
        let named = Assistant::named(&request.model).filter(|_| !self.options.assistants.is_empty());
        let Some(id) = named else {
            return Ok(Prepared {
                alias: self.check_model(access, &request.model).await?,
                request,
                gave_way: Vec::new(),
                assisted: false,
            });
        };
        let assistant = self.check_assistant(access, id)?;
        let alias = assistant.limited(&self.check_model(access, &assistant.model).await?);
        // What the assistant says stands in the chat completion only, so nobody is told the original.
        let lost = match &request.original {
            Some(said) => {
                only_said(said)?;
                said.lost.clone()
            }
            None => Vec::new(),
        };
        let (request, mut gave_way) = assistant.lead(request)?;
        gave_way.extend(lost);
        Ok(Prepared {
            alias,
            request,
            gave_way,
            assisted: true,
        })
    }
}

impl Call {
    /// An error as its caller may be told it. A provider may quote what it was sent; of what it says about a call through
    /// an assistant only its codes are passed on.
    pub(super) fn told(&self, error: ChatError) -> ChatError {
        match error {
            ChatError::Provider(mut e) if self.assisted => {
                if let ProviderErrorKind::BadRequest { error, .. } | ProviderErrorKind::Protocol { error } = &mut e.kind
                {
                    *error = error.take().map(|error| codes_of(&error));
                }
                ChatError::Provider(e)
            }
            other => other,
        }
    }
}

/// Of a provider's error object what is a code, and nothing that could be a text.
fn codes_of(error: &serde_json::Value) -> serde_json::Value {
    let is_word = |text: &str| {
        (1..=64).contains(&text.len())
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
    };
    let codes = ["type", "code"].into_iter().filter_map(|name| {
        let word = error.get(name)?.as_str().filter(|word| is_word(word))?;
        Some((name.to_owned(), word.into()))
    });
    serde_json::Value::Object(codes.collect())
}
