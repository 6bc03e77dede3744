//! How often somebody may do something, and what failed logins cost.

mod book_attempt;
mod clear_login_failures;
mod purge_login_failures;

pub use book_attempt::{Attempt, AttemptError};
pub use clear_login_failures::UnlockError;

use std::net::IpAddr;
use std::sync::Arc;

use anteroom_domain::access::ApiKey;
use anteroom_domain::protection::{
    CallRate, CallRates, Limit, LimitRule, LockoutPolicy, RuleAction, RuleKey, Verdict, counted_address,
};
use anteroom_domain::{ApiKeyId, UserId};
use anteroom_ports::{Clock, RateLimiter, Secrets, Store};
use tracing::info;

use crate::{Audit, Webhooks};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Signing up, by address.
    SignUp,
    /// Logging in, by address.
    LogIn,
    /// Changing a password, an address or an API key and proving oneself again, by user.
    Sensitive,
    /// Asking for mailed links and presenting their tokens, by address.
    Recover,
    /// Everything else, by user where one is signed in, by address where none is.
    Default,
    /// What is never counted: health.
    Unlimited,
}

/// What the operator can set: acts a minute, and what failed logins cost.
#[derive(Debug, Clone)]
pub struct ProtectionOptions {
    /// Off only in tests. Switches lockout off as well.
    pub enabled: bool,
    /// Sign-ups per address.
    pub signup_per_minute: u32,
    /// Logins per address.
    pub login_per_minute: u32,
    /// Changes of password, address or API keys and re-authentications, per user.
    pub sensitive_per_minute: u32,
    /// Links asked for and tokens presented, per address.
    pub recover_per_minute: u32,
    /// Everything else, per user or address.
    pub default_per_minute: u32,
    /// The operator's own limits, which count beside the others.
    pub rules: Arc<[LimitRule]>,
    /// Lockout by account.
    pub account_lockout: LockoutPolicy,
    /// Lockout by client address.
    pub address_lockout: LockoutPolicy,
}

/// The use cases of protection.
pub struct Protection {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) secrets: Arc<dyn Secrets>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) webhooks: Arc<Webhooks>,
    pub(crate) audit: Arc<Audit>,
    limiter: Arc<dyn RateLimiter>,
    pub(crate) options: ProtectionOptions,
}

impl Protection {
    /// Puts the context together.
    pub fn new(
        store: Arc<dyn Store>,
        secrets: Arc<dyn Secrets>,
        clock: Arc<dyn Clock>,
        webhooks: Arc<Webhooks>,
        audit: Arc<Audit>,
        limiter: Arc<dyn RateLimiter>,
        options: ProtectionOptions,
    ) -> Self {
        Self {
            store,
            secrets,
            clock,
            webhooks,
            audit,
            limiter,
            options,
        }
    }

    /// The limit on an act; `None` where limits are off.
    pub fn limit(&self, act: Act) -> Option<Limit> {
        let o = &self.options;
        let limit = |name, per_minute| o.enabled.then(|| Limit::per_minute(name, per_minute));
        match act {
            Act::SignUp => limit("signup", o.signup_per_minute),
            Act::LogIn => limit("login", o.login_per_minute),
            Act::Sensitive => limit("sensitive", o.sensitive_per_minute),
            Act::Recover => limit("recover", o.recover_per_minute),
            Act::Default => limit("default", o.default_per_minute),
            Act::Unlimited => None,
        }
    }

    /// Counts an act from an address.
    pub fn count_address(&self, act: Act, address: Option<IpAddr>) -> Option<(Limit, Verdict)> {
        let limit = self.limit(act)?;
        Some((limit, self.limiter.check(limit, &address_key(address))))
    }

    /// Counts an act of a user.
    pub fn count_user(&self, act: Act, user: UserId) -> Option<(Limit, Verdict)> {
        let limit = self.limit(act)?;
        let mut buffer = uuid::Uuid::encode_buffer();
        let key: &str = user.0.simple().encode_lower(&mut buffer);
        Some((limit, self.limiter.check(limit, key)))
    }

