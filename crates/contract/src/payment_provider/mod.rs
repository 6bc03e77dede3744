//! What every payment provider does, whoever takes the money.
//!
//! An adapter's tests implement [`Bench`] and name it to [`payment_provider_contract!`](crate::payment_provider_contract).
//! Each test makes a bench of its own, on a provider that holds nothing yet.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a suite fails by panicking"
)]

pub mod changes;
pub mod checkouts;
pub mod ends;
pub mod metered;
pub mod once;
pub mod purchases;
pub mod webhooks;

use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use jiff::SignedDuration;
use uuid::Uuid;

use anteroom_domain::billing::{Owner, Price};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::PaymentProvider;
use anteroom_ports::billing::{
    Checkout, CheckoutOrder, PlanChange, ProviderEvent, ProviderSubscription, Published, Sale, Trial, WebhookRejected,
    When,
};

/// Names and values of headers.
pub type Headers = Vec<(String, String)>;

/// A meter that the bench has made at the provider.
pub const METER: &str = "tokens";

/// A coupon that the bench has made: half off.
pub const COUPON: &str = "HALF";

/// What a buyer pays with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Card {
    /// Always pays.
    Good,
    /// Pays while its owner is there, and not at a renewal.
    FailsLater,
    /// Can be put on file, but never pays.
    Fails,
    /// There is none.
    None,
    /// A bank account, from which the money comes within four days.
    Debit,
    /// A bank account from which it does not come.
    DebitFails,
    /// Pays, and its owner has the bank take the money back at once. Only for what is bought once.
    Disputed,
}

/// A bill, as the provider has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// What it comes to, in the currency's smallest unit; below zero where something is left over.
    pub total: i64,
    /// What was paid.
    pub paid: i64,
    /// Whether nothing is open.
    pub settled: bool,
}

/// What a suite needs of a provider beyond its port: to play the provider's and the buyer's part.
#[async_trait]
pub trait Bench: Send + Sync {
    /// The adapter, which takes webhooks under two secrets and publishes no price by itself.
    fn provider(&self) -> &dyn PaymentProvider;

    /// The headers under which the provider would send this body at this time, signed with the first or the second of
    /// the secrets (0 or 1), or with one that the adapter does not know.
    fn headers(&self, secret: usize, body: &[u8], now: Timestamp) -> Headers;

    /// The body of an event about a subscription, or about nothing of ours.
    fn body(&self, event_id: &str, subscription: Option<&str>, created: Timestamp) -> Vec<u8>;

    /// The provider's time.
    fn now(&self) -> Timestamp;

    /// Moves it forward; what falls due happens.
    async fn advance(&self, by: SignedDuration);

    /// Plays a buyer who pays a checkout.
    async fn pay(&self, checkout: &Checkout, card: Card);

    /// Plays a buyer whose card is refused at a checkout, and who leaves it.
    async fn pay_in_vain(&self, checkout: &Checkout);

    /// Plays an operator who gives money of a purchase back, in the currency's smallest unit; all that is left without an
    /// amount.
    async fn refund(&self, purchase: &str, amount: Option<i64>);

    /// Plays the bank that decides the dispute of a purchase for the seller, or against.
    async fn decide(&self, purchase: &str, won: bool);

    /// Plays a buyer who puts another card on file, with which everything of theirs is paid from now on.
    async fn put_card(&self, customer: &str, card: Card);

    /// Takes what the provider has sent since the last call, oldest first, once nothing is under way.
    async fn take_sent(&self) -> Vec<(Headers, Vec<u8>)>;

    /// A subscription's bills, newest first.
    async fn bills(&self, subscription: &str) -> Vec<Bill>;

    /// How much of [`METER`] is counted for a customer.
    async fn used(&self, customer: &str) -> i64;
}

const DAY: SignedDuration = SignedDuration::from_hours(24);

