//! Limiters without a memory of time.

use std::sync::Mutex;

use anteroom_domain::protection::{Limit, Verdict};
use anteroom_ports::RateLimiter;

use crate::lock;

/// Allows everything, and records what was counted under which limit.
#[derive(Debug, Default)]
pub struct OpenLimiter {
    checked: Mutex<Vec<(&'static str, String)>>,
}

impl OpenLimiter {
    /// A limiter that was never asked.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was counted: the limit's name and the key, oldest first.
    pub fn checked(&self) -> Vec<(&'static str, String)> {
        lock(&self.checked).clone()
    }
}

impl RateLimiter for OpenLimiter {
    fn check(&self, limit: Limit, key: &str) -> Verdict {
        lock(&self.checked).push((limit.name, key.to_owned()));
        Verdict {
            allowed: true,
            remaining: limit.most,
            after_seconds: 0,
        }
    }

    fn take(&self, limit: Limit, key: &str, _acts: u32) -> Verdict {
        self.check(limit, key)
    }

    fn charge(&self, limit: Limit, key: &str, acts: u32) {
        lock(&self.checked).push((limit.name, format!("{key} {acts}")));
    }
}

/// Refuses everything, or everything under one limit.
#[derive(Debug, Clone, Copy)]
pub struct ClosedLimiter {
    /// What it says about when to come again.
    pub after_seconds: u64,
    /// The only limit that is closed; `None` closes all.
    pub only: Option<&'static str>,
}

impl ClosedLimiter {
    /// Refuses everything.
    pub fn new(after_seconds: u64) -> Self {
        Self {
            after_seconds,
            only: None,
        }
    }

    /// Refuses what is counted under the limit of this name.
    pub fn for_limit(name: &'static str, after_seconds: u64) -> Self {
        Self {
            after_seconds,
            only: Some(name),
        }
    }
}

impl RateLimiter for ClosedLimiter {
    fn check(&self, limit: Limit, _key: &str) -> Verdict {
        let allowed = self.only.is_some_and(|name| name != limit.name);
        Verdict {
            allowed,
            remaining: if allowed { limit.most } else { 0 },
            after_seconds: if allowed { 0 } else { self.after_seconds },
        }
    }

    fn take(&self, limit: Limit, key: &str, _acts: u32) -> Verdict {
        self.check(limit, key)
    }

    fn charge(&self, _limit: Limit, _key: &str, _acts: u32) {}
}
