//! Which adapter stands behind which port, and what the services are told of the settings.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use anteroom_crypto::{BcryptHasher, BcryptOptions, DeploymentKeys, KeyRing, KeyRingOptions};
use anteroom_domain::accounts::PasswordPolicy;
use anteroom_domain::billing::{AccessPolicy, CreditRate, ModelPrice, NanoUsd, PriceBook};
use anteroom_domain::chat::{BreakerPolicy, ModelAlias};
use anteroom_domain::protection::LockoutPolicy;
use anteroom_domain::sessions::{SessionLimit, SigningAlgorithm, WhenFull};
use anteroom_governor::MemoryLimiter;
use anteroom_mail_folder::MailFolder;
use anteroom_mail_smtp::{MailSmtp, SmtpOptions};
use anteroom_password_filter::PasswordFilter;
use anteroom_ports::chat::Moderator;
use anteroom_ports::{Clock, Ids, Mailer, PasswordHasher, PasswordList, PaymentProvider, Secrets, Store, TokenSigner};
use anteroom_postgres::{PostgresOptions, PostgresStore};
use anteroom_services::access::AccessOptions;
use anteroom_services::accounts::{AccountsOptions, PasswordRules};
use anteroom_services::billing::{BillingOptions, NoticeOptions};
use anteroom_services::chat::{CacheOptions, ChatOptions, ModerationOptions, Provider, RoutingOptions};
use anteroom_services::migrations::{OwnMigrations, schema_status};
use anteroom_services::protection::{Protection, ProtectionOptions};
use anteroom_services::sessions::SessionsOptions;
use anteroom_services::webhooks::{LetterOptions, Links, WebhooksOptions};
use anteroom_services::{Access, Accounts, Audit, Billing, Chat, Ops, Sessions, Webhooks};
use anteroom_sqlite::{SqliteOptions, SqliteStore};
use anteroom_stripe_stub::StubOptions;
use anyhow::Context as _;
use jiff::SignedDuration;

use crate::config::{
    AliasSettings, DatabaseTarget, MailTransport, OnFailure, ProviderKind, Settings, SigningAlgorithmName, Signup,
    WhenFullName,
};
use crate::migrations::{administered, check};
use crate::payments::{payments, stub};
use crate::plans::{catalogue, packs, requirements, rule};
use crate::providers::{moderator, providers};
use crate::secret_file::{private_folder, secret_key};
use crate::system::{SystemClock, SystemIds};
use crate::target_metrics::TargetMetrics;
use crate::telemetry::places;

/// The name of the built-in model.
pub(crate) const ECHO_MODEL: &str = "echo";

/// Opens the store that the settings name. Its schema is left as it is.
pub async fn open_store(settings: &Settings) -> anyhow::Result<Arc<dyn Store>> {
    let db = &settings.database;
    let acquire_timeout = Duration::from_millis(db.acquire_timeout_ms.into());
    match settings.database() {
        DatabaseTarget::Sqlite(path) => {
            if path.starts_with(&settings.data.dir) {
                private_folder(&settings.data.dir)?;
            }
            let name = path.display().to_string();
            let readers = usize::try_from(db.max_connections).unwrap_or(4).clamp(1, 8);
            let store = SqliteStore::open(SqliteOptions {
                path,
                readers,
                acquire_timeout,
            })
            .await;
            Ok(Arc::new(store.with_context(|| {
                format!("the SQLite database {name} cannot be opened")
            })?))
        }
        DatabaseTarget::Postgres(url) => {
            let options = PostgresOptions {
                url,
                max_connections: usize::try_from(db.max_connections).unwrap_or(16),
                acquire_timeout,
                statement_timeout: Duration::from_millis(db.statement_timeout_ms.into()),
                pooler: db.pooler,
                application_name: "anteroom".to_owned(),
            };
            let store = PostgresStore::open(options)
                .await
                .context("the PostgreSQL server cannot be used")?;
            Ok(Arc::new(store))
        }
    }
}

