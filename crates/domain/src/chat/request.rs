//! The little that Anteroom reads of a chat completion request; everything else travels untouched.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{
    EndUser, InvalidObject, ModelAlias, Original, ParameterRule, RawObject, TOKENS_OF_KNOWN_TOOL, Target, TokenUsage,
    end_user, estimate_tokens, texts_of,
};

/// A chat completion request: its bytes and a small view of them.
#[derive(Debug, Clone)]
pub struct ChatRequest {
    body: RawObject,
    /// The model that is asked for.
    pub model: String,
    /// Whether the answer is streamed.
    pub stream: bool,
    /// Whether the client wants the usage chunk at the end of a stream.
    pub include_usage: bool,
    /// The most completion tokens per choice, where the client said.
    pub max_tokens: Option<i64>,
    /// How many choices.
    pub choices: i64,
    /// How many messages.
    pub messages: usize,
    /// An upper estimate of the prompt's tokens.
    pub prompt_estimate: i64,
    /// Whether some of the prompt may be written to the provider's cache, which costs more.
    marks_cache: bool,
    /// What the caller said, where that was in another dialect.
    pub original: Option<Arc<Original>>,
}

/// Why a request cannot be understood, and which parameter is at fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct InvalidRequest {
    /// The parameter, as OpenAI's `param`.
    pub param: Option<&'static str>,
    /// What is wrong and what to do.
    pub message: String,
}

/// Choices beyond this make one call a flood.
pub const MAX_CHOICES: i64 = 16;

/// What a picture is reserved for at least, in tokens: about the largest that most models make of one, however it is sent.
/// One that is told by its address has hardly any bytes of its own.
const TOKENS_OF_PICTURE: i64 = 1600;

/// The longest name of a model.
const MAX_MODEL_BYTES: usize = 200;
/// What is read of a request.
const READ: [&str; 9] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "max_tokens",
    "max_completion_tokens",
    end_user::MEMBERS[0],
    end_user::MEMBERS[1],
];

/// What of a request a model is told.
const SAID: [&str; 5] = ["messages", "tools", "functions", "prediction", "response_format"];

/// A name as a reader sees it that takes no heed of case; two letters outside ASCII fold into it.
pub(super) fn folded(key: &str) -> String {
    key.chars()
        .map(|c| match c {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            c => c.to_ascii_lowercase(),
        })
        .collect()
}

pub(super) fn invalid(param: &'static str, message: impl Into<String>) -> InvalidRequest {
    InvalidRequest {
        param: Some(param),
        message: message.into(),
    }
}

/// A request's members.
pub(super) fn parse_body(bytes: &[u8]) -> Result<RawObject, InvalidRequest> {
    RawObject::parse(bytes).map_err(|e| InvalidRequest {
        param: None,
        message: format!("the body is not a JSON object: {e}"),
    })
}

/// Some servers match names whatever their case and let the last one count; they must not read another request than
/// the one that was checked.
pub(super) fn check_names(body: &RawObject, read: &[&str]) -> Result<(), InvalidRequest> {
    let odd = |key: &&str| read.iter().any(|known| key != known && folded(key) == *known);
    match body.keys().find(odd) {
        Some(odd) => {
            let message = format!("`{odd}` is too close to a parameter's name; write it in lower case");
            Err(InvalidRequest { param: None, message })
        }
        None => Ok(()),
    }
}

