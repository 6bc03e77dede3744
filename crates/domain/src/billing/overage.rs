//! What may be used beyond a limit, for money: how much of it, what it costs, and what of it is still to be reported to
//! whoever writes the bill.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Owner;
use crate::Timestamp;

/// The most places behind the point, as Stripe has them (`unit_amount_decimal`).
const PLACES: usize = 12;

/// What one of something costs, in the currency's smallest unit: `0.05` is a twentieth of a cent. Held as a whole number
/// of 10^-12 of that unit, so that it is compared and stored exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UnitAmount(i64);

/// Why a text is no [`UnitAmount`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "what one costs is a number above zero and at most 1000000, with at most 12 places behind the point, in the currency's \
     smallest unit: \"0.05\" is a twentieth of a cent"
)]
pub struct InvalidUnitAmount;

impl FromStr for UnitAmount {
    type Err = InvalidUnitAmount;

    fn from_str(text: &str) -> Result<Self, InvalidUnitAmount> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(whole) || !digits(fraction) || fraction.len() > PLACES || whole.len() > 7 {
            return Err(InvalidUnitAmount);
        }
        let number: i64 = format!("{whole}{fraction:0<PLACES$}")
            .parse()
            .map_err(|_| InvalidUnitAmount)?;
        let most = 1_000_000 * 10_i64.pow(12);
        if number == 0 || number > most {
            return Err(InvalidUnitAmount);
        }
        Ok(Self(number))
    }
}

impl TryFrom<String> for UnitAmount {
    type Error = InvalidUnitAmount;

    fn try_from(text: String) -> Result<Self, InvalidUnitAmount> {
        text.parse()
    }
}

impl From<UnitAmount> for String {
    fn from(amount: UnitAmount) -> Self {
        amount.to_string()
    }
}

/// Without zeros that say nothing: `2`, `0.05`.
impl fmt::Display for UnitAmount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = 10_i64.pow(12);
        let fraction = format!("{:0PLACES$}", self.0 % one);
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{}", self.0 / one),
            fraction => write!(f, "{}.{fraction}", self.0 / one),
        }
    }
}

/// What one costs in a currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OveragePrice {
    /// ISO 4217, lower case.
    pub currency: String,
    /// What one costs.
    pub amount: UnitAmount,
}

/// What may be used beyond the limit of a month of billing. Only who pays for a plan may: neither in a trial, nor while a
/// payment is missing, nor where the operator granted the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Overage {
    /// The most of it in one month of billing; at least 1.
    pub max: i64,
    /// What one costs, in each currency in which the plan is sold.
    pub prices: Vec<OveragePrice>,
}

impl Overage {
    /// What one costs in this currency.
    pub fn price(&self, currency: &str) -> Option<UnitAmount> {
        let of = |price: &&OveragePrice| price.currency == currency;
        self.prices.iter().find(of).map(|price| price.amount)
    }
}

/// What somebody used beyond a limit in one month of billing, and what of it was reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverageAccount {
    /// Whose.
    pub owner: Owner,
    /// The counter's name.
    pub counter: String,
    /// When the counter's window began.
    pub window_start: Timestamp,
    /// What is counted: the entitlement's key.
    pub key: String,
    /// The plan whose terms hold.
    pub plan: String,
    /// That plan's version.
    pub plan_version: i32,
    /// From how much on it is paid for.
    pub paid_from: i64,
    /// The most that is paid for.
    pub max: i64,
    /// What was reported under these terms.
    pub reported: i64,
}

impl OverageAccount {
    /// The terms that hold from now on, where `used` stands on the counter.
    ///
    /// What was free stays free: a limit that falls within the window, as one does that was granted for a time, makes
    /// nothing dear that was used below it. And what was used under another plan is that plan's affair: what went beyond
    /// its limit was reported under its terms, the rest is never paid for.
    pub fn agree(&mut self, terms: &Self, used: i64) {
        if (self.plan.as_str(), self.plan_version) == (terms.plan.as_str(), terms.plan_version) {
            self.free_until(terms.paid_from);
            self.max = self.max.max(terms.max);
            return;
        }
        self.plan.clone_from(&terms.plan);
        self.plan_version = terms.plan_version;
        self.paid_from = terms.paid_from.max(used);
        self.max = terms.max;
        self.reported = 0;
    }

    /// So much is free, whatever was sold before. What was reported of it stays paid.
    pub fn free_until(&mut self, until: i64) {
        if until > self.paid_from {
            let reported_until = self.paid_from.saturating_add(self.reported);
            self.reported = reported_until.saturating_sub(until).max(0);
            self.paid_from = until;
        }
    }

