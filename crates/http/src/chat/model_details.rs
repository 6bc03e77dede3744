//! A model's alias as admins are shown it and write it, and against which state a change is made.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use anteroom_domain::billing::{ModelPrice, NanoUsd};
use anteroom_domain::chat::{MaxTokensParameter, ModelAlias, Target};
use anteroom_domain::{AliasVersion, Timestamp};
use anteroom_services::chat::{Expected, ModelDetails, TargetDetails};
use serde::{Deserialize, Serialize};

use crate::problem::Problem;

/// An alias of a model: the name that clients send, and what answers behind it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AdminModel {
    /// The name that clients send as `model`.
    #[schema(example = "fast")]
    name: String,
    /// Where it comes from.
    source: ModelSource,
    /// Whether it is stored over one of its name that the configuration has.
    overrides_config: bool,
    /// Whether it is meant to be offered.
    enabled: bool,
    /// Whether it is: not if it is not enabled, cannot be read, or no target's provider is configured.
    offered: bool,
    /// What is wrong with it now: a provider or a plan that is no longer configured, say.
    problems: Vec<String>,
    /// What answers, in the order in which it is fallen back to.
    targets: Vec<AdminModelTarget>,
    /// The keys of the plans whose holders may use it where their plan includes it; `null`: all.
    plans: Option<Vec<String>>,
    /// How many tokens a call may have in and out together.
    context_window: Option<i64>,
    /// The most tokens of answer that a call may ask for; more is clamped to it.
    max_output_tokens: Option<i64>,
    /// By which parameter a target is told the most it may answer with.
    max_tokens_parameter: MaxTokensChoice,
    /// Which state of a stored one this is, also as `ETag`; `null` for the configuration's.
    version: Option<uuid::Uuid>,
    /// When a stored one was first stored.
    created_at: Option<Timestamp>,
    /// When a stored one was last changed.
    updated_at: Option<Timestamp>,
}

/// Where an alias comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// The configuration: `ai.aliases` or `ai.models`.
    Config,
    /// An admin stored it.
    Store,
}

/// A provider's model that may answer.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct AdminModelTarget {
    /// The provider, by its name in the configuration.
    provider: String,
    /// The model, as that provider spells it.
    model: String,
    /// Its share of the first tries; `null`: it is only fallen back to, unless no target has one.
    weight: Option<u32>,
    /// Its own price; `null`: none is stated here.
    price: Option<TokenPrice>,
    /// What its tokens are taken to cost: its own price, or the model's of `ai.prices`; `null`: unknown.
    effective_price: Option<TokenPrice>,
    /// Whether the provider is configured.
    provider_known: bool,
    /// Whether the node that answers asks it: `closed` (yes), `open` (it has failed too often), `half_open` (one call
    /// tries it), `resting` (it asked for patience).
    #[schema(example = "closed")]
    state: &'static str,
    /// When that node tries it again.
    retry_at: Option<Timestamp>,
}

/// What tokens cost, in US dollars per million.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenPrice {
    /// Tokens that go in.
    #[schema(minimum = 0)]
    input_usd_per_million: f64,
    /// Tokens that go in and were cached; as `input_usd_per_million` when absent.
    #[serde(default)]
    #[schema(minimum = 0)]
    cached_input_usd_per_million: Option<f64>,
    /// Tokens that go in and are written to the provider's cache; a quarter more than `input_usd_per_million` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0)]
    cache_write_usd_per_million: Option<f64>,
    /// Tokens that come out.
    #[schema(minimum = 0)]
    output_usd_per_million: f64,
}

/// By which parameter a target is told the most tokens it may answer with.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaxTokensChoice {
    /// `max_tokens`
    #[default]
    MaxTokens,
    /// `max_completion_tokens`
    MaxCompletionTokens,
}

/// An alias of a model, as it is to be. Its name is the path's.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutModelRequest {
    /// What answers, in the order in which it is fallen back to: 1 to 16.
    targets: Vec<PutModelTarget>,
    /// The keys of the plans whose holders may use it where their plan includes it; all when absent.
    #[serde(default)]
    plans: Option<Vec<String>>,
    /// How many tokens a call may have in and out together; for clients to read.
    #[serde(default)]
    #[schema(minimum = 1)]
    context_window: Option<i64>,
    /// The most tokens of answer that a call may ask for; more is clamped to it.
    #[serde(default)]
    #[schema(minimum = 1)]
    max_output_tokens: Option<i64>,
    /// By which parameter a call that asks for no maximum is given that one; `max_tokens` when absent.
    #[serde(default)]
    max_tokens_parameter: MaxTokensChoice,
    /// Whether it is offered; `true` when absent. `false` withholds the configuration's of its name as well.
    #[serde(default = "yes")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

/// A provider's model that may answer.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PutModelTarget {
    /// The provider, by its name in the configuration.
    provider: String,
    /// The model, as that provider spells it.
    model: String,
    /// Its share of the first tries, at most 1,000,000; without one it is only fallen back to, unless no target has one.
    #[serde(default)]
    weight: Option<u32>,
    /// What its tokens cost; unknown when absent, unless `ai.prices` has it.
    #[serde(default)]
    price: Option<TokenPrice>,
}

