//! Anthropic's Messages API (version 2023-06-01, <https://docs.anthropic.com/en/api/messages>).

mod answer;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use request::Request;

use super::{Fate, Table};

/// What becomes of each parameter.
pub(crate) const PARAMETERS: &Table = &[
    ("model", Fate::Mapped),
    ("messages", Fate::Mapped),
    ("max_tokens", Fate::Mapped),
    ("system", Fate::Mapped),
    ("stream", Fate::Mapped),
    ("temperature", Fate::Mapped),
    ("top_p", Fate::Mapped),
    ("stop_sequences", Fate::Mapped),
    ("tools", Fate::Mapped),
    ("tool_choice", Fate::Mapped),
    ("metadata", Fate::Mapped),
    ("thinking", Fate::Mapped),
    ("output_config", Fate::Mapped),
    ("top_k", Fate::Native),
    ("cache_control", Fate::Native),
    ("service_tier", Fate::Dropped),
    ("inference_geo", Fate::Dropped),
    ("speed", Fate::Dropped),
    ("context_management", Fate::Dropped),
    ("container", Fate::Refused("no code is run here")),
    ("mcp_servers", Fate::Refused("only the caller's own tools are called")),
];
