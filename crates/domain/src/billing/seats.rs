//! Seats: a plan that is sold for several at once, at its price for each.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Credits, Entitlement, EntitlementKind, METER_CREDITS, Plan};

/// How many seats of a plan are sold at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeatRule {
    /// The fewest; at least one.
    pub min: i64,
    /// The most, not below `min`; `None`: as many as of anything ([`SeatRule::MOST`]).
    pub max: Option<i64>,
}

impl SeatRule {
    /// The most of any plan: more of one thing no page of Stripe's sells.
    pub const MOST: i64 = 999_999;

    /// The most that are sold.
    pub fn most(self) -> i64 {
        self.max.unwrap_or(Self::MOST).min(Self::MOST)
    }

    /// Whether so many are sold.
    pub fn sells(self, seats: i64) -> bool {
        (self.min..=self.most()).contains(&seats)
    }
}

impl fmt::Display for SeatRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.min, self.most())
    }
}

/// So many seats of a plan are not sold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", refused(.plan, *.rule, *.seats))]
pub struct SeatsRefused {
    /// The plan's key.
    pub plan: String,
    /// How many are; `None` of a plan that is not sold by the seat.
    pub rule: Option<SeatRule>,
    /// How many were to be bought.
    pub seats: i64,
}

fn refused(plan: &str, rule: Option<SeatRule>, seats: i64) -> String {
    match rule {
        Some(rule) => format!("the plan `{plan}` is sold for {rule} seats, and this would be for {seats}"),
        None => format!("the plan `{plan}` is sold once and not by the seat: leave `seats` out"),
    }
}

impl Plan {
    /// How many seats are bought of it: as many as are `asked` for or else are `held`, or else the fewest. Of a plan that is
    /// not sold by the seat it is one.
    ///
    /// # Errors
    ///
    /// If so many are not sold, or more than one of a plan that is sold once.
    pub fn seats_bought(&self, asked: Option<i64>, held: Option<i64>) -> Result<i64, SeatsRefused> {
        let (seats, sold) = match self.seats {
            Some(rule) => {
                let seats = asked.or(held).unwrap_or(rule.min);
                (seats, rule.sells(seats))
            }
            None => {
                let seats = asked.unwrap_or(1);
                (seats, seats == 1)
            }
        };
        let refused = || SeatsRefused {
            plan: self.key.clone(),
            rule: self.seats,
            seats,
        };
        sold.then_some(seats).ok_or_else(refused)
    }

    /// The plan as it is in force for so many seats: what it limits by the seat is there as many times, and no longer by the
    /// seat. `None` if it limits nothing so, and is in force as it is.
    pub fn for_seats(&self, seats: i64) -> Option<Self> {
        let by_seat = |it: &Entitlement| matches!(it.kind, EntitlementKind::Metered { per_seat: true, .. });
        if !self.entitlements.iter().any(by_seat) {
            return None;
        }
        let mut plan = self.clone();
        for entitlement in &mut plan.entitlements {
            entitlement.count_for(seats);
        }
        Some(plan)
    }
}

