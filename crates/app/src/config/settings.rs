//! The settings as plain data, one struct per section of `config/anteroom.default.toml`, where each key's
//! meaning, unit, default and range stand. Values that follow from other keys are already filled in.

use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer};
use url::Url;

use super::ai::{AiSettings, CacheSettings, ChatSettings, ModerationSettings};
use super::billing::{BillingSettings, StripeSettings, StripeStubSettings};
use super::database_target::DatabaseTarget;
use super::telemetry::TelemetrySettings;

/// Every setting.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "a section says what it is in its own type")]
pub struct Settings {
    /// Development or production.
    pub env: Environment,
    pub server: ServerSettings,
    pub metrics: MetricsSettings,
    pub telemetry: TelemetrySettings,
    pub data: DataSettings,
    pub database: DatabaseSettings,
    pub secret: SecretSettings,
    pub product: ProductSettings,
    pub accounts: AccountsSettings,
    pub links: LinksSettings,
    pub passwords: PasswordsSettings,
    pub sessions: SessionsSettings,
    pub access: AccessSettings,
    pub cookie: CookieSettings,
    pub protection: ProtectionSettings,
    pub security: SecuritySettings,
    pub ai: AiSettings,
    pub chat: ChatSettings,
    pub moderation: ModerationSettings,
    pub cache: CacheSettings,
    pub billing: BillingSettings,
    pub stripe: StripeSettings,
    pub stripe_stub: StripeStubSettings,
    pub mail: MailSettings,
    pub log: LogSettings,
}

/// `env`: what the deployment is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Environment {
    /// Starts with nothing set.
    Development,
    /// Refuses what is unsafe.
    Production,
}

/// `[server]`: the listener of the API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerSettings {
    /// Address to listen on: an IP address (IPv6 without brackets) or a name.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Where clients reach the server; `http://{host}:{port}` when not set.
    pub public_url: Url,
    /// Address of the web frontend.
    #[serde(deserialize_with = "unless_empty")]
    pub frontend_url: Option<Url>,
    /// Proxies whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they name the client's country.
    #[serde(deserialize_with = "unless_empty")]
    pub country_header: Option<String>,
    /// Threads that serve; 0 is one per core.
    pub workers: usize,
    /// Largest body on the chat routes, in bytes.
    pub max_body_bytes: usize,
    /// Largest body elsewhere, in bytes.
    pub max_json_bytes: usize,
    /// Seconds for running requests to finish at the end.
    pub shutdown_grace_seconds: u32,
    /// Seconds after which a stream that has nothing to say shows that it is there.
    pub heartbeat_seconds: u32,
    /// Seconds that what a process runs is held after its death.
    pub lease_seconds: u32,
}

/// `[metrics]`: the Prometheus listener.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSettings {
    /// Whether there is one.
    pub enabled: bool,
    /// Address to listen on.
    pub host: String,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
}

/// `[data]`: what is kept on disk.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// The folder.
    pub dir: PathBuf,
}

/// `[database]`: the store.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DatabaseSettings {
    /// Which database; `{data.dir}/anteroom.db` when not set.
    pub url: DatabaseTarget,
    /// Connections at most (SQLite: readers).
    pub max_connections: u32,
    /// Milliseconds to wait for a free connection.
    pub acquire_timeout_ms: u32,
    /// Milliseconds for one statement.
    pub statement_timeout_ms: u32,
    /// Behind a pooler in transaction mode: keep no prepared statements.
    pub pooler: bool,
    /// Whether a server that starts brings the schema up.
    pub migrate: MigrateAtStart,
    /// Whether admins may change the schema over the API.
    pub migrate_api: MigrateOverApi,
    /// Where migrations are applied, if not at `url`.
    #[serde(deserialize_with = "unless_empty")]
    pub migrate_url: Option<SecretString>,
}

/// `database.migrate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrateAtStart {
    /// Always, but for PostgreSQL in production.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// `database.migrate_api`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MigrateOverApi {
    /// In development only.
    Auto,
    /// Yes.
    On,
    /// No.
    Off,
}

/// `[secret]`: the deployment's secret.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretSettings {
    /// At least 32 characters; `None` in development means "make one and keep it in the data folder".
    #[serde(deserialize_with = "unless_empty")]
    pub key: Option<SecretString>,
}

/// `[product]`: what people read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductSettings {
    /// The product's name.
    pub name: String,
    /// Accent colour, `#rrggbb`.
    pub color: String,
    /// A picture instead of the name.
    #[serde(deserialize_with = "unless_empty")]
    pub logo_url: Option<Url>,
    /// Where to turn with questions.
    #[serde(deserialize_with = "unless_empty")]
    pub support: Option<String>,
}

/// `[links]`: the pages that links in mails lead to, as paths.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinksSettings {
    /// Confirms an address.
    pub verify_email: String,
    /// Sets a password.
    pub reset_password: String,
    /// Confirms a new address.
    pub confirm_email: String,
    /// Takes a change of address back.
    pub undo_email_change: String,
    /// Ends a session.
    pub revoke_session: String,
    /// Shows the plan.
    pub billing: String,
}

/// `[accounts]`: who may have one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountsSettings {
    /// Whether anyone may sign up.
    pub signup: Signup,
    /// Whether an address has to be proven before anyone is signed in with it.
    pub require_verified_email: bool,
    /// Days that an account waits to be erased after its owner has asked for it.
    pub deletion_grace_days: u32,
}

/// `accounts.signup`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Signup {
    /// Anyone may.
    Open,
    /// Only the operator makes accounts.
    Closed,
}

