//! The services, wired to fakes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anteroom_domain::accounts::{Email, PasswordPolicy, Role, User};
use anteroom_domain::billing::{
    AccessPolicy, Catalogue, CreditRate, Credits, Entitlement, EntitlementKind, ModelPrice, ModelRule, NanoUsd,
    Overage, OveragePrice, Owner, Plan, PlanTrial, Price, PriceBook, QuotaKey, Requirements, SeatRule, Subscription,
    SubscriptionStatus, Window, day_of,
};
use anteroom_domain::chat::{Assistant, BreakerPolicy, ModelAlias, ParameterRule, SendUser};
use anteroom_domain::migrations::Version;
use anteroom_domain::protection::{CallRate, LockoutPolicy};
use anteroom_domain::sessions::{SigningAlgorithm, Transport};
use anteroom_domain::{Timestamp, UserId};
use anteroom_ports::billing::{CreditPack, QuotaLevel};
use anteroom_ports::{Clock as _, Durability, Ids as _, Store};
use anteroom_services::access::AccessOptions;
use anteroom_services::accounts::{AccountsOptions, LogIn, LoggedIn, PasswordRules, SignUp, SignedUp};
use anteroom_services::billing::{BillingOptions, NoticeOptions, Pack};
use anteroom_services::chat::{CacheOptions, ChatOptions, ModerationOptions, OnDisconnect, Provider, RoutingOptions};
use anteroom_services::migrations::{bring_up, take_back_newest};
use anteroom_services::protection::ProtectionOptions;
use anteroom_services::sessions::{Grant, GrantedCredential, LiveSession, SessionsOptions};
use anteroom_services::webhooks::{LetterOptions, Links, WebhooksOptions};
use anteroom_services::{Access, Accounts, Audit, Billing, Chat, Client, Ops, Protection, Sessions, Webhooks};
use anteroom_sqlite::SqliteStore;
use anteroom_testkit::accounts::{ListedPasswords, PlainHasher};
use anteroom_testkit::billing::FakePayments;
use anteroom_testkit::chat::{CountingObserver, ScriptedModel};
use anteroom_testkit::embedder::ScriptedEmbedder;
use anteroom_testkit::ops::{FixedClock, SeededIds};
use anteroom_testkit::protection::OpenLimiter;
use anteroom_testkit::sessions::{FakeSecrets, FakeSigner};
use anteroom_testkit::store::GuardedStore;
use anteroom_testkit::webhooks::RecordingMailer;
use jiff::SignedDuration;
use secrecy::{ExposeSecret as _, SecretString};

/// Messages a day on the free plan.
pub const FREE_LIMIT: i64 = 10;
/// API keys that an account may have.
pub const MAX_KEYS: usize = 5;
/// A password that is accepted.
pub const PASSWORD: &str = "correct horse battery";

/// How mails look, and how fast they must leave here.
pub fn mail_options() -> WebhooksOptions {
    let page = |path: &str| format!("https://app.example/{path}");
    WebhooksOptions {
        letters: LetterOptions {
            product: "Anteroom".into(),
            color: "#2f5bea".into(),
            logo_url: None,
            support: None,
            links: Links {
                verify_email: page("verify-email"),
                reset_password: page("reset-password"),
                confirm_email: page("confirm-email"),
                undo_email_change: page("undo-email-change"),
                revoke_session: page("revoke-session"),
                billing: page("billing"),
            },
        },
        parallel: 4,
        delivery_timeout: Duration::from_secs(2),
    }
}
/// The seeds of further nodes: two nodes never make the same identifier.
static NODES: AtomicU64 = AtomicU64::new(1000);

/// With a schema, and nothing in it.
async fn migrated_store() -> SqliteStore {
    let store = SqliteStore::open_temporary().await.unwrap();
    bring_up(&store, Arc::new(FixedClock::new())).await.unwrap();
    store
}

pub struct House {
    pub store: Arc<dyn Store>,
    /// The same, to be asked how often it was written to.
    pub guarded: Arc<GuardedStore>,
    pub clock: Arc<FixedClock>,
    pub hasher: Arc<PlainHasher>,
    pub mailer: Arc<RecordingMailer>,
    pub model: Arc<ScriptedModel>,
    pub backup: Arc<ScriptedModel>,
    pub embedder: ScriptedEmbedder,
    pub payments: Arc<FakePayments>,
    pub access: Arc<Access>,
    pub accounts: Arc<Accounts>,
    pub sessions: Arc<Sessions>,
    pub sessions_options: SessionsOptions,
    pub billing: Arc<Billing>,
    pub chat: Arc<Chat>,
    pub observer: Arc<CountingObserver>,
    pub ops: Arc<Ops>,
    pub webhooks: Arc<Webhooks>,
    pub protection: Arc<Protection>,
}

