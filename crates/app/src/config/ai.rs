//! The settings of the model provider and of conversations.

use std::path::PathBuf;

use anteroom_domain::billing::{ModelPrice, NanoUsd};
use anteroom_domain::chat::{Assistant, Consequence, MaxTokensParameter, ModelAlias, Target};
use anteroom_moderation::{Rule, Where};
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
    /// More servers.
    pub providers: Vec<ProviderSettings>,
    /// Names under which models are offered.
    pub aliases: Vec<AliasSettings>,
    /// Presets of a model with what it is told.
    pub assistants: Vec<AssistantSettings>,
    /// How often all targets of a model are tried once more.
    pub retries: u32,
    /// Milliseconds before that, doubled each time.
    pub retry_pause_ms: u32,
    /// Failures in a row after which a target is left alone; 0: never.
    pub breaker_failures: u32,
    /// Seconds for which it is.
    pub breaker_open_seconds: u32,
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
    /// Messages that a request may have.
    pub max_request_messages: usize,
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
    /// Tokens that go in and are written to a cache; a quarter more than `input_usd_per_million` when absent.
    pub cache_write_usd_per_million: Option<f64>,
    /// Tokens that come out.
    pub output_usd_per_million: f64,
}

/// `[[ai.providers]]`: a server that answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProviderSettings {
    /// What targets call it.
    pub name: String,
    /// What it speaks.
    pub kind: ProviderKind,
    /// Where it is; `None`: where its kind is at home.
    pub base_url: Option<Url>,
    /// Azure's version of the API, where its addresses are by deployment.
    pub api_version: Option<String>,
    /// The variable that holds its key.
    pub api_key_variable: Option<String>,
    /// What becomes of an answer whose client goes away; what its kind suggests when absent.
    pub on_disconnect: Option<OnDisconnectName>,
    /// Seconds for which such an answer is read on, where it is; [`DRAIN_SECONDS`] when absent.
    pub drain_seconds: Option<u32>,
    /// Whether it is told who asks; where the client names somebody when absent.
    pub send_user: Option<bool>,
    /// What that variable holds; a file never does.
    #[serde(skip)]
    pub api_key: Option<SecretString>,
}

/// For how many seconds an answer that nobody wants is read on, where nothing else is said.
pub const DRAIN_SECONDS: u32 = 60;

/// What becomes of an answer whose client goes away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnDisconnectName {
    /// The call is cancelled.
    Cancel,
    /// It is read to its end.
    Drain,
}

impl ProviderSettings {
    /// What becomes of an answer whose client goes away. Gemini goes on with it, and bills it, whoever hangs up.
    pub fn on_disconnect(&self) -> OnDisconnectName {
        self.on_disconnect.unwrap_or(match self.kind {
            ProviderKind::Gemini => OnDisconnectName::Drain,
            ProviderKind::OpenAi | ProviderKind::Azure | ProviderKind::Anthropic | ProviderKind::Echo => {
                OnDisconnectName::Cancel
            }
        })
    }
}

/// What a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProviderKind {
    /// OpenAI's API.
    OpenAi,
    /// OpenAI's API as Azure has it.
    Azure,
    /// Anthropic's own API.
    Anthropic,
    /// Google's own API for Gemini.
    Gemini,
    /// Nothing: it repeats what it is told.
    Echo,
}

/// `[[ai.aliases]]`: a name under which models are offered.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasSettings {
    /// The name.
    pub name: String,
    /// What answers, in the order in which it is fallen back to.
    pub targets: Vec<TargetSettings>,
    /// The plans whose holders may use it; all when absent.
    pub plans: Option<Vec<String>>,
    /// Tokens in and out together.
    pub context_window: Option<i64>,
    /// The most tokens out.
    pub max_output_tokens: Option<i64>,
    /// By which parameter a target is told.
    #[serde(default)]
    pub max_tokens_parameter: MaxTokensParameter,
}