/// `[passwords]`: strength and hashing.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordsSettings {
    /// bcrypt's cost.
    pub bcrypt_cost: u32,
    /// Least zxcvbn score, 0 to 4.
    pub min_strength: u8,
    /// A filter of breached passwords.
    #[serde(deserialize_with = "unless_empty")]
    pub breached_filter: Option<PathBuf>,
    /// Threads that hash; 0 is one per core.
    pub hash_threads: usize,
    /// Milliseconds of expected wait beyond which hashing is refused.
    pub max_wait_ms: u32,
}

/// `[sessions]`: how long things live.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsSettings {
    /// Days a session lasts.
    pub lifetime_days: u32,
    /// Minutes an access token is valid.
    pub access_token_minutes: u32,
    /// Seconds in which a used refresh token still answers with its successor.
    pub refresh_grace_seconds: u32,
    /// How new keys sign access tokens.
    pub signing_algorithm: SigningAlgorithmName,
    /// Days after which a new signing key takes over; 0 for never.
    pub key_rotation_days: u32,
    /// Minutes after which an unused session ends; 0 is never.
    pub idle_minutes: u32,
    /// Sessions an account may have at once; 0 is any number.
    pub max_per_user: usize,
    /// What happens to a login beyond that.
    pub when_full: WhenFullName,
}

/// `[access]`: API keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSettings {
    /// API keys that an account may have, expired ones not counted.
    pub max_api_keys_per_user: usize,
}

/// `sessions.signing_algorithm`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SigningAlgorithmName {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256.
    Es256,
}

/// `sessions.when_full`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFullName {
    /// The session that began first ends.
    EvictOldest,
    /// The login is refused.
    Refuse,
}

/// `[cookie]`: the session cookie.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CookieSettings {
    /// Its `SameSite` attribute.
    pub same_site: SameSite,
    /// Its `Secure` attribute; read it through [`Settings::cookie_secure`].
    pub secure: CookieSecure,
}

/// `cookie.same_site`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the words of RFC 6265bis, section 5.6.7")]
pub enum SameSite {
    Lax,
    Strict,
    None,
}

/// `cookie.secure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CookieSecure {
    /// As the public URL's scheme says.
    Auto,
    /// Always.
    True,
    /// Never.
    False,
}

/// `[protection]`: limits per minute, and lockout.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProtectionSettings {
    /// Whether limits and lockout are on.
    pub enabled: bool,
    /// Sign-ups per client address.
    pub signup_per_minute: u32,
    /// Logins per client address.
    pub login_per_minute: u32,
    /// Changes of password or e-mail and re-authentications per user.
    pub sensitive_per_minute: u32,
    /// Links asked for and tokens presented, per client address.
    pub recover_per_minute: u32,
    /// Everything else, per user or client address.
    pub default_per_minute: u32,
    /// Failed logins of an account that cost nothing.
    pub lockout_free_failures: u32,
    /// Seconds of the first block.
    pub lockout_first_delay_seconds: u32,
    /// Seconds of the longest block.
    pub lockout_longest_delay_seconds: u32,
    /// Hours without a failed login after which all are forgotten.
    pub lockout_forget_hours: u32,
    /// Failed logins from a client address that cost nothing.
    pub lockout_address_free_failures: u32,
    /// Minutes after which an address is forgiven one failed login.
    pub lockout_address_forgive_minutes: u32,
    /// The operator's own limits.
    pub rules: Vec<RuleSettings>,
}

/// `[[protection.rules]]`: a limit of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Its name in headers, answers and the log.
    pub name: String,
    /// Of which requests.
    pub route: String,
    /// By what they are counted apart.
    pub per: RuleKeyName,
    /// How many.
    pub limit: u32,
    /// In which while.
    pub window: RuleWindow,
    /// What happens to more.
    #[serde(default)]
    pub action: RuleActionName,
}

/// `rules[].per`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RuleKeyName {
    /// By account.
    User,
    /// By API key.
    ApiKey,
    /// By client address.
    Address,
}

/// `rules[].window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum RuleWindow {
    Second,
    Minute,
    Hour,
    Day,
}

/// `rules[].action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RuleActionName {
    /// It is refused.
    #[default]
    Refuse,
    /// It is logged.
    Log,
}

/// `[security]`: headers.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecuritySettings {
    /// CSP sources that may frame the pages; empty is `'none'`.
    pub frame_ancestors: Vec<String>,
}

/// `[mail]`: how mails leave.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MailSettings {
    /// The way.
    pub transport: MailTransport,
    /// The mail server; read it through [`Settings::mail_server`].
    #[serde(deserialize_with = "unless_empty")]
    pub smtp_url: Option<SecretString>,
    /// Certificates to trust beside the system's.
    #[serde(deserialize_with = "unless_empty")]
    pub smtp_ca_file: Option<PathBuf>,
    /// Milliseconds to connect, and for each command.
    pub timeout_ms: u32,
    /// Mails on their way at once.
    pub max_connections: u32,
    /// The sender.
    pub from: String,
}

/// `mail.transport`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTransport {
    /// To a mail server.
    Smtp,
    /// Files under `{data.dir}/mail`.
    Folder,
    /// Nowhere.
    None,
}

/// `[log]`: what is logged and how.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSettings {
    /// A level, or directives per module.
    pub level: String,
    /// The shape of a line.
    pub format: LogFormat,
}

/// `log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogFormat {
    Text,
    Json,
}

/// An empty text stands for "not set".
pub(super) fn unless_empty<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    T::deserialize(serde::de::value::StringDeserializer::new(text)).map(Some)
}
