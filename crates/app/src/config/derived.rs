//! What follows from other keys: defaults nobody wrote down, and questions the settings answer.

use std::net::IpAddr;

use anteroom_mail_smtp::SmtpTarget;
use secrecy::{ExposeSecret as _, SecretString};
use url::{Host, Url};

use super::ai::{ProviderKind, ProviderSettings};
use super::database_target::DatabaseTarget;
use super::layers::Layers;
use super::settings::{CookieSecure, Environment, MailTransport, MigrateAtStart, MigrateOverApi, Settings};

const OPENAI: &str = "https://api.openai.com/v1";

/// Fills in the empty keys whose default follows from other keys.
pub(super) fn fill(layers: &mut Layers) {
    let is_production = layers.text("env") == "production";
    let by_env = |development: &'static str, production: &'static str| {
        if is_production { production } else { development }
    };
    let host = layers.text("server.host");
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let port = layers
        .values
        .get("server.port")
        .and_then(|(port, _)| port.as_integer())
        .unwrap_or_default();
    layers.fill("server.public_url", &format!("http://{host}:{port}"));
    layers.fill(
        "database.url",
        &format!("sqlite://{}/anteroom.db", layers.text("data.dir").trim_end_matches('/')),
    );
    let provider = if layers.text("stripe.secret_key").is_empty() {
        by_env("stripe-stub", "none")
    } else {
        "stripe"
    };
    layers.fill("billing.provider", provider);
    let has_mail_server = !layers.text("mail.smtp_url").is_empty();
    let transport = if has_mail_server {
        "smtp"
    } else {
        by_env("folder", "none")
    };
    layers.fill("mail.transport", transport);
    layers.fill("log.format", by_env("text", "json"));
    if !layers.text("ai.openai_api_key").is_empty() {
        layers.fill("ai.openai_base_url", OPENAI);
    }
}

impl Settings {
    /// Whether unsafe settings are refused.
    pub fn is_production(&self) -> bool {
        self.env == Environment::Production
    }

    /// Where clients reach the server.
    pub fn public_url(&self) -> Url {
        self.server.public_url.clone()
    }

    /// The origins whose pages may call the API with credentials: the public URL's and the frontend's, as
    /// browsers write them in `Origin` (RFC 6454, section 6.1). In development also this machine's own names for the
    /// port: whoever tries it out types either, whatever the greeting says.
    pub fn allowed_origins(&self) -> Vec<String> {
        let named = [Some(self.public_url()), self.server.frontend_url.clone()];
        let own = ["localhost", "127.0.0.1"]
            .map(|host| Url::parse(&format!("http://{host}:{}", self.server.port)).ok())
            .map(|url| url.filter(|_| !self.is_production()));
        let mut origins: Vec<String> = Vec::new();
        for url in named.into_iter().chain(own).flatten() {
            let origin = url.origin().ascii_serialization();
            if !origins.contains(&origin) {
                origins.push(origin);
            }
        }
        origins
    }

    /// Whether the session cookie carries `Secure`.
    pub fn cookie_secure(&self) -> bool {
        match self.cookie.secure {
            CookieSecure::True => true,
            CookieSecure::False => false,
            // Listening everywhere without a public URL, nobody said which scheme clients use. In production
            // that is a proxy's https, as on a hosting platform; guessing http would send sessions in the clear.
            CookieSecure::Auto => {
                self.server.public_url.scheme() == "https" || (self.is_production() && !self.knows_public_url())
            }
        }
    }

