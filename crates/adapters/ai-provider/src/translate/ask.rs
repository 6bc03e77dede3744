//! A request's parameters, and what becomes of each in a dialect that is not OpenAI's.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use anteroom_ports::chat::ProviderError;

use crate::shared::failure;

/// What becomes of a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The dialect has it, or something that means the same.
    Mapped,
    /// The dialect has no such thing, and the answer is as good without it: it is left out and named.
    Dropped,
    /// The dialect has no such thing, and going without would change what is asked for.
    Refused,
}

/// A dialect's table. What is not in it is dropped.
pub(crate) type Table = [(&'static str, Fate)];

/// A request's parameters that are to be mapped.
#[derive(Debug)]
pub(crate) struct Ask {
    members: Map<String, Value>,
    dropped: Vec<String>,
}

impl Ask {
    /// Reads a request and sorts its parameters by the table. A value that says no more than the parameter's absence
    /// counts as absent.
    pub(crate) fn read(body: &[u8], table: &Table) -> Result<Self, ProviderError> {
        let members: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|_| failure::bad_request(None, "the body is not a JSON object".to_owned()))?;
        let mut ask = Self {
            members: Map::new(),
            dropped: Vec::new(),
        };
        for (name, value) in members {
            if says_nothing(&name, &value) {
                continue;
            }
            let row = table.iter().find(|(known, _)| *known == name);
            match row.map_or(Fate::Dropped, |(_, fate)| *fate) {
                Fate::Mapped => {
                    ask.members.insert(name, value);
                }
                Fate::Dropped => ask.dropped.push(name),
                Fate::Refused => {
                    return Err(failure::unsupported(
                        &name,
                        "this model's provider has no such parameter",
                    ));
                }
            }
        }
        Ok(ask)
    }

    /// Takes a parameter out. `what` says what it has to be.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, name: &str, what: &str) -> Result<Option<T>, ProviderError> {
        let Some(value) = self.members.remove(name) else {
            return Ok(None);
        };
        let read = serde_json::from_value(value);
        read.map(Some)
            .map_err(|_| failure::bad_request(Some(name), format!("`{name}` must be {what}")))
    }

    /// Takes a parameter out as it is.
    pub(crate) fn take_value(&mut self, name: &str) -> Option<Value> {
        self.members.remove(name)
    }

    /// Names something that cannot be told, once.
    pub(crate) fn drop(&mut self, name: &str) {
        if !self.dropped.iter().any(|known| known == name) {
            self.dropped.push(name.to_owned());
        }
    }

    /// Everything that could not be told.
    pub(crate) fn dropped(self) -> Vec<String> {
        // Their values are what somebody said.
        debug_assert!(
            self.members.is_empty(),
            "mapped, but not: {:?}",
            self.members.keys().collect::<Vec<_>>()
        );
        self.dropped
    }
}

/// Whether a value asks for nothing beyond what happens without the parameter.
fn says_nothing(name: &str, value: &Value) -> bool {
    if value.is_null() {
        return true;
    }
    match name {
        "n" => value.as_i64() == Some(1),
        "logprobs" | "store" => value == false,
        "parallel_tool_calls" => value == true,
        "top_logprobs" | "frequency_penalty" | "presence_penalty" => value.as_f64() == Some(0.0),
        "logit_bias" | "metadata" => value.as_object().is_some_and(Map::is_empty),
        "tools" | "functions" | "stop" => value.as_array().is_some_and(Vec::is_empty),
        "modalities" => value.as_array().is_some_and(|m| m.iter().all(|word| word == "text")),
        "service_tier" => value == "auto" || value == "default",
        "verbosity" => value == "medium",
        "response_format" => value["type"] == "text",
        // Whether a stream is asked for is known from the call, and its usage is always told.
        "stream" | "stream_options" => true,
        _ => false,
    }
}

/// `stop`: a text or a list of them.
pub(crate) fn stop(ask: &mut Ask) -> Result<Option<Vec<String>>, ProviderError> {
    match ask.take_value("stop") {
        Some(Value::String(one)) => Ok(Some(vec![one])),
        Some(list) => serde_json::from_value(list)
            .map(Some)
            .map_err(|_| failure::bad_request(Some("stop"), "`stop` must be a text or a list of texts".to_owned())),
        None => Ok(None),
    }
}

