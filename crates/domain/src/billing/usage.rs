//! What was used, added up by days: what can be asked for, and what comes of it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use super::NanoUsd;
use crate::chat::TokenUsage;

/// The plan of calls of which nobody knows it any more.
pub const PLAN_UNKNOWN: &str = "unknown";

/// The longest time that can be asked for at once, in days: a leap year.
pub const MAX_USAGE_DAYS: i32 = 366;

/// How many days there are where no beginning is named.
const USUAL_DAYS: i32 = 30;

/// By what usage is told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UsageGroup {
    /// Each day in UTC.
    Day,
    /// Each account.
    Account,
    /// Each model that was asked for.
    Model,
    /// Each plan that was in force.
    Plan,
    /// Each API key, and what was used without one.
    ApiKey,
}

impl UsageGroup {
    /// All there are, in the order in which they sort.
    pub const ALL: [Self; 5] = [Self::Day, Self::Account, Self::Model, Self::Plan, Self::ApiKey];

    /// The word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Account => "account",
            Self::Model => "model",
            Self::Plan => "plan",
            Self::ApiKey => "api_key",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.as_str() == word)
    }
}

/// Why a time cannot be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUsageSpan {
    /// There is no day in it.
    #[error("`until` is the day after the last one that counts, so it has to be later than `from`")]
    Empty,
    /// It is too long.
    #[error("there may be at most {MAX_USAGE_DAYS} days between `from` and `until`")]
    TooLong,
    /// The calendar ends before it.
    #[error("there is no such day")]
    OutOfRange,
}

/// Whole days in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsageSpan {
    /// When the first one begins.
    pub from: Timestamp,
    /// When the last one has ended.
    pub until: Timestamp,
}

impl UsageSpan {
    /// The days from `from` on and before `until`. Without an end it is that of today, without a beginning there are 30
    /// days.
    pub fn new(from: Option<Date>, until: Option<Date>, now: Timestamp) -> Result<Self, InvalidUsageSpan> {
        let beyond = |_| InvalidUsageSpan::OutOfRange;
        let until = match until {
            Some(until) => until,
            None => now.to_zoned(TimeZone::UTC).date().tomorrow().map_err(beyond)?,
        };
        let from = match from {
            Some(from) => from,
            None => until.checked_sub(Span::new().days(USUAL_DAYS)).map_err(beyond)?,
        };
        if from >= until {
            return Err(InvalidUsageSpan::Empty);
        }
        if (until - from).get_days() > MAX_USAGE_DAYS {
            return Err(InvalidUsageSpan::TooLong);
        }
        let midnight = |day: Date| {
            day.to_zoned(TimeZone::UTC)
                .map(|zoned| zoned.timestamp())
                .map_err(beyond)
        };
        Ok(Self {
            from: midnight(from)?,
            until: midnight(until)?,
        })
    }
}

/// What many calls came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UsageTotals {
    /// How many there were.
    pub calls: i64,
    /// Of these, how many brought no answer: the provider failed before anything came, or the server died.
    pub failed_calls: i64,
    /// Their tokens.
    pub tokens: TokenUsage,
    /// What those cost whose price is known.
    pub cost: NanoUsd,
    /// How many have no known price.
    pub unpriced_calls: i64,
}

impl UsageTotals {
    /// What they cost, if the price of any is known.
    pub fn known_cost(&self) -> Option<NanoUsd> {
        let unknown = self.calls > 0 && self.unpriced_calls >= self.calls;
        (!unknown).then_some(self.cost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn span(from: Option<Date>, until: Option<Date>) -> Result<(String, String), InvalidUsageSpan> {
        let now = "2028-02-29T23:59:59.999999Z".parse().unwrap();
        UsageSpan::new(from, until, now).map(|span| (span.from.to_string(), span.until.to_string()))
    }

    #[test]
    fn today_counts_where_no_end_is_named_and_thirty_days_where_no_beginning_is() {
        let told = |from: &str, until: &str| Ok((format!("{from}T00:00:00Z"), format!("{until}T00:00:00Z")));
        assert_eq!(span(None, None), told("2028-01-31", "2028-03-01"));
        assert_eq!(span(Some(day("2028-02-29")), None), told("2028-02-29", "2028-03-01"));
        assert_eq!(span(None, Some(day("2027-03-01"))), told("2027-01-30", "2027-03-01"));
        assert_eq!(
            span(Some(day("2028-01-01")), Some(day("2029-01-01"))),
            told("2028-01-01", "2029-01-01")
        );
    }

    #[test]
    fn no_day_and_more_than_a_leap_year_are_refused() {
        assert_eq!(
            span(Some(day("2028-01-02")), Some(day("2028-01-02"))),
            Err(InvalidUsageSpan::Empty)
        );
        assert_eq!(span(Some(day("2028-03-01")), None), Err(InvalidUsageSpan::Empty));
        assert_eq!(
            span(Some(day("2028-01-01")), Some(day("2029-01-02"))),
            Err(InvalidUsageSpan::TooLong)
        );
        assert_eq!(span(Some(day("0001-01-01")), None), Err(InvalidUsageSpan::TooLong));
        assert_eq!(span(None, Some(Date::MIN)), Err(InvalidUsageSpan::OutOfRange));
    }

    #[test]
    fn a_cost_is_known_unless_no_price_is() {
        let of = |calls, unpriced_calls| UsageTotals {
            calls,
            unpriced_calls,
            cost: NanoUsd(7),
            ..UsageTotals::default()
        };
        assert_eq!(of(2, 2).known_cost(), None);
        assert_eq!(of(2, 1).known_cost(), Some(NanoUsd(7)));
        assert_eq!(UsageTotals::default().known_cost(), Some(NanoUsd(0)));
    }

    #[test]
    fn words_survive_a_round_trip() {
        for group in UsageGroup::ALL {
            assert_eq!(UsageGroup::parse(group.as_str()), Some(group));
        }
        assert_eq!(UsageGroup::parse("month"), None);
    }
}