/// How long what runs is held without being renewed.
pub const LEASE: SignedDuration = SignedDuration::from_secs(30);

/// Lockout as it is configured by default.
pub const LOCKOUT: LockoutPolicy = LockoutPolicy {
    free_failures: 5,
    first_delay: SignedDuration::from_secs(5),
    longest_delay: SignedDuration::from_secs(900),
    forgive_every: None,
    forget_after: SignedDuration::from_hours(24),
};

/// Sessions as they are configured by default.
pub const SESSIONS: SessionsOptions = SessionsOptions {
    lifetime: SignedDuration::from_hours(24 * 7),
    access_token: SignedDuration::from_mins(15),
    refresh_grace: SignedDuration::from_secs(10),
    signing_algorithm: SigningAlgorithm::EdDsa,
    key_rotation: Some(SignedDuration::from_hours(24 * 90)),
    idle: None,
    limit: None,
};

fn price(amount: i64, interval: &str) -> Price {
    Price {
        amount,
        currency: "usd".into(),
        interval: interval.into(),
    }
}

fn plan(key: &str, models: ModelRule, limit: Option<i64>, amount: Option<i64>) -> Plan {
    Plan {
        key: key.into(),
        name: key.to_uppercase(),
        version: 1,
        rank: i32::from(key == "pro") * 10 + i32::from(key == "plus") * 14 + i32::from(key == "business") * 20,
        trial: None,
        models,
        prices: amount.map(|amount| price(amount, "month")).into_iter().collect(),
        seats: None,
        by_agreement: false,
        entitlements: vec![
            Entitlement {
                key: "messages".into(),
                kind: EntitlementKind::metered(limit, Window::Day),
            },
            Entitlement {
                key: "exports".into(),
                kind: EntitlementKind::metered(Some(3), Window::Day),
            },
            Entitlement {
                key: "support".into(),
                kind: EntitlementKind::Boolean(true),
            },
            Entitlement {
                key: "seats".into(),
                kind: EntitlementKind::Static(3.into()),
            },
        ],
        rate: CallRate::default(),
        parameters: ParameterRule::default(),
    }
}

/// So many a month, and then so many more at what one costs, in cents.
fn beyond(key: &str, limit: i64, max: i64, amount: &str) -> Entitlement {
    Entitlement {
        key: key.into(),
        kind: EntitlementKind::Metered {
            limit: Some(limit),
            window: Window::Month,
            rollover: 0,
            per_seat: false,
            overage: Some(Overage {
                max,
                prices: vec![OveragePrice {
                    currency: "usd".into(),
                    amount: amount.parse().unwrap(),
                }],
            }),
        },
    }
}

/// Sold for 2 to 50 seats, with 10 exports a day for each.
fn team() -> Plan {
    Plan {
        rank: 15,
        prices: vec![price(1000, "month"), price(10_000, "year")],
        seats: Some(SeatRule { min: 2, max: Some(50) }),
        ..plan("team", ModelRule::All, None, None).with_entitlements(&[&Entitlement {
            key: "exports".into(),
            kind: EntitlementKind::Metered {
                limit: Some(10),
                window: Window::Day,
                rollover: 0,
                per_seat: true,
                overage: None,
            },
        }])
    }
}

/// Which models there are, and how they are routed.
pub struct Routed {
    pub aliases: Vec<ModelAlias>,
    pub options: RoutingOptions,
    pub on_disconnect: OnDisconnect,
    pub send_user: SendUser,
    pub assistants: Vec<Assistant>,
    pub moderation: ModerationOptions,
    pub cache: CacheOptions,
}

impl Routed {
    /// Models under the provider's own names; each call is tried once.
    pub fn plain(models: &[&str]) -> Self {
        Self {
            aliases: models.iter().map(|model| ModelAlias::plain("main", model)).collect(),
            options: RoutingOptions {
                breaker: BreakerPolicy {
                    failures: 0,
                    open_for: SignedDuration::from_secs(30),
                },
                retries: 0,
                retry_pause: std::time::Duration::from_millis(10),
            },
            on_disconnect: OnDisconnect::Cancel,
            send_user: SendUser::Replace,
            assistants: Vec::new(),
            moderation: ModerationOptions::default(),
            cache: CacheOptions::default(),
        }
    }
}

