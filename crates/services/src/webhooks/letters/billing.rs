//! What is written about plans, payments and limits; the words are in `en_billing.rs` and `de_billing.rs`.

use anteroom_domain::Timestamp;
use anteroom_domain::billing::{Borne, Meter, NanoUsd, PlanChangeReason, Price, Window};

use super::plain;

/// A mail to a subscriber. Plans are called as people read them.
#[derive(Debug, Clone, Copy)]
pub(crate) enum BillingLetter<'a> {
    /// A trial is about to end, and the first payment follows.
    TrialEnding {
        plan: &'a str,
        ends_at: Timestamp,
        /// What is paid then, where it is known.
        price: Option<&'a Price>,
        /// Whether a means of payment is there for certain.
        card: bool,
    },
    /// A payment is missing.
    PaymentFailed { plan: &'a str, borne: Borne },
    /// Another plan is in force.
    PlanChanged {
        from: &'a str,
        to: &'a str,
        why: PlanChangeReason,
        /// What is paid for it, where it is known.
        price: Option<&'a Price>,
    },
    /// Another plan is going to be in force.
    PlanWillChange { from: &'a str, to: &'a str, on: Timestamp },
    /// The plan was going to change, and is not any more.
    PlanStays { plan: &'a str },
    /// Most, or all, of a limit is used up.
    QuotaUsed {
        /// The entitlement's key.
        what: &'a str,
        all: bool,
        used: i64,
        limit: i64,
        /// How much may be used beyond it, for money.
        beyond: Option<i64>,
        window: Window,
        /// When the next window begins, where that is known.
        resets_at: Option<Timestamp>,
    },
}

/// The operator's name for a plan or an entitlement, on its line.
pub(super) fn named(text: &str) -> String {
    plain::one_line(text, 60)
}

/// Currencies of which the smallest unit is the whole one
/// (<https://docs.stripe.com/currencies#zero-decimal>).
const WHOLE: [&str; 15] = [
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
];
/// Currencies with three decimals (<https://docs.stripe.com/currencies#three-decimal>).
const THREE_DECIMALS: [&str; 5] = ["bhd", "jod", "kwd", "omr", "tnd"];

/// How a language writes numbers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Numbers {
    /// Between thousands.
    pub thousands: char,
    /// Before decimals.
    pub decimals: char,
}

impl Numbers {
    /// A whole number.
    pub(super) fn whole(self, number: i64) -> String {
        let digits = number.unsigned_abs().to_string();
        let mut text = String::with_capacity(digits.len() + 7);
        if number < 0 {
            text.push('-');
        }
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(self.thousands);
            }
            text.push(digit);
        }
        text
    }

    /// An amount in a currency's smallest unit: `1,900.00 USD`.
    pub(super) fn money(self, amount: i64, currency: &str) -> String {
        let code = plain::one_line(currency, 8);
        let word = code.to_uppercase();
        let (unit, places) = match code.as_str() {
            code if WHOLE.contains(&code) => return format!("{} {word}", self.whole(amount)),
            code if THREE_DECIMALS.contains(&code) => (1000, 3),
            _ => (100, 2),
        };
        let (whole, rest) = (self.whole(amount / unit), (amount % unit).abs());
        format!("{whole}{}{rest:0places$} {word}", self.decimals)
    }

    /// How much of an entitlement: of `cost` it is money, of everything else a number.
    pub(super) fn amount(self, what: &str, amount: i64) -> String {
        if Meter::parse(what) == Some(Meter::Cost) {
            let cents = NanoUsd(amount).0 / 10_000_000;
            return self.money(cents, "usd");
        }
        self.whole(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_each_language_does() {
        let (english, german) = (
            Numbers {
                thousands: ',',
                decimals: '.',
            },
            Numbers {
                thousands: '.',
                decimals: ',',
            },
        );
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
            (-1000, "-1,000"),
            (i64::MIN, "-9,223,372,036,854,775,808"),
        ] {
            assert_eq!(english.whole(number), text);
        }
        for (amount, currency, en, de) in [
            (1900, "usd", "19.00 USD", "19,00 USD"),
            (190_005, "eur", "1,900.05 EUR", "1.900,05 EUR"),
            (1900, "jpy", "1,900 JPY", "1.900 JPY"),
            (1900, "kwd", "1.900 KWD", "1,900 KWD"),
            (0, "chf", "0.00 CHF", "0,00 CHF"),
        ] {
            assert_eq!(english.money(amount, currency), en);
            assert_eq!(german.money(amount, currency), de);
        }
        assert_eq!(english.amount("cost", 1_250_000_000), "1.25 USD");
        assert_eq!(german.amount("tokens", 1_250_000), "1.250.000");
    }
}
