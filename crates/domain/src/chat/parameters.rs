//! Parameters of a call that cost its operator something beside its tokens, or leave something at the provider: a plan
//! says which of them its holders may send.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::RawObject;
use super::request::{check_names, folded};

/// Parameters that are refused unless a plan allows them, by the names under which servers take them. What a value says
/// that stands for the parameter's absence is let through all the same.
pub const GUARDED_PARAMETERS: [&str; 16] = [
    // Faster, and dearer than the price by which a call is booked.
    "service_tier",
    "speed",
    // Kept at the provider, in the operator's account.
    "store",
    // Searches and tools that the provider runs, billed by the use.
    "tools",
    "web_search_options",
    "search_parameters",
    "enable_search",
    "search_settings",
    "compound_custom",
    "plugins",
    // Sound and pictures, whose tokens have prices of their own.
    "modalities",
    "audio",
    // Another model than the one that was asked for, or another's server.
    "models",
    "fallbacks",
    "provider",
    // The operator's own data, or an address to fetch some from.
    "data_sources",
];

/// Values of `service_tier` that cost no more than leaving it out: OpenAI's, Groq's and Anthropic's words.
const PLAIN_TIERS: [&str; 6] = ["auto", "default", "flex", "standard", "standard_only", "on_demand"];

/// What a plan says of parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct ParameterRule {
    /// Those of [`GUARDED_PARAMETERS`] that its holders may send.
    pub allowed: Vec<String>,
    /// Others that they may not send, whatever they say.
    pub refused: Vec<String>,
    /// The most choices (`n`) of a call; `None`: as many as any call may have.
    pub max_choices: Option<i64>,
}

impl ParameterRule {
    /// The first parameter of a request in another dialect that it does not let through whatever it says.
    pub(super) fn names<'a>(&self, said: &'a RawObject) -> Option<&'a str> {
        said.keys().find(|key| {
            let present = said.get(key).is_some_and(|value| value.get() != "null");
            present && self.refused.contains(&folded(key))
        })
    }

    /// The first parameter of a request that it does not let through.
    pub(super) fn refuses<'a>(&self, body: &'a RawObject) -> Option<&'a str> {
        body.keys().find(|key| {
            let Some(value) = body.get(key).filter(|value| value.get() != "null") else {
                return false;
            };
            let named = folded(key);
            let guarded = GUARDED_PARAMETERS.contains(&named.as_str());
            (guarded && !self.allowed.contains(&named) && !harmless(&named, value)) || self.refused.contains(&named)
        })
    }
}

/// Whether a value of a guarded parameter says no more than its absence.
fn harmless(name: &str, value: &RawValue) -> bool {
    let read = || serde_json::from_str::<Value>(value.get()).unwrap_or_default();
    match name {
        "service_tier" => read().as_str().is_some_and(|word| PLAIN_TIERS.contains(&word)),
        "speed" => read() == "standard",
        "store" | "enable_search" => read() == false,
        "tools" => callers_own(value),
        "modalities" => read().as_array().is_some_and(|all| all.iter().all(|one| one == "text")),
        "plugins" | "models" | "fallbacks" | "data_sources" => read().as_array().is_some_and(Vec::is_empty),
        _ => false,
    }
}

/// Whether all tools are the caller's own, which cost nothing but tokens.
fn callers_own(tools: &RawValue) -> bool {
    let own = |tool: &RawObject| {
        // A server that takes no heed of case must not read another type than is read here.
        let plain = check_names(tool, &["type"]).is_ok();
        plain
            && match tool.read::<String>("type") {
                Ok(Some(kind)) => matches!(kind.as_str(), "function" | "custom"),
                Ok(None) => tool.get("function").is_some(),
                Err(_) => false,
            }
    };
    let tools: Result<Vec<RawObject>, _> = serde_json::from_str(tools.get());
    tools.is_ok_and(|tools| tools.iter().all(own))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(rule: &ParameterRule, member: &str) -> Option<String> {
        let body = RawObject::parse(format!(r#"{{"model":"m",{member}}}"#).as_bytes()).unwrap();
        rule.refuses(&body).map(str::to_owned)
    }

    #[test]
    fn what_costs_more_than_tokens_is_refused_unless_the_plan_allows_it() {
        for (name, member) in [
            ("service_tier", r#""service_tier":"priority""#),
            ("service_tier", r#""service_tier":"Default""#),
            ("service_tier", r#""service_tier":["default"]"#),
            ("speed", r#""speed":"fast""#),
            ("store", r#""store":true"#),
            ("store", r#""store":1"#),
            (
                "tools",
                r#""tools":[{"type":"function","function":{}},{"type":"web_search"}]"#,
            ),
            (
                "tools",
                r#""tools":[{"type":"function","Type":"web_search","function":{}}]"#,
            ),
            ("tools", r#""tools":[{"type":"function","type":"web_search"}]"#),
            ("tools", r#""tools":[{"google_search":{}}]"#),
            ("tools", r#""tools":{"type":"function"}"#),
            ("web_search_options", r#""web_search_options":{}"#),
            ("search_parameters", r#""search_parameters":{"mode":"on"}"#),
            ("enable_search", r#""enable_search":true"#),
            ("plugins", r#""plugins":[{"id":"web"}]"#),
            ("modalities", r#""modalities":["text","audio"]"#),
            ("audio", r#""audio":{"voice":"x","format":"wav"}"#),
            ("models", r#""models":["a-dear-one"]"#),
            ("provider", r#""provider":{"only":["dear"]}"#),
            ("data_sources", r#""data_sources":[{}]"#),
        ] {
            assert_eq!(
                refused(&ParameterRule::default(), member).as_deref(),
                Some(name),
                "{member}"
            );
            let allows = ParameterRule {
                allowed: vec![name.to_owned()],
                ..ParameterRule::default()
            };
            assert_eq!(refused(&allows, member), None, "{member}");
        }
        // A server may match names whatever their case.
        let odd = refused(&ParameterRule::default(), r#""Web_Search_Options":{}"#);
        assert_eq!(odd.as_deref(), Some("Web_Search_Options"));
    }

    #[test]
    fn what_says_no_more_than_leaving_it_out_is_let_through() {
        for member in [
            r#""service_tier":"auto""#,
            r#""service_tier":"default""#,
            r#""service_tier":"flex""#,
            r#""service_tier":null"#,
            r#""store":false"#,
            r#""tools":[]"#,
            r#""tools":[{"type":"function","function":{"name":"f"}},{"type":"custom","custom":{}},{"function":{}}]"#,
            r#""web_search_options":null"#,
            r#""enable_search":false"#,
            r#""modalities":["text"]"#,
            r#""models":[]"#,
            r#""logprobs":true,"n":4,"seed":1,"prediction":{},"x_custom":1"#,
        ] {
            assert_eq!(refused(&ParameterRule::default(), member), None, "{member}");
        }
    }

    #[test]
    fn a_plan_may_refuse_others() {
        let rule = ParameterRule {
            refused: vec!["logprobs".to_owned()],
            ..ParameterRule::default()
        };
        assert_eq!(refused(&rule, r#""logprobs":false"#).as_deref(), Some("logprobs"));
        assert_eq!(refused(&rule, r#""LogProbs":true"#).as_deref(), Some("LogProbs"));
        assert_eq!(refused(&rule, r#""logprobs":null,"top_logprobs":2"#), None);
    }
}