impl House {
    /// One with aliases over two providers, `main` and `backup`.
    pub async fn routed(routed: Routed) -> Self {
        let cap = NanoUsd::from_usd(1000.0);
        Self::built(Self::new_store().await, true, cap, routed, LOCKOUT, false, SESSIONS).await
    }

    pub async fn new() -> Self {
        Self::with(true, NanoUsd::from_usd(1000.0), &["small", "large"]).await
    }

    pub async fn with(signup_open: bool, daily_spend_cap: NanoUsd, models: &[&str]) -> Self {
        Self::built(
            Self::new_store().await,
            signup_open,
            daily_spend_cap,
            Routed::plain(models),
            LOCKOUT,
            false,
            SESSIONS,
        )
        .await
    }

    /// One where addresses are proven before anyone is signed in.
    pub async fn verifying() -> Self {
        let (cap, models) = (NanoUsd::from_usd(1000.0), &["small", "large"]);
        Self::built(
            Self::new_store().await,
            true,
            cap,
            Routed::plain(models),
            LOCKOUT,
            true,
            SESSIONS,
        )
        .await
    }

    /// One that locks an account after so many failures, and an address after 30.
    pub async fn locking_after(free_failures: u32) -> Self {
        let lockout = LockoutPolicy {
            free_failures,
            ..LOCKOUT
        };
        let (cap, models) = (NanoUsd::from_usd(1000.0), &["small", "large"]);
        Self::built(
            Self::new_store().await,
            true,
            cap,
            Routed::plain(models),
            lockout,
            false,
            SESSIONS,
        )
        .await
    }

    async fn new_store() -> Arc<dyn Store> {
        Arc::new(migrated_store().await)
    }

    pub async fn take_back_newest(&self) -> Option<Version> {
        take_back_newest(&*self.store, Arc::new(FixedClock::new()))
            .await
            .unwrap()
    }

    /// On a store that version 0.1 has filled.
    pub async fn of_former_version() -> Self {
        let store = migrated_store().await;
        let user = User {
            id: UserId(SeededIds::new(9).uuid()),
            email: Email::parse("old@example.com").unwrap(),
            email_verified: false,
            name: None,
            locale: "en".into(),
            role: Role::User,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
            disabled_at: None,
            delete_after: None,
        };
        let mut unit = store.begin(Durability::Full).await.unwrap();
        unit.insert_user(&user).await.unwrap();
        unit.commit().await.unwrap();
        Self::built(
            Arc::new(store),
            true,
            NanoUsd::from_usd(1000.0),
            Routed::plain(&["small"]),
            LOCKOUT,
            false,
            SESSIONS,
        )
        .await
    }

    /// One with other rules for sessions.
    pub async fn with_sessions(sessions: SessionsOptions) -> Self {
        Self::with_rules(LOCKOUT, sessions).await
    }

    /// One with other rules for sessions, that locks an account after so many failures: logins under way count as some.
    pub async fn with_sessions_locking_after(free_failures: u32, sessions: SessionsOptions) -> Self {
        let lockout = LockoutPolicy {
            free_failures,
            ..LOCKOUT
        };
        Self::with_rules(lockout, sessions).await
    }

    async fn with_rules(lockout: LockoutPolicy, sessions: SessionsOptions) -> Self {
        let (cap, models) = (NanoUsd::from_usd(1000.0), &["small", "large"]);
        Self::built(
            Self::new_store().await,
            true,
            cap,
            Routed::plain(models),
            lockout,
            false,
            sessions,
        )
        .await
    }

