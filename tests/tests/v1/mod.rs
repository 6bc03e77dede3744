//! `/v1`

mod admin;
mod auth;
pub mod billing;
mod chat;
mod conversations;
mod embeddings;
mod me;
mod models;
mod plans;
