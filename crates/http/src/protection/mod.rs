//! What failed logins cost, and who may forgive them.

pub mod unlock_user;