    async fn built(
        store: Arc<dyn Store>,
        signup_open: bool,
        daily_spend_cap: NanoUsd,
        routed: Routed,
        account_lockout: LockoutPolicy,
        require_verified_email: bool,
        sessions_options: SessionsOptions,
    ) -> Self {
        let guarded = Arc::new(GuardedStore::new(store));
        let store: Arc<dyn Store> = guarded.clone();
        let clock = Arc::new(FixedClock::at("2026-11-20T12:00:00Z".parse().unwrap()));
        let (ids, hasher, mailer) = (
            Arc::new(SeededIds::new(7)),
            Arc::new(PlainHasher::new()),
            Arc::new(RecordingMailer::new()),
        );
        let (model, backup, payments) = (
            Arc::new(ScriptedModel::new(&["small", "large"])),
            Arc::new(ScriptedModel::new(&[])),
            Arc::new(FakePayments::new()),
        );
        let audit = Arc::new(Audit::new(
            store.clone(),
            clock.clone(),
            ids.clone(),
            Arc::new(FakeSecrets),
        ));
        let webhooks = Arc::new(Webhooks::new(
            store.clone(),
            Some(mailer.clone()),
            clock.clone(),
            ids.clone(),
            Arc::new(FakeSecrets),
            mail_options(),
        ));
        let sessions = Arc::new(Sessions::new(
            store.clone(),
            Arc::new(FakeSigner::default()),
            Arc::new(FakeSecrets),
            clock.clone(),
            ids.clone(),
            audit.clone(),
            webhooks.clone(),
            sessions_options,
        ));
        sessions.prepare_signing_keys().await.unwrap();
        let access = Arc::new(Access::new(
            store.clone(),
            Arc::new(FakeSecrets),
            clock.clone(),
            ids.clone(),
            sessions.clone(),
            webhooks.clone(),
            audit.clone(),
            AccessOptions { max_keys: MAX_KEYS },
        ));
        let options = ProtectionOptions {
            enabled: true,
            signup_per_minute: 10,
            login_per_minute: 10,
            sensitive_per_minute: 10,
            recover_per_minute: 10,
            default_per_minute: 600,
            rules: Arc::default(),
            account_lockout,
            address_lockout: LockoutPolicy {
                free_failures: 30,
                forgive_every: Some(SignedDuration::from_mins(5)),
                ..LOCKOUT
            },
        };
        let protection = Arc::new(Protection::new(
            store.clone(),
            Arc::new(FakeSecrets),
            clock.clone(),
            webhooks.clone(),
            audit.clone(),
            Arc::new(OpenLimiter::new()),
            options,
        ));
        let plans = vec![
            plan("free", ModelRule::First, Some(FREE_LIMIT), None),
            Plan {
                trial: Some(PlanTrial {
                    days: 14,
                    card_required: true,
                }),
                prices: vec![price(1900, "month"), price(19_000, "year")],
                ..plan("pro", ModelRule::All, None, Some(1900))
            },
            plan("business", ModelRule::All, None, Some(7900))
                .with_entitlements(&[&Entitlement {
                    key: "credits".into(),
                    kind: EntitlementKind::Metered {
                        limit: Some(100),
                        window: Window::Month,
                        rollover: 30,
                        overage: None,
                        per_seat: false,
                    },
                }])
                .with_entitlements(&[&Entitlement {
                    key: "renders".into(),
                    kind: EntitlementKind::metered(Some(100), Window::Month),
                }]),
            Plan {
                entitlements: vec![beyond("messages", 5, 3, "5"), beyond("renders", 10, 70, "0.5")],
                ..plan("plus", ModelRule::All, None, Some(2900))
            },
            team(),
        ];
        let options = BillingOptions {
            catalogue: Catalogue::new(plans, "free").unwrap(),
            policy: AccessPolicy {
                past_due_grace: SignedDuration::from_hours(24 * 7),
                collection_paused_keeps: true,
            },
            credit_rate: CreditRate {
                usd_per_credit: NanoUsd::from_usd(0.01),
            },
            packs: vec![Pack {
                pack: CreditPack {
                    key: "small".into(),
                    name: "Small".into(),
                    credits: Credits::whole(500).0,
                    amount: 500,
                    currency: "usd".into(),
                },
                lasts: Some(SignedDuration::from_hours(24 * 30)),
            }],
            requires: Requirements::default(),
            success_url: "https://app.example/ok".into(),
            cancel_url: "https://app.example/back".into(),
            notices: NoticeOptions {
                trial_ending: Some(SignedDuration::from_hours(24 * 3)),
                quota_windows: vec![Window::Day, Window::Month],
            },
        };
        let billing = Billing::new(
            store.clone(),
            Some(payments.clone()),
            (clock.clone(), ids.clone()),
            sessions.clone(),
            audit.clone(),
            webhooks.clone(),
            options,
        );
        let options = AccountsOptions {
            signup_open,
            require_verified_email,
            deletion_grace: SignedDuration::from_hours(24 * 14),
            passwords: PasswordRules {
                policy: PasswordPolicy { min_strength: 2 },
                common: Arc::new(ListedPasswords::of(&["everybody's favourite"])),
                breached: Some(Arc::new(ListedPasswords::of(&["Known From a Breach"]))),
            },
        };
        let accounts = Accounts::new(
            store.clone(),
            hasher.clone(),
            clock.clone(),
            ids.clone(),
            sessions.clone(),
            billing.clone(),
            webhooks.clone(),
            audit.clone(),
            protection.clone(),
            options,
        );
        let million = NanoUsd::from_usd(1.0);
        let price = ModelPrice {
            input: million,
            cached_input: million,
            output: million,
            cache_write: None,
        };
        let options = ChatOptions {
            models: routed.aliases.into_iter().map(Arc::new).collect(),
            assistants: routed.assistants.into_iter().map(Arc::new).collect(),
            moderation: routed.moderation,
            cache: routed.cache,
            routing: routed.options,
            traced_content: None,
            prices: PriceBook::new(HashMap::from([("small".to_owned(), price)]), price),
            daily_spend_cap,
            spend_cap_share_percent: 60,
            max_output_tokens: 1000,
            max_request_messages: 50,
            memory_tokens: 4000,
            max_message_bytes: 1000,
            max_messages: Some(100),
            max_conversations: Some(100),
            kept: Some(SignedDuration::from_hours(24 * 30)),
            resume: std::time::Duration::ZERO,
            silence: std::time::Duration::from_secs(15),
            total_timeout: std::time::Duration::from_secs(2),
            lease: LEASE,
        };
        let embedder = ScriptedEmbedder::new();
        let provider = |name: &str, models: &Arc<ScriptedModel>| Provider {
            name: name.to_owned(),
            models: models.clone(),
            embedder: Some(Arc::new(embedder.clone())),
            on_disconnect: routed.on_disconnect,
            send_user: routed.send_user,
        };
        let observer = Arc::new(CountingObserver::default());
        let chat = Arc::new(Chat::new(
            store.clone(),
            vec![provider("main", &model), provider("backup", &backup)],
            clock.clone(),
            ids.clone(),
            Arc::new(FakeSecrets),
            observer.clone(),
            access.clone(),
            billing.clone(),
            protection.clone(),
            audit.clone(),
            options,
        ));
        let ops = Arc::new(Ops::new(
            store.clone(),
            Arc::new(FakeSecrets),
            clock.clone(),
            ids.clone(),
            LEASE,
        ));
        Self {
            store,
            guarded,
            clock,
            hasher,
            mailer,
            model,
            backup,
            embedder,
            payments,
            access,
            accounts,
            sessions,
            sessions_options,
            billing,
            chat,
            observer,
            ops,
            webhooks,
            protection,
        }
    }

