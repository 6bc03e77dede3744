//! The payment provider tells what happened.

use anteroom_domain::UserId;
use anteroom_domain::billing::{OwnerKind, Subscription};
use anteroom_ports::billing::WebhookRejected;
use anteroom_ports::{Durability, StoreError, UnitOfWork};
use tracing::{info, warn};

use super::Billing;

/// What came of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applied {
    /// It had its effect (which may be none, for a kind that changes nothing).
    Applied,
    /// It was known already; it had its effect before.
    Duplicate,
}

/// Why an event was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum ApplyWebhookError {
    /// No such provider is configured.
    #[error("there is no such payment provider")]
    UnknownProvider,
    /// The event is not the provider's, or is none.
    #[error(transparent)]
    Rejected(#[from] WebhookRejected),
    /// The store failed; the provider will send it again.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// Verifies an event over its raw body and has its effect, once however often it comes: remembering the event
    /// and changing the subscription are one commit.
    pub async fn apply_webhook(
        &self,
        provider: &str,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
    ) -> Result<Applied, ApplyWebhookError> {
        let now = self.clock.now();
        let verifier = self.named(provider).ok_or(ApplyWebhookError::UnknownProvider)?;
        let event = verifier
            .verify_webhook(header, body, now)
            .inspect_err(|e| warn!(event = "subscription.webhook.rejected", provider, reason = %e))?;

        let mut unit = self.store.begin(Durability::Full).await?;
        let payload = String::from_utf8_lossy(body);
        if !unit
            .insert_billing_event(provider, &event.id, &event.kind, &payload, now)
            .await?
        {
            info!(event = "subscription.webhook.duplicate", provider, kind = %event.kind, event_id = %event.id);
            return Ok(Applied::Duplicate);
        }
        let changed = match &event.subscription {
            Some(next) => put_newer(&mut *unit, next).await?,
            None => false,
        };
        unit.commit().await?;
        if let Some(sub) = event.subscription.as_ref().filter(|_| changed) {
            // What a session shows of its plan, and what the relay allows it, changes with this answer.
            if sub.owner.kind == OwnerKind::Account {
                self.sessions.forget_user(UserId(sub.owner.id));
            } else {
                self.sessions.forget_cached_state();
            }
            info!(event = "subscription.changed", provider, owner = sub.owner.kind.as_str(), owner_id = %sub.owner.id, plan = %sub.plan, status = sub.status.as_str());
        }
        info!(event = "subscription.webhook.applied", provider, kind = %event.kind, event_id = %event.id, changed);
        Ok(Applied::Applied)
    }
}

/// Writes a subscription's state unless a newer or final one is known.
async fn put_newer(unit: &mut dyn UnitOfWork, next: &Subscription) -> Result<bool, StoreError> {
    let Some(known) = unit.lock_subscription(&next.provider, &next.provider_id).await? else {
        unit.put_subscription(next).await?;
        return Ok(true);
    };
    if !known.yields_to(next) || known.owner != next.owner {
        return Ok(false);
    }
    unit.put_subscription(&known.succeeded_by(next)).await?;
    Ok(true)
}