/// A target of an alias.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetSettings {
    /// The provider's name.
    pub provider: String,
    /// The model, as the provider spells it.
    pub model: String,
    /// Its share of the first tries.
    pub weight: Option<u32>,
    /// US dollars per million tokens that go in.
    pub input_usd_per_million: Option<f64>,
    /// The same for cached ones; as `input_usd_per_million` when absent.
    pub cached_input_usd_per_million: Option<f64>,
    /// The same for those that are written to a cache; a quarter more than `input_usd_per_million` when absent.
    pub cache_write_usd_per_million: Option<f64>,
    /// The same for tokens that come out.
    pub output_usd_per_million: Option<f64>,
}

impl TargetSettings {
    /// Its price, where both halves of one are given.
    pub fn price(&self) -> Option<ModelPrice> {
        let (input, output) = (self.input_usd_per_million?, self.output_usd_per_million?);
        Some(ModelPrice {
            input: NanoUsd::from_usd(input),
            cached_input: NanoUsd::from_usd(self.cached_input_usd_per_million.unwrap_or(input)),
            output: NanoUsd::from_usd(output),
            cache_write: self.cache_write_usd_per_million.map(NanoUsd::from_usd),
        })
    }
}

impl AliasSettings {
    /// The alias itself.
    pub fn alias(&self) -> ModelAlias {
        let target = |target: &TargetSettings| Target {
            provider: target.provider.clone(),
            model: target.model.clone(),
            weight: target.weight,
            price: target.price(),
        };
        ModelAlias {
            name: self.name.clone(),
            targets: self.targets.iter().map(target).collect(),
            plans: self.plans.clone(),
            context_window: self.context_window,
            max_output_tokens: self.max_output_tokens,
            max_tokens_parameter: self.max_tokens_parameter,
        }
    }
}

/// `[[ai.assistants]]`: a model with what it is told and how it answers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AssistantSettings {
    /// Its name in the API.
    pub name: String,
    /// Its name for people; `name` when absent.
    pub title: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// The model, by the name under which it is offered.
    pub model: String,
    /// What the model is told.
    pub instructions: Option<String>,
    /// The file that holds it, instead.
    pub instructions_file: Option<PathBuf>,
    /// What that file holds.
    #[serde(skip)]
    pub read_instructions: Option<String>,
    /// The plans whose holders may use it; all when absent.
    pub plans: Option<Vec<String>>,
    /// The most tokens out.
    pub max_output_tokens: Option<i64>,
    /// What callers cannot choose.
    pub temperature: Option<f64>,
    /// The same.
    pub top_p: Option<f64>,
    /// The same.
    pub frequency_penalty: Option<f64>,
    /// The same.
    pub presence_penalty: Option<f64>,
    /// The same.
    pub reasoning_effort: Option<String>,
    /// The same.
    pub seed: Option<i64>,
}

impl AssistantSettings {
    /// The assistant itself.
    pub fn assistant(&self) -> Assistant {
        let numbers = [
            ("temperature", self.temperature),
            ("top_p", self.top_p),
            ("frequency_penalty", self.frequency_penalty),
            ("presence_penalty", self.presence_penalty),
        ];
        let numbers = numbers
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?.into())));
        let effort = self
            .reasoning_effort
            .clone()
            .map(|effort| ("reasoning_effort", effort.into()));
        let seed = self.seed.map(|seed| ("seed", seed.into()));
        let parameters = numbers.chain(effort).chain(seed);
        Assistant {
            id: self.name.clone(),
            title: self.title.clone().unwrap_or_else(|| self.name.clone()),
            description: self.description.clone(),
            model: self.model.clone(),
            instructions: self
                .instructions
                .as_ref()
                .or(self.read_instructions.as_ref())
                .cloned()
                .unwrap_or_default(),
            parameters: parameters.map(|(name, value)| (name.to_owned(), value)).collect(),
            max_output_tokens: self.max_output_tokens,
            plans: self.plans.clone(),
        }
    }
}