    /// Waits until so many calls run or are being booked.
    pub async fn chat_calls_are(&self, count: usize) {
        for _ in 0..500 {
            if self.chat.running() == count {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{} calls run, not {count}", self.chat.running());
    }

    /// The sessions of another node on the same store, with what it signs with. It has loaded no keys yet.
    pub fn another_node(&self, key_rotation: Option<SignedDuration>) -> (Arc<Sessions>, Arc<FakeSigner>) {
        let signer = Arc::new(FakeSigner::default());
        let ids = Arc::new(SeededIds::new(NODES.fetch_add(1, Ordering::Relaxed)));
        let options = SessionsOptions {
            key_rotation,
            ..self.sessions_options
        };
        let sessions = Sessions::new(
            self.store.clone(),
            signer.clone(),
            Arc::new(FakeSecrets),
            self.clock.clone(),
            ids.clone(),
            Arc::new(Audit::new(
                self.store.clone(),
                self.clock.clone(),
                ids,
                Arc::new(FakeSecrets),
            )),
            self.webhooks.clone(),
            options,
        );
        (Arc::new(sessions), signer)
    }

    /// The sessions of another node, which reaches the store its own way.
    pub fn node_on(&self, store: Arc<dyn Store>) -> Arc<Sessions> {
        let ids = Arc::new(SeededIds::new(NODES.fetch_add(1, Ordering::Relaxed)));
        let secrets = Arc::new(FakeSecrets);
        Arc::new(Sessions::new(
            store.clone(),
            Arc::new(FakeSigner::default()),
            secrets.clone(),
            self.clock.clone(),
            ids.clone(),
            Arc::new(Audit::new(store, self.clock.clone(), ids, secrets)),
            self.webhooks.clone(),
            self.sessions_options,
        ))
    }

    /// The API keys of another node, which hears nothing of what others do.
    pub fn another_access(&self) -> Access {
        let (sessions, _) = self.another_node(None);
        let ids = Arc::new(SeededIds::new(NODES.fetch_add(1, Ordering::Relaxed)));
        let secrets = Arc::new(FakeSecrets);
        Access::new(
            self.store.clone(),
            secrets.clone(),
            self.clock.clone(),
            ids.clone(),
            sessions,
            self.webhooks.clone(),
            Arc::new(Audit::new(self.store.clone(), self.clock.clone(), ids, secrets)),
            AccessOptions { max_keys: MAX_KEYS },
        )
    }

    pub async fn sign_up(&self, email: &str, transport: Transport) -> Grant {
        let ask = SignUp {
            email: email.into(),
            password: PASSWORD.into(),
            name: None,
            locale: None,
            transport,
            client: Client::default(),
        };
        match self.accounts.sign_up(ask).await.unwrap() {
            SignedUp::In(grant) => *grant,
            SignedUp::VerifyEmail => panic!("the address is to be verified"),
        }
    }

    /// Somebody signed in by token, as the edge hands them to use cases.
    pub async fn somebody(&self, email: &str) -> Arc<LiveSession> {
        let grant = self.sign_up(email, Transport::Token).await;
        self.sessions.live_session(grant.session.id).await.unwrap()
    }

    /// Somebody who has an account, signed in anew.
    pub async fn somebody_again(&self, email: &str) -> Arc<LiveSession> {
        self.somebody_again_with(email, PASSWORD).await
    }

    /// The same with another password.
    pub async fn somebody_again_with(&self, email: &str, password: &str) -> Arc<LiveSession> {
        let ask = LogIn {
            email: email.into(),
            password: password.into(),
            transport: Transport::Token,
            client: Client::default(),
        };
        let grant = signed_in(self.accounts.log_in_with_password(ask).await.unwrap());
        self.sessions.live_session(grant.session.id).await.unwrap()
    }

    /// Somebody who pays for `pro`.
    pub async fn payer(&self, email: &str, status: SubscriptionStatus) -> Arc<LiveSession> {
        let live = self.somebody(email).await;
        let mut unit = self.store.begin(Durability::Full).await.unwrap();
        unit.put_subscription(&self.subscription(live.user.id, "sub_1", status))
            .await
            .unwrap();
        unit.commit().await.unwrap();
        self.sessions.forget_cached_state();
        self.sessions.live_session(live.session.id).await.unwrap()
    }

    pub fn subscription(&self, user: UserId, id: &str, status: SubscriptionStatus) -> Subscription {
        Subscription {
            provider: "fake".into(),
            provider_id: id.into(),
            owner: Owner::account(user),
            customer: None,
            plan: "pro".into(),
            plan_version: 1,
            price: None,
            quantity: 1,
            status,
            known_status: None,
            current_period_end: None,
            paid_until: None,
            cancel_at_period_end: false,
            cancel_at: None,
            trial_end: None,
            past_due_since: None,
            collection_paused: false,
            next_plan: None,
            next_quantity: None,
            as_of: self.clock.now(),
        }
    }

    pub async fn level(&self, owner: Owner, meter: &'static str) -> QuotaLevel {
        let window_start: Timestamp = day_of(self.clock.now()).start;
        self.store
            .read()
            .await
            .unwrap()
            .quota_level(&QuotaKey {
                owner,
                meter,
                window_start,
            })
            .await
            .unwrap()
    }
}

/// The grant of somebody who was let in.
pub fn signed_in(outcome: LoggedIn) -> Grant {
    match outcome {
        LoggedIn::In(grant) => *grant,
        LoggedIn::VerifyEmail => panic!("the address is to be verified"),
    }
}

/// The access and refresh tokens of a grant.
pub fn tokens(grant: &Grant) -> (String, SecretString) {
    match &grant.credential {
        GrantedCredential::Token {
            access_token,
            refresh_token,
            ..
        } => (access_token.expose_secret().to_owned(), refresh_token.clone()),
        GrantedCredential::Cookie(_) => panic!("a cookie"),
    }
}

/// The cookie of a grant.
pub fn cookie(grant: &Grant) -> String {
    match &grant.credential {
        GrantedCredential::Cookie(value) => value.expose_secret().to_owned(),
        GrantedCredential::Token { .. } => panic!("tokens"),
    }
}
