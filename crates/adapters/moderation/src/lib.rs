//! Moderators: the operator's own rules, and a server that speaks `OpenAI`'s moderation API.

mod openai;
mod rules;

pub use openai::{OpenAiModeration, OpenAiModerationOptions};
pub use rules::{InvalidRule, Rule, Rules, Where};
