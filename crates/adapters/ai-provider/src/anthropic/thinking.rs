//! How hard a model is to think, and how it is to choose its words, by what each generation takes
//! (<https://platform.claude.com/docs/en/build-with-claude/thinking>, `…/effort` and the migration guides).

use serde_json::{Map, Number, Value, json};

use anteroom_ports::chat::ProviderError;

use crate::shared::failure;
use crate::translate::ask::Ask;
use crate::translate::turns::Turn;

/// The models that can be told how to sample. Those that came after them refuse it.
const SAMPLING: [&str; 9] = [
    "claude-2",
    "claude-3",
    "claude-instant",
    "claude-haiku-4",
    "claude-sonnet-4",
    "claude-opus-4-0",
    "claude-opus-4-1",
    "claude-opus-4-2",
    "claude-opus-4-5",
];

/// Of those that can be told how to sample the ones that came last, and decide for themselves how long to think.
const BOTH: [&str; 2] = ["claude-sonnet-4-6", "claude-opus-4-6"];

/// Of those that can be told how to sample the ones that take `temperature` or `top_p`, but not both.
const EITHER: [&str; 6] = [
    "claude-haiku-4-5",
    "claude-sonnet-4-5",
    "claude-sonnet-4-6",
    "claude-opus-4-1",
    "claude-opus-4-5",
    "claude-opus-4-6",
];

/// The models that always think, and refuse to be made to call a tool.
const ALWAYS: [&str; 3] = ["claude-opus-5-5", "claude-fable", "claude-mythos"];

/// The model whose least thought has a word of its own.
const BETWEEN_TOOLS: [&str; 1] = ["claude-sonnet-5-5"];

/// The least that a model can be told to think, in tokens.
pub(super) const LEAST_BUDGET: u32 = 1024;

/// The least `top_p` that goes with thought.
const LEAST_TOP_P: f64 = 0.95;

fn is_one_of(model: &str, names: &[&str]) -> bool {
    names.iter().any(|name| model.starts_with(name))
}

/// Whether its thought is measured in tokens.
fn has_budget(model: &str) -> bool {
    is_one_of(model, &SAMPLING) && !is_one_of(model, &BOTH)
}

/// What bears on whether a model may think.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    /// The most tokens of the answer, thought included.
    pub(super) max: u32,
    /// Whether a tool has to be called.
    pub(super) forced: bool,
    /// Whether the results of calls are told whose thought is not.
    pub(super) unthought: bool,
}

/// Whether the conversation ends with results of calls that came without the blocks of thought before them. A model whose
/// thought is measured in tokens refuses to think on from there.
pub(super) fn answers_unthought_call(turns: &[Turn]) -> bool {
    let mut before = turns.iter().rev().skip_while(|turn| matches!(turn, Turn::Tool { .. }));
    let ends_with_results = matches!(turns.last(), Some(Turn::Tool { .. }));
    ends_with_results && matches!(before.next(), Some(Turn::Assistant { thoughts, .. }) if thoughts.is_empty())
}

/// `reasoning_effort`, or the API's own `thinking`, which counts if both are there. Says whether the model will think.
pub(super) fn think(
    body: &mut Value,
    ask: &mut Ask,
    model: &str,
    circumstances: Circumstances,
) -> Result<bool, ProviderError> {
    let own = ask.take::<Map<String, Value>>("thinking", "an object")?;
    let effort = ask.take::<String>("reasoning_effort", "a text")?;
    let always = is_one_of(model, &ALWAYS);
    if circumstances.forced && always {
        return Err(failure::unsupported(
            "tool_choice",
            "this model always thinks, and cannot be made to call a tool; `auto` and `none` can be chosen",
        ));
    }
    if let Some(own) = own {
        return own_words(body, own, circumstances).map(|thinks| thinks || always);
    }
    let Some(effort) = effort else {
        return Ok(always);
    };
    let (level, budget) = match effort.as_str() {
        "none" => return Ok(not_at_all(body, model)),
        "minimal" | "low" => ("low", LEAST_BUDGET),
        "medium" => ("medium", 4 * LEAST_BUDGET),
        "high" => ("high", 16 * LEAST_BUDGET),
        // The models that first had a level above `high` knew `max` only, which is without bounds.
        "xhigh" if is_one_of(model, &BOTH) => ("high", 0),
        "xhigh" => ("xhigh", 24 * LEAST_BUDGET),
        "max" => ("max", 32 * LEAST_BUDGET),
        _ => {
            let message = "`reasoning_effort` must be none, minimal, low, medium, high, xhigh or max".to_owned();
            return Err(failure::bad_request(Some("reasoning_effort"), message));
        }
    };
    if has_budget(model) {
        // What is thought counts as answer, so some of that must be left.
        let budget = budget.min(circumstances.max - circumstances.max / 4);
        let may_think = !circumstances.forced && !circumstances.unthought && budget >= LEAST_BUDGET;
        if may_think {
            body["thinking"] = json!({ "type": "enabled", "budget_tokens": budget });
        } else {
            ask.drop("reasoning_effort");
        }
        return Ok(may_think);
    }
    // Beside the format of the answer, if there is one.
    body["output_config"]["effort"] = json!(level);
    if circumstances.forced {
        // Whoever is made to call a tool does not think; the effort is for the call then.
        ask.drop("reasoning_effort");
        return Ok(false);
    }
    body["thinking"] = json!({ "type": "adaptive" });
    Ok(true)
}

