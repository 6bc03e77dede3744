//! Quotas: what is held for a call before it runs, and the windows it counts in.

use jiff::{SignedDuration, Span, Timestamp, Unit, Zoned, tz::TimeZone};

use serde::{Deserialize, Serialize};

use super::{METER_CREDITS, Owner};

/// The counter of messages of a day.
pub const METER_MESSAGES: &str = Meter::Messages.counter(Window::Day);
/// The meter of the operator's money, in nano-USD, counted for the whole deployment.
pub const METER_SPEND: &str = "spend";
/// The meter of an owner's part of that money, where each has a share of it.
pub const METER_SPEND_SHARE: &str = "spend_share";
/// The meter of what is spent with an API key that has a budget.
pub const METER_KEY_BUDGET: &str = "key_budget";

/// What Anteroom counts of a call to a model, and a plan can limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meter {
    /// Calls, by whichever route: one each.
    Messages,
    /// Tokens, those of the prompt and of the answer.
    Tokens,
    /// What the call cost the operator, in nano-USD.
    Cost,
}

impl Meter {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Messages, Self::Tokens, Self::Cost];

    /// The entitlement's key in a plan, and the word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Tokens => "tokens",
            Self::Cost => "cost",
        }
    }

    /// Reads the word. A plan may grant other things by meter too; those the operator counts.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|meter| meter.as_str() == word)
    }

    /// The name of what counts this meter in this window. Each has one of its own, since a minute, a day and a month may
    /// begin at the same moment.
    pub const fn counter(self, window: Window) -> &'static str {
        match (self, window) {
            (Self::Messages, Window::Minute) => "messages_minute",
            (Self::Messages, Window::Day) => "messages",
            (Self::Messages, Window::Month) => "messages_month",
            (Self::Tokens, Window::Minute) => "tokens_minute",
            (Self::Tokens, Window::Day) => "tokens",
            (Self::Tokens, Window::Month) => "tokens_month",
            (Self::Cost, Window::Minute) => "cost_minute",
            (Self::Cost, Window::Day) => "cost",
            (Self::Cost, Window::Month) => "cost_month",
            (Self::Messages, Window::Always) => "messages_always",
            (Self::Tokens, Window::Always) => "tokens_always",
            (Self::Cost, Window::Always) => "cost_always",
        }
    }

    /// What the counter of this name counts, and in which window; `None` of those that no plan has.
    pub fn of_counter(name: &str) -> Option<(Self, Window)> {
        let all = Self::ALL
            .into_iter()
            .flat_map(|meter| Window::ALL.map(|window| (meter, window)));
        all.into_iter().find(|(meter, window)| meter.counter(*window) == name)
    }
}

/// The name of a counter, as it is stored: a plan's, or one of the deployment's own.
pub fn counter_named(name: &str) -> Option<&'static str> {
    let of_plan = Meter::of_counter(name).map(|(meter, window)| meter.counter(window));
    let own = [METER_SPEND, METER_SPEND_SHARE, METER_KEY_BUDGET, METER_CREDITS];
    of_plan.or_else(|| own.into_iter().find(|own| *own == name))
}

/// How long a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// A minute of the clock.
    Minute,
    /// A day in UTC.
    Day,
    /// A month of billing: from the day of the month on which the subscription's period ends or, without one, on which
    /// the account was made.
    Month,
    /// For good: so many at once, which are given back by whoever took them.
    Always,
}

/// What months of billing are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    /// From when the account was made, for ever.
    Since(Timestamp),
    /// Back from the end of what is paid. After it no window begins until a renewal says so, however late that is.
    PaidUntil(Timestamp),
}

/// From when to when a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowSpan {
    /// Its first moment.
    pub start: Timestamp,
    /// When the next one begins.
    pub end: Timestamp,
}

impl WindowSpan {
    /// When the next one begins, if there is a next one.
    pub fn resets_at(&self) -> Option<Timestamp> {
        (self.end < Timestamp::MAX).then_some(self.end)
    }
}

impl Window {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Minute, Self::Day, Self::Month, Self::Always];

    /// The word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Day => "day",
            Self::Month => "month",
            Self::Always => "always",
        }
    }

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|window| window.as_str() == word)
    }

    /// How it is said to people: "a day".
    pub fn said(self) -> &'static str {
        match self {
            Self::Minute => "a minute",
            Self::Day => "a day",
            Self::Month => "a month",
            Self::Always => "at once",
        }
    }

    /// The window that counts at `now`.
    pub fn at(self, now: Timestamp, anchor: Anchor) -> WindowSpan {
        match self {
            Self::Minute => whole(now, Unit::Minute, SignedDuration::from_mins(1)),
            Self::Day => day_of(now),
            Self::Always => WindowSpan {
                start: Timestamp::UNIX_EPOCH,
                end: Timestamp::MAX,
            },
            // Beyond the calendar's end, where nobody is.
            Self::Month => month_of(now, anchor).unwrap_or(WindowSpan { start: now, end: now }),
        }
    }
}

/// The day in UTC that `now` lies in.
pub fn day_of(now: Timestamp) -> WindowSpan {
    // UTC has no daylight saving; every day has 24 hours.
    whole(now, Unit::Day, SignedDuration::from_hours(24))
}