/// How many pictures a message shows. One of another shape than is known shows none.
fn pictures_of(message: &RawValue) -> i64 {
    #[derive(Deserialize)]
    struct Message<'a> {
        #[serde(borrow, default)]
        content: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow, default)]
        r#type: Option<&'a RawValue>,
    }
    let Ok(Message { content: Some(content) }) = serde_json::from_str(message.get()) else {
        return 0;
    };
    let parts: Vec<&RawValue> = serde_json::from_str(content.get()).unwrap_or_default();
    let is_picture = |part: &&&RawValue| {
        let kind = serde_json::from_str(part.get())
            .ok()
            .and_then(|part: Part<'_>| part.r#type);
        kind.is_some_and(|kind| matches!(kind.get(), r#""image_url""# | r#""image""# | r#""input_image""#))
    };
    i64::try_from(parts.iter().filter(is_picture).count()).unwrap_or(i64::MAX)
}

/// The model that a request names.
pub(super) fn model_of(body: &RawObject) -> Result<String, InvalidRequest> {
    let model: Option<String> = body
        .read("model")
        .map_err(|_| invalid("model", "`model` must be a string"))?;
    model
        .filter(|m| !m.is_empty() && m.len() <= MAX_MODEL_BYTES)
        .ok_or_else(|| {
            invalid(
                "model",
                "`model` is missing, empty or too long; GET /v1/models lists those you may use",
            )
        })
}

impl ChatRequest {
    /// Reads a request's bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, InvalidRequest> {
        Self::from_object(parse_body(bytes)?)
    }

    /// Reads a request that was put together by Anteroom or has been parsed already.
    pub fn from_object(body: RawObject) -> Result<Self, InvalidRequest> {
        fn read<T: serde::de::DeserializeOwned>(
            body: &RawObject,
            key: &'static str,
            what: &str,
        ) -> Result<Option<T>, InvalidRequest> {
            body.read(key)
                .map_err(|_: InvalidObject| invalid(key, format!("`{key}` must be {what}")))
        }
        #[derive(Deserialize)]
        struct StreamOptions {
            #[serde(default)]
            include_usage: Option<bool>,
        }
        check_names(&body, &READ)?;
        let model = model_of(&body)?;
        let messages: Vec<Box<RawValue>> =
            read(&body, "messages", "an array")?.ok_or_else(|| invalid("messages", "`messages` is missing"))?;
        if messages.is_empty() {
            return Err(invalid("messages", "`messages` must have at least one message"));
        }
        let stream = read(&body, "stream", "true or false")?.unwrap_or(false);
        let include_usage = read::<StreamOptions>(&body, "stream_options", "an object")?
            .and_then(|o| o.include_usage)
            .unwrap_or(false);
        let positive = |key: &'static str| match read::<i64>(&body, key, "a whole number")? {
            Some(n) if n < 1 => Err(invalid(key, format!("`{key}` must be at least 1"))),
            n => Ok(n),
        };
        // Servers differ in which of the two they heed.
        let max_tokens = positive("max_completion_tokens")?.max(positive("max_tokens")?);
        let choices = positive("n")?.unwrap_or(1);
        if choices > MAX_CHOICES {
            return Err(invalid("n", format!("`n` must be at most {MAX_CHOICES}")));
        }
        // Tools and schemas are prompt as well, so the whole body is counted.
        let pictures: i64 = messages.iter().map(|message| pictures_of(message)).sum();
        let prompt_estimate =
            estimate_tokens(&body.to_vec()).saturating_add(pictures.saturating_mul(TOKENS_OF_PICTURE));
        let marks_cache = marks_cache(&body);
        Ok(Self {
            body,
            model,
            stream,
            include_usage,
            max_tokens,
            choices,
            messages: messages.len(),
            prompt_estimate,
            marks_cache,
            original: None,
        })
    }

    /// The same, made of what was said in another dialect. That may be longer, and one of the two is sent.
    #[must_use]
    pub fn said_as(mut self, original: Original) -> Self {
        let tools = i64::try_from(original.known_tools.len()).unwrap_or(i64::MAX);
        let tools = tools.saturating_mul(TOKENS_OF_KNOWN_TOOL);
        let estimate = self.prompt_estimate.max(estimate_tokens(&original.body.to_vec()));
        self.marks_cache |= marks_cache(&original.body);
        self.prompt_estimate = estimate.saturating_add(tools);
        self.original = Some(Arc::new(original));
        self
    }

    /// The first parameter that a plan does not let through.
    pub fn refused_by(&self, rule: &ParameterRule) -> Option<&str> {
        let too_many = || rule.max_choices.is_some_and(|most| self.choices > most).then_some("n");
        // What a dialect guards by itself does not need the plan; what an operator refuses travels in no dialect.
        let as_said = || self.original.as_ref().and_then(|said| rule.names(&said.body));
        rule.refuses(&self.body).or_else(too_many).or_else(as_said)
    }

    /// Everything that it says to a model, as one text.
    pub fn text(&self) -> String {
        let mut texts: Vec<String> = Vec::new();
        for key in SAID {
            if let Some(value) = self.body.read::<Value>(key).ok().flatten() {
                texts_of(&value, &mut |_, text| texts.push(text.to_owned()));
            }
        }
        texts.join("\n")
    }

    /// The bytes for a target with its members in the order of their names: the same for every request that asks the
    /// same.
    pub fn canonical(&self, alias: &ModelAlias, target: &Target, user: EndUser<'_>) -> Vec<u8> {
        let sent = RawObject::parse(&self.upstream_body(alias, target, user));
        let mut bytes = sent.map_or_else(|_| self.body.to_vec(), |body| body.sorted().to_vec());
        // A provider may be told these words instead, and answer in them.
        if let Some(original) = &self.original {
            bytes.push(b'\n');
            bytes.extend(original.body.clone().sorted().to_vec());
        }
        bytes
    }

    /// Its messages, read.
    pub fn messages(&self) -> Vec<Value> {
        self.body.read("messages").ok().flatten().unwrap_or_default()
    }

    /// The temperature, where it is a number.
    pub fn temperature(&self) -> Option<f64> {
        self.body.read("temperature").ok().flatten()
    }

    /// Its members, to be put together anew.
    pub(super) fn into_object(self) -> RawObject {
        self.body
    }

    /// The bytes for a target: the same, but for its own name of the model, the most that it may answer with, who asks, and
    /// asking a stream for its usage.
    pub fn upstream_body(&self, alias: &ModelAlias, target: &Target, user: EndUser<'_>) -> Vec<u8> {
        let asks_usage = self.stream && !self.include_usage;
        let names_user = user.changes(&self.body);
        if target.model == self.model && !asks_usage && alias.max_output_tokens.is_none() && !names_user {
            return self.body.to_vec();
        }
        let mut body = self.body.clone();
        let set = self
            .rewrite(&mut body, alias, target, asks_usage)
            .and_then(|()| if names_user { user.write(&mut body) } else { Ok(()) });
        debug_assert!(set.is_ok(), "texts, numbers and raw objects always serialise");
        body.to_vec()
    }

    fn rewrite(
        &self,
        body: &mut RawObject,
        alias: &ModelAlias,
        target: &Target,
        asks_usage: bool,
    ) -> Result<(), InvalidObject> {
        if target.model != self.model {
            body.set("model", &target.model)?;
        }
        if let Some(most) = alias.max_output_tokens {
            for key in ["max_tokens", "max_completion_tokens"] {
                if body.read::<i64>(key)?.is_some_and(|asked| asked > most) {
                    body.set(key, &most)?;
                }
            }
            if self.max_tokens.is_none() {
                body.set(alias.max_tokens_parameter.as_str(), &most)?;
            }
        }
        if asks_usage {
            let mut options = body
                .get("stream_options")
                .and_then(|raw| RawObject::parse(raw.get().as_bytes()).ok())
                .unwrap_or_default();
            options.set("include_usage", &true)?;
            body.set("stream_options", &options)?;
        }
        Ok(())
    }

    /// What the call may use at most, as it is reserved; `assumed_output` where neither the client nor the model names a
    /// maximum.
    pub fn worst_case(&self, alias: &ModelAlias, assumed_output: i64) -> TokenUsage {
        let asked = self.max_tokens.or(alias.max_output_tokens).unwrap_or(assumed_output);
        let answer = asked.min(alias.max_output_tokens.unwrap_or(i64::MAX));
        let written = if self.marks_cache { self.prompt_estimate } else { 0 };
        TokenUsage {
            prompt_tokens: self.prompt_estimate,
            completion_tokens: answer.saturating_mul(self.choices),
            cache_write_tokens: written,
            hour_write_tokens: written,
            ..TokenUsage::default()
        }
    }
}

