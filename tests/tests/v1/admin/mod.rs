//! `/v1/admin`

mod api_keys;
mod audit;
mod usage;
mod user;
mod users;
