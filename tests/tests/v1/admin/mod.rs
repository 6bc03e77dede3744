//! `/v1/admin`

mod api_keys;
mod audit;
mod models;
mod overrides;
mod usage;
mod user;
mod users;