fn whole(now: Timestamp, unit: Unit, length: SignedDuration) -> WindowSpan {
    let floor = jiff::ZonedRound::new().smallest(unit).mode(jiff::RoundMode::Floor);
    let start = now
        .to_zoned(TimeZone::UTC)
        .round(floor)
        .map_or(now, |start| start.timestamp());
    WindowSpan {
        start,
        end: start.saturating_add(length).unwrap_or(now),
    }
}

fn month_of(now: Timestamp, anchor: Anchor) -> Result<WindowSpan, jiff::Error> {
    let (from, last) = match anchor {
        Anchor::Since(from) => (from, i64::MAX),
        Anchor::PaidUntil(end) => (end, -1),
    };
    let (from, now) = (from.to_zoned(TimeZone::UTC), now.to_zoned(TimeZone::UTC));
    // Each boundary from the anchor itself: one on the 31st is on the 28th in February and on the 31st in March.
    let boundary = |months: i64| from.checked_add(Span::new().try_months(months)?);
    let months = |at: &Zoned| i64::from(at.year()) * 12 + i64::from(at.month());
    let mut nth = months(&now) - months(&from);
    if boundary(nth)? > now {
        nth -= 1;
    }
    let nth = nth.min(last);
    Ok(WindowSpan {
        start: boundary(nth)?.timestamp(),
        end: boundary(nth + 1)?.timestamp(),
    })
}

/// Which counter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaKey {
    /// Whose.
    pub owner: Owner,
    /// Its name: of what it counts, and how long ([`Meter::counter`]).
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

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn span(start: &str, end: &str) -> WindowSpan {
        WindowSpan {
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn a_day_is_a_day_in_utc_and_a_minute_one_of_the_clock() {
        let now = at("2026-11-20T23:59:59.999999Z");
        let anchor = Anchor::Since(at("2026-01-15T12:00:00Z"));
        assert_eq!(day_of(now), span("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z"));
        assert_eq!(Window::Day.at(now, anchor), day_of(now));
        assert_eq!(day_of(day_of(now).end).start, day_of(now).end);
        assert_eq!(
            Window::Minute.at(now, anchor),
            span("2026-11-20T23:59:00Z", "2026-11-21T00:00:00Z")
        );
    }

    #[test]
    fn a_month_is_counted_from_its_anchor() {
        let since = |anchor: &str, now: &str| Window::Month.at(at(now), Anchor::Since(at(anchor)));
        let made = "2026-01-31T10:00:00Z";
        for (now, start, end) in [
            (made, made, "2026-02-28T10:00:00Z"),
            ("2026-02-28T09:59:59Z", "2026-01-31T10:00:00Z", "2026-02-28T10:00:00Z"),
            ("2026-02-28T10:00:00Z", "2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z"),
            ("2028-03-01T00:00:00Z", "2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z"),
            // A node whose clock is behind.
            ("2026-01-31T09:59:59Z", "2025-12-31T10:00:00Z", "2026-01-31T10:00:00Z"),
        ] {
            assert_eq!(since(made, now), span(start, end), "{now}");
        }
    }

    #[test]
    fn an_unpaid_renewal_opens_no_window() {
        let until = |end: &str, now: &str| Window::Month.at(at(now), Anchor::PaidUntil(at(end)));
        let last = span("2026-11-05T08:00:00Z", "2026-12-05T08:00:00Z");
        for now in [
            "2026-11-05T08:00:00Z",
            "2026-12-05T07:59:59Z",
            "2026-12-05T08:00:00Z",
            "2027-06-01T00:00:00Z",
        ] {
            assert_eq!(until("2026-12-05T08:00:00Z", now), last, "{now}");
        }
        // A year that is paid has twelve windows.
        let year = |now| until("2027-03-05T08:00:00Z", now);
        assert_eq!(year("2026-11-20T00:00:00Z"), last);
        assert_eq!(year("2026-12-06T00:00:00Z").start, last.end);
    }

    #[test]
    fn windows_follow_each_other_without_a_gap() {
        for anchor in ["2024-02-29T23:59:59Z", "2026-08-31T00:00:00Z", "2026-11-30T12:00:00Z"] {
            let mut now = at(anchor);
            for _ in 0..60 {
                let here = Window::Month.at(now, Anchor::Since(at(anchor)));
                assert!(here.start <= now && now < here.end, "{anchor} {now}");
                let before_next = here.end - SignedDuration::from_micros(1);
                assert_eq!(Window::Month.at(before_next, Anchor::Since(at(anchor))), here);
                now = here.end;
            }
        }
    }

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        let mut names = Vec::new();
        for meter in Meter::ALL {
            assert_eq!(Meter::parse(meter.as_str()), Some(meter));
            for window in Window::ALL {
                let name = meter.counter(window);
                assert_eq!(Meter::of_counter(name), Some((meter, window)));
                assert_eq!(counter_named(name), Some(name));
                names.push(name);
                assert_eq!(Window::parse(window.as_str()), Some(window));
            }
        }
        names.extend([METER_SPEND, METER_SPEND_SHARE, METER_KEY_BUDGET, METER_CREDITS]);
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!((names.len(), all), (16, 16));
        assert_eq!((counter_named("spend"), counter_named("stars")), (Some("spend"), None));
        assert_eq!((Meter::of_counter("spend"), Meter::parse("seats")), (None, None));
    }
}
