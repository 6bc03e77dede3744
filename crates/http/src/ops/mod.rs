//! Health and documentation.

pub mod docs;
pub mod health;
pub mod openapi_json;
pub mod ready;
pub mod root;
