//! The adapter, against a server that does what a test tells it to.

#![expect(clippy::unwrap_used, clippy::panic, reason = "this binary is tests from end to end")]

mod contract;
mod faults;
mod inbox;
mod purchases;
mod requests;
mod server;

use std::time::Duration;

use anteroom_domain::UserId;
use anteroom_domain::billing::{Owner, Price};
use anteroom_ports::billing::Sale;
use anteroom_stripe::{Stripe, StripeOptions};
use secrecy::SecretString;
use url::Url;
use uuid::Uuid;

/// A key that must not be seen again.
const KEY: &str = "sk_test_canary";

fn options(base: &str) -> StripeOptions {
    StripeOptions {
        name: "stripe",
        api_base: Url::parse(base).unwrap(),
        secret_key: SecretString::from(KEY),
        webhook_secrets: vec![SecretString::from("whsec_canary")],
        publish_on_demand: false,
        // Long enough for a busy machine; what tests slowness sets its own.
        timeout: Duration::from_secs(30),
    }
}

fn stripe(base: &str) -> Stripe {
    Stripe::new(options(base)).unwrap()
}

fn owner() -> Owner {
    Owner::account(UserId(Uuid::from_u128(7)))
}

fn sale(plan: &str, amount: i64) -> Sale {
    Sale {
        plan: plan.to_owned(),
        version: 1,
        name: plan.to_uppercase(),
        price: Price {
            amount,
            currency: "usd".to_owned(),
            interval: "month".to_owned(),
        },
        metered: vec![],
    }
}
