//! Comparing the credits that were granted with what the provider says was bought once, refunded and disputed.

use std::collections::BTreeSet;

use anteroom_domain::billing::{CreditSource, Credits};
use anteroom_ports::billing::Purchase;
use anteroom_ports::{PaymentProvider, StoreResult};
use jiff::SignedDuration;
use tracing::warn;

use super::Billing;
use super::buy_credits::paid_back;
use super::reconcile::{PAGE, ReconcileError, Reconciled};
use crate::earlier;

/// How far back the daily comparison looks. For 30 days Stripe keeps an event, and it can be sent again; what is older only
/// the comparison finds. The days beside are for a debit, which comes up to two weeks after its checkout was opened, while
/// the comparison may have failed for some days.
const LOOKS_BACK: SignedDuration = SignedDuration::from_hours(24 * 35);

impl Billing {
    /// Compares what was bought once, refunded or disputed lately with the credits that were granted for it. What agrees
    /// is not asked for one by one.
    pub(super) async fn reconcile_purchases(
        &self,
        provider: &dyn PaymentProvider,
        result: &mut Reconciled,
    ) -> Result<(), ReconcileError> {
        let since = earlier(self.clock.now(), LOOKS_BACK);
        let (mut seen, mut after) = (BTreeSet::new(), None);
        loop {
            let page = provider.list_purchases(since, after.as_deref(), PAGE).await?;
            for found in page.items {
                if !seen.insert(found.id.clone()) {
                    continue;
                }
                result.purchases += 1;
                if self.purchase_differs(provider, &found).await? && self.look_up_purchase(provider, &found.id).await? {
                    // An event was lost, or came and had no effect: worth knowing.
                    warn!(
                        event = "billing.credits.reconciled",
                        provider = provider.name(),
                        purchase = %found.id
                    );
                    result.purchases_changed += 1;
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether looking at it would move credits. Nothing is due for what is not paid, or nobody's here.
    async fn purchase_differs(&self, provider: &dyn PaymentProvider, found: &Purchase) -> StoreResult<bool> {
        if !found.paid {
            return Ok(false);
        }
        let Some(owner) = self.buyer(provider, found).await? else {
            return Ok(false);
        };
        let mut reads = self.store.read().await?;
        let granted = reads.credit_grant_of(owner, CreditSource::Purchase, &found.id).await?;
        let Some(granted) = granted else { return Ok(true) };
        let mut account = reads.credit_account(owner).await?;
        let due = Credits(paid_back(found));
        Ok(account.refund(&granted, due, self.clock.now()) != Credits::ZERO)
    }
}
