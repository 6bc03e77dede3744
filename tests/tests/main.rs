//! Everything that Anteroom does, over real HTTP, on every store. The tree mirrors the URLs.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "this binary is tests from end to end"
)]

#[path = "../src/house.rs"]
mod house;
mod v1;
