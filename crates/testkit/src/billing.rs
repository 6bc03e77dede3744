//! A payment provider that keeps what a test puts there, and writes down what it is asked.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use jiff::SignedDuration;
use tokio::sync::{RwLock, RwLockWriteGuard};

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Owner, Price, SubscriptionStatus};
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{
    ChangePreview, Checkout, CheckoutOrder, PaymentError, PlanChange, ProviderEvent, ProviderPage, ProviderPrice,
    ProviderSubscription, Published, Purchase, PurchaseOrder, Sale, UsageReport, WebhookRejected, When,
};

use crate::lock;
use crate::store::assert_no_open_unit;

mod purchases;

/// The header that a fake webhook's signature stands in.
pub const SIGNATURE_HEADER: &str = "fake-signature";

/// What an idempotency key has been used for, and what was answered.
#[derive(Debug, Clone)]
enum Answered {
    Customer(String),
    Checkout(Checkout),
    Purchase(Checkout),
    Subscription(Box<ProviderSubscription>),
    Nothing,
}

/// Somebody who was made known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeCustomer {
    /// The identifier that was answered.
    pub id: String,
    /// Who it is.
    pub owner: Owner,
    /// The address for receipts.
    pub email: String,
}

#[derive(Debug, Default)]
struct State {
    customers: Vec<FakeCustomer>,
    orders: Vec<CheckoutOrder>,
    purchase_orders: Vec<PurchaseOrder>,
    purchases: Vec<Purchase>,
    purchases_fetched: Vec<String>,
    subscriptions: Vec<ProviderSubscription>,
    fetched: Vec<String>,
    changes: Vec<(String, PlanChange)>,
    cancelled: Vec<(String, When)>,
    resumed: Vec<String>,
    trials_ended: Vec<String>,
    portals: Vec<(String, String)>,
    published: HashMap<String, Price>,
    reports: Vec<UsageReport>,
    preview: Option<ChangePreview>,
    events: HashMap<String, ProviderEvent>,
    answered: HashMap<String, Answered>,
    failure: Option<PaymentError>,
    serves_only: Option<String>,
}

impl State {
    fn subscription(&self, id: &str) -> Option<&ProviderSubscription> {
        self.subscriptions.iter().find(|s| s.id == id)
    }

    fn subscription_mut(&mut self, id: &str) -> Result<&mut ProviderSubscription, PaymentError> {
        let found = self.subscriptions.iter_mut().find(|s| s.id == id);
        found.ok_or(PaymentError::NotFound("subscription"))
    }
}

/// Orders, changes and ends are recorded and take effect on the subscriptions that are kept here; a webhook's body is
/// the identifier of an event the test has put. What changes something has its effect once for each idempotency key.
#[derive(Debug, Default)]
pub struct FakePayments {
    state: Mutex<State>,
    fetches: RwLock<()>,
}

impl FakePayments {
    /// A provider without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on everything but webhooks fails so; `None` ends that.
    pub fn set_failure(&self, failure: Option<PaymentError>) {
        lock(&self.state).failure = failure;
    }

    /// From now on asking for any other subscription or purchase fails; `None` ends that.
    pub fn serve_only(&self, id: Option<&str>) {
        lock(&self.state).serves_only = id.map(str::to_owned);
    }

    /// What previews answer; without it the difference of the prices.
    pub fn set_preview(&self, preview: Option<ChangePreview>) {
        lock(&self.state).preview = preview;
    }

    /// Keeps a subscription in place of the one with its identifier.
    pub fn put_subscription(&self, subscription: ProviderSubscription) {
        let mut state = lock(&self.state);
        match state.subscription_mut(&subscription.id) {
            Ok(there) => *there = subscription,
            Err(_) => state.subscriptions.push(subscription),
        }
    }

    /// Forgets a subscription.
    pub fn remove_subscription(&self, id: &str) {
        lock(&self.state).subscriptions.retain(|s| s.id != id);
    }

    /// A subscription as it is kept here.
    pub fn kept(&self, id: &str) -> Option<ProviderSubscription> {
        lock(&self.state).subscription(id).cloned()
    }

    /// Plays a buyer who pays a checkout, and keeps what they have then: `sub_fake_<number of the order>`.
    pub fn pay(&self, checkout: &str, now: Timestamp) -> Option<ProviderSubscription> {
        let number: usize = checkout.strip_prefix("cs_fake_")?.parse().ok()?;
        let order = lock(&self.state).orders.get(number).cloned()?;
        let mut bought = Self::active(&format!("sub_fake_{number}"), order.owner, &order.sale, now);
        bought.customer = order.customer;
        bought.quantity = order.quantity;
        if let Some(trial) = order.trial {
            let end = now.saturating_add(SignedDuration::from_hours(24 * i64::from(trial.days)));
            bought.status = SubscriptionStatus::Trialing;
            bought.trial_end = end.ok();
            bought.current_period_end = bought.trial_end;
            bought.paid_until = bought.trial_end;
        }
        self.put_subscription(bought.clone());
        Some(bought)
    }

