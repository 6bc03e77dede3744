//! Stripe as the payment provider, over its HTTP API.
//!
//! Events only say what to look at; what is true is asked for. Whatever Stripe speaks this way can stand in its place:
//! `stripe-stub` does.

mod changes;
mod ends;
mod failure;
mod form;
mod json;
mod meters;
mod previews;
mod prices;
mod purchases;
mod subscription;
mod transport;
mod webhook;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use anteroom_domain::Timestamp;
use anteroom_domain::billing::Owner;
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{
    ChangePreview, Checkout, CheckoutOrder, PaymentError, PlanChange, ProviderEvent, ProviderPage,
    ProviderSubscription, Published, Purchase, PurchaseOrder, Sale, UsageReport, WebhookRejected, When,
};

use form::Form;
use json::{flag, list, text};
use prices::{Prices, Sold};
use subscription::{EXPAND, OWNER_ID, OWNER_KIND};
use transport::{Call, Transport, random_key};
use webhook::Verifier;

pub use webhook::SIGNATURE_HEADER;

/// The version of Stripe's API that is spoken, whatever the account's own is.
pub const API_VERSION: &str = "2026-10-28.endive";

/// The most subscriptions on a page.
const MAX_PAGE: u32 = 100;

/// How Stripe is reached.
#[derive(Debug, Clone)]
pub struct StripeOptions {
    /// The provider's name in the webhook's path and in the store: `stripe`, or `stripe-stub` when it talks to that.
    pub name: &'static str,
    /// Where, up to what comes before `/v1`: `https://api.stripe.com/`. It may have a path.
    pub api_base: Url,
    /// `sk_live_…`, `sk_test_…`, `rk_live_…` or `rk_test_…`; its kind says which events are taken.
    pub secret_key: SecretString,
    /// What webhooks are signed with; all are taken, so that one can be replaced.
    pub webhook_secrets: Vec<SecretString>,
    /// Whether a price that is missing is made when it is bought. For the stub only: with Stripe, prices are published.
    pub publish_on_demand: bool,
    /// For each attempt. A request makes at most three, and waits for at most a minute between them.
    pub timeout: Duration,
}

/// Why the options do not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOptions {
    /// It is no `http` or `https` address.
    #[error("Stripe's address must begin with `http://` or `https://`")]
    Address,
    /// It does not begin as secret keys do, or has characters that none has.
    #[error("Stripe's secret key must begin with `sk_live_`, `sk_test_`, `rk_live_` or `rk_test_`")]
    Key,
    /// A webhook's secret is empty, with which everybody could sign.
    #[error("a webhook secret of Stripe's must not be empty")]
    WebhookSecret,
}

/// Stripe.
pub struct Stripe {
    name: &'static str,
    live: bool,
    publish_on_demand: bool,
    http: Transport,
    prices: Prices,
    verifier: Verifier,
}

impl fmt::Debug for Stripe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stripe")
            .field("name", &self.name)
            .field("api_base", &self.http.base().as_str())
            .field("live", &self.live)
            .finish_non_exhaustive()
    }
}

impl Stripe {
    /// Connects to nothing yet.
    pub fn new(options: StripeOptions) -> Result<Self, InvalidOptions> {
        let live = is_live(options.secret_key.expose_secret()).ok_or(InvalidOptions::Key)?;
        if options
            .webhook_secrets
            .iter()
            .any(|secret| secret.expose_secret().is_empty())
        {
            return Err(InvalidOptions::WebhookSecret);
        }
        Ok(Self {
            name: options.name,
            live,
            publish_on_demand: options.publish_on_demand,
            http: Transport::new(options.api_base, options.secret_key, options.timeout)?,
            prices: Prices::new(),
            verifier: Verifier::new(&options.webhook_secrets, live),
        })
    }

    /// Whether real money moves: the key is a live one.
    pub fn live(&self) -> bool {
        self.live
    }

    async fn prices_of(&self, sale: &Sale) -> Result<Sold, PaymentError> {
        self.prices.of_sale(&self.http, sale, self.publish_on_demand).await
    }

    /// Forgets a price with which a request was refused: it may have been archived since it was looked up.
    fn used_price<T>(&self, sale: &Sale, outcome: Result<T, PaymentError>) -> Result<T, PaymentError> {
        if matches!(outcome, Err(PaymentError::Refused { .. } | PaymentError::NotFound(_))) {
            self.prices.forget(sale);
        }
        outcome
    }

