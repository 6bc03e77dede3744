//! A user buys credits: a pack, once and again. What the provider tells of it only says where to look.

use anteroom_domain::accounts::User;
use anteroom_domain::billing::{CreditGrant, CreditSource, Credits, Owner};
use anteroom_domain::{CreditGrantId, Timestamp};
use anteroom_ports::billing::{Checkout, CreditPack, PaymentError, Purchase, PurchaseOrder};
use anteroom_ports::{Durability, PaymentProvider, StoreError, StoreResult};
use jiff::SignedDuration;
use tracing::info;

use super::Billing;
use super::hold_credits::locked_credits;
use super::look_up_subscription::{ATTEMPTS, LookUpError};

/// The most packs of one purchase.
pub const MAX_PACKS: i64 = 100;

/// A pack of credits that is for sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// What is sold.
    pub pack: CreditPack,
    /// How long the credits last once they are paid; `None`: for good.
    pub lasts: Option<SignedDuration>,
}

/// What the user wants.
#[derive(Debug)]
pub struct CreditsOrder<'a> {
    /// The buyer.
    pub user: &'a User,
    /// The pack's key.
    pub pack: String,
    /// How many of it.
    pub quantity: i64,
    /// Where to go after paying; the caller has checked that the address is one of the product's own.
    pub success_url: Option<String>,
    /// Where to go after turning back; checked as well.
    pub cancel_url: Option<String>,
}

