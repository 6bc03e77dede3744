//! Billing periods and proportions of them.

use jiff::tz::TimeZone;
use jiff::{Span, Timestamp, Zoned};

/// Seconds of a day; Stripe counts periods of days and weeks in UTC, which has no other days.
pub(crate) const DAY: i64 = 86_400;

/// The first boundary after `after` of periods that are counted from `anchor`. A period of months that begins on the
/// 31st ends on the last day of shorter months, and on the 31st again of longer ones.
/// <https://docs.stripe.com/billing/subscriptions/billing-cycle>
pub(crate) fn next_boundary(anchor: i64, interval: &str, count: i64, after: i64) -> i64 {
    let count = count.max(1);
    let fixed = match interval {
        "day" => DAY.saturating_mul(count),
        "week" => DAY.saturating_mul(7).saturating_mul(count),
        other => return next_month(anchor, if other == "year" { 12 } else { 1 } * count, after),
    };
    let passed = after.saturating_sub(anchor).div_euclid(fixed).saturating_add(1).max(0);
    anchor.saturating_add(fixed.saturating_mul(passed))
}

fn next_month(anchor: i64, months: i64, after: i64) -> i64 {
    if after < anchor {
        return anchor;
    }
    let (Some(start), Some(end)) = (utc(anchor), utc(after)) else {
        return after.saturating_add(DAY * 28);
    };
    let between = i64::from(end.year() - start.year()) * 12 + i64::from(end.month() - start.month());
    // One less than what may have passed, then forward: the day of the month decides.
    let mut passed = (between / months - 1).max(0);
    loop {
        passed += 1;
        let boundary = Span::new()
            .try_months(passed * months)
            .and_then(|span| start.checked_add(span))
            .map(|end| end.timestamp().as_second());
        match boundary {
            Ok(boundary) if boundary <= after => (),
            Ok(boundary) => return boundary,
            Err(_) => return i64::MAX,
        }
    }
}

fn utc(second: i64) -> Option<Zoned> {
    Timestamp::from_second(second)
        .ok()
        .map(|time| time.to_zoned(TimeZone::UTC))
}

/// `amount` for `part` of `whole` seconds, to the nearest unit, halves away from zero.
pub(crate) fn prorate(amount: i64, part: i64, whole: i64) -> i64 {
    if whole <= 0 {
        return 0;
    }
    let (amount, part, whole) = (i128::from(amount), i128::from(part.clamp(0, whole)), i128::from(whole));
    let doubled = amount * part * 2;
    let rounded = (doubled.abs() + whole) / (whole * 2);
    i64::try_from(rounded * doubled.signum()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn the_31st_comes_back() {
        let anchor = second("2026-01-31T12:00:00Z");
        let mut at = anchor;
        let mut days = Vec::new();
        for _ in 0..5 {
            at = next_boundary(anchor, "month", 1, at);
            days.push(Timestamp::from_second(at).unwrap().to_string());
        }
        let expected = ["02-28", "03-31", "04-30", "05-31", "06-30"].map(|day| format!("2026-{day}T12:00:00Z"));
        assert_eq!(days, expected);
    }

    #[test]
    fn years_quarters_weeks_and_days() {
        let leap = second("2028-02-29T00:00:00Z");
        assert_eq!(next_boundary(leap, "year", 1, leap), second("2029-02-28T00:00:00Z"));
        assert_eq!(
            next_boundary(leap, "year", 1, second("2031-03-01T00:00:00Z")),
            second("2032-02-29T00:00:00Z")
        );
        assert_eq!(next_boundary(leap, "month", 3, leap), second("2028-05-29T00:00:00Z"));
        assert_eq!(next_boundary(leap, "week", 2, leap), leap + 14 * DAY);
        assert_eq!(next_boundary(leap, "day", 1, leap + DAY * 3 + 5), leap + DAY * 4);
        // Before the anchor, as in a trial: the anchor.
        assert_eq!(next_boundary(leap, "month", 1, leap - 1), leap);
        assert_eq!(next_boundary(leap, "day", 1, leap - 1), leap);
    }

    #[test]
    fn every_month_of_four_centuries_moves_forward() {
        let anchor = second("2026-01-31T23:59:59Z");
        let mut at = anchor;
        for _ in 0..4800 {
            let next = next_boundary(anchor, "month", 1, at);
            assert!((DAY * 28..=DAY * 31).contains(&(next - at)), "{at} {next}");
            at = next;
        }
    }

    #[test]
    fn proportions_round_to_the_nearest_unit() {
        assert_eq!(prorate(1000, 15, 30), 500);
        assert_eq!(prorate(-1000, 15, 30), -500);
        assert_eq!(prorate(1, 1, 2), 1);
        assert_eq!(prorate(-1, 1, 2), -1);
        assert_eq!(prorate(1900, 1, 3), 633);
        assert_eq!(prorate(1900, 2, 3), 1267);
        assert_eq!(prorate(1900, 40, 30), 1900);
        assert_eq!(prorate(i64::MAX, 1, 1), i64::MAX);
        assert_eq!(prorate(5, 1, 0), 0);
    }
}