    /// Counts an act that is done with an API key: as one of its owner's, and by the key's own rate, where it has one.
    /// Of the two, what is nearer to its end is answered.
    pub fn count_key(&self, act: Act, key: &ApiKey) -> Option<(Limit, Verdict)> {
        let (owners, verdict) = self.count_user(act, key.user_id)?;
        let Some(per_minute) = key.requests_per_minute.filter(|_| verdict.allowed) else {
            return Some((owners, verdict));
        };
        let own = Limit::per_minute("api_key", per_minute);
        let mut buffer = uuid::Uuid::encode_buffer();
        let counted = self.limiter.check(own, key.id.0.simple().encode_lower(&mut buffer));
        Some(nearer((owners, verdict), (own, counted)))
    }

    /// Counts a request by the operator's own limits, until one refuses it. Of those that cover it, what is nearest to
    /// its end is answered.
    pub fn count_rules(&self, request: &Ruled<'_>) -> Option<(Limit, Verdict)> {
        let mut nearest = None;
        for rule in self.options.rules.iter().filter(|_| self.options.enabled) {
            if !rule.route.covers(request.method, request.path) {
                continue;
            }
            let key = match rule.per {
                RuleKey::User => request.user.map(|id| id.0.simple().to_string()),
                RuleKey::ApiKey => request.key.map(|id| id.0.simple().to_string()),
                RuleKey::Address => Some(address_key(request.address)),
            };
            let Some(key) = key else { continue };
            let verdict = self.limiter.check(rule.limit, &key);
            if rule.action == RuleAction::Log {
                if !verdict.allowed {
                    let (limit, most) = (rule.limit.name, rule.limit.most);
                    info!(
                        event = "rate.exceeded",
                        limit,
                        most,
                        user_id = request.user.map(|id| id.to_string())
                    );
                }
                continue;
            }
            let counted = (rule.limit, verdict);
            nearest = Some(nearest.map_or(counted, |other| nearer(other, counted)));
            if !verdict.allowed {
                break;
            }
        }
        nearest
    }

    /// Counts a call to a model by the rate of the account's plan, of whose tokens at least so many are known already.
    pub fn count_call(&self, user: UserId, rate: CallRate, tokens: i64) -> CallRates {
        let mut rates = CallRates::default();
        if !self.options.enabled {
            return rates;
        }
        let key = user.0.simple().to_string();
        if let Some(most) = rate.requests_per_minute {
            let limit = Limit::per_minute("requests", most);
            rates.requests = Some((limit, self.limiter.check(limit, &key)));
        }
        if let Some(limit) = tokens_limit(rate).filter(|_| rates.refused().is_none()) {
            rates.tokens = Some((limit, self.limiter.take(limit, &key, countable(tokens))));
        }
        rates
    }

    /// Counts the tokens of a call that were not known when it began.
    pub fn charge_call(&self, user: UserId, rate: CallRate, tokens: i64) {
        if let Some(limit) = tokens_limit(rate).filter(|_| self.options.enabled && tokens > 0) {
            self.limiter
                .charge(limit, &user.0.simple().to_string(), countable(tokens));
        }
    }
}

/// A request, as the operator's own limits look at it.
#[derive(Debug, Clone, Copy)]
pub struct Ruled<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its route's path, with `{names}`.
    pub path: &'a str,
    /// Whose it is.
    pub user: Option<UserId>,
    /// With which key.
    pub key: Option<ApiKeyId>,
    /// Where from.
    pub address: Option<IpAddr>,
}

fn tokens_limit(rate: CallRate) -> Option<Limit> {
    rate.tokens_per_minute.map(|most| Limit::per_minute("tokens", most))
}

fn countable(tokens: i64) -> u32 {
    u32::try_from(tokens.max(0)).unwrap_or(u32::MAX)
}

/// The key under which an address is counted.
fn address_key(address: Option<IpAddr>) -> String {
    address.map_or_else(|| "unknown".to_owned(), |a| counted_address(a).to_string())
}

/// Of two limits the one that refuses, else the one that is nearer to its end.
fn nearer(first: (Limit, Verdict), second: (Limit, Verdict)) -> (Limit, Verdict) {
    let rank = |(_, verdict): &(Limit, Verdict)| (verdict.allowed, verdict.remaining);
    if rank(&first) < rank(&second) { first } else { second }
}
