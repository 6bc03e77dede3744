//! The use cases on a real store (SQLite in a temporary file), with fakes behind every other port: what needs a clock
//! that can be set, a provider that fails on cue, or 64 callers at once.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::too_many_lines,
    reason = "this binary is tests from end to end"
)]

mod access;
mod accounts;
mod assistants;
mod billing;
mod caches;
mod changes;
mod chat;
mod credits;
mod disconnects;
mod embeddings;
mod house;
mod kept_answers;
mod models;
mod moderation;
mod notices;
mod ops;
mod overage;
mod protection;
mod recovery;
mod revenue;
mod routing;
mod seats;
mod sessions;
mod signing_keys;
mod webhooks;
