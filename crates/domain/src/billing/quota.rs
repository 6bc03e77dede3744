//! Quotas: what is held for a call before it runs, and the windows it counts in.

use jiff::{SignedDuration, Timestamp, Unit, tz::TimeZone};
use serde::{Deserialize, Serialize};

use super::Owner;

/// The meter of messages sent to a model, by whichever route.
pub const METER_MESSAGES: &str = "messages";
/// The meter of the operator's money, in nano-USD, counted for the whole deployment.
pub const METER_SPEND: &str = "spend";
/// The meter of an owner's part of that money, where each has a share of it.
pub const METER_SPEND_SHARE: &str = "spend_share";
/// The meter of what is spent with an API key that has a budget.
pub const METER_KEY_BUDGET: &str = "key_budget";

/// How long a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// A day in UTC.
    Day,
}

impl Window {
    /// The word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
        }
    }

    /// When the window that `now` lies in began.
    pub fn start(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Day => now
                .to_zoned(TimeZone::UTC)
                .round(jiff::ZonedRound::new().smallest(Unit::Day).mode(jiff::RoundMode::Floor))
                .map_or(now, |day| day.timestamp()),
        }
    }

    /// When the window that `now` lies in ends.
    pub fn end(self, now: Timestamp) -> Timestamp {
        match self {
            // UTC has no daylight saving; every day has 24 hours.
            Self::Day => self
                .start(now)
                .saturating_add(SignedDuration::from_hours(24))
                .unwrap_or(now),
        }
    }
}

/// Which counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaKey {
    /// Whose.
    pub owner: Owner,
    /// Of what.
    pub meter: &'static str,
    /// In the window that began then.
    pub window_start: Timestamp,
}

/// An amount to hold on a counter for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Which counter.
    pub key: QuotaKey,
    /// How much.
    pub amount: i64,
    /// The most that used and held may come to; `None` counts without a limit.
    pub limit: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_a_day_in_utc() {
        let now: Timestamp = "2026-11-20T23:59:59.999999Z".parse().unwrap();
        assert_eq!(Window::Day.start(now), "2026-11-20T00:00:00Z".parse().unwrap());
        assert_eq!(Window::Day.end(now), "2026-11-21T00:00:00Z".parse().unwrap());
        let midnight = Window::Day.end(now);
        assert_eq!(Window::Day.start(midnight), midnight);
    }
}
