//! The settings of the model provider and of conversations.

use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::settings::unless_empty;

/// `[ai]`: the model provider.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AiSettings {
    /// The OpenAI-compatible server; `None` means the built-in `echo` model. OpenAI's own when only a key is set.
    #[serde(deserialize_with = "unless_empty")]
    pub openai_base_url: Option<Url>,
    /// The key sent to it.
    #[serde(deserialize_with = "unless_empty")]
    pub openai_api_key: Option<SecretString>,
    /// Models to offer; empty means all that the server lists.
    pub models: Vec<String>,
    /// Milliseconds to connect.
    pub connect_timeout_ms: u32,
    /// Milliseconds until the first word.
    pub first_token_timeout_ms: u32,
    /// Milliseconds between two pieces.
    pub idle_timeout_ms: u32,
    /// Milliseconds for the whole answer.
    pub total_timeout_ms: u32,
    /// US dollars per UTC day over all users; 0 permits no call that costs.
    pub daily_spend_cap_usd: f64,
    /// Percent of it that one account may use.
    pub spend_cap_share_percent: u32,
    /// US dollars per million input tokens for models without a price.
    pub assumed_input_usd_per_million: f64,
    /// US dollars per million output tokens for models without a price.
    pub assumed_output_usd_per_million: f64,
    /// Output tokens reserved when the caller names no maximum.
    pub max_output_tokens: u32,
    /// What models cost.
    pub prices: Vec<ModelPriceSettings>,
}

/// `[[ai.prices]]`: what one model costs, in US dollars per million tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPriceSettings {
    /// The server's name of the model.
    pub model: String,
    /// Tokens that go in.
    pub input_usd_per_million: f64,
    /// Tokens that go in and were cached; as `input_usd_per_million` when absent.
    pub cached_input_usd_per_million: Option<f64>,
    /// Tokens that come out.
    pub output_usd_per_million: f64,
}

/// `[chat]`: conversations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatSettings {
    /// Tokens of recent turns sent along.
    pub memory_tokens: u32,
    /// Largest message, in bytes.
    pub max_message_bytes: usize,
}
