//! The model providers, out of the configuration.

use std::sync::Arc;
use std::time::Duration;

use anteroom_ai_provider::{
    Anthropic, AnthropicOptions, AzureOptions, Echo, Gemini, GeminiOptions, OpenAiCompatible, OpenAiOptions, Timeouts,
};
use anteroom_domain::chat::{Direction, SendUser};
use anteroom_moderation::{OpenAiModeration, OpenAiModerationOptions, Rule, Rules};
use anteroom_ports::chat::Moderator;
use anteroom_ports::{ChatModel, Clock, Embedder};
use anteroom_services::chat::{OnDisconnect, Provider};
use anyhow::Context as _;
use secrecy::SecretString;
use url::Url;

use crate::config::{
    DRAIN_SECONDS, ModerationAdapter, ModerationRuleSettings, OnDisconnectName, ProviderKind, ProviderSettings,
    RuleWhere, Settings,
};

/// The model providers that the settings name. Connects to nothing yet.
pub(crate) fn providers(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Vec<Provider>> {
    let made = |provider: &ProviderSettings| {
        let made = provider_of(settings, provider, clock);
        made.with_context(|| format!("the model provider `{}` cannot be used", provider.name))
    };
    settings.model_providers().iter().map(made).collect()
}

fn provider_of(settings: &Settings, provider: &ProviderSettings, clock: &Arc<dyn Clock>) -> anyhow::Result<Provider> {
    fn both<P: ChatModel + Embedder + 'static>(made: P) -> (Arc<dyn ChatModel>, Option<Arc<dyn Embedder>>) {
        let made = Arc::new(made);
        (made.clone(), Some(made))
    }
    let ai = &settings.ai;
    let ms = |n: u32| Duration::from_millis(n.into());
    let timeouts = Timeouts {
        connect: ms(ai.connect_timeout_ms),
        first_token: ms(ai.first_token_timeout_ms),
        idle: ms(ai.idle_timeout_ms),
        total: ms(ai.total_timeout_ms),
    };
    let base_url = |own: &str| provider.base_url.clone().map_or_else(|| Url::parse(own), Ok);
    let api_key = provider.api_key.clone().unwrap_or_else(|| SecretString::from(""));
    let openai = |azure| -> anyhow::Result<_> {
        let options = OpenAiOptions {
            base_url: base_url("https://api.openai.com/v1")?,
            api_key: api_key.clone(),
            timeouts,
            azure,
        };
        Ok(both(OpenAiCompatible::new(options)?))
    };
    let (models, embedder) = match provider.kind {
        ProviderKind::Echo => both(Echo::new(Arc::clone(clock))),
        ProviderKind::OpenAi => openai(None)?,
        ProviderKind::Azure => openai(Some(AzureOptions {
            api_version: provider.api_version.clone(),
        }))?,
        ProviderKind::Anthropic => {
            let options = AnthropicOptions {
                base_url: base_url("https://api.anthropic.com/v1")?,
                api_key,
                timeouts,
                max_tokens: ai.max_output_tokens,
            };
            let models: Arc<dyn ChatModel> = Arc::new(Anthropic::new(options, Arc::clone(clock))?);
            (models, None)
        }
        ProviderKind::Gemini => {
            let options = GeminiOptions {
                base_url: base_url("https://generativelanguage.googleapis.com/v1beta")?,
                api_key,
                timeouts,
            };
            both(Gemini::new(options, Arc::clone(clock))?)
        }
    };
    let longest = provider.drain_seconds.unwrap_or(DRAIN_SECONDS);
    Ok(Provider {
        name: provider.name.clone(),
        models,
        embedder,
        on_disconnect: match provider.on_disconnect() {
            OnDisconnectName::Cancel => OnDisconnect::Cancel,
            OnDisconnectName::Drain => OnDisconnect::Drain(Duration::from_secs(longest.into())),
        },
        send_user: match provider.send_user {
            None => SendUser::Replace,
            Some(true) => SendUser::Always,
            Some(false) => SendUser::Never,
        },
    })
}

/// Who looks at what goes to models and comes from them, if anybody does. Connects to nothing yet.
pub(crate) fn moderator(settings: &Settings) -> anyhow::Result<Option<Arc<dyn Moderator>>> {
    let m = &settings.moderation;
    Ok(match m.adapter {
        ModerationAdapter::None => None,
        ModerationAdapter::Rules => {
            let rules: Vec<Rule> = m.rules.iter().map(ModerationRuleSettings::rule).collect();
            Some(Arc::new(Rules::new(&rules).context("moderation.rules")?))
        }
        ModerationAdapter::OpenAi => {
            let own = || Url::parse("https://api.openai.com/v1");
            let directions = match m.openai_where {
                RuleWhere::Input => vec![Direction::Input],
                RuleWhere::Output => vec![Direction::Output],
                RuleWhere::Both => vec![Direction::Input, Direction::Output],
            };
            let thresholds = m.openai_thresholds.iter().map(|it| (it.category.clone(), it.score));
            let options = OpenAiModerationOptions {
                base_url: m.openai_base_url.clone().map_or_else(own, Ok)?,
                api_key: settings.moderation_key().unwrap_or_else(|| SecretString::from("")),
                model: m.openai_model.clone(),
                thresholds: thresholds.collect(),
                consequence: m.openai_action.consequence(),
                directions,
                timeout: Duration::from_millis(m.openai_timeout_ms.into()),
            };
            Some(Arc::new(
                OpenAiModeration::new(options).context("the moderator cannot be used")?,
            ))
        }
    })
}