/// Everything behind the ports.
pub struct Adapters {
    /// The store.
    pub store: Arc<dyn Store>,
    /// Password hashing.
    pub hasher: Arc<dyn PasswordHasher>,
    /// The most common passwords.
    pub common_passwords: Arc<dyn PasswordList>,
    /// Breached passwords, if there is a list.
    pub breached_passwords: Option<Arc<dyn PasswordList>>,
    /// Access tokens.
    pub signer: Arc<dyn TokenSigner>,
    /// Digests.
    pub secrets: Arc<dyn Secrets>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Identifiers.
    pub ids: Arc<dyn Ids>,
    /// Mail, if it can leave.
    pub mailer: Option<Arc<dyn Mailer>>,
    /// Models.
    pub providers: Vec<Provider>,
    /// Who looks at texts, if anybody does.
    pub moderator: Option<Arc<dyn Moderator>>,
    /// Payment, if anything is sold.
    pub payments: Option<Arc<dyn PaymentProvider>>,
    /// The small Stripe that a server brings along, if that is who takes the money.
    pub stub: Option<StubOptions>,
    /// Rate limits.
    pub limiter: Arc<MemoryLimiter>,
}

/// The use cases for a command beside a running server, on the store as it is: nothing of its schema is changed.
pub(crate) async fn beside_server(settings: &Settings) -> anyhow::Result<Services> {
    let adapters = Adapters::new(settings).await?;
    check(&schema_status(&*adapters.store).await?)?;
    let services = Services::new(settings, &adapters)?;
    services.ops.check_key().await?;
    Ok(services)
}

impl Adapters {
    /// Makes the adapters that the settings name.
    pub async fn new(settings: &Settings) -> anyhow::Result<Self> {
        // The first of several in one process (tests) stands.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        anteroom_crypto::install_crypto();
        let keys = DeploymentKeys::derive(&secret_key(settings)?)?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let issuer = settings.public_url().as_str().trim_end_matches('/').to_owned();
        let hasher = BcryptHasher::new(BcryptOptions {
            cost: settings.passwords.bcrypt_cost,
            threads: NonZeroUsize::new(settings.passwords.hash_threads),
            max_wait: Duration::from_millis(settings.passwords.max_wait_ms.into()),
            pepper: keys.password_pepper(),
        })
        .context("password hashing cannot start")?;
        let ring = KeyRingOptions {
            audience: issuer.clone(),
            issuer,
            token_life: access_token_life(settings),
        };
        Ok(Self {
            store: open_store(settings).await?,
            hasher: Arc::new(hasher),
            common_passwords: Arc::new(PasswordFilter::common().context("the bundled list of common passwords")?),
            breached_passwords: match breached_passwords(settings)? {
                Some(list) => Some(Arc::new(list)),
                None => None,
            },
            signer: Arc::new(KeyRing::new(&keys, ring)?),
            mailer: mailer(settings, &clock)?,
            providers: providers(settings, &clock)?,
            moderator: moderator(settings)?,
            payments: payments(settings, &keys)?,
            stub: stub(settings, &keys)?,
            secrets: Arc::new(keys),
            clock,
            ids: Arc::new(SystemIds),
            limiter: Arc::new(MemoryLimiter::new()),
        })
    }
}

/// The operator's list of breached passwords, read as a whole.
pub(crate) fn breached_passwords(settings: &Settings) -> anyhow::Result<Option<PasswordFilter>> {
    let Some(path) = &settings.passwords.breached_filter else {
        return Ok(None);
    };
    let opened = PasswordFilter::open(path);
    let named = || format!("passwords.breached_filter: {} cannot be used", path.display());
    Ok(Some(opened.with_context(named)?))
}

/// How mails leave, if they do. Connects to nothing yet.
pub(crate) fn mailer(settings: &Settings, clock: &Arc<dyn Clock>) -> anyhow::Result<Option<Arc<dyn Mailer>>> {
    match settings.mail.transport {
        MailTransport::None => Ok(None),
        MailTransport::Smtp => {
            let target = settings.mail_server().context("mail.smtp_url names no mail server")?;
            let options = SmtpOptions {
                target,
                from: settings.mail.from.clone(),
                timeout: Duration::from_millis(settings.mail.timeout_ms.into()),
                max_idle: usize::try_from(settings.mail.max_connections).unwrap_or(1),
                ca_file: settings.mail.smtp_ca_file.clone(),
            };
            let mailer = MailSmtp::new(options, Arc::clone(clock)).context("the mail settings cannot be used")?;
            Ok(Some(Arc::new(mailer)))
        }
        MailTransport::Folder => {
            private_folder(&settings.data.dir)?;
            let folder = settings.data.dir.join("mail");
            Ok(Some(Arc::new(MailFolder::new(
                &folder,
                &settings.mail.from,
                Arc::clone(clock),
            )?)))
        }
    }
}

