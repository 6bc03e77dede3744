//! `/v1`

mod admin;
mod assistants;
mod auth;
pub mod billing;
mod chat;
mod completions;
mod conversations;
mod embeddings;
mod entitlements;
mod me;
mod messages;
mod models;
mod plans;
mod responses;
