//! Requests that were said in this API's own words, and answers that are handed on in them: signatures of thought, marks
//! for the cache and whatever else OpenAI's words have no place for arrive as they were sent.

use std::collections::BTreeSet;

use anteroom_domain::chat::{Dialect, OWN_WORDS, Original, RawObject};
use anteroom_ports::chat::{ChatCall, ProviderError};
use bytes::Bytes;
use http::header::HeaderValue;
use serde::Deserialize;

use super::thinking::LEAST_BUDGET;
use crate::shared::failure;
use crate::shared::redact::Redactor;

/// What the caller said, if that was in this API's words.
pub(super) fn of(call: &ChatCall) -> Option<&Original> {
    let original = call.original.as_deref()?;
    (original.dialect == Dialect::AnthropicMessages).then_some(original)
}

/// The body for the server: the caller's, with the model and the maximum that the call may have.
pub(super) fn body(original: &Original, call: &ChatCall, streamed: bool) -> Result<Bytes, ProviderError> {
    let unreadable = |_| failure::bad_request(None, "the body is not a JSON object".to_owned());
    let said = RawObject::parse(&call.body).map_err(unreadable)?;
    let mut body = original.body.clone();
    body.set("model", &call.model).map_err(unreadable)?;
    body.set("stream", &streamed).map_err(unreadable)?;
    // Who asks is named as the chat completion names them by now, which is by nothing that the caller wrote.
    body.remove("metadata");
    if let Some(user) = said.read::<String>("user").ok().flatten() {
        let mut metadata = RawObject::default();
        metadata.set("user_id", &user).map_err(unreadable)?;
        body.set("metadata", &metadata).map_err(unreadable)?;
    }
    let most = ["max_completion_tokens", "max_tokens"].map(|key| said.read::<u32>(key).ok().flatten());
    if let Some(most) = most.into_iter().flatten().min() {
        let asked = body.read::<u32>("max_tokens").ok().flatten();
        if asked != Some(most) {
            body.set("max_tokens", &most).map_err(unreadable)?;
            shorten_thought(&mut body, most);
        }
    }
    Ok(body.to_vec().into())
}

/// The header without which the API does not know the older tools for using a computer: each has a beta of its date,
/// `computer_20250124` that of `computer-use-2025-01-24`
/// (<https://docs.anthropic.com/en/docs/agents-and-tools/tool-use/computer-use-tool>). The rest of what callers may name
/// is part of the API, and no other beta is asked for, since some have a price of their own.
pub(super) fn betas(original: &Original) -> Option<HeaderValue> {
    #[derive(Deserialize)]
    struct Tool {
        r#type: Option<String>,
    }
    if original.known_tools.is_empty() {
        return None;
    }
    let tools: Vec<Tool> = original.body.read("tools").ok().flatten()?;
    let dates = tools.iter().filter_map(|tool| {
        let date = tool.r#type.as_deref()?.strip_prefix("computer_")?;
        (date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit())).then_some(date)
    });
    let betas: BTreeSet<String> = dates
        .map(|date| format!("computer-use-{}-{}-{}", &date[..4], &date[4..6], &date[6..]))
        .collect();
    let betas: Vec<&str> = betas.iter().map(String::as_str).collect();
    HeaderValue::from_str(&betas.join(","))
        .ok()
        .filter(|value| !value.is_empty())
}

/// What is thought counts as answer and has to be less than that. A caller who was given a smaller answer than asked for
/// would be told that the budget is too large, which it was not.
fn shorten_thought(body: &mut RawObject, most: u32) {
    let thinking = body
        .get("thinking")
        .and_then(|raw| RawObject::parse(raw.get().as_bytes()).ok());
    let Some(mut thinking) = thinking else { return };
    let budget = thinking.read::<u32>("budget_tokens").ok().flatten().unwrap_or(0);
    if budget < most {
        return;
    }
    if most > LEAST_BUDGET {
        // Numbers and raw values always serialise.
        let _ = thinking
            .set("budget_tokens", &(most - 1))
            .and_then(|()| body.set("thinking", &thinking));
    } else {
        body.remove("thinking");
    }
}

/// A whole answer, or a chunk, in OpenAI's words with the API's own beside them: `own` is JSON as it came.
pub(super) fn beside(openais: &Bytes, own: &str, redactor: &Redactor) -> Bytes {
    let Some(members) = openais.strip_suffix(b"}") else {
        return openais.clone();
    };
    let own = redactor.said(own.to_owned());
    let key = Dialect::AnthropicMessages.key();
    let own = format!(",\"{OWN_WORDS}\":{{\"{key}\":{own}}}}}");
    [members, own.as_bytes()].concat().into()
}
