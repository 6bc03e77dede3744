//! Lockout: what failed logins cost, and when that is forgotten.
//!
//! There are two counters of every login, one of the account and one of the client's address, and both follow the same
//! rule with other numbers. An attempt is booked as a failure before anything is compared, so that parallel guesses
//! count one another (CVE-2024-4629 is what happens else), and given back when it was none.

use jiff::SignedDuration;

use crate::Timestamp;

/// What failures cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockoutPolicy {
    /// Failures that cost nothing. The next one begins the first block.
    pub free_failures: u32,
    /// How long the first block lasts; each further failure doubles it.
    pub first_delay: SignedDuration,
    /// How long a block lasts at most.
    pub longest_delay: SignedDuration,
    /// One failure is forgiven whenever this much time has passed; `None` forgives none by itself.
    pub forgive_every: Option<SignedDuration>,
    /// All failures are forgotten after this much time without one.
    pub forget_after: SignedDuration,
}

/// What is remembered about an account or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LoginFailures {
    /// Failures that count, attempts that are being checked included.
    pub failures: u32,
    /// Since when the next forgiveness is waited for.
    pub forgiven_at: Option<Timestamp>,
    /// When the last one was booked.
    pub last_failure_at: Option<Timestamp>,
    /// Until when every attempt is refused unchecked.
    pub blocked_until: Option<Timestamp>,
    /// When the owner was told of this lockout.
    pub told_at: Option<Timestamp>,
}

impl LoginFailures {
    /// Until when attempts are refused, if they are now.
    pub fn block(&self, now: Timestamp) -> Option<Timestamp> {
        self.blocked_until.filter(|until| *until > now)
    }

    /// Takes one booking back, with the block that it began; another's block stays.
    #[must_use]
    pub fn give_back(mut self, began: Option<Timestamp>) -> Self {
        self.failures = self.failures.saturating_sub(1);
        if began.is_some() && self.blocked_until == began {
            self.blocked_until = None;
        }
        self
    }
}

impl LockoutPolicy {
    /// How long attempts are refused after the `failures`-th failure.
    pub fn delay(&self, failures: u32) -> SignedDuration {
        let Some(doublings) = failures
            .checked_sub(self.free_failures)
            .and_then(|over| over.checked_sub(1))
        else {
            return SignedDuration::ZERO;
        };
        1_i32
            .checked_shl(doublings)
            .filter(|factor| *factor > 0)
            .and_then(|factor| self.first_delay.checked_mul(factor))
            .map_or(self.longest_delay, |delay| delay.min(self.longest_delay))
    }

    /// What of the past still counts.
    #[must_use]
    pub fn remembered(&self, past: LoginFailures, now: Timestamp) -> LoginFailures {
        let Some(last) = past.last_failure_at else {
            return LoginFailures::default();
        };
        if now.duration_since(last) >= self.forget_after {
            return LoginFailures::default();
        }
        let Some((every, since)) = self.forgive_every.zip(past.forgiven_at) else {
            return past;
        };
        let every = every.as_secs().max(1);
        let steps = now.duration_since(since).as_secs().max(0) / every;
        let failures = past.failures.saturating_sub(u32::try_from(steps).unwrap_or(u32::MAX));
        if failures == 0 {
            return LoginFailures {
                blocked_until: past.blocked_until,
                ..LoginFailures::default()
            };
        }
        let passed = SignedDuration::from_secs(steps.saturating_mul(every));
        LoginFailures {
            failures,
            // The rest of the running step is kept, so that many failures do not put forgiveness off.
            forgiven_at: since.checked_add(passed).ok().or(past.forgiven_at),
            ..past
        }
    }