impl Entitlement {
    fn count_for(&mut self, seats: i64) {
        // Of credits nobody has more, however many seats there are.
        let most = if self.key == METER_CREDITS {
            Credits::MOST.whole_down()
        } else {
            i64::MAX
        };
        let times = |number: i64| number.saturating_mul(seats.max(0)).min(most);
        if let EntitlementKind::Metered {
            limit,
            rollover,
            per_seat,
            overage,
            ..
        } = &mut self.kind
            && *per_seat
        {
            *limit = limit.map(times);
            *rollover = times(*rollover);
            if let Some(overage) = overage {
                overage.max = times(overage.max);
            }
            *per_seat = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::plan::tests::plan;
    use super::super::{Meter, ModelRule, Overage, Window};
    use super::*;

    fn sold(seats: Option<SeatRule>) -> Plan {
        Plan {
            seats,
            ..plan("team", ModelRule::All, Some(5))
        }
    }

    fn rule(min: i64, max: Option<i64>) -> SeatRule {
        SeatRule { min, max }
    }

    #[test]
    fn as_many_seats_are_bought_as_are_asked_for_held_or_sold_at_least() {
        let upward = Some(rule(2, Some(50)));
        for (seats, asked, held, bought) in [
            (None, None, None, Ok(1)),
            (None, None, Some(3), Ok(1)),
            (None, Some(1), Some(3), Ok(1)),
            (None, Some(2), None, Err(2)),
            (None, Some(0), None, Err(0)),
            (upward, None, None, Ok(2)),
            (upward, None, Some(7), Ok(7)),
            (upward, None, Some(1), Err(1)),
            (upward, None, Some(51), Err(51)),
            (upward, Some(9), Some(7), Ok(9)),
            (upward, Some(9), Some(1), Ok(9)),
            (upward, Some(2), None, Ok(2)),
            (upward, Some(50), None, Ok(50)),
            (upward, Some(1), None, Err(1)),
            (upward, Some(51), Some(7), Err(51)),
            (upward, Some(0), Some(7), Err(0)),
            (upward, Some(-1), Some(7), Err(-1)),
            (Some(rule(1, None)), Some(SeatRule::MOST), None, Ok(SeatRule::MOST)),
            (
                Some(rule(1, None)),
                Some(SeatRule::MOST + 1),
                None,
                Err(SeatRule::MOST + 1),
            ),
            (Some(rule(1, None)), Some(i64::MAX), None, Err(i64::MAX)),
        ] {
            let outcome = sold(seats).seats_bought(asked, held);
            let outcome = outcome.map_err(|refused| {
                assert_eq!((refused.plan.as_str(), refused.rule), ("team", seats));
                refused.seats
            });
            assert_eq!(outcome, bought, "{seats:?} asked {asked:?} held {held:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_bounds() {
        let said = |seats, asked| sold(seats).seats_bought(Some(asked), None).unwrap_err().to_string();
        let many = said(Some(rule(2, Some(50))), 51);
        assert!(many.contains("2 to 50 seats") && many.contains("51"), "{many}");
        let endless = said(Some(rule(2, None)), 1);
        assert!(endless.contains("2 to 999999 seats"), "{endless}");
        let once = said(None, 3);
        assert!(once.contains("`team`") && once.contains("not by the seat"), "{once}");
    }

    #[test]
    fn what_is_limited_by_the_seat_is_there_as_often() {
        let of = |key: &str, limit, window, rollover, per_seat| Entitlement {
            key: key.into(),
            kind: EntitlementKind::Metered {
                limit,
                window,
                rollover,
                per_seat,
                overage: None,
            },
        };
        let whole = of("messages", Some(100), Window::Month, 0, false);
        let plan = sold(Some(rule(1, None))).with_entitlements(&[
            &of("messages", Some(5), Window::Day, 0, true),
            &whole,
            &of("credits", Some(1000), Window::Month, 200, true),
            &of("users", None, Window::Always, 0, true),
        ]);
        let limits = |seats| {
            let plan = plan.for_seats(seats).unwrap();
            let metered = plan.entitlements.iter().filter_map(|it| match it.kind {
                EntitlementKind::Metered {
                    limit,
                    rollover,
                    per_seat,
                    ..
                } => Some((limit, rollover, per_seat)),
                _ => None,
            });
            metered.collect::<Vec<_>>()
        };
        let most = Credits::MOST.whole_down();
        for (seats, messages, credits, rollover) in [
            (1, 5, 1000, 200),
            (3, 15, 3000, 600),
            (0, 0, 0, 0),
            (-4, 0, 0, 0),
            (i64::MAX, i64::MAX, most, most),
        ] {
            let expected = [
                (Some(messages), 0, false),
                (Some(100), 0, false),
                (Some(credits), rollover, false),
                (None, 0, false),
            ];
            assert_eq!(limits(seats), expected, "{seats}");
        }
        let thrice = plan.for_seats(3).unwrap();
        assert_eq!(thrice.for_seats(3), None, "it is not counted twice");
        assert_eq!(sold(Some(rule(1, None))).for_seats(3), None);
        assert_eq!(
            thrice.limits().next(),
            Some((Meter::Messages, Window::Day, Some(15))),
            "and that is what holds of calls"
        );
    }

    #[test]
    fn what_is_sold_beyond_a_limit_is_sold_for_each_seat() {
        let beyond = |limit, max, per_seat| Entitlement {
            key: "messages".into(),
            kind: EntitlementKind::Metered {
                limit: Some(limit),
                window: Window::Month,
                rollover: 0,
                per_seat,
                overage: Some(Overage { max, prices: vec![] }),
            },
        };
        let plan = sold(Some(rule(1, None))).with_entitlements(&[&beyond(100, 50, true)]);
        let thrice = plan.for_seats(3).unwrap();
        assert_eq!(thrice.entitlements.last(), Some(&beyond(300, 150, false)));
        assert_eq!(
            plan.for_seats(i64::MAX).unwrap().limits().last().map(|(.., most)| most),
            Some(Some(i64::MAX)),
            "no sum runs over"
        );
    }

    #[test]
    fn terms_of_before_there_were_seats_are_read() {
        let plan = sold(Some(rule(2, Some(50)))).with_entitlements(&[&Entitlement {
            key: "messages".into(),
            kind: EntitlementKind::Metered {
                limit: Some(5),
                window: Window::Day,
                rollover: 0,
                per_seat: true,
                overage: None,
            },
        }]);
        let stored = serde_json::to_value(&plan).unwrap();
        assert_eq!(serde_json::from_value::<Plan>(stored.clone()).unwrap(), plan);
        let mut before = stored;
        before.as_object_mut().unwrap().remove("seats");
        let read: Plan = serde_json::from_value(before).unwrap();
        assert_eq!(read.seats, None);
        // What is not by the seat is written as it always was.
        let without = serde_json::to_string(&sold(None)).unwrap();
        assert!(!without.contains("per_seat"), "{without}");
    }
}
