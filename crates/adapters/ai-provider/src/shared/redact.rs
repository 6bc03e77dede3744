//! Keeps the provider's key out of everything that leaves this crate.

use std::fmt;

use bytes::Bytes;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

/// What stands where the key stood.
const REDACTED: &str = "[redacted]";

/// Shorter "keys" are placeholders of servers that check none; replacing `x` everywhere would only garble errors.
const LEAST_IN_ERRORS: usize = 4;

/// Answers may well contain a placeholder such as `ollama`, but not by chance a key of this length.
const LEAST_IN_ANSWERS: usize = 16;

/// Replaces the key wherever a provider echoes it.
pub(crate) struct Redactor {
    key: SecretString,
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Redactor {
    pub(crate) fn new(key: SecretString) -> Self {
        Self { key }
    }

    /// A text for an error or a log.
    pub(crate) fn text(&self, text: &str) -> String {
        let key = self.key.expose_secret();
        if key.len() < LEAST_IN_ERRORS {
            return text.to_owned();
        }
        text.replace(key, REDACTED)
    }

    /// Every string of a JSON value, member names included.
    pub(crate) fn json(&self, value: Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(&text)),
            Value::Array(items) => items.into_iter().map(|item| self.json(item)).collect(),
            Value::Object(members) => {
                let members = members
                    .into_iter()
                    .map(|(name, item)| (self.text(&name), self.json(item)));
                Value::Object(members.collect())
            }
            other => other,
        }
    }

    /// The text of an answer, which travels untouched unless the whole key stands in it.
    pub(crate) fn answer(&self, text: String) -> Bytes {
        Bytes::from(self.said(text))
    }

    /// The same, for what is read out of an answer.
    pub(crate) fn said(&self, text: String) -> String {
        let key = self.key.expose_secret();
        if key.len() >= LEAST_IN_ANSWERS && text.contains(key) {
            return text.replace(key, REDACTED);
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const KEY: &str = "sk-canary-0123456789abcdef";

    #[test]
    fn the_key_is_replaced_wherever_it_stands() {
        let redactor = Redactor::new(KEY.into());
        assert_eq!(redactor.text(&format!("a {KEY} b {KEY}")), "a [redacted] b [redacted]");
        let value = json!({ "message": format!("Bearer {KEY}"), "list": [{ KEY: KEY }], "n": 1.5, "z": null });
        let expected =
            json!({ "message": "Bearer [redacted]", "list": [{ "[redacted]": "[redacted]" }], "n": 1.5, "z": null });
        assert_eq!(redactor.json(value), expected);
        let answer = redactor.answer(format!(r#"{{"a":"{KEY}"}}"#));
        assert_eq!(answer, r#"{"a":"[redacted]"}"#);
        assert!(!format!("{redactor:?}").contains(KEY));
    }

    #[test]
    fn a_placeholder_garbles_nothing() {
        for key in ["", "x", "no"] {
            let redactor = Redactor::new(key.into());
            assert_eq!(redactor.text("no maximum"), "no maximum");
        }
        let redactor = Redactor::new("ollama".into());
        assert_eq!(redactor.answer("I am ollama".to_owned()), "I am ollama");
        assert_eq!(redactor.text("I am ollama"), "I am [redacted]");
    }
}
