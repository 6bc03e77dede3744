//! Who is asking: whose account it is, and what they ask with.

use std::sync::Arc;

use anteroom_domain::access::{ApiKey, Scope, UsedWith};
use anteroom_domain::accounts::User;
use anteroom_domain::billing::Holdings;

use super::LiveKey;
use crate::sessions::LiveSession;

/// Somebody who was let in.
#[derive(Debug, Clone)]
pub enum Principal {
    /// By a session: whatever the account may do.
    Session(Arc<LiveSession>),
    /// By an API key, for what needs this scope.
    Key(Arc<LiveKey>, Scope),
}

impl From<Arc<LiveSession>> for Principal {
    fn from(live: Arc<LiveSession>) -> Self {
        Self::Session(live)
    }
}

impl From<LiveSession> for Principal {
    fn from(live: LiveSession) -> Self {
        Self::Session(Arc::new(live))
    }
}

impl Principal {
    /// Whose account it is.
    pub fn user(&self) -> &User {
        match self {
            Self::Session(live) => &live.user,
            Self::Key(live, _) => &live.user,
        }
    }

    /// What they pay for, and were granted.
    pub fn holdings(&self) -> &Holdings {
        match self {
            Self::Session(live) => &live.holdings,
            Self::Key(live, _) => &live.holdings,
        }
    }

    /// The key, if it is one.
    pub fn key(&self) -> Option<&ApiKey> {
        match self {
            Self::Session(_) => None,
            Self::Key(live, _) => Some(&live.key),
        }
    }

    /// What they ask with, for whoever writes it down.
    pub fn used_with(&self) -> UsedWith {
        match self {
            Self::Session(live) => UsedWith::Session(live.session.id),
            Self::Key(live, _) => UsedWith::ApiKey(live.key.id),
        }
    }

    /// Whether what they ask with lets them use this model, if their plan does.
    pub fn allows(&self, model: &str) -> bool {
        self.key().is_none_or(|key| key.allows(model))
    }
}