/// The most tokens of the answer: the newer of OpenAI's two names counts.
pub(crate) fn max_tokens(ask: &mut Ask) -> Result<Option<u32>, ProviderError> {
    let newer = ask.take("max_completion_tokens", "a whole number")?;
    let older = ask.take("max_tokens", "a whole number")?;
    Ok(newer.or(older))
}

#[cfg(test)]
mod tests {
    use anteroom_ports::chat::ProviderErrorKind;
    use serde_json::json;

    use super::*;

    const TABLE: &Table = &[
        ("a", Fate::Mapped),
        ("seed", Fate::Dropped),
        ("n", Fate::Refused),
        ("max_tokens", Fate::Mapped),
        ("max_completion_tokens", Fate::Mapped),
        ("stop", Fate::Mapped),
    ];

    fn read(body: &Value) -> Result<Ask, ProviderError> {
        Ask::read(body.to_string().as_bytes(), TABLE)
    }

    #[test]
    fn parameters_are_sorted_and_the_unknown_is_dropped() {
        let mut ask = read(&json!({ "a": 1, "seed": 2, "x_custom": 3, "n": 1, "user": null, "stream": true })).unwrap();
        assert_eq!(ask.take::<i64>("a", "a number").unwrap(), Some(1));
        ask.drop("a");
        ask.drop("a");
        let mut dropped = ask.dropped();
        dropped.sort();
        assert_eq!(dropped, ["a", "seed", "x_custom"]);
        let refused = read(&json!({ "n": 2 })).unwrap_err();
        assert_eq!(refused.kind, ProviderErrorKind::Unsupported { parameter: "n".into() });
        for body in ["[]", "", "{", "7"] {
            assert!(Ask::read(body.as_bytes(), TABLE).is_err());
        }
    }

    #[test]
    fn what_says_nothing_is_neither_dropped_nor_refused() {
        let body = json!({
            "n": 1, "logprobs": false, "top_logprobs": 0, "frequency_penalty": 0, "presence_penalty": 0.0,
            "logit_bias": {}, "metadata": {}, "tools": [], "functions": [], "stop": [], "modalities": ["text"],
            "service_tier": "auto", "verbosity": "medium", "response_format": { "type": "text" }, "store": false,
            "parallel_tool_calls": true, "stream": true, "stream_options": { "include_usage": true }, "seed": null,
        });
        assert!(read(&body).unwrap().dropped().is_empty());
    }

    #[test]
    fn a_value_of_another_shape_is_the_callers_fault() {
        let mut ask = read(&json!({ "a": "x", "stop": [1], "max_tokens": 1.5 })).unwrap();
        let failures = [
            ask.take::<i64>("a", "a number").unwrap_err(),
            stop(&mut ask).unwrap_err(),
            max_tokens(&mut ask).unwrap_err(),
        ];
        for (failure, param) in failures.into_iter().zip(["a", "stop", "max_tokens"]) {
            let ProviderErrorKind::BadRequest {
                status: 400,
                error: Some(error),
            } = failure.kind
            else {
                panic!("{failure:?}");
            };
            assert_eq!(error["param"], param);
        }
    }

    #[test]
    #[cfg(debug_assertions)]
    fn a_parameter_that_was_forgotten_shows_its_name_only() {
        let forgot = read(&json!({ "a": "what somebody said" })).unwrap();
        let panic = std::panic::catch_unwind(move || forgot.dropped()).unwrap_err();
        let shown = panic.downcast_ref::<String>().unwrap();
        assert!(shown.contains("\"a\"") && !shown.contains("somebody"), "{shown}");
    }

    #[test]
    fn the_newer_maximum_counts_and_one_stop_is_a_list() {
        let mut ask = read(&json!({ "max_tokens": 5, "max_completion_tokens": 7, "stop": "x" })).unwrap();
        assert_eq!(max_tokens(&mut ask).unwrap(), Some(7));
        assert_eq!(stop(&mut ask).unwrap(), Some(vec!["x".to_owned()]));
    }
}