    /// Where the server reaches itself, and commands beside it reach it.
    pub fn local_url(&self) -> Result<Url, url::ParseError> {
        let host = match self.server.host.parse::<IpAddr>() {
            Ok(IpAddr::V4(address)) if address.is_unspecified() => "127.0.0.1".to_owned(),
            Ok(IpAddr::V6(address)) if address.is_unspecified() => "[::1]".to_owned(),
            Ok(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.server.host.clone(),
        };
        Url::parse(&format!("http://{host}:{}", self.server.port))
    }

    /// Whether a server that starts brings the schema up, rather than only looking at it.
    pub fn migrates_at_start(&self) -> bool {
        match self.database.migrate {
            MigrateAtStart::Always => true,
            MigrateAtStart::Never => false,
            MigrateAtStart::Auto => !self.is_production() || matches!(self.database.url, DatabaseTarget::Sqlite(_)),
        }
    }

    /// Whether admins may change the schema over the API.
    pub fn migrates_over_api(&self) -> bool {
        match self.database.migrate_api {
            MigrateOverApi::On => true,
            MigrateOverApi::Off => false,
            MigrateOverApi::Auto => !self.is_production(),
        }
    }

    /// The database.
    pub fn database(&self) -> DatabaseTarget {
        self.database.url.clone()
    }

    /// Whatever may answer, at least one: the server of `OPENAI_BASE_URL` and `OPENAI_API_KEY`, where one is set and
    /// none of `ai.providers` has its name, then those; the built-in `echo` where there is nothing else.
    pub fn model_providers(&self) -> Vec<ProviderSettings> {
        let named = |name: &str, kind| ProviderSettings {
            name: name.to_owned(),
            kind,
            base_url: None,
            api_version: None,
            api_key_variable: None,
            on_disconnect: None,
            drain_seconds: None,
            send_user: None,
            api_key: None,
        };
        let mut providers = self.ai.providers.clone();
        let taken = providers.iter().any(|provider| provider.name == "openai");
        if let Some(url) = self.ai.openai_base_url.clone().filter(|_| !taken) {
            let provider = ProviderSettings {
                base_url: Some(url),
                api_key: self.ai.openai_api_key.clone(),
                ..named("openai", ProviderKind::OpenAi)
            };
            providers.insert(0, provider);
        }
        if providers.is_empty() {
            providers.push(named("echo", ProviderKind::Echo));
        }
        providers
    }

    /// The key of the server that judges texts: its own, or the model provider's where that is `OpenAI` as well.
    pub fn moderation_key(&self) -> Option<SecretString> {
        let own = self.moderation.openai_api_key.clone();
        // Another server must not be shown the provider's key.
        own.or_else(|| {
            let same =
                self.moderation.openai_base_url.is_none() || self.moderation.openai_base_url == self.ai.openai_base_url;
            self.ai.openai_api_key.clone().filter(|_| same)
        })
    }

    /// The mail server, if mails go to one.
    pub fn mail_server(&self) -> Option<SmtpTarget> {
        if self.mail.transport != MailTransport::Smtp {
            return None;
        }
        SmtpTarget::parse(self.mail.smtp_url.as_ref()?.expose_secret())
    }

    /// The address of a page that a link in a mail leads to. It is the frontend's or the public URL's, never one that
    /// a request names.
    pub fn page(&self, path: &str) -> String {
        let base = self.server.frontend_url.as_ref().unwrap_or(&self.server.public_url);
        format!("{}{path}", base.as_str().trim_end_matches('/'))
    }

    /// Whether the public URL is one that a client could use: a wildcard address is not.
    pub(super) fn knows_public_url(&self) -> bool {
        !self.public_address().is_some_and(|address| address.is_unspecified())
    }

    /// Whether the public URL is this machine's own, reached by nobody else.
    pub(super) fn is_loopback(&self) -> bool {
        match self.public_address() {
            Some(address) => address.is_loopback(),
            None => self
                .server
                .public_url
                .domain()
                .is_some_and(|name| name == "localhost" || name.ends_with(".localhost")),
        }
    }

    fn public_address(&self) -> Option<IpAddr> {
        match self.server.public_url.host()? {
            Host::Ipv4(address) => Some(address.into()),
            Host::Ipv6(address) => Some(address.into()),
            Host::Domain(_) => None,
        }
    }
}