/// The caller's own `thinking`, as it came.
fn own_words(
    body: &mut Value,
    own: Map<String, Value>,
    Circumstances { max, forced, .. }: Circumstances,
) -> Result<bool, ProviderError> {
    let kind = own.get("type").and_then(Value::as_str);
    let thinks = !matches!(kind, Some("disabled") | None);
    if thinks && forced {
        return Err(failure::unsupported(
            "tool_choice",
            "a model that thinks cannot be made to call a tool; choose `auto` or `none`, or leave `thinking` out",
        ));
    }
    let budget = own.get("budget_tokens").and_then(Value::as_u64);
    if budget.is_some_and(|budget| budget >= u64::from(max)) {
        let message = format!("`thinking.budget_tokens` must be less than the most tokens of the answer, {max}");
        return Err(failure::bad_request(Some("thinking"), message));
    }
    body["thinking"] = Value::Object(own);
    Ok(thinks)
}

/// As little thought as the model can be told. Says whether it thinks all the same.
fn not_at_all(body: &mut Value, model: &str) -> bool {
    if is_one_of(model, &ALWAYS) {
        body["output_config"]["effort"] = json!("low");
        return true;
    }
    let word = if is_one_of(model, &BETWEEN_TOOLS) {
        "between_tools"
    } else {
        "disabled"
    };
    body["thinking"] = json!({ "type": word });
    false
}