    /// A subscription that is paid from `now` on for 30 days (365, of a yearly price), to be put as it is or changed
    /// before.
    pub fn active(id: &str, owner: Owner, sale: &Sale, now: Timestamp) -> ProviderSubscription {
        let days = if sale.price.interval == "year" { 365 } else { 30 };
        let end = now.saturating_add(SignedDuration::from_hours(24 * days)).ok();
        ProviderSubscription {
            id: id.to_owned(),
            customer: format!("cus_of_{}", owner.id.simple()),
            owner: Some(owner),
            price: Some(Self::price_of(sale)),
            quantity: 1,
            status: SubscriptionStatus::Active,
            created: now,
            current_period_start: Some(now),
            current_period_end: end,
            paid_until: end,
            cancel_at_period_end: false,
            cancel_at: None,
            trial_end: None,
            past_due_since: None,
            collection_paused: false,
            next_price: None,
            next_quantity: None,
            payment_fingerprint: None,
        }
    }

    /// The price under which something is sold here.
    pub fn price_of(sale: &Sale) -> ProviderPrice {
        ProviderPrice {
            id: format!("price_{}", sale.lookup_key()),
            lookup_key: Some(sale.lookup_key()),
            plan: Some((sale.plan.clone(), sale.version)),
            price: Some(sale.price.clone()),
        }
    }

    /// Until this is dropped, asking for a subscription or a purchase reads it and then waits, so that a test can let the answer be
    /// an old one.
    pub async fn hold_fetches(&self) -> RwLockWriteGuard<'_, ()> {
        self.fetches.write().await
    }

    /// Lets a price stand here with these terms, whatever is sold.
    pub fn put_price(&self, lookup_key: &str, price: Price) {
        lock(&self.state).published.insert(lookup_key.to_owned(), price);
    }

    /// Keeps an event and answers the webhook's body that stands for it.
    pub fn put_event(&self, event: ProviderEvent) -> Vec<u8> {
        let body = event.id.clone().into_bytes();
        lock(&self.state).events.insert(event.id.clone(), event);
        body
    }

    /// Who was made known, oldest first.
    pub fn customers(&self) -> Vec<FakeCustomer> {
        lock(&self.state).customers.clone()
    }

    /// The orders so far, oldest first.
    pub fn orders(&self) -> Vec<CheckoutOrder> {
        lock(&self.state).orders.clone()
    }

    /// The identifiers of subscriptions that were asked for one at a time, oldest first.
    pub fn fetched(&self) -> Vec<String> {
        lock(&self.state).fetched.clone()
    }

    /// The changes of what is paid for, by subscription, oldest first.
    pub fn changes(&self) -> Vec<(String, PlanChange)> {
        lock(&self.state).changes.clone()
    }

    /// The subscriptions that were cancelled, and for when, oldest first.
    pub fn cancelled(&self) -> Vec<(String, When)> {
        lock(&self.state).cancelled.clone()
    }

    /// The subscriptions whose end was taken back, oldest first.
    pub fn resumed(&self) -> Vec<String> {
        lock(&self.state).resumed.clone()
    }

    /// The subscriptions whose trial was ended, oldest first.
    pub fn trials_ended(&self) -> Vec<String> {
        lock(&self.state).trials_ended.clone()
    }

    /// The customers whose page was asked for, and where it leads back to, oldest first.
    pub fn portals(&self) -> Vec<(String, String)> {
        lock(&self.state).portals.clone()
    }

    /// What was reported as used, each once, oldest first.
    pub fn reports(&self) -> Vec<UsageReport> {
        lock(&self.state).reports.clone()
    }

    /// Headers of a webhook whose signature is right, for `verify_webhook`.
    pub fn signed(name: &str) -> Option<String> {
        (name == SIGNATURE_HEADER).then(|| "valid".to_owned())
    }

    /// Headers of a webhook whose signature is right but old.
    pub fn signed_long_ago(name: &str) -> Option<String> {
        (name == SIGNATURE_HEADER).then(|| "stale".to_owned())
    }

    /// Headers of a webhook without a signature.
    pub fn unsigned(_name: &str) -> Option<String> {
        None
    }

    /// Runs `effect` unless the key has been used; answers what was answered then, or is now.
    fn once(
        &self,
        what: &str,
        idempotency_key: &str,
        effect: impl FnOnce(&mut State) -> Result<Answered, PaymentError>,
    ) -> Result<Answered, PaymentError> {
        assert_no_open_unit(what);
        let mut state = lock(&self.state);
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if let Some(answered) = state.answered.get(idempotency_key) {
            return Ok(answered.clone());
        }
        let answer = effect(&mut state)?;
        state.answered.insert(idempotency_key.to_owned(), answer.clone());
        Ok(answer)
    }

    /// Answers without changing anything.
    fn look<T>(&self, what: &str, look: impl FnOnce(&mut State) -> Result<T, PaymentError>) -> Result<T, PaymentError> {
        assert_no_open_unit(what);
        let mut state = lock(&self.state);
        match &state.failure {
            Some(failure) => Err(failure.clone()),
            None => look(&mut state),
        }
    }
}