/// An idempotency key that nobody has used.
fn key() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("key-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

fn days(count: i32) -> SignedDuration {
    DAY * count
}

fn owner(user: u128) -> Owner {
    Owner::account(UserId(Uuid::from_u128(user)))
}

fn sold(plan: &str, amount: i64, interval: &str) -> Sale {
    Sale {
        plan: plan.to_owned(),
        version: 3,
        name: format!("The {plan} plan"),
        price: Price {
            amount,
            currency: "usd".to_owned(),
            interval: interval.to_owned(),
        },
        metered: vec![],
    }
}

fn basic() -> Sale {
    sold("basic", 900, "month")
}

fn pro() -> Sale {
    sold("pro", 1900, "month")
}

fn team() -> Sale {
    sold("team", 4900, "month")
}

fn pro_yearly() -> Sale {
    sold("pro", 19_000, "year")
}

async fn publish(bench: &dyn Bench) {
    let sales = [basic(), pro(), team(), pro_yearly()];
    let published = bench.provider().publish(&sales, false).await.unwrap();
    assert!(
        published.iter().all(|one| !matches!(one, Published::Differs { .. })),
        "{published:?}"
    );
}

fn order(customer: &str, user: u128, sale: Sale) -> CheckoutOrder {
    CheckoutOrder {
        owner: owner(user),
        customer: customer.to_owned(),
        sale,
        quantity: 1,
        trial: None,
        coupon: None,
        success_url: "https://app.example/billing?paid=1&session=a%20b".to_owned(),
        cancel_url: "https://app.example/billing".to_owned(),
    }
}

async fn customer(bench: &dyn Bench, user: u128) -> String {
    let email = format!("user{user}@example.com");
    bench
        .provider()
        .create_customer(owner(user), &email, &key())
        .await
        .unwrap()
}

/// Has an order paid and answers what was bought.
async fn pay(bench: &dyn Bench, order: &CheckoutOrder, card: Card) -> ProviderSubscription {
    drop(bench.take_sent().await);
    let checkout = bench.provider().checkout(order, &key()).await.unwrap();
    bench.pay(&checkout, card).await;
    let events = sent(bench).await;
    let id = events
        .iter()
        .find_map(|event| event.subscription.clone())
        .expect("paying brings a subscription");
    now(bench, &id).await
}

/// A user with a paid subscription.
async fn buy(bench: &dyn Bench, user: u128, sale: Sale) -> ProviderSubscription {
    publish(bench).await;
    let customer = customer(bench, user).await;
    pay(bench, &order(&customer, user, sale), Card::Good).await
}

/// A user with a trial of 14 days.
async fn try_out(bench: &dyn Bench, card_required: bool, card: Card) -> ProviderSubscription {
    publish(bench).await;
    let customer = customer(bench, 1).await;
    let trial = Some(Trial {
        days: 14,
        card_required,
    });
    let order = CheckoutOrder {
        trial,
        ..order(&customer, 1, pro())
    };
    pay(bench, &order, card).await
}

/// The subscription as it is now.
async fn now(bench: &dyn Bench, id: &str) -> ProviderSubscription {
    let found = bench.provider().subscription(id).await.unwrap();
    found.unwrap_or_else(|| panic!("there is no subscription {id}"))
}

/// A subscription's newest bill.
async fn bill_of(bench: &dyn Bench, id: &str) -> Bill {
    bench.bills(id).await.into_iter().next().expect("there is a bill")
}

fn to(sale: Sale, when: When) -> PlanChange {
    PlanChange {
        sale,
        quantity: 1,
        when,
    }
}

/// The plan that is paid for, or to come.
fn plan(price: Option<&anteroom_ports::billing::ProviderPrice>) -> Option<&str> {
    price
        .and_then(|price| price.plan.as_ref())
        .map(|(plan, _)| plan.as_str())
}

/// Whether two times are as good as one: a machine may be slow.
fn near(one: Option<Timestamp>, other: Timestamp) -> bool {
    one.is_some_and(|one| one.duration_since(other).abs() < SignedDuration::from_mins(10))
}

fn later(time: Timestamp, by: SignedDuration) -> Timestamp {
    time.checked_add(by).unwrap()
}

/// Whether two amounts are as good as one: a second of a month is less than a cent.
fn close(one: i64, other: i64) -> bool {
    (one - other).abs() <= 2
}

/// Verifies as Anteroom does.
fn verify(bench: &dyn Bench, headers: &Headers, body: &[u8], now: Timestamp) -> Result<ProviderEvent, WebhookRejected> {
    let header = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    bench.provider().verify_webhook(&header, body, now)
}

/// What was sent, each of it verified as Anteroom would when it comes.
#[expect(
    clippy::disallowed_methods,
    reason = "signatures have the time at which they are sent, not the provider's own"
)]
async fn sent(bench: &dyn Bench) -> Vec<ProviderEvent> {
    let all = bench.take_sent().await;
    let read = all
        .iter()
        .map(|(headers, body)| verify(bench, headers, body, Timestamp::now()).unwrap());
    read.collect()
}

/// Writes a test for each case of the suite. `$bench` is awaited.
#[macro_export]
macro_rules! payment_provider_contract {
    ($bench:expr) => {
        $crate::payment_provider_contract! {
            $bench,
            webhooks: signatures, ages, bodies, secrets, deliveries;
            checkouts: orders, twice, coupons, prices, pages, trials_with_a_card, trials_without_a_card,
                trials_that_get_a_card, trials_begun_anew;
            changes: upgrades, downgrades, quantities, intervals, later, yearly_later, replaced, again, declined, in_trials;
            ends: at_once, with_the_period, taken_back, past_due, never_paid;
            once: keys, customers_at_once, changes_at_once, usage, usage_at_once, publishing, lists;
            metered: billed, changed_at_once, comes_and_goes, changed_later, taken_back, ends, ends_at_once, publishing;
            purchases: bought, keys_and_races, paid_twice, later, never, declined, ended, refunds, refunds_at_once, disputes,
                listed, none_of_ours, refused;
        }
    };
    ($bench:expr, $($part:ident: $($case:ident),+;)+) => {
        $(mod $part {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::payment_provider::$part::$case(&$bench.await).await;
            })+
        })+
    };
}
