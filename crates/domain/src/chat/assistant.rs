//! What the operator has prepared: a model, what it is told before anything else, and how it answers.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::request::{check_names, invalid};
use super::{ChatRequest, InvalidRequest, MAX_INSTRUCTIONS_BYTES, ModelAlias};

/// What stands before an assistant's id where a model's name is asked for.
pub const ASSISTANT_PREFIX: &str = "assistant:";

/// The longest id of an assistant, in bytes.
const MAX_ID_BYTES: usize = 64;

/// What a request may say to an assistant. A server may know more, and some of it has the prompt told to whoever asks
/// (`prompt_logprobs`, `echo`, `chat_template`), so what is not known here is left out.
const TAKEN: [&str; 34] = [
    "model",
    "messages",
    "stream",
    "stream_options",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "stop",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "functions",
    "function_call",
    "response_format",
    "presence_penalty",
    "frequency_penalty",
    "seed",
    "user",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "reasoning_effort",
    "verbosity",
    "prediction",
    "modalities",
    "audio",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "thinking",
];

/// A preset of the operator's. What it tells the model is never shown to anybody who may use it.
#[derive(Clone, PartialEq)]
pub struct Assistant {
    /// Its name in the API.
    pub id: String,
    /// Its name for people.
    pub title: String,
    /// What it is for.
    pub description: Option<String>,
    /// The model that answers, by the name under which it is offered.
    pub model: String,
    /// What the model is told before everything else.
    pub instructions: String,
    /// Parameters of a chat completion that callers cannot choose, by OpenAI's names.
    pub parameters: Vec<(String, Value)>,
    /// The most tokens of answer that a call may ask for; more is clamped to it.
    pub max_output_tokens: Option<i64>,
    /// The plans, by key, whose holders may use it where they have its model; `None`: all.
    pub plans: Option<Vec<String>>,
}

/// Without the instructions, so that they are in no log.
impl std::fmt::Debug for Assistant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Assistant")
            .field("id", &self.id)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// Why an assistant cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAssistant {
    /// No id, or one that is no name.
    #[error("`{0}`: an assistant's name has 1 to {MAX_ID_BYTES} letters, digits, `-`, `_` and `.`, without accents")]
    Id(String),
    /// Nothing to say.
    #[error("`{0}`: the instructions are empty")]
    NoInstructions(String),
    /// Too much to say, or what no text holds.
    #[error("`{0}`: instructions have at most {MAX_INSTRUCTIONS_BYTES} bytes and no NUL")]
    Instructions(String),
    /// A limit that lets nothing through.
    #[error("`{0}`: max_output_tokens is at least 1")]
    Limit(String),
    /// A number that no model takes.
    #[error("`{id}`: {parameter} is a number from {least} to {most}")]
    Range {
        /// The assistant.
        id: String,
        /// Which number.
        parameter: &'static str,
        /// From here.
        least: i32,
        /// To here.
        most: i32,
    },
}

#[derive(Serialize)]
struct System<'a> {
    role: &'a str,
    content: &'a str,
}

impl Assistant {
    /// Checks it by itself; whether its model and its plans exist is for whoever knows them.
    pub fn check(&self) -> Result<(), InvalidAssistant> {
        let id = || self.id.clone();
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if self.id.is_empty() || self.id.len() > MAX_ID_BYTES || !self.id.bytes().all(plain) {
            return Err(InvalidAssistant::Id(id()));
        }
        if self.instructions.trim().is_empty() {
            return Err(InvalidAssistant::NoInstructions(id()));
        }
        if self.instructions.len() > MAX_INSTRUCTIONS_BYTES || self.instructions.contains('\0') {
            return Err(InvalidAssistant::Instructions(id()));
        }
        if self.max_output_tokens.is_some_and(|most| most < 1) {
            return Err(InvalidAssistant::Limit(id()));
        }
        for (parameter, least, most) in [
            ("temperature", 0, 2),
            ("top_p", 0, 1),
            ("frequency_penalty", -2, 2),
            ("presence_penalty", -2, 2),
        ] {
            let set = self.parameters.iter().find(|(name, _)| name == parameter);
            let fits = |value: &Value| {
                let number = value.as_f64();
                number.is_some_and(|n| (f64::from(least)..=f64::from(most)).contains(&n))
            };
            if set.is_some_and(|(_, value)| !fits(value)) {
                return Err(InvalidAssistant::Range {
                    id: id(),
                    parameter,
                    least,
                    most,
                });
            }
        }
        Ok(())
    }

