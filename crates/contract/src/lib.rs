//! The suites every adapter of a port must pass.
//!
//! An adapter's test names its suite's macro and says how a fresh thing is made; the macro writes one test for each
//! case.

pub mod chat_model;
pub mod embedder;
pub mod mailer;
pub mod migrations;
pub mod moderator;
pub mod payment_provider;
pub mod store;