/// The use cases, wired.
pub struct Services {
    /// API keys.
    pub access: Arc<Access>,
    /// Users.
    pub accounts: Arc<Accounts>,
    /// The audit log.
    pub audit: Arc<Audit>,
    /// Sessions.
    pub sessions: Arc<Sessions>,
    /// Plans and payment.
    pub billing: Arc<Billing>,
    /// Models and conversations.
    pub chat: Arc<Chat>,
    /// Operations.
    pub ops: Arc<Ops>,
    /// The outbox.
    pub webhooks: Arc<Webhooks>,
    /// Rate limits.
    pub protection: Arc<Protection>,
    /// Anteroom's own schema.
    pub migrations: Arc<OwnMigrations>,
}

impl Services {
    /// Wires the use cases to the adapters.
    pub fn new(settings: &Settings, a: &Adapters) -> anyhow::Result<Self> {
        let (store, clock, ids) = (|| Arc::clone(&a.store), || Arc::clone(&a.clock), || Arc::clone(&a.ids));
        let audit = Arc::new(Audit::new(store(), clock(), ids(), Arc::clone(&a.secrets)));
        let webhooks = Arc::new(Webhooks::new(
            store(),
            a.mailer.clone(),
            clock(),
            ids(),
            Arc::clone(&a.secrets),
            webhooks_options(settings),
        ));
        let sessions = Arc::new(Sessions::new(
            store(),
            Arc::clone(&a.signer),
            Arc::clone(&a.secrets),
            clock(),
            ids(),
            Arc::clone(&audit),
            Arc::clone(&webhooks),
            sessions_options(settings),
        ));
        let access = Arc::new(Access::new(
            store(),
            Arc::clone(&a.secrets),
            clock(),
            ids(),
            Arc::clone(&sessions),
            Arc::clone(&webhooks),
            Arc::clone(&audit),
            AccessOptions {
                max_keys: settings.access.max_api_keys_per_user,
            },
        ));
        let protection = Arc::new(Protection::new(
            store(),
            Arc::clone(&a.secrets),
            clock(),
            Arc::clone(&webhooks),
            Arc::clone(&audit),
            Arc::<MemoryLimiter>::clone(&a.limiter),
            protection_options(settings),
        ));
        let billing = Billing::new(
            store(),
            a.payments.clone(),
            (clock(), ids()),
            Arc::clone(&sessions),
            Arc::clone(&audit),
            Arc::clone(&webhooks),
            billing_options(settings)?,
        );
        let accounts = Accounts::new(
            store(),
            Arc::clone(&a.hasher),
            clock(),
            ids(),
            Arc::clone(&sessions),
            Arc::clone(&billing),
            Arc::clone(&webhooks),
            Arc::clone(&audit),
            Arc::clone(&protection),
            accounts_options(settings, a),
        );
        let chat = Chat::new(
            store(),
            a.providers.clone(),
            clock(),
            ids(),
            Arc::clone(&a.secrets),
            Arc::new(TargetMetrics::new(places(settings))),
            Arc::clone(&access),
            Arc::clone(&billing),
            Arc::clone(&protection),
            Arc::clone(&audit),
            chat_options(settings, a),
        );
        Ok(Self {
            migrations: Arc::new(administered(settings, a, &audit)?),
            access,
            accounts,
            audit,
            sessions,
            billing,
            chat: Arc::new(chat),
            ops: Arc::new(Ops::new(
                store(),
                Arc::clone(&a.secrets),
                clock(),
                ids(),
                SignedDuration::from_secs(settings.server.lease_seconds.into()),
            )),
            webhooks,
            protection,
        })
    }
}

fn accounts_options(settings: &Settings, a: &Adapters) -> AccountsOptions {
    let days = |n: u32| SignedDuration::from_hours(i64::from(n) * 24);
    AccountsOptions {
        signup_open: settings.accounts.signup == Signup::Open,
        require_verified_email: settings.accounts.require_verified_email,
        deletion_grace: days(settings.accounts.deletion_grace_days),
        passwords: PasswordRules {
            policy: PasswordPolicy {
                min_strength: settings.passwords.min_strength,
            },
            common: Arc::clone(&a.common_passwords),
            breached: a.breached_passwords.clone(),
        },
    }
}

