//! What is true whatever the database, the web or the model: types and pure rules.
//!
//! Nothing here does I/O, reads a clock or draws a random number. A module is a bounded context and has
//! the same name on every floor of the house (see `docs/ARCHITECTURE.md`).

mod id;

pub mod access;
pub mod accounts;
pub mod audit;
pub mod billing;
pub mod chat;
pub mod migrations;
pub mod protection;
pub mod sessions;

pub use id::{
    AliasVersion, ApiKeyId, AuditId, ConversationId, CreditGrantId, MessageId, OneTimeTokenId, OverrideId,
    RefreshTokenId, RequestId, ReservationId, SessionId, UserId,
};

/// A point in time: UTC, microseconds. Every time that Anteroom stores or sends has this precision.
pub type Timestamp = jiff::Timestamp;

/// Cuts a time down to whole microseconds, the precision of both databases.
pub fn micros(time: Timestamp) -> Timestamp {
    Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
}