    /// The assistant that a request's `model` names, if it is one's name.
    pub fn named(model: &str) -> Option<&str> {
        model.strip_prefix(ASSISTANT_PREFIX)
    }

    /// Whether holders of a plan may use it, as far as it says.
    pub fn open_to(&self, plan: &str) -> bool {
        self.plans.as_ref().is_none_or(|plans| plans.iter().any(|p| p == plan))
    }

    /// Its model, with the shorter of both their longest answers.
    pub fn limited(&self, alias: &Arc<ModelAlias>) -> Arc<ModelAlias> {
        let Some(most) = self.max_output_tokens else {
            return Arc::clone(alias);
        };
        Arc::new(ModelAlias {
            max_output_tokens: Some(alias.max_output_tokens.map_or(most, |theirs| theirs.min(most))),
            ..ModelAlias::clone(alias)
        })
    }

    /// What it tells the model, and what the user adds to it.
    pub fn instructions_with(&self, users: Option<&str>) -> String {
        match users {
            Some(users) => format!("{}\n\n{users}", self.instructions),
            None => self.instructions.clone(),
        }
    }

    /// The same request to its model, told first what the assistant says, with the parameters that it fixes and without
    /// those that nobody knows. Answers which of the request's own parameters gave way.
    pub fn lead(&self, request: ChatRequest) -> Result<(ChatRequest, Vec<String>), InvalidRequest> {
        let mut body = request.into_object();
        let messages: Vec<Box<RawValue>> = body
            .read("messages")
            .ok()
            .flatten()
            .ok_or_else(|| invalid("messages", "`messages` is missing"))?;
        let system = System {
            role: "system",
            content: &self.instructions,
        };
        let wrong = || invalid("messages", "`messages` must be an array");
        let system = to_raw_value(&system).map_err(|_| wrong())?;
        let told: Vec<Box<RawValue>> = std::iter::once(system).chain(messages).collect();
        body.set("messages", &told).map_err(|_| wrong())?;
        body.set("model", &self.model).map_err(|_| wrong())?;
        let unknown = body.keys().filter(|name| !TAKEN.contains(name)).map(str::to_owned);
        let mut left_out: Vec<String> = unknown.collect();
        for name in &left_out {
            body.remove(name);
        }
        let (request, gave_way) = self.fix(ChatRequest::from_object(body)?)?;
        left_out.extend(gave_way);
        Ok((request, left_out))
    }

    /// The same request with the parameters that it fixes. Answers which of its own gave way.
    pub fn fix(&self, request: ChatRequest) -> Result<(ChatRequest, Vec<String>), InvalidRequest> {
        if self.parameters.is_empty() {
            return Ok((request, Vec::new()));
        }
        let mut body = request.into_object();
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| name.as_str()).collect();
        check_names(&body, &names)?;
        let mut gave_way = Vec::new();
        for (name, value) in &self.parameters {
            let theirs: Option<Value> = body.read(name).ok().flatten();
            if theirs.is_some_and(|theirs| theirs != *value) {
                gave_way.push(name.clone());
            }
            let unreadable = |_| InvalidRequest {
                param: None,
                message: format!("`{name}` cannot be set"),
            };
            body.set(name, value).map_err(unreadable)?;
        }
        Ok((ChatRequest::from_object(body)?, gave_way))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn assistant() -> Assistant {
        Assistant {
            id: "support".into(),
            title: "Support".into(),
            description: None,
            model: "fast".into(),
            instructions: "You are \"kind\".".into(),
            parameters: vec![("temperature".into(), json!(0.2))],
            max_output_tokens: Some(100),
            plans: Some(vec!["pro".into()]),
        }
    }

    fn sent(text: &str) -> (String, Vec<String>) {
        let request = ChatRequest::parse(text.as_bytes()).unwrap();
        let (request, gave_way) = assistant().lead(request).unwrap();
        let alias = assistant().limited(&Arc::new(ModelAlias::plain("p", "fast")));
        let nobody = crate::chat::EndUser {
            send: crate::chat::SendUser::Never,
            name: &String::new,
        };
        let body = request.upstream_body(&alias, &alias.targets[0], nobody);
        (String::from_utf8(body).unwrap(), gave_way)
    }