    /// A subscription's object as the port has it.
    async fn told(&self, object: &Value) -> Result<ProviderSubscription, PaymentError> {
        let mut subscription = subscription::read(object)?;
        if let Some(next) = subscription::next(object) {
            subscription.next_price = Some(self.prices.by_id(&self.http, next.price).await?);
            subscription.next_quantity = Some(next.quantity);
        }
        Ok(subscription)
    }
}

/// Whether a secret key is a live one; `None` if it is no secret key.
fn is_live(key: &str) -> Option<bool> {
    let (_, mode) = ["sk_", "rk_"]
        .iter()
        .find_map(|kind| key.split_at_checked(kind.len()).filter(|(k, _)| k == kind))?;
    let live = mode.strip_prefix("live_");
    let rest = live.or_else(|| mode.strip_prefix("test_"))?;
    (!rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic())).then_some(live.is_some())
}

/// The metadata by which an owner is found again.
fn with_owner(form: Form, name: &str, owner: Owner) -> Form {
    form.with(format!("{name}[{OWNER_KIND}]"), owner.kind.as_str())
        .with(format!("{name}[{OWNER_ID}]"), owner.id)
}

/// An owner as `client_reference_id` has it.
fn reference(owner: Owner) -> String {
    format!("{}:{}", owner.kind.as_str(), owner.id)
}

/// The parameters of a checkout at these prices.
fn checkout_form(order: &CheckoutOrder, sold: &Sold) -> Form {
    let owner = order.owner;
    let form = Form::new()
        .with("mode", "subscription")
        .with("customer", &order.customer)
        .with("client_reference_id", reference(owner))
        .with("line_items[0][price]", &sold.price)
        .with("line_items[0][quantity]", order.quantity)
        .with("success_url", &order.success_url)
        .with("cancel_url", &order.cancel_url);
    // What is metered has no quantity.
    let metered = sold.metered.iter().enumerate();
    let form = metered.fold(form, |form, (number, price)| {
        form.with(format!("line_items[{}][price]", number + 1), price)
    });
    let mut form = with_owner(
        with_owner(form, "metadata", owner),
        "subscription_data[metadata]",
        owner,
    );
    // One of the two, Stripe says.
    form = match &order.coupon {
        Some(coupon) => form.with("discounts[0][coupon]", coupon),
        None => form.with("allow_promotion_codes", true),
    };
    let Some(trial) = order.trial else { return form };
    form = form.with("subscription_data[trial_period_days]", trial.days);
    if trial.card_required {
        return form;
    }
    form.with("payment_method_collection", "if_required").with(
        "subscription_data[trial_settings][end_behavior][missing_payment_method]",
        "pause",
    )
}

/// Whether a usage event was refused because it is there already.
fn is_known_event(code: Option<&str>, message: &str) -> bool {
    code == Some("duplicate_meter_event") || message.contains("already exists with identifier")
}

fn field(object: &Value, path: &str, what: &str) -> Result<String, PaymentError> {
    let found = text(object, path).map(str::to_owned);
    found.ok_or_else(|| PaymentError::Unavailable(format!("its answer is a {what} without `{path}`")))
}