    /// Books an attempt as one failure more. Refused with the block's end while one lasts; nothing is booked then, so
    /// that a block is not made longer by knocking.
    pub fn book(&self, past: LoginFailures, now: Timestamp) -> Result<LoginFailures, Timestamp> {
        if let Some(until) = past.block(now) {
            return Err(until);
        }
        let known = self.remembered(past, now);
        let failures = known.failures.saturating_add(1);
        let delay = self.delay(failures);
        Ok(LoginFailures {
            failures,
            forgiven_at: known.forgiven_at.or(Some(now)),
            last_failure_at: Some(now),
            blocked_until: (!delay.is_zero()).then(|| now.saturating_add(delay).unwrap_or(Timestamp::MAX)),
            told_at: known.told_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: LockoutPolicy = LockoutPolicy {
        free_failures: 5,
        first_delay: SignedDuration::from_secs(5),
        longest_delay: SignedDuration::from_secs(900),
        forgive_every: None,
        forget_after: SignedDuration::from_hours(24),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    /// Books as soon as it is possible, from second 0. Answers the end and the state.
    fn fail(policy: LockoutPolicy, times: u32) -> (i64, LoginFailures) {
        let (mut second, mut state) = (0, LoginFailures::default());
        for _ in 0..times {
            while state.block(at(second)).is_some() {
                second += 1;
            }
            state = policy.book(state, at(second)).unwrap();
        }
        (second, state)
    }

    #[test]
    fn the_first_failures_cost_nothing_and_then_each_costs_twice_the_last() {
        let delays: Vec<i64> = (0..=15).map(|n| POLICY.delay(n).as_secs()).collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 0, 5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
        for failures in [31, 37, 38, 70, 1_000_000, u32::MAX] {
            assert_eq!(POLICY.delay(failures).as_secs(), 900, "{failures}");
        }
        let none_free = LockoutPolicy {
            free_failures: 0,
            ..POLICY
        };
        assert_eq!(none_free.delay(0).as_secs(), 0);
        assert_eq!(none_free.delay(1).as_secs(), 5);
    }

    #[test]
    fn delays_never_shrink_and_never_pass_the_longest() {
        for free in [0, 1, 5, 30] {
            for (first, longest) in [(1, 1), (1, 900), (7, 100), (86_400, 86_400)] {
                let policy = LockoutPolicy {
                    free_failures: free,
                    first_delay: SignedDuration::from_secs(first),
                    longest_delay: SignedDuration::from_secs(longest),
                    ..POLICY
                };
                let mut last = 0;
                for failures in 0..200 {
                    let delay = policy.delay(failures).as_secs();
                    assert!(delay >= last && delay <= longest, "{policy:?} {failures}");
                    assert_eq!(delay == 0, failures <= free, "{policy:?} {failures}");
                    last = delay;
                }
            }
        }
    }

    #[test]
    fn a_block_refuses_until_its_end_and_knocking_changes_nothing() {
        let (_, state) = fail(POLICY, 6);
        assert_eq!(state.blocked_until, Some(at(5)));
        for second in 0..5 {
            assert_eq!(POLICY.book(state, at(second)), Err(at(5)));
        }
        let next = POLICY.book(state, at(5)).unwrap();
        assert_eq!((next.failures, next.blocked_until), (7, Some(at(15))));
    }

    #[test]
    fn a_day_of_guessing_is_a_hundred_guesses() {
        let (mut second, mut state, mut guesses) = (0, LoginFailures::default(), 0);
        while second < 86_400 {
            match POLICY.book(state, at(second)) {
                Ok(next) => {
                    state = next;
                    guesses += 1;
                }
                Err(_) => second += 1,
            }
        }
        assert!((90..=110).contains(&guesses), "{guesses}");
    }

    #[test]
    fn everything_is_forgotten_after_a_time_without_failures() {
        let (_, state) = fail(POLICY, 5);
        let day = 24 * 3600;
        let kept = POLICY.book(state, at(day - 1)).unwrap();
        assert_eq!(kept.failures, 6);
        let forgotten = POLICY.book(state, at(day)).unwrap();
        assert_eq!((forgotten.failures, forgotten.blocked_until), (1, None));
        // From the last failure on, not from the first.
        assert_eq!(POLICY.book(kept, at(day + 5)).unwrap().failures, 7);
        assert_eq!(
            POLICY.remembered(LoginFailures::default(), at(0)),
            LoginFailures::default()
        );
    }

    #[test]
    fn one_lockout_is_told_once() {
        let (end, mut state) = fail(POLICY, 6);
        state.told_at = Some(at(end));
        let later = POLICY.book(state, at(end + 5)).unwrap();
        assert_eq!(later.told_at, Some(at(end)));
        let new = POLICY.book(later, at(end + 2 * 86_400)).unwrap();
        assert_eq!(new.told_at, None);
    }

    #[test]
    fn one_failure_is_forgiven_at_a_time() {
        let policy = LockoutPolicy {
            free_failures: 30,
            forgive_every: Some(SignedDuration::from_secs(300)),
            ..POLICY
        };
        let (_, state) = fail(policy, 10);
        let failures = |second| policy.remembered(state, at(second)).failures;
        assert_eq!(
            [0, 299, 300, 599, 600, 2999, 3000, 9000].map(failures),
            [10, 10, 9, 9, 8, 1, 0, 0]
        );
        // A failure between two steps does not put the next step off.
        let between = policy.book(state, at(450)).unwrap();
        assert_eq!(between.failures, 10);
        assert_eq!(policy.remembered(between, at(600)).failures, 9);
        // The sustained rate is that of forgiveness.
        let (mut second, mut state, mut booked) = (0, LoginFailures::default(), 0);
        while second < 86_400 {
            match policy.book(state, at(second)) {
                Ok(next) => {
                    state = next;
                    booked += 1;
                }
                Err(_) => second += 1,
            }
        }
        assert!((288..=330).contains(&booked), "{booked}");
    }

    #[test]
    fn a_booking_that_was_no_failure_is_given_back() {
        let (_, five) = fail(POLICY, 5);
        let sixth = POLICY.book(five, at(0)).unwrap();
        let back = sixth.give_back(sixth.blocked_until);
        assert_eq!((back.failures, back.blocked_until), (5, None));
        // A block that another began stays.
        let seventh = POLICY.book(sixth, at(5)).unwrap();
        let back = seventh.give_back(sixth.blocked_until);
        assert_eq!((back.failures, back.blocked_until), (6, Some(at(15))));
        let back = seventh.give_back(None);
        assert_eq!((back.failures, back.blocked_until), (6, Some(at(15))));
        assert_eq!(LoginFailures::default().give_back(None).failures, 0);
    }

    #[test]
    fn a_clock_that_goes_back_forgives_nothing() {
        let policy = LockoutPolicy {
            forgive_every: Some(SignedDuration::from_secs(60)),
            ..POLICY
        };
        let (_, state) = fail(policy, 3);
        assert_eq!(policy.remembered(state, at(-1000)).failures, 3);
    }
}
