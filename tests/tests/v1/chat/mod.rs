//! `/v1/chat`

pub mod completions;