/// Whether a request may ask for some of it to be kept in the provider's cache, by Anthropic's word for it.
fn marks_cache(body: &RawObject) -> bool {
    let marks = |key: &str| {
        body.get(key)
            .is_some_and(|value| value.get().contains("\"cache_control\""))
    };
    body.keys().any(|key| key == "cache_control" || marks(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::{MaxTokensParameter, SendUser};

    const NOBODY: EndUser<'_> = EndUser {
        send: SendUser::Replace,
        name: &String::new,
    };

    fn parse(text: &str) -> Result<ChatRequest, InvalidRequest> {
        ChatRequest::parse(text.as_bytes())
    }

    /// What a provider that has the model under its own name is sent.
    fn sent(request: &ChatRequest) -> String {
        let alias = ModelAlias::plain("p", &request.model);
        String::from_utf8(request.upstream_body(&alias, &alias.targets[0], NOBODY)).unwrap()
    }

    fn worst_output(text: &str, most: Option<i64>) -> i64 {
        let alias = ModelAlias {
            max_output_tokens: most,
            ..ModelAlias::plain("p", "m")
        };
        parse(text).unwrap().worst_case(&alias, 4096).completion_tokens
    }

    #[test]
    fn a_request_is_read_and_otherwise_left_alone() {
        let text =
            r#"{"temperature":1.50,"model":"m","messages":[{"role":"user","content":"hi"}],"x_custom":{"k":1.0}}"#;
        let request = parse(text).unwrap();
        assert_eq!(
            (request.model.as_str(), request.stream, request.choices),
            ("m", false, 1)
        );
        assert_eq!(sent(&request), text);
    }

    fn nobody() -> EndUser<'static> {
        EndUser {
            send: crate::chat::SendUser::Never,
            name: &String::new,
        }
    }

    #[test]
    fn everything_that_is_said_is_found() {
        let text = r#"{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}]}],"tools":[{"type":"function","function":{"name":"c","description":"d"}}]}"#;
        let text = parse(text).unwrap().text();
        for said in ["a", "b", "c", "d"] {
            assert!(text.lines().any(|line| line == said), "{said} in {text}");
        }
    }

    #[test]
    fn the_order_of_members_does_not_tell_two_requests_apart() {
        let canonical = |text: &str| {
            let alias = ModelAlias::plain("p", "m");
            let bytes = parse(text).unwrap().canonical(&alias, &alias.targets[0], nobody());
            String::from_utf8(bytes).unwrap()
        };
        let one = canonical(r#"{"model":"m","temperature":0.0,"messages":[1]}"#);
        assert_eq!(one, canonical(r#"{ "messages": [1], "model":"m","temperature":0.0}"#));
        assert_ne!(one, canonical(r#"{"model":"m","temperature":0.0,"messages":[2]}"#));
        assert_eq!(
            parse(r#"{"model":"m","temperature":0,"messages":[1]}"#)
                .unwrap()
                .temperature(),
            Some(0.0)
        );
    }

    #[test]
    fn a_stream_is_asked_for_its_usage() {
        let request = parse(r#"{"model":"m","messages":[1],"stream":true,"stream_options":{"x":1.0}}"#).unwrap();
        assert!(!request.include_usage);
        assert_eq!(
            sent(&request),
            r#"{"model":"m","messages":[1],"stream":true,"stream_options":{"x":1.0,"include_usage":true}}"#
        );
        let request =
            parse(r#"{"model":"m","messages":[1],"stream":true,"stream_options":{"include_usage":true}}"#).unwrap();
        assert!(request.include_usage);
        let request = parse(r#"{"model":"m","messages":[1],"stream":true,"stream_options":null}"#).unwrap();
        assert!(sent(&request).ends_with(r#""stream_options":{"include_usage":true}}"#));
    }

    #[test]
    fn a_fault_names_its_parameter() {
        for (text, param) in [
            ("[]", None),
            ("{", None),
            (r#"{"model":"a","model":"b","messages":[1]}"#, None),
            (r#"{"messages":[1]}"#, Some("model")),
            (r#"{"model":7,"messages":[1]}"#, Some("model")),
            (r#"{"model":"","messages":[1]}"#, Some("model")),
            (r#"{"model":"m","Model":"n","messages":[1]}"#, None),
            (r#"{"model":"m","messages":[1],"USER":"ada@example.com"}"#, None),
            (r#"{"model":"m","me\u017f\u017fages":[2],"messages":[1]}"#, None),
            (r#"{"model":"m"}"#, Some("messages")),
            (r#"{"model":"m","messages":[]}"#, Some("messages")),
            (r#"{"model":"m","messages":"hi"}"#, Some("messages")),
            (r#"{"model":"m","messages":[1],"stream":"yes"}"#, Some("stream")),
            (r#"{"model":"m","messages":[1],"n":0}"#, Some("n")),
            (r#"{"model":"m","messages":[1],"n":17}"#, Some("n")),
            (r#"{"model":"m","messages":[1],"max_tokens":-1}"#, Some("max_tokens")),
            (
                r#"{"model":"m","messages":[1],"stream_options":3}"#,
                Some("stream_options"),
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().param, param, "{text}");
        }
    }

    #[test]
    fn the_worst_case_multiplies_choices_and_knows_the_models_own_maximum() {
        let both = r#"{"model":"m","messages":[1],"n":3,"max_tokens":10,"max_completion_tokens":20}"#;
        assert_eq!(worst_output(both, None), 60);
        assert_eq!(worst_output(both, Some(15)), 45);
        let text = r#"{"model":"m","messages":[1],"max_tokens":1000,"max_completion_tokens":1}"#;
        assert_eq!(worst_output(text, None), 1000);
        let none = r#"{"model":"m","messages":[1]}"#;
        assert_eq!(worst_output(none, None), 4096);
        assert_eq!(worst_output(none, Some(9000)), 9000);
        let request = parse(none).unwrap();
        assert!(request.worst_case(&ModelAlias::plain("p", "m"), 1).prompt_tokens > 0);
    }

    #[test]
    fn a_picture_is_reserved_for_however_it_is_sent() {
        let estimate = |content: &str| {
            let text = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{content}}}]}}"#);
            parse(&text).unwrap().prompt_estimate
        };
        let picture = |url: &str| format!(r#"{{"type":"image_url","image_url":{{"url":"{url}"}}}}"#);
        let (by_address, here) = (
            picture("https://a.example/i.png"),
            picture("data:image/png;base64,AA=="),
        );
        for one in [&by_address, &here] {
            let tokens = estimate(&format!("[{one}]"));
            assert!(
                (TOKENS_OF_PICTURE..TOKENS_OF_PICTURE + 100).contains(&tokens),
                "{tokens}"
            );
        }
        let both = estimate(&format!(r#"[{{"type":"text","text":"look"}},{by_address},7,{here}]"#));
        assert!(
            (2 * TOKENS_OF_PICTURE..2 * TOKENS_OF_PICTURE + 200).contains(&both),
            "{both}"
        );
        for none in ["null", "\"image_url\"", "{}", "[{}]", r#"[{"type":7}]"#] {
            assert!(estimate(none) < 100, "{none}");
        }
    }

    #[test]
    fn the_longer_of_what_was_said_and_what_was_made_of_it_is_reserved() {
        let made = parse(r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#).unwrap();
        let said = |content: &str| Original {
            dialect: crate::chat::Dialect::AnthropicMessages,
            body: RawObject::parse(format!(r#"{{"messages":"{content}"}}"#).as_bytes()).unwrap(),
            lost: Vec::new(),
            known_tools: Vec::new(),
        };
        let estimate = made.prompt_estimate;
        assert_eq!(made.clone().said_as(said("")).prompt_estimate, estimate);
        assert!(made.clone().said_as(said(&"x".repeat(2000))).prompt_estimate >= 1000);
        // What a model knows by heart is longer than its name.
        let tools = Original {
            known_tools: vec!["tools.0.type".to_owned(), "tools.1.type".to_owned()],
            ..said("")
        };
        let with_tools = made.said_as(tools).prompt_estimate;
        assert_eq!(with_tools, estimate + 2 * TOKENS_OF_KNOWN_TOOL);
    }

    #[test]
    fn what_may_be_written_to_a_cache_is_held_as_such() {
        let written = |request: &ChatRequest| {
            let worst = request.worst_case(&ModelAlias::plain("p", "m"), 10);
            assert_eq!(worst.cache_write_tokens, worst.hour_write_tokens);
            (worst.cache_write_tokens, worst.prompt_tokens)
        };
        let plain = parse(r#"{"model":"m","messages":[{"role":"user","content":"what is cache_control?"}]}"#).unwrap();
        assert_eq!(written(&plain).0, 0);
        let marked =
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a","cache_control":{}}]}]}"#;
        let (cached, prompt) = written(&parse(marked).unwrap());
        assert!(cached == prompt && prompt > 0);
        let said = Original {
            dialect: crate::chat::Dialect::AnthropicMessages,
            body: RawObject::parse(br#"{"system":[{"cache_control":{"ttl":"1h"}}]}"#).unwrap(),
            lost: Vec::new(),
            known_tools: Vec::new(),
        };
        let (cached, prompt) = written(&plain.said_as(said));
        assert!(cached == prompt && prompt > 0);
    }

    #[test]
    fn only_the_model_and_the_maximum_are_rewritten() {
        let alias = ModelAlias {
            max_output_tokens: Some(100),
            ..ModelAlias::plain("p", "large-2")
        };
        let sent = |text: &str, alias: &ModelAlias| {
            let bytes = parse(text).unwrap().upstream_body(alias, &alias.targets[0], NOBODY);
            String::from_utf8(bytes).unwrap()
        };
        assert_eq!(
            sent(
                r#"{"top_k":1.0,"model":"fast","max_tokens":5000,"messages":[ 1 ]}"#,
                &alias
            ),
            r#"{"top_k":1.0,"model":"large-2","max_tokens":100,"messages":[ 1 ]}"#
        );
        assert_eq!(
            sent(r#"{"model":"fast","max_completion_tokens":5,"messages":[1]}"#, &alias),
            r#"{"model":"large-2","max_completion_tokens":5,"messages":[1]}"#
        );
        assert_eq!(
            sent(r#"{"model":"fast","messages":[1]}"#, &alias),
            r#"{"model":"large-2","messages":[1],"max_tokens":100}"#
        );
        let newer = ModelAlias {
            max_tokens_parameter: MaxTokensParameter::MaxCompletionTokens,
            ..alias
        };
        assert_eq!(
            sent(r#"{"model":"fast","messages":[1],"max_tokens":null}"#, &newer),
            r#"{"model":"large-2","messages":[1],"max_tokens":null,"max_completion_tokens":100}"#
        );
    }

    #[test]
    fn who_asks_is_rewritten_and_nothing_else() {
        let alias = ModelAlias::plain("p", "m");
        let user = EndUser {
            send: SendUser::Replace,
            name: &|| "opaque".to_owned(),
        };
        let text = r#"{"a":1.50,"user":"ada@example.com","model":"m","messages":[ 1 ]}"#;
        let sent = parse(text).unwrap().upstream_body(&alias, &alias.targets[0], user);
        assert_eq!(
            String::from_utf8(sent).unwrap(),
            text.replace("ada@example.com", "opaque")
        );
    }
}
