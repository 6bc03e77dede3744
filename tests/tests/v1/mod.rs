//! `/v1`

mod auth;
mod me;
mod plans;