impl PutModelRequest {
    /// The alias under this name, and whether it is to be offered.
    pub fn into_alias(self, name: String) -> (ModelAlias, bool) {
        let target = |target: PutModelTarget| Target {
            provider: target.provider,
            model: target.model,
            weight: target.weight,
            price: target.price.map(Into::into),
        };
        let alias = ModelAlias {
            name,
            targets: self.targets.into_iter().map(target).collect(),
            plans: self.plans,
            context_window: self.context_window,
            max_output_tokens: self.max_output_tokens,
            max_tokens_parameter: match self.max_tokens_parameter {
                MaxTokensChoice::MaxTokens => MaxTokensParameter::MaxTokens,
                MaxTokensChoice::MaxCompletionTokens => MaxTokensParameter::MaxCompletionTokens,
            },
        };
        (alias, self.enabled)
    }
}

impl From<TokenPrice> for ModelPrice {
    fn from(price: TokenPrice) -> Self {
        let cached = price
            .cached_input_usd_per_million
            .unwrap_or(price.input_usd_per_million);
        Self {
            input: NanoUsd::from_usd(price.input_usd_per_million),
            cached_input: NanoUsd::from_usd(cached),
            output: NanoUsd::from_usd(price.output_usd_per_million),
            cache_write: price.cache_write_usd_per_million.map(NanoUsd::from_usd),
        }
    }
}

impl From<ModelPrice> for TokenPrice {
    fn from(price: ModelPrice) -> Self {
        Self {
            input_usd_per_million: price.input.usd(),
            cached_input_usd_per_million: Some(price.cached_input.usd()),
            cache_write_usd_per_million: price.cache_write.map(NanoUsd::usd),
            output_usd_per_million: price.output.usd(),
        }
    }
}

impl From<&TargetDetails> for AdminModelTarget {
    fn from(details: &TargetDetails) -> Self {
        let target = &details.target;
        Self {
            provider: target.provider.clone(),
            model: target.model.clone(),
            weight: target.weight,
            price: target.price.map(Into::into),
            effective_price: details.effective_price.map(Into::into),
            provider_known: details.provider_known,
            state: details.state.as_str(),
            retry_at: details.retry_at,
        }
    }
}

impl From<&ModelDetails> for AdminModel {
    fn from(details: &ModelDetails) -> Self {
        let (alias, stored) = (details.alias.as_ref(), details.stored);
        Self {
            name: details.name.clone(),
            source: match stored {
                Some(_) => ModelSource::Store,
                None => ModelSource::Config,
            },
            overrides_config: details.overrides_config,
            enabled: details.enabled,
            offered: details.offered,
            problems: details.problems.clone(),
            targets: details.targets.iter().map(Into::into).collect(),
            plans: alias.and_then(|alias| alias.plans.clone()),
            context_window: alias.and_then(|alias| alias.context_window),
            max_output_tokens: alias.and_then(|alias| alias.max_output_tokens),
            max_tokens_parameter: match alias.map(|alias| alias.max_tokens_parameter) {
                Some(MaxTokensParameter::MaxCompletionTokens) => MaxTokensChoice::MaxCompletionTokens,
                Some(MaxTokensParameter::MaxTokens) | None => MaxTokensChoice::MaxTokens,
            },
            version: stored.map(|stored| stored.version.0),
            created_at: stored.map(|stored| stored.created_at),
            updated_at: stored.map(|stored| stored.updated_at),
        }
    }
}

/// The model that the path names. Its name may have slashes in it.
pub(super) fn name(request: &HttpRequest) -> Result<String, Problem> {
    let name = request.match_info().load();
    name.map_err(|e| Problem::internal(e.to_string()))
}

/// The `ETag` of a model's state, where it has one.
pub(super) fn tag(details: &ModelDetails) -> Option<String> {
    details.stored.map(|stored| format!("\"{}\"", stored.version))
}

/// What a change is made against, by `If-Match` and `If-None-Match` (RFC 9110, section 13.1).
pub(super) fn expected(request: &HttpRequest) -> Result<Expected, Problem> {
    let header = |name: HeaderName| {
        let values: Vec<&[u8]> = request.headers().get_all(name).map(HeaderValue::as_bytes).collect();
        (!values.is_empty()).then(|| values.concat())
    };
    let wrong = || {
        let detail = "If-Match takes one version, as the ETag has it, or *; If-None-Match takes *; not both";
        Problem::new(StatusCode::BAD_REQUEST, "invalid_precondition", detail)
    };
    let version = |tag: &[u8]| {
        let text = std::str::from_utf8(tag).ok()?.trim();
        let text = text.strip_prefix('"')?.strip_suffix('"')?;
        text.parse::<AliasVersion>().ok()
    };
    match (header(header::IF_MATCH), header(header::IF_NONE_MATCH)) {
        (None, None) => Ok(Expected::Anything),
        (Some(stored), None) if stored == b"*" => Ok(Expected::Something),
        (Some(stored), None) => version(&stored).map(Expected::Version).ok_or_else(wrong),
        (None, Some(stored)) if stored == b"*" => Ok(Expected::Nothing),
        _ => Err(wrong()),
    }
}

/// 412: something else is stored than the change was made against.
pub(super) fn changed(detail: String) -> Problem {
    Problem::new(StatusCode::PRECONDITION_FAILED, "model_changed", detail)
}