#[async_trait]
impl PaymentProvider for Stripe {
    fn name(&self) -> &'static str {
        self.name
    }

    async fn create_customer(&self, owner: Owner, email: &str, idempotency_key: &str) -> Result<String, PaymentError> {
        let form = with_owner(Form::new().with("email", email), "metadata", owner);
        let call = Call::post("customer", &["customers"], form, idempotency_key);
        field(&self.http.send(call).await?, "/id", "customer")
    }

    async fn checkout(&self, order: &CheckoutOrder, idempotency_key: &str) -> Result<Checkout, PaymentError> {
        let sold = self.prices_of(&order.sale).await?;
        let form = checkout_form(order, &sold);
        let call = Call::post("checkout", &["checkout", "sessions"], form, idempotency_key);
        let session = self.used_price(&order.sale, self.http.send(call).await)?;
        Ok(Checkout {
            id: field(&session, "/id", "checkout")?,
            url: field(&session, "/url", "checkout")?,
        })
    }

    async fn checkout_purchase(&self, order: &PurchaseOrder, idempotency_key: &str) -> Result<Checkout, PaymentError> {
        purchases::open(&self.http, order, idempotency_key).await
    }

    async fn purchase(&self, id: &str) -> Result<Option<Purchase>, PaymentError> {
        purchases::find(&self.http, id).await
    }

    async fn list_purchases(
        &self,
        since: Timestamp,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ProviderPage<Purchase>, PaymentError> {
        purchases::page(&self.http, since, after, limit.clamp(1, MAX_PAGE)).await
    }

    async fn portal(&self, customer: &str, return_url: &str) -> Result<String, PaymentError> {
        let form = Form::new().with("customer", customer).with("return_url", return_url);
        let call = Call::post("customer", &["billing_portal", "sessions"], form, random_key()?);
        field(&self.http.send(call).await?, "/url", "portal")
    }

    async fn subscription(&self, id: &str) -> Result<Option<ProviderSubscription>, PaymentError> {
        match self.object(id).await {
            Ok(object) => self.told(&object).await.map(Some),
            Err(PaymentError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn list_subscriptions(
        &self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<ProviderPage<ProviderSubscription>, PaymentError> {
        let form = Form::new()
            .with("status", "all")
            .with("limit", limit.clamp(1, MAX_PAGE))
            .with_some("starting_after", after)
            .with_list("expand", &EXPAND.map(|path| format!("data.{path}")));
        let page = self
            .http
            .send(Call::get("subscription", &["subscriptions"], form))
            .await?;
        let mut items = Vec::new();
        for object in list(&page, "/data") {
            items.push(self.told(object).await?);
        }
        let more = flag(&page, "/has_more");
        let next = items.last().filter(|_| more).map(|last| last.id.clone());
        Ok(ProviderPage { items, next })
    }

    async fn change_plan(
        &self,
        id: &str,
        change: &PlanChange,
        idempotency_key: &str,
    ) -> Result<ProviderSubscription, PaymentError> {
        let changed = self.change(id, change, idempotency_key).await;
        self.used_price(&change.sale, changed)
    }

    async fn preview_change(&self, id: &str, change: &PlanChange) -> Result<ChangePreview, PaymentError> {
        let preview = self.preview(id, change).await;
        self.used_price(&change.sale, preview)
    }

    async fn cancel(&self, id: &str, when: When, idempotency_key: &str) -> Result<(), PaymentError> {
        self.end(id, when, idempotency_key).await
    }

    async fn resume(&self, id: &str, idempotency_key: &str) -> Result<ProviderSubscription, PaymentError> {
        self.go_on(id, idempotency_key).await
    }

    async fn end_trial(&self, id: &str, idempotency_key: &str) -> Result<(), PaymentError> {
        let form = Form::new().with("trial_end", "now");
        let path = ["subscriptions", id];
        let call = Call::post("subscription", &path, form, idempotency_key);
        match self.http.send(call).await {
            // Of one that is over, or whose trial is.
            Err(PaymentError::Refused { .. }) => Ok(()),
            other => other.map(drop),
        }
    }

    async fn publish(&self, sales: &[Sale], dry_run: bool) -> Result<Vec<Published>, PaymentError> {
        prices::publish(&self.http, sales, dry_run).await
    }

    async fn report_usage(&self, report: &UsageReport) -> Result<(), PaymentError> {
        let form = Form::new()
            .with("event_name", meters::event_name(&report.key))
            .with("identifier", &report.id)
            .with("timestamp", report.at.as_second())
            .with(format!("payload[{}]", meters::CUSTOMER), &report.customer)
            .with(format!("payload[{}]", meters::VALUE), report.value);
        // The identifier makes it known again. A key made of it would be refused if the report were ever sent otherwise.
        let call = Call::post("meter", &["billing", "meter_events"], form, random_key()?);
        match self.http.send(call).await {
            Err(PaymentError::Refused { code, message }) if is_known_event(code.as_deref(), &message) => Ok(()),
            other => other.map(drop),
        }
    }

    fn verify_webhook(
        &self,
        header: &(dyn for<'a> Fn(&'a str) -> Option<String> + Sync),
        body: &[u8],
        now: Timestamp,
    ) -> Result<ProviderEvent, WebhookRejected> {
        let given = header(SIGNATURE_HEADER).ok_or(WebhookRejected::BadSignature)?;
        self.verifier.verify(&given, body, now)
    }
}
