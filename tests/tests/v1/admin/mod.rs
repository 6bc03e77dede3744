//! `/v1/admin`

mod api_keys;
mod audit;
mod user;
mod users;
