//! `/v1`

mod admin;
mod auth;
pub mod billing;
mod chat;
mod conversations;
mod me;
mod models;
mod plans;
