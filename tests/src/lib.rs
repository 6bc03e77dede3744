//! The harness of the end-to-end tests: a server of one's own per test, a client that holds every answer against the
//! served OpenAPI document, an upstream that does as it is told, and the log as it was written.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    clippy::return_self_not_must_use,
    clippy::match_wild_err_arm,
    clippy::format_push_string,
    reason = "this crate is tests from end to end"
)]

pub mod app;
pub mod client;
pub mod cluster;
pub mod dice;
pub mod ledger;
pub mod logs;
pub mod openapi;
pub mod process;
pub mod scenario;
pub mod setup;
pub mod stripe;
pub mod surface;
mod template;
pub mod upstream;

pub use app::{Browser, Mail, TestApp, User};
pub use client::{Answer, Ask, Sse, Stream};
pub use dice::Dice;
pub use setup::{Kind, Setup, run, run_on_empty};
pub use stripe::StripeSubscription;
pub use surface::Surface;
pub use upstream::{Script, Step, Upstream};

use std::time::{Duration, Instant};

/// Where the tests' frontend is.
pub const FRONTEND: &str = "https://app.example.test";

/// What the payment stub signs with.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_end_to_end_tests";

/// What the stub's API takes.
pub const STUB_KEY: &str = "sk_test_of_the_end_to_end_tests";

/// A password that is accepted.
pub const PASSWORD: &str = "quiet-lantern-over-the-canal";

/// For what has to happen, but may take its time on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Runs each test on SQLite and, where `TEST_DATABASE_URL` names a server, on PostgreSQL, with a schema that is up. A test
/// is an `async fn(setup: &Setup)`.
#[macro_export]
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        $crate::on_every_store!(@run $($name),+);
    };
    (@$run:ident $($name:ident),+) => {
        mod sqlite {
            $(#[test]
            fn $name() {
                $crate::$run($crate::Kind::Sqlite, super::$name);
            })+
        }
        mod postgres {
            $(#[test]
            fn $name() {
                $crate::$run($crate::Kind::Postgres, super::$name);
            })+
        }
    };
}

/// Does the same on databases with nothing in them, as somebody finds who begins.
#[macro_export]
macro_rules! on_every_empty_store {
    ($($name:ident),+ $(,)?) => {
        $crate::on_every_store!(@run_on_empty $($name),+);
    };
}

/// Waits until something is there, or fails with what was waited for.
pub async fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The same, where looking means to ask somebody.
pub async fn eventually_asking<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Tells whoever reads a test's output what it did: figures of a run, and what repeats it.
#[expect(clippy::print_stderr, reason = "a test's output is there to be read")]
pub fn tell(line: &str) {
    eprintln!("{line}");
}

/// What time it is.
#[expect(
    clippy::disallowed_methods,
    reason = "the servers go by the machine's clock, and so do their tests"
)]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// Says that a test was left out, and why.
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// The number that a variable has, or this one.
pub fn number_from(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={text} is no number")),
        Err(_) => otherwise,
    }
}
