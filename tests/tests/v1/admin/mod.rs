//! `/v1/admin`

mod audit;
mod user;
mod users;
