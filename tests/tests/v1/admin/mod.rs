//! `/v1/admin`

mod api_keys;
mod audit;
mod migrations;
mod models;
mod overrides;
mod subscriptions;
mod usage;
mod user;
mod users;
