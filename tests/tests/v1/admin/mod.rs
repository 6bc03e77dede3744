//! `/v1/admin`

mod api_keys;
mod audit;
mod models;
mod usage;
mod user;
mod users;