    #[test]
    fn its_instructions_come_first_and_its_parameters_stand() {
        let (body, gave_way) = sent(
            r#"{"temperature":1.50,"model":"assistant:support","messages":[{"role":"system","content":"mine"}, 2],"x":1.0}"#,
        );
        assert_eq!(
            body,
            r#"{"temperature":0.2,"model":"fast","messages":[{"role":"system","content":"You are \"kind\"."},{"role":"system","content":"mine"},2],"max_tokens":100}"#
        );
        assert_eq!(gave_way, ["x", "temperature"]);
        let (body, gave_way) = sent(r#"{"model":"assistant:support","max_tokens":900,"messages":[2]}"#);
        assert!(
            body.contains(r#""max_tokens":100"#) && body.contains(r#""temperature":0.2"#),
            "{body}"
        );
        assert!(gave_way.is_empty());
        let (body, _) = sent(r#"{"model":"assistant:support","max_tokens":9,"messages":[2]}"#);
        assert!(body.contains(r#""max_tokens":9"#), "{body}");
    }

    #[test]
    fn what_has_the_prompt_told_to_whoever_asks_is_left_out() {
        let text = r#"{"model":"assistant:support","messages":[2],"Temperature":1,"prompt_logprobs":1,"echo":true,"chat_template":"{{messages}}"}"#;
        let (body, left_out) = sent(text);
        assert_eq!(left_out, ["Temperature", "prompt_logprobs", "echo", "chat_template"]);
        assert!(left_out.iter().all(|name| !body.contains(name.as_str())), "{body}");
    }

    #[test]
    fn the_prompts_estimate_counts_what_it_says() {
        let request = ChatRequest::parse(br#"{"model":"assistant:support","messages":[1]}"#).unwrap();
        let before = request.prompt_estimate;
        let long = Assistant {
            instructions: "x".repeat(2000),
            ..assistant()
        };
        assert!(long.lead(request).unwrap().0.prompt_estimate > before + 900);
    }

    #[test]
    fn the_shorter_limit_counts() {
        let with = |theirs| {
            let alias = ModelAlias {
                max_output_tokens: theirs,
                ..ModelAlias::plain("p", "fast")
            };
            assistant().limited(&Arc::new(alias)).max_output_tokens
        };
        assert_eq!(
            (with(None), with(Some(9)), with(Some(900))),
            (Some(100), Some(9), Some(100))
        );
    }

    #[test]
    fn what_is_wrong_with_one_is_named_and_never_what_it_says() {
        type Change = fn(&mut Assistant);
        assert_eq!(assistant().check(), Ok(()));
        let wrong: [(Change, &str); 8] = [
            (|a| a.id = String::new(), "name"),
            (|a| a.id = "a b".into(), "a b"),
            (|a| a.id = "x".repeat(65), "name"),
            (
                |a| a.instructions = " \n".into(),
                "`support`: the instructions are empty",
            ),
            (|a| a.instructions = "x".repeat(MAX_INSTRUCTIONS_BYTES + 1), "16384"),
            (|a| a.instructions.push('\0'), "NUL"),
            (|a| a.max_output_tokens = Some(0), "max_output_tokens"),
            (
                |a| a.parameters[0].1 = json!(2.5),
                "temperature is a number from 0 to 2",
            ),
        ];
        for (change, part) in wrong {
            let mut wrong = assistant();
            change(&mut wrong);
            let said = wrong.check().unwrap_err().to_string();
            assert!(said.contains(part) && !said.contains("kind"), "{said}");
        }
        assert!(!format!("{:?}", assistant()).contains("kind"));
    }

    #[test]
    fn it_is_named_by_its_prefix_and_open_to_its_plans() {
        assert_eq!(Assistant::named("assistant:support"), Some("support"));
        assert_eq!(Assistant::named("gpt-4o"), None);
        assert!(assistant().open_to("pro") && !assistant().open_to("free"));
        assert_eq!(
            assistant().instructions_with(Some("Mine.")),
            "You are \"kind\".\n\nMine."
        );
    }
}