/// `[chat]`: conversations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChatSettings {
    /// Tokens of recent turns sent along.
    pub memory_tokens: u32,
    /// Largest message, in bytes.
    pub max_message_bytes: usize,
    /// Most messages of a conversation; 0: no limit.
    pub max_messages: u32,
    /// Most conversations of an account; 0: no limit.
    pub max_conversations: u32,
    /// Days after which an unused conversation is deleted; 0: never.
    pub conversation_days: u32,
    /// Seconds for which an answer goes on unread.
    pub resume_seconds: u32,
}

/// `[moderation]`: who looks at what goes to models and comes from them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModerationSettings {
    /// Who looks.
    pub adapter: ModerationAdapter,
    /// The operator's own rules.
    pub rules: Vec<ModerationRuleSettings>,
    /// What happens while nobody can look.
    pub on_failure: OnFailure,
    /// What is answered instead.
    pub refusal: String,
    /// The most bytes of a streamed answer that are held back.
    pub hold_bytes: usize,
    /// How many bytes before them are looked at again.
    pub look_behind_bytes: usize,
    /// The server that judges.
    #[serde(deserialize_with = "unless_empty")]
    pub openai_base_url: Option<Url>,
    /// Its key; that of `[ai]` when not set.
    #[serde(deserialize_with = "unless_empty")]
    pub openai_api_key: Option<SecretString>,
    /// The model that judges.
    pub openai_model: String,
    /// From which scores on categories count.
    pub openai_thresholds: Vec<ThresholdSettings>,
    /// What follows when one does.
    pub openai_action: RuleAction,
    /// What is looked at.
    pub openai_where: RuleWhere,
    /// Milliseconds for a question.
    pub openai_timeout_ms: u32,
}

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ModerationAdapter {
    /// Nobody.
    None,
    /// The operator's own rules.
    Rules,
    /// A server that speaks OpenAI's moderation API.
    OpenAi,
}

/// What happens while nobody can look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Nothing passes.
    Refuse,
    /// Everything does.
    Allow,
}

/// `[[moderation.rules]]`: a pattern, or words.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModerationRuleSettings {
    /// Its name in the audit log.
    pub name: String,
    /// A regular expression.
    pub pattern: Option<String>,
    /// Words and phrases.
    #[serde(default)]
    pub words: Vec<String>,
    /// Where it looks.
    #[serde(rename = "where", default)]
    pub at: RuleWhere,
    /// What follows.
    #[serde(default)]
    pub action: RuleAction,
}

impl ModerationRuleSettings {
    /// The rule itself.
    pub fn rule(&self) -> Rule {
        Rule {
            name: self.name.clone(),
            pattern: self.pattern.clone(),
            words: self.words.clone(),
            at: match self.at {
                RuleWhere::Input => Where::Input,
                RuleWhere::Output => Where::Output,
                RuleWhere::Both => Where::Both,
            },
            consequence: self.action.consequence(),
        }
    }
}

impl RuleAction {
    /// What follows.
    pub fn consequence(self) -> Consequence {
        match self {
            Self::Refuse => Consequence::Refuse,
            Self::Flag => Consequence::Flag,
        }
    }
}

/// Where a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleWhere {
    /// At what goes to the model.
    Input,
    /// At what comes from it.
    Output,
    /// At both.
    #[default]
    Both,
}

/// What follows from a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleAction {
    /// It goes no further.
    #[default]
    Refuse,
    /// It is recorded.
    Flag,
}

/// A threshold of `moderation.openai_thresholds`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThresholdSettings {
    /// The category, as the server spells it.
    pub category: String,
    /// From 0 to 1.
    pub score: f64,
}

/// `[cache]`: answers that are given again.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CacheSettings {
    /// The most bytes of them; 0: none.
    pub max_bytes: u64,
    /// Seconds for which they are.
    pub ttl_seconds: u32,
    /// Whether accounts are given one another's.
    pub shared: bool,
    /// Whether those that were to vary are kept as well.
    pub any_temperature: bool,
}