/// `temperature`, `top_p` and `top_k`, as far as the model takes them. A model that thinks chooses its words by itself.
pub(super) fn sample(body: &mut Value, ask: &mut Ask, model: &str, thinks: bool) -> Result<(), ProviderError> {
    let knows = is_one_of(model, &SAMPLING) || is_one_of(model, &BOTH);
    for name in ["temperature", "top_p", "top_k"] {
        let Some(value) = ask.take::<Number>(name, "a number")? else {
            continue;
        };
        let number = value.as_f64().unwrap_or(0.0);
        let goes_with_thought = match name {
            // The default.
            "temperature" => number.total_cmp(&1.0).is_eq(),
            "top_p" => (LEAST_TOP_P..=1.0).contains(&number),
            _ => false,
        };
        let second = name == "top_p" && body.get("temperature").is_some() && is_one_of(model, &EITHER);
        if !knows || second || (thinks && !goes_with_thought) {
            ask.drop(name);
            continue;
        }
        if name == "temperature" && number > 1.0 {
            return Err(failure::unsupported(name, "for this model it is at most 1"));
        }
        body[name] = Value::Number(value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use anteroom_ports::chat::ProviderErrorKind;

    use super::super::request::translate;
    use super::*;
    use crate::translate::proof::call;

    fn told(model: &str, with: &Value) -> (Value, Vec<String>) {
        translate(&call(model, with), 4096).unwrap()
    }

    fn tools() -> Value {
        json!([{ "type": "function", "function": { "name": "f" } }])
    }

    fn unsupported(model: &str, with: &Value) -> String {
        let failure = translate(&call(model, with), 4096).unwrap_err();
        let ProviderErrorKind::Unsupported { parameter } = failure.kind else {
            panic!("{failure:?}");
        };
        parameter
    }

    #[test]
    fn newer_models_are_not_told_how_to_sample() {
        let with = json!({ "temperature": 0, "top_p": 0.5, "top_k": 3 });
        for model in [
            "claude-3-7-sonnet-latest",
            "claude-opus-4-20250514",
            "claude-sonnet-4-0",
        ] {
            let (body, dropped) = told(model, &with);
            assert!(dropped.is_empty() && body["temperature"] == 0, "{model}");
        }
        for model in ["claude-opus-4-7", "claude-opus-5", "claude-haiku-5-5", "something-new"] {
            let (body, dropped) = told(model, &with);
            assert_eq!(dropped, ["temperature", "top_p", "top_k"], "{model}");
            assert!(body.get("temperature").is_none());
        }
        assert_eq!(
            unsupported("claude-opus-4-6", &json!({ "temperature": 1.5 })),
            "temperature"
        );
    }

    #[test]
    fn some_models_take_one_of_two() {
        for model in EITHER {
            let (body, dropped) = told(model, &json!({ "temperature": 0.5, "top_p": 0.5, "top_k": 3 }));
            assert_eq!(dropped, ["top_p"], "{model}");
            assert_eq!((&body["temperature"], &body["top_k"]), (&json!(0.5), &json!(3)));
            assert!(body.get("top_p").is_none());
            let (body, dropped) = told(model, &json!({ "top_p": 0.5 }));
            assert!(dropped.is_empty() && body["top_p"] == 0.5, "{model}");
        }
    }

    #[test]
    fn a_model_that_thinks_chooses_its_words_by_itself() {
        let ways = [
            ("claude-sonnet-4-0", json!({ "reasoning_effort": "low" })),
            ("claude-opus-4-6", json!({ "reasoning_effort": "low" })),
            ("claude-opus-4-6", json!({ "thinking": { "type": "adaptive" } })),
            (
                "claude-opus-4-1",
                json!({ "thinking": { "type": "enabled", "budget_tokens": 1024 } }),
            ),
        ];
        for (model, with) in ways {
            let and = |more: Value| {
                let mut with = with.clone();
                with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                told(model, &with)
            };
            let (body, dropped) = and(json!({ "temperature": 1.5, "top_p": 0.5, "top_k": 3 }));
            assert_eq!(dropped, ["temperature", "top_p", "top_k"], "{model}");
            assert!(body["thinking"].is_object());
            // What says no more than the default, or goes with thought.
            assert!(and(json!({ "temperature": 1 })).1.is_empty());
            let (body, dropped) = and(json!({ "top_p": 0.95 }));
            assert!(dropped.is_empty() && body["top_p"] == 0.95);
        }
        let off = json!({ "thinking": { "type": "disabled" }, "temperature": 0.5 });
        assert!(told("claude-opus-4-6", &off).1.is_empty());
    }

    #[test]
    fn a_model_that_thinks_cannot_be_made_to_call_a_tool() {
        let named = json!({ "type": "function", "function": { "name": "f" } });
        for choice in [json!("required"), named] {
            let with = |more: Value| {
                let mut with = json!({ "tools": tools(), "tool_choice": choice });
                with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
                with
            };
            // Who says so in the API's words is refused.
            for thinking in [
                json!({ "type": "adaptive" }),
                json!({ "type": "enabled", "budget_tokens": 1024 }),
            ] {
                assert_eq!(
                    unsupported("claude-opus-4-6", &with(json!({ "thinking": thinking }))),
                    "tool_choice"
                );
            }
            assert_eq!(unsupported("claude-opus-5-5", &with(json!({}))), "tool_choice");
            // An effort is a wish, and the tool a demand.
            let (body, dropped) = told("claude-sonnet-4-5", &with(json!({ "reasoning_effort": "high" })));
            assert!(body.get("thinking").is_none() && body["tool_choice"].is_object());
            assert_eq!(dropped, ["reasoning_effort"]);
            let (body, dropped) = told(
                "claude-opus-4-6",
                &with(json!({ "reasoning_effort": "high", "temperature": 0.5 })),
            );
            assert!(body.get("thinking").is_none());
            assert_eq!(
                (&body["output_config"]["effort"], &body["temperature"]),
                (&json!("high"), &json!(0.5))
            );
            assert_eq!(dropped, ["reasoning_effort"]);
            assert!(
                told("claude-opus-4-6", &with(json!({ "thinking": { "type": "disabled" } })))
                    .1
                    .is_empty()
            );
        }
        let free = json!({ "tools": tools(), "tool_choice": "auto", "reasoning_effort": "high" });
        assert!(told("claude-opus-5-5", &free).1.is_empty());
    }

    #[test]
    fn older_models_think_by_the_token_and_leave_some_for_the_answer() {
        let budget = |max: u32, effort: &str| {
            let with = json!({ "max_tokens": max, "reasoning_effort": effort });
            let (body, dropped) = told("claude-sonnet-4-5", &with);
            assert!(body.get("output_config").is_none());
            (body["thinking"]["budget_tokens"].as_u64(), dropped)
        };
        for (effort, tokens) in [
            ("minimal", 1024),
            ("low", 1024),
            ("medium", 4096),
            ("high", 16_384),
            ("xhigh", 24_576),
            ("max", 32_768),
        ] {
            assert_eq!(budget(64_000, effort), (Some(tokens), vec![]), "{effort}");
        }
        assert_eq!(budget(2000, "high"), (Some(1500), vec![]));
        assert_eq!(budget(1300, "high"), (None, vec!["reasoning_effort".to_owned()]));
        let too_large = json!({ "max_tokens": 2000, "thinking": { "type": "enabled", "budget_tokens": 2000 } });
        let failure = translate(&call("claude-sonnet-4-5", &too_large), 4096).unwrap_err();
        assert!(
            matches!(failure.kind, ProviderErrorKind::BadRequest { status: 400, .. }),
            "{failure:?}"
        );
    }

    #[test]
    fn older_models_do_not_think_on_where_their_thought_was_not_kept() {
        let call_of = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
        let with = |thoughts: Value| {
            json!({ "reasoning_effort": "low", "messages": [
                { "role": "user", "content": "hi" },
                { "role": "assistant", "content": null, "tool_calls": [call_of], "thinking_blocks": thoughts },
                { "role": "tool", "tool_call_id": "c", "content": "rain" },
            ] })
        };
        let kept = json!([{ "type": "thinking", "thinking": "t", "signature": "s" }]);
        for (model, thoughts, thinks) in [
            ("claude-sonnet-4-5", json!([]), false),
            ("claude-sonnet-4-5", kept, true),
            ("claude-opus-4-6", json!([]), true),
        ] {
            let (body, dropped) = told(model, &with(thoughts));
            assert_eq!(
                (body["thinking"].is_object(), dropped.is_empty()),
                (thinks, thinks),
                "{model}"
            );
        }
    }

    #[test]
    fn every_word_for_effort_is_known_or_refused() {
        let effort = |model: &str, word: &str| {
            let (body, dropped) = told(model, &json!({ "reasoning_effort": word }));
            assert!(dropped.is_empty(), "{model} {word}");
            (
                body["output_config"]["effort"].as_str().unwrap_or("").to_owned(),
                body["thinking"]["type"].as_str().unwrap_or("").to_owned(),
            )
        };
        let expected = |level: &str, thinking: &str| (level.to_owned(), thinking.to_owned());
        for (model, word, level) in [
            ("claude-opus-4-6", "minimal", "low"),
            ("claude-opus-4-6", "medium", "medium"),
            ("claude-opus-4-6", "xhigh", "high"),
            ("claude-opus-4-6", "max", "max"),
            ("claude-opus-4-7", "xhigh", "xhigh"),
            ("claude-opus-5-5", "high", "high"),
            ("something-new", "max", "max"),
        ] {
            assert_eq!(effort(model, word), expected(level, "adaptive"), "{model} {word}");
        }
        assert_eq!(effort("claude-opus-5", "none"), expected("", "disabled"));
        assert_eq!(effort("claude-sonnet-5-5", "none"), expected("", "between_tools"));
        for model in ["claude-opus-5-5", "claude-fable-5-1"] {
            assert_eq!(effort(model, "none"), expected("low", ""));
        }
        let failure = translate(&call("claude-opus-5", &json!({ "reasoning_effort": "very" })), 1).unwrap_err();
        assert!(matches!(
            failure.kind,
            ProviderErrorKind::BadRequest { status: 400, .. }
        ));
    }
}
