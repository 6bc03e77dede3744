//! How often somebody may do something, and what failed logins cost.

mod book_attempt;
mod clear_login_failures;
mod purge_login_failures;

pub use book_attempt::{Attempt, AttemptError};
pub use clear_login_failures::UnlockError;

use std::net::IpAddr;
use std::sync::Arc;

use anteroom_domain::UserId;
use anteroom_domain::access::ApiKey;
use anteroom_domain::protection::{Limit, LockoutPolicy, Verdict, counted_address};
use anteroom_ports::{Clock, RateLimiter, Secrets, Store};

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
#[derive(Debug, Clone, Copy)]
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
        let limit = |name, per_minute| o.enabled.then_some(Limit { name, per_minute });
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
        let key = address.map_or_else(|| "unknown".to_owned(), |a| counted_address(a).to_string());
        Some((limit, self.limiter.check(limit, &key)))
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
        let own = Limit {
            name: "api_key",
            per_minute,
        };
        let mut buffer = uuid::Uuid::encode_buffer();
        let counted = self.limiter.check(own, key.id.0.simple().encode_lower(&mut buffer));
        if counted.allowed && verdict.remaining < counted.remaining {
            return Some((owners, verdict));
        }
        Some((own, counted))
    }
}
