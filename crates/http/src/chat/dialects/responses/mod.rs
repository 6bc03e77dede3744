//! OpenAI's Responses API, without a memory: nothing of an answer is kept
//! (<https://platform.openai.com/docs/api-reference/responses>).

mod answer;
mod request;
#[cfg(test)]
mod tests;

pub(crate) use answer::Answer;
pub(crate) use request::Request;

use super::{Fate, Table};

const NO_MEMORY: &str = "no answers are kept here; send the whole conversation as `input`";

/// What becomes of each parameter.
pub(crate) const PARAMETERS: &Table = &[
    ("model", Fate::Mapped),
    ("input", Fate::Mapped),
    ("instructions", Fate::Mapped),
    ("max_output_tokens", Fate::Mapped),
    ("stream", Fate::Mapped),
    ("temperature", Fate::Mapped),
    ("top_p", Fate::Mapped),
    ("tools", Fate::Mapped),
    ("tool_choice", Fate::Mapped),
    ("parallel_tool_calls", Fate::Mapped),
    ("text", Fate::Mapped),
    ("reasoning", Fate::Mapped),
    ("user", Fate::Mapped),
    ("safety_identifier", Fate::Mapped),
    ("prompt_cache_key", Fate::Mapped),
    ("service_tier", Fate::Mapped),
    // Kept for the answer only, as OpenAI does; `store` is answered as false.
    ("metadata", Fate::Mapped),
    ("store", Fate::Mapped),
    ("background", Fate::Mapped),
    ("truncation", Fate::Mapped),
    ("stream_options", Fate::Mapped),
    ("include", Fate::Dropped),
    ("max_tool_calls", Fate::Dropped),
    ("top_logprobs", Fate::Dropped),
    ("prompt_cache_retention", Fate::Dropped),
    ("prompt_cache_options", Fate::Dropped),
    ("moderation", Fate::Dropped),
    ("context_management", Fate::Dropped),
    ("previous_response_id", Fate::Refused(NO_MEMORY)),
    ("conversation", Fate::Refused(NO_MEMORY)),
    (
        "prompt",
        Fate::Refused("no prompts are kept here; send `instructions` and `input`"),
    ),
];