fn protection_options(settings: &Settings) -> ProtectionOptions {
    let p = &settings.protection;
    let seconds = |n: u32| SignedDuration::from_secs(n.into());
    let account = LockoutPolicy {
        free_failures: p.lockout_free_failures,
        first_delay: seconds(p.lockout_first_delay_seconds),
        longest_delay: seconds(p.lockout_longest_delay_seconds),
        forgive_every: None,
        forget_after: SignedDuration::from_hours(p.lockout_forget_hours.into()),
    };
    ProtectionOptions {
        enabled: p.enabled,
        signup_per_minute: p.signup_per_minute,
        login_per_minute: p.login_per_minute,
        sensitive_per_minute: p.sensitive_per_minute,
        recover_per_minute: p.recover_per_minute,
        default_per_minute: p.default_per_minute,
        rules: p.rules.iter().filter_map(rule).collect(),
        account_lockout: account,
        address_lockout: LockoutPolicy {
            free_failures: p.lockout_address_free_failures,
            forgive_every: Some(SignedDuration::from_mins(p.lockout_address_forgive_minutes.into())),
            ..account
        },
    }
}

fn sessions_options(settings: &Settings) -> SessionsOptions {
    let s = &settings.sessions;
    let days = |n: u32| SignedDuration::from_hours(i64::from(n) * 24);
    SessionsOptions {
        lifetime: days(s.lifetime_days),
        access_token: access_token_life(settings),
        refresh_grace: SignedDuration::from_secs(s.refresh_grace_seconds.into()),
        signing_algorithm: match s.signing_algorithm {
            SigningAlgorithmName::EdDsa => SigningAlgorithm::EdDsa,
            SigningAlgorithmName::Es256 => SigningAlgorithm::Es256,
        },
        key_rotation: (s.key_rotation_days > 0).then(|| days(s.key_rotation_days)),
        idle: (s.idle_minutes > 0).then(|| SignedDuration::from_mins(s.idle_minutes.into())),
        limit: (s.max_per_user > 0).then_some(SessionLimit {
            most: s.max_per_user,
            when_full: match s.when_full {
                WhenFullName::EvictOldest => WhenFull::EvictOldest,
                WhenFullName::Refuse => WhenFull::Refuse,
            },
        }),
    }
}

fn access_token_life(settings: &Settings) -> SignedDuration {
    SignedDuration::from_mins(settings.sessions.access_token_minutes.into())
}

/// Where buyers go when their checkout names no page: the frontend, or the API's reference where there is none.
fn landing_pages(settings: &Settings) -> anyhow::Result<(String, String)> {
    let page = |outcome: &str| -> anyhow::Result<String> {
        let mut url = match &settings.server.frontend_url {
            Some(frontend) => frontend.clone(),
            None => settings.public_url().join("/docs")?,
        };
        url.query_pairs_mut().append_pair("checkout", outcome);
        Ok(url.into())
    };
    Ok((page("success")?, page("cancelled")?))
}

fn billing_options(settings: &Settings) -> anyhow::Result<BillingOptions> {
    let (success_url, cancel_url) = landing_pages(settings)?;
    let billing = &settings.billing;
    Ok(BillingOptions {
        catalogue: catalogue(settings)?,
        policy: AccessPolicy {
            past_due_grace: SignedDuration::from_hours(i64::from(billing.past_due_grace_days) * 24),
            collection_paused_keeps: billing.paused_collection_keeps_plan,
        },
        credit_rate: CreditRate {
            usd_per_credit: NanoUsd::from_usd(billing.usd_per_credit),
        },
        packs: packs(settings),
        requires: requirements(settings),
        success_url,
        cancel_url,
        notices: NoticeOptions {
            trial_ending: limit(billing.trial_ending_days).map(|days| SignedDuration::from_hours(24 * days)),
            quota_windows: billing.quota_mails.windows(),
        },
    })
}

