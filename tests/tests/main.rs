//! Everything that Anteroom does, over real HTTP, on every store. The tree mirrors the URLs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::format_push_string,
    clippy::format_collect,
    clippy::large_futures,
    clippy::too_many_lines,
    reason = "this binary is tests from end to end"
)]

mod docs;
mod edge;
mod health;
#[path = "../src/house.rs"]
mod house;
mod mail;
mod process;
mod routes;
mod security;
mod v1;
mod well_known;
