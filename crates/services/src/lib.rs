//! Use cases: one struct per context, one file per use case, named by its verb.
//!
//! A use case knows the domain and the ports, never a database, a web framework or a status code. What is
//! security-relevant is logged as an event with a dotted name and its outcome.

pub mod access;
pub mod accounts;
pub mod audit;
pub mod billing;
pub mod chat;
pub mod migrations;
pub mod ops;
pub mod protection;
pub mod sessions;
pub mod webhooks;

pub use access::Access;
pub use accounts::Accounts;
pub use audit::Audit;
pub use billing::Billing;
pub use chat::Chat;
pub use migrations::Migrations;
pub use ops::Ops;
pub use protection::Protection;
pub use sessions::Sessions;
pub use webhooks::Webhooks;

use anteroom_domain::{RequestId, Timestamp};

/// Where a request came from, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Client {
    /// Its network address.
    pub address: Option<String>,
    /// Its `User-Agent`.
    pub user_agent: Option<String>,
    /// The country that a trusted proxy names: two capital letters (ISO 3166-1).
    pub country: Option<String>,
    /// The request's identifier.
    pub request_id: Option<RequestId>,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The things.
    pub items: Vec<T>,
    /// Whether there are more.
    pub more: bool,
}

impl<T> Page<T> {
    /// Makes a page of `limit` things out of up to `limit + 1` that were read.
    fn cut(mut items: Vec<T>, limit: i64) -> Self {
        let limit = usize::try_from(limit).unwrap_or(0);
        let more = items.len() > limit;
        items.truncate(limit);
        Self { items, more }
    }
}

/// `time - duration`, or the beginning of time.
fn earlier(time: Timestamp, duration: jiff::SignedDuration) -> Timestamp {
    time.saturating_sub(duration).unwrap_or(Timestamp::MIN)
}

/// `time + duration`, or the end of time.
fn later(time: Timestamp, duration: jiff::SignedDuration) -> Timestamp {
    time.saturating_add(duration).unwrap_or(Timestamp::MAX)
}

/// Milliseconds since `start`, for booking.
fn elapsed_ms(start: std::time::Instant) -> i64 {
    i64::try_from(start.elapsed().as_millis()).unwrap_or(i64::MAX)
}
