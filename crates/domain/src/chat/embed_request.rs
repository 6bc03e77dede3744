//! The little that Anteroom reads of a request for embeddings; everything else travels untouched.

use serde::Deserialize;

use super::request::{check_names, invalid, model_of, parse_body};
use super::{
    EndUser, InvalidRequest, ParameterRule, RawObject, Target, TokenUsage, end_user, estimate_tokens, least_tokens,
};

/// A request for embeddings: its bytes and a small view of them.
#[derive(Debug, Clone)]
pub struct EmbedRequest {
    body: RawObject,
    /// The model that is asked for.
    pub model: String,
    /// How many texts are to be embedded.
    pub inputs: usize,
    /// An upper estimate of their tokens.
    pub prompt_estimate: i64,
    /// A lower one.
    pub prompt_least: i64,
}

/// The most texts of one request, as at OpenAI.
const MAX_INPUTS: usize = 2048;

/// What is read of a request.
const READ: [&str; 4] = ["model", "input", end_user::MEMBERS[0], end_user::MEMBERS[1]];

/// What is to be embedded: a text or several, or the tokens of one or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u32>),
    ManyTokens(Vec<Vec<u32>>),
}

impl Input {
    fn count(&self) -> usize {
        match self {
            Self::Text(_) => 1,
            Self::Texts(texts) => texts.len(),
            Self::Tokens(tokens) => tokens.len().min(1),
            Self::ManyTokens(many) => many.len(),
        }
    }

    /// At least and at most so many tokens.
    fn tokens(&self) -> (i64, i64) {
        let of_text = |text: &String| (least_tokens(text.len()), estimate_tokens(text.as_bytes()));
        let of_tokens = |tokens: &Vec<u32>| {
            let exactly = i64::try_from(tokens.len()).unwrap_or(i64::MAX);
            (exactly, exactly)
        };
        let sum = |(a, b): (i64, i64), (c, d): (i64, i64)| (a.saturating_add(c), b.saturating_add(d));
        match self {
            Self::Text(text) => of_text(text),
            Self::Texts(texts) => texts.iter().map(of_text).fold((0, 0), sum),
            Self::Tokens(tokens) => of_tokens(tokens),
            Self::ManyTokens(many) => many.iter().map(of_tokens).fold((0, 0), sum),
        }
    }
}

impl EmbedRequest {
    /// Reads a request's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        let body = parse_body(bytes)?;
        check_names(&body, &READ)?;
        let model = model_of(&body)?;
        let what = "`input` must be a text, a list of texts, a list of tokens or a list of such lists";
        let input: Input = body
            .read("input")
            .map_err(|_| invalid("input", what))?
            .ok_or_else(|| invalid("input", "`input` is missing"))?;
        let inputs = input.count();
        if !(1..=MAX_INPUTS).contains(&inputs) {
            return Err(invalid("input", format!("`input` must have 1 to {MAX_INPUTS} texts")));
        }
        let (prompt_least, prompt_estimate) = input.tokens();
        Ok(Self {
            body,
            model,
            inputs,
            prompt_estimate,
            prompt_least,
        })
    }

    /// The bytes for a target: the same, but for its own name of the model, and who asks.
    pub fn upstream_body(&self, target: &Target, user: EndUser<'_>) -> Vec<u8> {
        let names_user = user.changes(&self.body);
        if target.model == self.model && !names_user {
            return self.body.to_vec();
        }
        let mut body = self.body.clone();
        let set = body
            .set("model", &target.model)
            .and_then(|()| if names_user { user.write(&mut body) } else { Ok(()) });
        debug_assert!(set.is_ok(), "texts always serialise");
        body.to_vec()
    }

    /// The first parameter that a plan does not let through.
    pub fn refused_by(&self, rule: &ParameterRule) -> Option<&str> {
        rule.refuses(&self.body)
    }

    /// What the call may use at most, as it is reserved.
    pub fn worst_case(&self) -> TokenUsage {
        TokenUsage {
            prompt_tokens: self.prompt_estimate,
            ..TokenUsage::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{ModelAlias, SendUser};

    const USER: EndUser<'_> = EndUser {
        send: SendUser::Replace,
        name: &String::new,
    };

    fn parse(text: &str) -> Result<EmbedRequest, InvalidRequest> {
        EmbedRequest::parse(text.as_bytes())
    }

    #[test]
    fn a_request_is_read_and_left_alone() {
        for (text, inputs, least, most) in [
            (r#"{"x":1.50,"model":"m","input":"eight by"}"#, 1, 2, 4),
            (
                r#"{"model":"m","input":["eight by","x"],"encoding_format":"base64"}"#,
                2,
                3,
                5,
            ),
            (r#"{"model":"m","input":[1,2,3]}"#, 1, 3, 3),
            (r#"{"model":"m","input":[[1,2],[3]],"dimensions":7}"#, 2, 3, 3),
        ] {
            let request = parse(text).unwrap();
            let own = ModelAlias::plain("p", &request.model);
            assert_eq!(request.upstream_body(&own.targets[0], USER), text.as_bytes());
            let other = ModelAlias::plain("p", "other");
            let sent = String::from_utf8(request.upstream_body(&other.targets[0], USER)).unwrap();
            assert_eq!(sent, text.replacen(r#""m""#, r#""other""#, 1));
            assert_eq!((request.model.as_str(), request.inputs), ("m", inputs));
            assert_eq!((request.prompt_least, request.prompt_estimate), (least, most), "{text}");
            assert_eq!(request.worst_case().prompt_tokens, most);
        }
    }

    #[test]
    fn who_asks_is_rewritten() {
        let request = parse(r#"{"user":"ada@example.com","model":"m","input":"x"}"#).unwrap();
        let own = ModelAlias::plain("p", "m");
        assert_eq!(
            request.upstream_body(&own.targets[0], USER),
            br#"{"user":"","model":"m","input":"x"}"#
        );
    }

    #[test]
    fn a_fault_names_its_parameter() {
        let flood = format!(r#"{{"model":"m","input":[{}"x"]}}"#, r#""x","#.repeat(MAX_INPUTS));
        for (text, param) in [
            ("[]", None),
            (r#"{"model":"a","model":"b","input":"x"}"#, None),
            (r#"{"model":"m","Input":"y","input":"x"}"#, None),
            (r#"{"input":"x"}"#, Some("model")),
            (r#"{"model":"m"}"#, Some("input")),
            (r#"{"model":"m","input":null}"#, Some("input")),
            (r#"{"model":"m","input":[]}"#, Some("input")),
            (r#"{"model":"m","input":{"text":"x"}}"#, Some("input")),
            (r#"{"model":"m","input":["x",1]}"#, Some("input")),
            (flood.as_str(), Some("input")),
        ] {
            assert_eq!(parse(text).unwrap_err().param, param);
        }
    }
}