fn webhooks_options(settings: &Settings) -> WebhooksOptions {
    let (product, links) = (&settings.product, &settings.links);
    WebhooksOptions {
        letters: LetterOptions {
            product: product.name.clone(),
            color: product.color.clone(),
            logo_url: product.logo_url.clone().map(String::from),
            support: product.support.clone(),
            links: Links {
                verify_email: settings.page(&links.verify_email),
                reset_password: settings.page(&links.reset_password),
                confirm_email: settings.page(&links.confirm_email),
                undo_email_change: settings.page(&links.undo_email_change),
                revoke_session: settings.page(&links.revoke_session),
                billing: settings.page(&links.billing),
            },
        },
        parallel: usize::try_from(settings.mail.max_connections).unwrap_or(1),
        delivery_timeout: SmtpOptions::longest(Duration::from_millis(settings.mail.timeout_ms.into())),
    }
}

fn chat_options(settings: &Settings, a: &Adapters) -> ChatOptions {
    let (ai, usd) = (&settings.ai, NanoUsd::from_usd);
    let mut prices: HashMap<String, ModelPrice> = HashMap::new();
    let first = settings.model_providers().remove(0);
    let named = ai.aliases.iter().map(AliasSettings::alias);
    let plain = ai.models.iter().map(|model| ModelAlias::plain(&first.name, model));
    let mut models: Vec<Arc<ModelAlias>> = named.chain(plain).map(Arc::new).collect();
    if ai.aliases.is_empty() && first.kind == ProviderKind::Echo {
        models = vec![Arc::new(ModelAlias::plain(&first.name, ECHO_MODEL))];
    }
    if settings.model_providers().iter().any(|p| p.kind == ProviderKind::Echo) {
        prices.insert(ECHO_MODEL.to_owned(), ModelPrice::FREE);
    }
    for p in &ai.prices {
        let cached = p.cached_input_usd_per_million.unwrap_or(p.input_usd_per_million);
        let price = ModelPrice {
            input: usd(p.input_usd_per_million),
            cached_input: usd(cached),
            output: usd(p.output_usd_per_million),
            cache_write: p.cache_write_usd_per_million.map(usd),
        };
        prices.insert(p.model.clone(), price);
    }
    let input = usd(ai.assumed_input_usd_per_million);
    let assumed = ModelPrice {
        input,
        cached_input: input,
        output: usd(ai.assumed_output_usd_per_million),
        cache_write: None,
    };
    ChatOptions {
        models: models.into(),
        moderation: ModerationOptions {
            moderator: a.moderator.clone(),
            fail_open: settings.moderation.on_failure == OnFailure::Allow,
            refusal: settings.moderation.refusal.clone(),
            hold_bytes: settings.moderation.hold_bytes,
            look_behind_bytes: settings.moderation.look_behind_bytes,
        },
        cache: CacheOptions {
            max_bytes: settings.cache.max_bytes,
            ttl: SignedDuration::from_secs(settings.cache.ttl_seconds.into()),
            shared: settings.cache.shared,
            any_temperature: settings.cache.any_temperature,
        },
        assistants: ai
            .assistants
            .iter()
            .map(|settings| Arc::new(settings.assistant()))
            .collect(),
        routing: RoutingOptions {
            breaker: BreakerPolicy {
                failures: ai.breaker_failures,
                open_for: SignedDuration::from_secs(ai.breaker_open_seconds.into()),
            },
            retries: ai.retries,
            retry_pause: Duration::from_millis(ai.retry_pause_ms.into()),
        },
        traced_content: settings.telemetry.traced_content(),
        prices: PriceBook::new(prices, assumed),
        daily_spend_cap: usd(ai.daily_spend_cap_usd),
        spend_cap_share_percent: ai.spend_cap_share_percent,
        max_output_tokens: ai.max_output_tokens.into(),
        max_request_messages: ai.max_request_messages,
        memory_tokens: settings.chat.memory_tokens.into(),
        max_message_bytes: settings.chat.max_message_bytes,
        max_messages: limit(settings.chat.max_messages),
        max_conversations: limit(settings.chat.max_conversations),
        kept: limit(settings.chat.conversation_days).map(|days| SignedDuration::from_hours(24 * days)),
        resume: Duration::from_secs(settings.chat.resume_seconds.into()),
        silence: Duration::from_secs(settings.server.heartbeat_seconds.into()),
        total_timeout: Duration::from_millis(ai.total_timeout_ms.into()),
        lease: SignedDuration::from_secs(settings.server.lease_seconds.into()),
    }
}

/// A setting of which 0 means that there is no limit.
fn limit(most: u32) -> Option<i64> {
    (most > 0).then(|| most.into())
}
