//! OpenAI's requests for embeddings, and its answers to them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use anteroom_domain::chat::TokenUsage;
use anteroom_ports::chat::{EmbedReply, ProviderError};

use super::ask::{Ask, Fate, Table};
use crate::shared::failure;

/// What can be told to every model that turns texts into vectors.
pub(crate) const TABLE: &Table = &[
    ("model", Fate::Mapped),
    ("input", Fate::Mapped),
    ("encoding_format", Fate::Mapped),
    ("dimensions", Fate::Mapped),
    ("user", Fate::Dropped),
];

/// What is to be turned into a vector.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(crate) enum Input {
    /// A text.
    Text(String),
    /// Tokens of some tokenizer.
    Tokens(Vec<u32>),
}

/// A request for vectors.
#[derive(Debug)]
pub(crate) struct EmbedAsk {
    /// For what.
    pub(crate) inputs: Vec<Input>,
    /// How many numbers each is to have.
    pub(crate) dimensions: Option<usize>,
    /// Whether they are asked for in base64.
    base64: bool,
    dropped: Vec<String>,
}

#[derive(Serialize)]
struct Answer<'a> {
    object: &'static str,
    data: Vec<Entry>,
    model: &'a str,
    usage: Usage,
}

#[derive(Serialize)]
struct Entry {
    object: &'static str,
    index: usize,
    embedding: Embedding,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Embedding {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: i64,
    total_tokens: i64,
}

impl EmbedAsk {
    pub(crate) fn read(body: &[u8]) -> Result<Self, ProviderError> {
        let mut ask = Ask::read(body, TABLE)?;
        let _ = ask.take_value("model");
        let bad = |name: &str, what: &str| failure::bad_request(Some(name), format!("`{name}` must be {what}"));
        let what = "a text, a list of texts, a list of tokens or a list of such lists";
        let inputs = match ask.take_value("input") {
            Some(Value::Array(many)) if !many.is_empty() => {
                if many.iter().all(Value::is_number) {
                    vec![Value::Array(many)]
                } else {
                    many
                }
            }
            Some(one @ Value::String(_)) => vec![one],
            _ => return Err(bad("input", what)),
        };
        let inputs = inputs.into_iter().map(serde_json::from_value).collect::<Result<_, _>>();
        let inputs = inputs.map_err(|_| bad("input", what))?;
        let base64 = match ask.take::<String>("encoding_format", "a text")?.as_deref() {
            None | Some("float") => false,
            Some("base64") => true,
            Some(_) => return Err(bad("encoding_format", "`float` or `base64`")),
        };
        let dimensions = ask.take("dimensions", "a whole number")?;
        if dimensions == Some(0) {
            return Err(bad("dimensions", "at least 1"));
        }
        Ok(Self {
            inputs,
            dimensions,
            base64,
            dropped: ask.dropped(),
        })
    }

    /// The answer with these vectors. Where the provider did not say what it used, OpenAI's `usage` says 0.
    pub(crate) fn answer(self, model: &str, vectors: Vec<Vec<f32>>, prompt_tokens: Option<i64>) -> EmbedReply {
        let embedding = |vector: Vec<f32>| {
            if self.base64 {
                let bytes: Vec<u8> = vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                Embedding::Base64(STANDARD.encode(bytes))
            } else {
                Embedding::Numbers(vector)
            }
        };
        let entry = |(index, vector)| Entry {
            object: "embedding",
            index,
            embedding: embedding(vector),
        };
        let said = prompt_tokens.unwrap_or(0);
        let answer = Answer {
            object: "list",
            data: vectors.into_iter().enumerate().map(entry).collect(),
            model,
            usage: Usage {
                prompt_tokens: said,
                total_tokens: said,
            },
        };
        EmbedReply {
            // Texts and numbers always serialise.
            body: Bytes::from(serde_json::to_vec(&answer).unwrap_or_default()),
            usage: prompt_tokens.map(|prompt_tokens| TokenUsage {
                prompt_tokens,
                ..TokenUsage::default()
            }),
            dropped: self.dropped,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: &Value) -> Result<EmbedAsk, ProviderError> {
        EmbedAsk::read(body.to_string().as_bytes())
    }

    #[test]
    fn inputs_come_in_four_shapes() {
        let text = |t: &str| Input::Text(t.to_owned());
        for (input, expected) in [
            (json!("a"), vec![text("a")]),
            (json!(["a", "b"]), vec![text("a"), text("b")]),
            (json!([1, 2]), vec![Input::Tokens(vec![1, 2])]),
            (
                json!([[1], [2, 3]]),
                vec![Input::Tokens(vec![1]), Input::Tokens(vec![2, 3])],
            ),
        ] {
            assert_eq!(read(&json!({ "model": "m", "input": input })).unwrap().inputs, expected);
        }
        for input in [
            json!([]),
            json!(7),
            json!({}),
            json!([["a"]]),
            json!([1.5]),
            json!([-1]),
            Value::Null,
        ] {
            assert!(read(&json!({ "input": input })).is_err(), "{input}");
        }
        for fault in [
            json!({ "encoding_format": "int8" }),
            json!({ "dimensions": 0 }),
            json!({ "dimensions": "8" }),
        ] {
            let mut body = fault.clone();
            body["input"] = json!("a");
            assert!(read(&body).is_err(), "{fault}");
        }
    }

    #[test]
    fn vectors_are_numbers_or_little_endian_floats() {
        let numbers = read(&json!({ "input": "a", "user": "ada", "x": 1 })).unwrap();
        let reply = numbers.answer("m", vec![vec![0.1, -1.0]], Some(3));
        let expected = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.1,-1.0]}],"model":"m","usage":{"prompt_tokens":3,"total_tokens":3}}"#;
        assert_eq!(reply.body, expected);
        assert_eq!(reply.usage.unwrap().prompt_tokens, 3);
        assert_eq!(reply.dropped, ["user", "x"]);
        let base64 = read(&json!({ "input": "a", "encoding_format": "base64" })).unwrap();
        let reply = base64.answer("m", vec![vec![1.0, -2.0]], None);
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(answer["data"][0]["embedding"], "AACAPwAAAMA=");
        assert_eq!(reply.usage, None);
    }
}
