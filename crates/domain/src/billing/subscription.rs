//! Subscriptions as the payment provider has them.

use super::{Owner, Price};
use crate::Timestamp;

/// A subscription's status, in Stripe's words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubscriptionStatus {
    /// The first payment is outstanding.
    Incomplete,
    /// The first payment never came; terminal.
    IncompleteExpired,
    /// In its trial.
    Trialing,
    /// Paid.
    Active,
    /// A renewal is unpaid and still being tried.
    PastDue,
    /// A renewal stayed unpaid.
    Unpaid,
    /// Over; terminal.
    Canceled,
    /// The trial ended without a payment method.
    Paused,
    /// A word this version does not know.
    Other(String),
}

impl SubscriptionStatus {
    const KNOWN: [Self; 8] = [
        Self::Incomplete,
        Self::IncompleteExpired,
        Self::Trialing,
        Self::Active,
        Self::PastDue,
        Self::Unpaid,
        Self::Canceled,
        Self::Paused,
    ];

    /// The provider's word.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Incomplete => "incomplete",
            Self::IncompleteExpired => "incomplete_expired",
            Self::Trialing => "trialing",
            Self::Active => "active",
            Self::PastDue => "past_due",
            Self::Unpaid => "unpaid",
            Self::Canceled => "canceled",
            Self::Paused => "paused",
            Self::Other(word) => word,
        }
    }

    /// Reads the provider's word.
    pub fn parse(word: &str) -> Self {
        Self::KNOWN
            .into_iter()
            .find(|s| s.as_str() == word)
            .unwrap_or_else(|| Self::Other(word.to_owned()))
    }

    /// Whether nothing can follow it.
    pub fn terminal(&self) -> bool {
        matches!(self, Self::IncompleteExpired | Self::Canceled)
    }
}

/// A subscription as the payment provider had it when it was asked last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The payment provider's name.
    pub provider: String,
    /// The provider's identifier, unique with its name.
    pub provider_id: String,
    /// Whose it is.
    pub owner: Owner,
    /// Whose it is at the provider; unknown of those that were stored before it was kept.
    pub customer: Option<String>,
    /// The plan's key.
    pub plan: String,
    /// The plan's version that was bought: its terms hold, whatever the plan says today.
    pub plan_version: i32,
    /// What is paid for a period and a seat, where it is one number.
    pub price: Option<Price>,
    /// How many seats; 1 where the plan is not sold by the seat.
    pub quantity: i64,
    /// The provider's status.
    pub status: SubscriptionStatus,
    /// The last status that this version knows, where `status` is none of them.
    pub known_status: Option<SubscriptionStatus>,
    /// End of the running period, paid or not.
    pub current_period_end: Option<Timestamp>,
    /// Until when it is paid: before the running period's end if the invoice that opened it is unpaid.
    pub paid_until: Option<Timestamp>,
    /// Whether it ends with the period.
    pub cancel_at_period_end: bool,
    /// When else it is going to end.
    pub cancel_at: Option<Timestamp>,
    /// End of the trial.
    pub trial_end: Option<Timestamp>,
    /// Since when a payment is missing.
    pub past_due_since: Option<Timestamp>,
    /// Whether the operator stopped collecting payment, which changes no status.
    pub collection_paused: bool,
    /// The plan it turns into at the end of the running period.
    pub next_plan: Option<String>,
    /// How many seats it is for then; unknown of what was written before that was kept.
    pub next_quantity: Option<i64>,
    /// When the provider was asked; an older state never overwrites a newer one.
    pub as_of: Timestamp,
}

impl Subscription {
    /// Whether `next` may replace this state: it is not older, it has the same owner, and a terminal state stays.
    pub fn yields_to(&self, next: &Self) -> bool {
        !self.status.terminal() && next.as_of >= self.as_of && next.owner == self.owner
    }

    /// The state after `next`: as told, but
    /// - a payment that is still missing has been missing since it first was, or every further look would start the
    ///   grace time anew;
    /// - of a status that this version does not know, the last known one decides on.
    #[must_use]
    pub fn succeeded_by(&self, next: &Self) -> Self {
        let still_missing = self.status == SubscriptionStatus::PastDue && next.status == SubscriptionStatus::PastDue;
        let since = self.past_due_since.filter(|_| still_missing);
        let known = self.known().cloned();
        Self {
            past_due_since: since.into_iter().chain(next.past_due_since).min(),
            known_status: known.filter(|_| matches!(next.status, SubscriptionStatus::Other(_))),
            ..next.clone()
        }
    }