/// A key that was used for something else before.
fn other_use() -> PaymentError {
    PaymentError::Refused {
        code: Some("idempotency_error".to_owned()),
        message: "the idempotency key was used for another request".to_owned(),
    }
}

fn subscription_of(answered: Answered) -> Result<ProviderSubscription, PaymentError> {
    match answered {
        Answered::Subscription(subscription) => Ok(*subscription),
        _ => Err(other_use()),
    }
}

#[async_trait]
impl PaymentProvider for FakePayments {
    fn name(&self) -> &'static str {
        "fake-payments"
    }

    async fn create_customer(&self, owner: Owner, email: &str, idempotency_key: &str) -> Result<String, PaymentError> {
        let answered = self.once("making a customer known", idempotency_key, |state| {
            let id = format!("cus_fake_{}", state.customers.len());
            let email = email.to_owned();
            state.customers.push(FakeCustomer {
                id: id.clone(),
                owner,
                email,
            });
            Ok(Answered::Customer(id))
        })?;
        match answered {
            Answered::Customer(id) => Ok(id),
            _ => Err(other_use()),
        }
    }

    async fn checkout(&self, order: &CheckoutOrder, idempotency_key: &str) -> Result<Checkout, PaymentError> {
        let answered = self.once("opening a checkout", idempotency_key, |state| {
            let id = format!("cs_fake_{}", state.orders.len());
            state.orders.push(order.clone());
            let url = format!("https://pay.example/{id}");
            Ok(Answered::Checkout(Checkout { id, url }))
        })?;
        match answered {
            Answered::Checkout(checkout) => Ok(checkout),
            _ => Err(other_use()),
        }
    }

    async fn checkout_purchase(&self, order: &PurchaseOrder, idempotency_key: &str) -> Result<Checkout, PaymentError> {
        self.open_purchase(order, idempotency_key)
    }

    async fn purchase(&self, id: &str) -> Result<Option<Purchase>, PaymentError> {
        let found = self.look_at_purchase(id)?;
        drop(self.fetches.read().await);
        Ok(found)
    }

    async fn portal(&self, customer: &str, return_url: &str) -> Result<String, PaymentError> {
        self.look("opening a portal", |state| {
            state.portals.push((customer.to_owned(), return_url.to_owned()));
            Ok(format!("https://pay.example/portal/{customer}"))
        })
    }

    async fn subscription(&self, id: &str) -> Result<Option<ProviderSubscription>, PaymentError> {
        let found = self.look("asking for a subscription", |state| {
            state.fetched.push(id.to_owned());
            if state.serves_only.as_deref().is_some_and(|only| only != id) {
                return Err(PaymentError::Unavailable("away for this one".to_owned()));
            }
            Ok(state.subscription(id).cloned())
        })?;
        drop(self.fetches.read().await);
        Ok(found)
    }

    async fn list_purchases(
        &self,
        since: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ProviderPage<Purchase>, PaymentError> {
        self.page_of_purchases(since, after, limit)
    }

    async fn list_subscriptions(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ProviderPage<ProviderSubscription>, PaymentError> {
        let limit = usize::try_from(limit).unwrap_or(100).clamp(1, 100);
        self.look("listing subscriptions", |state| {
            let newest_first = || state.subscriptions.iter().rev();
            let skipped = match after {
                Some(id) => newest_first().position(|s| s.id == id).map(|at| at + 1),
                None => Some(0),
            };
            let skipped = skipped.ok_or(PaymentError::NotFound("subscription"))?;
            let items: Vec<_> = newest_first().skip(skipped).take(limit).cloned().collect();
            let more = newest_first().count() > skipped + items.len();
            let next = items.last().filter(|_| more).map(|s| s.id.clone());
            Ok(ProviderPage { items, next })
        })
    }

    async fn change_plan(
        &self,
        id: &str,
        change: &PlanChange,
        idempotency_key: &str,
    ) -> Result<ProviderSubscription, PaymentError> {
        let answered = self.once("changing a subscription", idempotency_key, |state| {
            let subscription = state.subscription_mut(id)?;
            let price = Some(Self::price_of(&change.sale));
            match change.when {
                When::Now => {
                    subscription.price = price;
                    subscription.quantity = change.quantity;
                    subscription.next_price = None;
                    subscription.next_quantity = None;
                }
                When::PeriodEnd => {
                    subscription.next_price = price;
                    subscription.next_quantity = Some(change.quantity);
                }
            }
            let changed = subscription.clone();
            state.changes.push((id.to_owned(), change.clone()));
            Ok(Answered::Subscription(Box::new(changed)))
        })?;
        subscription_of(answered)
    }

    async fn preview_change(&self, id: &str, change: &PlanChange) -> Result<ChangePreview, PaymentError> {
        self.look("previewing a change", |state| {
            let subscription = state.subscription(id).ok_or(PaymentError::NotFound("subscription"))?;
            let paid = subscription.price.as_ref().and_then(|price| price.price.as_ref());
            let before = paid.map_or(0, |price| price.amount.saturating_mul(subscription.quantity));
            let after = change.sale.price.amount.saturating_mul(change.quantity);
            let computed = ChangePreview {
                amount_due: after.saturating_sub(before).max(0),
                credit: before.saturating_sub(after).max(0),
                currency: change.sale.price.currency.clone(),
                next_payment_at: subscription.current_period_end,
            };
            Ok(state.preview.clone().unwrap_or(computed))
        })
    }

    async fn cancel(&self, id: &str, when: When, idempotency_key: &str) -> Result<(), PaymentError> {
        let answered = self.once("cancelling a subscription", idempotency_key, |state| {
            let subscription = state.subscription_mut(id)?;
            subscription.next_price = None;
            subscription.next_quantity = None;
            match when {
                When::Now => subscription.status = SubscriptionStatus::Canceled,
                When::PeriodEnd => subscription.cancel_at_period_end = !subscription.status.terminal(),
            }
            state.cancelled.push((id.to_owned(), when));
            Ok(Answered::Nothing)
        })?;
        match answered {
            Answered::Nothing => Ok(()),
            _ => Err(other_use()),
        }
    }

    async fn resume(&self, id: &str, idempotency_key: &str) -> Result<ProviderSubscription, PaymentError> {
        let answered = self.once("resuming a subscription", idempotency_key, |state| {
            let subscription = state.subscription_mut(id)?;
            subscription.cancel_at_period_end = false;
            subscription.cancel_at = None;
            subscription.next_price = None;
            subscription.next_quantity = None;
            if subscription.status == SubscriptionStatus::Paused {
                subscription.status = SubscriptionStatus::Active;
            }
            let resumed = subscription.clone();
            state.resumed.push(id.to_owned());
            Ok(Answered::Subscription(Box::new(resumed)))
        })?;
        subscription_of(answered)
    }

    async fn end_trial(&self, id: &str, idempotency_key: &str) -> Result<(), PaymentError> {
        let answered = self.once("ending a trial", idempotency_key, |state| {
            let subscription = state.subscription_mut(id)?;
            if subscription.status == SubscriptionStatus::Trialing {
                subscription.status = SubscriptionStatus::Active;
                subscription.trial_end = Some(subscription.created);
            }
            state.trials_ended.push(id.to_owned());
            Ok(Answered::Nothing)
        })?;
        match answered {
            Answered::Nothing => Ok(()),
            _ => Err(other_use()),
        }
    }

    async fn publish(&self, sales: &[Sale], dry_run: bool) -> Result<Vec<Published>, PaymentError> {
        self.look("publishing prices", |state| {
            let published = sales.iter().map(|sale| {
                let there = state.published.get(&sale.lookup_key()).cloned();
                match there {
                    Some(price) if price == sale.price => Published::Unchanged,
                    Some(price) => Published::Differs { there: Some(price) },
                    None => {
                        if !dry_run {
                            state.published.insert(sale.lookup_key(), sale.price.clone());
                        }
                        Published::Created
                    }
                }
            });
            Ok(published.collect())
        })
    }

    async fn report_usage(&self, report: &UsageReport) -> Result<(), PaymentError> {
        self.look("reporting usage", |state| {
            if !state.reports.iter().any(|known| known.id == report.id) {
                state.reports.push(report.clone());
            }
            Ok(())
        })
    }

    fn verify_webhook(
        &self,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
        _now: Timestamp,
    ) -> Result<ProviderEvent, WebhookRejected> {
        match header(SIGNATURE_HEADER).as_deref() {
            Some("valid") => (),
            Some("stale") => return Err(WebhookRejected::Stale),
            _ => return Err(WebhookRejected::BadSignature),
        }
        let id = String::from_utf8_lossy(body);
        let event = lock(&self.state).events.get(&*id).cloned();
        event.ok_or_else(|| WebhookRejected::Malformed("no such event".to_owned()))
    }
}

#[cfg(test)]
mod tests;
