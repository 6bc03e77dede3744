//! Embeddings, relayed: OpenAI's request goes out, its answer comes back, byte for byte.

use std::sync::Arc;

use anteroom_domain::billing::Operation;
use anteroom_domain::chat::{EmbedRequest, EndUser, Target};
use anteroom_domain::protection::CallRates;
use anteroom_ports::chat::{EmbedCall, ProviderError, ProviderErrorKind};
use bytes::Bytes;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::Chat;
use super::call::Needs;
use super::complete_chat::ChatError;
use super::settle_calls::Driven;
use super::targets::Provider;
use crate::access::Principal;

/// What the caller gets.
#[derive(Debug)]
pub struct Embeddings {
    /// The answer's bytes.
    pub body: Bytes,
    /// The parameters that the provider could not be told.
    pub dropped: Vec<String>,
    /// What counting the call showed.
    pub rates: CallRates,
}

impl Chat {
    /// Relays a request for embeddings, which counts as one message. `gone` is cancelled when the client has gone away.
    pub async fn create_embeddings(
        self: &Arc<Self>,
        who: &Principal,
        body: &[u8],
        gone: CancellationToken,
    ) -> Result<Embeddings, ChatError> {
        let request = EmbedRequest::parse(body)?;
        let access = self.access_of(who);
        self.check_feature(&access, Operation::Embeddings)?;
        let alias = self.check_model(&access, &request.model).await?;
        Self::check_parameters(&access, request.refused_by(&access.plan.parameters))?;
        let needs = Needs {
            alias: Arc::clone(&alias),
            prompt_least: request.prompt_least,
            worst: request.worst_case(),
        };
        let admitted = self.admit(who, &access, needs)?;
        let mut call = Driven::new(self, self.reserve_apart(who, &access, admitted).await?);
        call.operation = "embeddings";

        // From here on the call has to be booked whatever happens, so it has a task of its own.
        let (reply, answer) = oneshot::channel();
        let run = Arc::clone(self).embed(call, gone, request, reply);
        self.calls.spawn(run.in_current_span());
        answer.await.unwrap_or(Err(ChatError::ClientGone))
    }

    async fn embed(
        self: Arc<Self>,
        mut call: Driven,
        gone: CancellationToken,
        request: EmbedRequest,
        reply: oneshot::Sender<Result<Embeddings, ChatError>>,
    ) {
        let request_id = call.request_id;
        let ask = |provider: Provider, target: &Target| {
            let name = || self.name_of_user(&call);
            let user = EndUser {
                send: provider.send_user,
                name: &name,
            };
            let outgoing = EmbedCall {
                request_id,
                model: target.model.clone(),
                body: request.upstream_body(target, user).into(),
            };
            async move {
                match provider.embedder {
                    Some(embedder) => embedder.embed(outgoing).await,
                    None => Err(no_embeddings(&provider.name)),
                }
            }
        };
        let embed = async { Ok(self.ask_targets(&call, ask).await?) };
        let answer = self.while_wanted(&call, &gone, embed).await;
        let (outcome, answer) = match answer {
            Ok(answer) => {
                call.note(0, answer.usage);
                call.came_whole();
                let (body, dropped) = (answer.body, answer.dropped);
                let rates = call.rates;
                (call.outcome_of_whole(), Ok(Embeddings { body, dropped, rates }))
            }
            Err(e) => (call.outcome_of(&e), Err(e)),
        };
        // The answer leaves first; booking it is not what the client waits for.
        let _ = reply.send(answer);
        call.end(outcome);
    }
}

/// What a provider answers that has no such thing.
fn no_embeddings(provider: &str) -> ProviderError {
    ProviderError {
        kind: ProviderErrorKind::Unsupported {
            parameter: "model".to_owned(),
        },
        detail: format!("`{provider}` makes no embeddings"),
    }
}