    /// The status that decides: the last one that this version knows.
    pub fn known(&self) -> Option<&SubscriptionStatus> {
        match &self.status {
            SubscriptionStatus::Other(_) => self.known_status.as_ref(),
            known => Some(known),
        }
    }

    /// When it is going to end by itself, if it is.
    pub fn ends_at(&self) -> Option<Timestamp> {
        let with_period = self.current_period_end.filter(|_| self.cancel_at_period_end);
        with_period.into_iter().chain(self.cancel_at).min()
    }

    /// Whether another one may not be bought beside it.
    pub fn live(&self) -> bool {
        use SubscriptionStatus as S;
        !self.status.terminal() && self.status != S::Incomplete
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::UserId;

    pub(crate) fn sub(status: SubscriptionStatus, second: i64) -> Subscription {
        Subscription {
            provider: "stripe-stub".into(),
            provider_id: "sub_1".into(),
            owner: Owner::account(UserId(Uuid::nil())),
            customer: Some("cus_1".into()),
            plan: "pro".into(),
            plan_version: 1,
            price: None,
            quantity: 1,
            status,
            known_status: None,
            current_period_end: None,
            paid_until: None,
            cancel_at_period_end: false,
            cancel_at: None,
            trial_end: None,
            past_due_since: None,
            collection_paused: false,
            next_plan: None,
            next_quantity: None,
            as_of: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn events_out_of_order_end_in_the_newest_state() {
        let active = sub(SubscriptionStatus::Active, 10);
        assert!(active.yields_to(&sub(SubscriptionStatus::PastDue, 11)));
        assert!(active.yields_to(&sub(SubscriptionStatus::Canceled, 10)));
        assert!(!active.yields_to(&sub(SubscriptionStatus::Incomplete, 9)));
        assert!(!sub(SubscriptionStatus::Canceled, 10).yields_to(&sub(SubscriptionStatus::Active, 12)));
    }

    #[test]
    fn a_payment_is_missing_since_it_first_was() {
        let since = |second| Some(Timestamp::from_second(second).unwrap());
        let past_due = |second| Subscription {
            past_due_since: since(second),
            ..sub(SubscriptionStatus::PastDue, second)
        };
        assert_eq!(past_due(10).succeeded_by(&past_due(20)).past_due_since, since(10));
        let active = sub(SubscriptionStatus::Active, 15);
        assert_eq!(past_due(10).succeeded_by(&active).past_due_since, None);
        assert_eq!(active.succeeded_by(&past_due(20)).past_due_since, since(20));
    }

    #[test]
    fn a_subscription_never_changes_hands() {
        let active = sub(SubscriptionStatus::Active, 10);
        let elsewhere = Subscription {
            owner: Owner::account(UserId(Uuid::from_u128(1))),
            ..sub(SubscriptionStatus::Active, 11)
        };
        assert!(!active.yields_to(&elsewhere));
    }

    #[test]
    fn a_word_of_tomorrow_leaves_what_was_decided() {
        let other = sub(SubscriptionStatus::Other("dormant".into()), 20);
        let known = |sub: &Subscription| sub.known().map(|s| s.as_str().to_owned());
        assert_eq!(known(&other), None);
        let after = sub(SubscriptionStatus::Active, 10).succeeded_by(&other);
        assert_eq!(
            (after.status.as_str(), known(&after)),
            ("dormant", Some("active".into()))
        );
        let again = after.succeeded_by(&sub(SubscriptionStatus::Other("sleepy".into()), 30));
        assert_eq!(known(&again), Some("active".into()));
        let back = again.succeeded_by(&sub(SubscriptionStatus::Unpaid, 40));
        assert_eq!((known(&back), back.known_status), (Some("unpaid".into()), None));
    }

    #[test]
    fn it_ends_at_the_first_of_its_ends() {
        let at = |second| Some(Timestamp::from_second(second).unwrap());
        let ends = |with_period, cancel_at| {
            Subscription {
                current_period_end: at(100),
                cancel_at_period_end: with_period,
                cancel_at,
                ..sub(SubscriptionStatus::Active, 1)
            }
            .ends_at()
        };
        assert_eq!(ends(false, None), None);
        assert_eq!(ends(true, None), at(100));
        assert_eq!(ends(true, at(50)), at(50));
        assert_eq!(ends(false, at(150)), at(150));
    }

    #[test]
    fn stored_words_of_statuses_survive_a_round_trip() {
        for status in SubscriptionStatus::KNOWN {
            assert_eq!(SubscriptionStatus::parse(status.as_str()), status);
        }
        assert_eq!(SubscriptionStatus::parse("odd").as_str(), "odd");
    }
}