/// Why no checkout was opened.
#[derive(Debug, thiserror::Error)]
pub enum BuyCreditsError {
    /// The deployment has no payment provider.
    #[error("no payment provider is configured")]
    NoProvider,
    /// There is no such pack.
    #[error("there is no pack `{0}`")]
    UnknownPack(String),
    /// Not so many of them.
    #[error("1 to {MAX_PACKS} packs can be bought at once")]
    Quantity,
    /// Whoever has the plan in force could not use them.
    #[error("the calls of the plan `{0}` take no credits")]
    NotTaken(String),
    /// The provider failed.
    #[error(transparent)]
    Provider(#[from] PaymentError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Billing {
    /// The packs that are for sale, in the operator's order; none where nothing is sold.
    pub fn packs(&self) -> &[Pack] {
        match self.provider {
            Some(_) => &self.options.packs,
            None => &[],
        }
    }

    /// Opens a checkout for credits. They are there when the provider says that they are paid.
    pub async fn buy_credits(&self, ask: CreditsOrder<'_>) -> Result<Checkout, BuyCreditsError> {
        let provider = self.provider.as_deref().ok_or(BuyCreditsError::NoProvider)?;
        let pack = self.options.packs.iter().find(|it| it.pack.key == ask.pack);
        let pack = pack.ok_or(BuyCreditsError::UnknownPack(ask.pack))?;
        if !(1..=MAX_PACKS).contains(&ask.quantity) {
            return Err(BuyCreditsError::Quantity);
        }
        let (owner, now) = (Owner::account(ask.user.id), self.clock.now());
        let holdings = self.store.read().await?.holdings_of(owner, now).await?;
        let access = self.access_at(&holdings, now);
        if !access.plan.takes_credits() {
            return Err(BuyCreditsError::NotTaken(access.plan.key.clone()));
        }
        let mut order = PurchaseOrder {
            owner,
            customer: self.customer::<BuyCreditsError>(provider, ask.user).await?,
            pack: pack.pack.clone(),
            quantity: ask.quantity,
            success_url: ask.success_url.unwrap_or_else(|| self.options.success_url.clone()),
            cancel_url: ask.cancel_url.unwrap_or_else(|| self.options.cancel_url.clone()),
        };
        let key = || format!("credits-{}", self.ids.uuid());
        let mut checkout = provider.checkout_purchase(&order, &key()).await;
        if checkout == Err(PaymentError::NotFound("customer")) {
            order.customer = self
                .customer_anew::<BuyCreditsError>(provider, ask.user, &order.customer)
                .await?;
            checkout = provider.checkout_purchase(&order, &key()).await;
        }
        let checkout = checkout?;
        info!(event = "billing.credits.checkout.opened", user_id = %ask.user.id, pack = %order.pack.key, quantity = order.quantity, provider = provider.name());
        Ok(checkout)
    }

    /// Asks the provider how a purchase stands, grants what is paid, once, and takes back what was paid back, as far as it
    /// is left. Answers whether anything changed.
    pub(super) async fn look_up_purchase(&self, provider: &dyn PaymentProvider, id: &str) -> Result<bool, LookUpError> {
        let turn = self.turn(&format!("{} purchase {id}", provider.name()));
        let _turn = turn.lock().await;
        for _ in 0..ATTEMPTS {
            let Some((mut purchase, owner)) = self.paid(provider, id).await? else {
                return Ok(false);
            };
            let source = CreditSource::Purchase;
            let mut reads = self.store.read().await?;
            let seen = reads.credit_grant_of(owner, source, &purchase.id).await?;
            drop(reads);
            if seen.is_some() {
                // As it stands now: what was heard before this must not be written over what another node heard since.
                match self.paid(provider, id).await? {
                    Some((again, _)) => purchase = again,
                    None => return Ok(false),
                }
            }
            let now = self.clock.now();
            let mut unit = self.store.begin(Durability::Full).await?;
            let mut account = locked_credits(&mut *unit, owner).await?;
            let standing = unit.credit_grant_of(owner, source, &purchase.id).await?;
            let refunded = |grant: &Option<CreditGrant>| grant.as_ref().map(|grant| grant.refunded);
            if refunded(&standing) != refunded(&seen) {
                continue;
            }
            let granted = standing.unwrap_or_else(|| {
                let granted = self.bought(owner, &purchase, now);
                account.grant(granted.clone());
                info!(event = "billing.credits.bought", owner_id = %owner.id, purchase = %purchase.id, pack = %purchase.pack, credits = granted.amount.number());
                granted
            });
            let due = Credits(paid_back(&purchase));
            let moved = account.refund(&granted, due, now);
            if moved != Credits::ZERO {
                let spent = Credits(due.0 - granted.refunded.0 - moved.0).number();
                info!(event = "billing.credits.refunded", owner_id = %owner.id, purchase = %purchase.id, credits = moved.number(), spent);
            }
            let changed = !account.added().is_empty();
            unit.save_credits(&account).await?;
            unit.commit().await?;
            return Ok(changed);
        }
        Err(LookUpError::Busy)
    }

    /// A purchase that is paid and somebody's here.
    async fn paid(&self, provider: &dyn PaymentProvider, id: &str) -> Result<Option<(Purchase, Owner)>, LookUpError> {
        let Some(purchase) = provider.purchase(id).await?.filter(|purchase| purchase.paid) else {
            return Ok(None);
        };
        let owner = self.buyer(provider, &purchase).await?;
        Ok(owner.map(|owner| (purchase, owner)))
    }

    /// Whose a purchase is here.
    pub(super) async fn buyer(
        &self,
        provider: &dyn PaymentProvider,
        purchase: &Purchase,
    ) -> StoreResult<Option<Owner>> {
        let known = match &purchase.customer {
            Some(customer) => {
                let mut reads = self.store.read().await?;
                reads.owner_of_customer(provider.name(), customer).await?
            }
            None => None,
        };
        Ok(known.or(purchase.owner))
    }

    /// The grant for a purchase that is paid.
    fn bought(&self, owner: Owner, purchase: &Purchase, now: Timestamp) -> CreditGrant {
        let source = CreditSource::Purchase;
        let pack = self.options.packs.iter().find(|it| it.pack.key == purchase.pack);
        let lasts = pack.and_then(|pack| pack.lasts);
        CreditGrant {
            id: CreditGrantId(self.ids.uuid()),
            owner,
            source,
            reference: purchase.id.clone(),
            reason: pack.map(|it| it.pack.name.clone()),
            amount: Credits(purchase.credits),
            spent: Credits::ZERO,
            refunded: Credits::ZERO,
            priority: source.priority(),
            created_at: now,
            expires_at: lasts.and_then(|lasts| now.checked_add(lasts).ok()),
            closed_at: None,
        }
    }
}

/// How many credits belong to what was paid back, rounded up: in proportion.
pub(super) fn paid_back(purchase: &Purchase) -> i64 {
    if purchase.amount <= 0 || purchase.refunded <= 0 {
        return 0;
    }
    let (credits, amount) = (i128::from(purchase.credits), i128::from(purchase.amount));
    let part = (credits * i128::from(purchase.refunded) + amount - 1) / amount;
    i64::try_from(part.min(credits)).unwrap_or(purchase.credits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_paid_back_is_taken_back_in_proportion() {
        let purchase = |refunded| Purchase {
            id: "cs_1".into(),
            customer: None,
            owner: None,
            pack: "small".into(),
            credits: 100,
            amount: 300,
            currency: "usd".into(),
            paid: true,
            refunded,
            created: Timestamp::UNIX_EPOCH,
        };
        for (refunded, credits) in [
            (0, 0),
            (-1, 0),
            (1, 1),
            (3, 1),
            (4, 2),
            (150, 50),
            (300, 100),
            (900, 100),
        ] {
            assert_eq!(paid_back(&purchase(refunded)), credits, "{refunded}");
        }
        let given = Purchase {
            amount: 0,
            ..purchase(5)
        };
        assert_eq!(paid_back(&given), 0);
    }
}
