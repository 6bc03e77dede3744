//! The stub as its callers see it: over HTTP, and in what its webhooks get.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and has the real time"
)]

mod api;
mod bench;
mod changes;
mod deliveries;
mod journal;
mod life;
mod pages;
mod purchases;
mod usage;
