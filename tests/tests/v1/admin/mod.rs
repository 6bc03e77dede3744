//! `/v1/admin`

mod users;
