//! A subscriber takes back what has not come yet: the end of the subscription, or a change with the next period. Or they
//! go on after a trial at whose end there was no means of payment.

use anteroom_domain::billing::{Owner, SubscriptionStatus};
use tracing::info;

use super::{Billing, ChangeError};

impl Billing {
    /// Takes back an end with the period and a change that waits for it. A subscription that is paused begins anew, and
    /// its first period is paid at once; if it is not, it stays paused.
    pub async fn resume_subscription(&self, owner: Owner) -> Result<(), ChangeError> {
        let held = self.held(owner).await?;
        let provider = self.provider_of(&held)?;
        // One that the operator paused by hand is not its owner's to resume.
        let paused = held.status == SubscriptionStatus::Paused && held.trial_end.is_some();
        if !paused && held.ends_at().is_none() && held.next_plan.is_none() {
            return Err(ChangeError::Impossible(
                "nothing is going to end or to change: there is nothing to take back",
            ));
        }
        let key = format!("resume-{}", self.ids.uuid());
        let resumed = provider.resume(&held.provider_id, &key).await;
        self.unless_gone(provider, &held, resumed).await?;
        info!(event = "subscription.resume_requested", provider = %held.provider, owner_id = %owner.id);
        self.look_up(provider, &held.provider_id).await?;
        Ok(())
    }
}