    /// What is to be reported now that `used` stands on the counter: it counts as reported from here on. Never below zero.
    pub fn report(&mut self, used: i64) -> i64 {
        let over = used.saturating_sub(self.paid_from).clamp(0, self.max.max(0));
        let due = over.saturating_sub(self.reported).max(0);
        self.reported = self.reported.saturating_add(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::UserId;

    #[test]
    fn an_amount_is_exact_and_written_without_idle_zeros() {
        for (text, said) in [
            ("2", "2"),
            ("0.05", "0.05"),
            ("0.50", "0.5"),
            ("007.0", "7"),
            ("0.000000000001", "0.000000000001"),
            ("1000000", "1000000"),
            ("999999.999999999999", "999999.999999999999"),
        ] {
            let amount: UnitAmount = text.parse().unwrap();
            assert_eq!(amount.to_string(), said);
            assert_eq!(said.parse(), Ok(amount));
            let json = serde_json::to_string(&amount).unwrap();
            assert_eq!(json, format!("\"{said}\""));
            assert_eq!(serde_json::from_str::<UnitAmount>(&json).unwrap(), amount);
        }
        for text in [
            "",
            ".",
            "0",
            "0.0",
            "-1",
            "+1",
            "1.",
            ".5",
            "1e3",
            "1,5",
            "0.0000000000001",
            "1000000.1",
            "9999999999999999999",
            "\u{662}",
        ] {
            assert_eq!(text.parse::<UnitAmount>(), Err(InvalidUnitAmount), "{text}");
        }
    }

    fn account(plan: &str, paid_from: i64, max: i64) -> OverageAccount {
        OverageAccount {
            owner: Owner::account(UserId(Uuid::nil())),
            counter: "messages_month".into(),
            window_start: Timestamp::UNIX_EPOCH,
            key: "messages".into(),
            plan: plan.into(),
            plan_version: 1,
            paid_from,
            max,
            reported: 0,
        }
    }

    #[test]
    fn what_goes_beyond_the_limit_is_reported_once_and_up_to_the_most() {
        let mut own = account("pro", 100, 50);
        let reports: Vec<_> = [0, 100, 101, 120, 120, 90, 150, 400]
            .map(|used| own.report(used))
            .into();
        assert_eq!(reports, [0, 0, 1, 19, 0, 0, 30, 0]);
        assert_eq!(own.reported, 50);
    }

    #[test]
    fn a_limit_that_falls_makes_nothing_dear_that_was_free() {
        let mut own = account("pro", 100, 50);
        // Raised for a time, then as before.
        own.agree(&account("pro", 500, 50), 90);
        assert_eq!(own.report(400), 0);
        own.agree(&account("pro", 100, 50), 400);
        assert_eq!((own.paid_from, own.report(400), own.report(510)), (500, 0, 10));
    }

    #[test]
    fn what_is_granted_later_is_free_and_what_goes_beyond_it_is_paid() {
        let mut own = account("pro", 100, 50);
        assert_eq!(own.report(120), 20);
        own.free_until(110);
        assert_eq!((own.paid_from, own.reported, own.report(120)), (110, 10, 0));
        own.free_until(140);
        assert_eq!((own.reported, own.report(140), own.report(145)), (0, 0, 5));
        own.free_until(100);
        assert_eq!((own.paid_from, own.reported), (140, 5), "what was free stays free");
        // More seats in the same month: what goes beyond their limit is paid as well.
        own.agree(&account("pro", 300, 150), 145);
        assert_eq!((own.report(300), own.report(320)), (0, 20));
        own.free_until(i64::MAX);
        assert_eq!((own.reported, own.report(i64::MAX)), (0, 0));
    }

    #[test]
    fn an_upgrade_makes_nothing_dear_that_was_used_or_paid_before() {
        let mut own = account("pro", 100, 50);
        assert_eq!(own.report(130), 30);
        own.agree(&account("business", 1000, 500), 130);
        assert_eq!((own.report(1000), own.report(1005), own.reported), (0, 5, 5));
    }

    #[test]
    fn a_smaller_plan_in_the_same_window_counts_from_what_is_used() {
        let mut own = account("business", 1000, 500);
        own.agree(&account("pro", 100, 50), 700);
        assert_eq!((own.report(700), own.report(710), own.report(900)), (0, 10, 40));
        // Another version of the same plan has terms of its own.
        let next = OverageAccount {
            plan_version: 2,
            ..account("pro", 100, 50)
        };
        own.agree(&next, 900);
        assert_eq!((own.paid_from, own.report(901)), (900, 1));
    }

    #[test]
    fn numbers_at_their_ends_do_not_run_over() {
        let mut own = account("pro", i64::MAX, i64::MAX);
        assert_eq!(own.report(i64::MAX), 0);
        let mut own = account("pro", 0, i64::MAX);
        assert_eq!((own.report(i64::MAX), own.report(i64::MAX)), (i64::MAX, 0));
    }
}
