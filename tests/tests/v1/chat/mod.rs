//! `/v1/chat`

mod completions;
