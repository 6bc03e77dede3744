//! When a target that fails is left alone, and when it is tried again.

use jiff::SignedDuration;

use crate::Timestamp;

/// What the operator can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many failures in a row open it; 0: it never opens.
    pub failures: u32,
    /// For how long it stays open before one call may try.
    pub open_for: SignedDuration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    /// Calls go through.
    #[default]
    Closed,
    /// None does, until then.
    Open(Timestamp),
    /// One call tries, since then.
    Probing(Timestamp),
}

/// How a breaker stands, in words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BreakerState {
    /// Calls go through.
    Closed,
    /// None does: it has failed too often.
    Open,
    /// One call may try, or tries.
    HalfOpen,
    /// None does: the target asked for patience.
    Resting,
}

impl BreakerState {
    /// The stable word that is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Resting => "resting",
        }
    }
}

/// A circuit breaker: closed, open after failures in a row, half open while one call tries. Beside it stands for how long the
/// target asked to be left alone, which says nothing about how well it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Breaker {
    failures: u32,
    /// Streams in a row that it began and did not bring to their end.
    broken_off: u32,
    state: State,
    rests_until: Option<Timestamp>,
}

impl Breaker {
    /// Whether a call would be let through now.
    pub fn available(&self, now: Timestamp, policy: BreakerPolicy) -> bool {
        self.opens_at(policy).is_none_or(|at| at <= now)
    }

    /// A call goes through, if it may.
    pub fn admit(&mut self, now: Timestamp, policy: BreakerPolicy) -> bool {
        let admitted = self.available(now, policy);
        if admitted && self.state != State::Closed {
            self.state = State::Probing(now);
        }
        admitted
    }

    /// A call was answered. Answers whether this closed it.
    pub fn succeeded(&mut self) -> bool {
        self.came_whole();
        self.began()
    }

    /// A call that had begun to be answered was answered whole. Late as that is, it opens and closes nothing.
    pub fn came_whole(&mut self) {
        self.broken_off = 0;
    }

    /// A call begins to be answered; how it ends is not known yet. Answers whether this closed it.
    pub fn began(&mut self) -> bool {
        let closed = self.state != State::Closed;
        (self.state, self.failures) = (State::Closed, 0);
        closed
    }

    /// A call that had begun to be answered broke off. Answers whether this opened it.
    pub fn broke_off(&mut self, now: Timestamp, policy: BreakerPolicy) -> bool {
        self.broken_off = self.broken_off.saturating_add(1);
        let opens = policy.failures > 0 && self.state == State::Closed && self.broken_off >= policy.failures;
        if opens {
            self.open(now, policy);
        }
        opens
    }

    fn open(&mut self, now: Timestamp, policy: BreakerPolicy) {
        self.state = State::Open(now.saturating_add(policy.open_for).unwrap_or(Timestamp::MAX));
    }

    /// A call failed. Answers whether this opened it.
    pub fn failed(&mut self, now: Timestamp, policy: BreakerPolicy) -> bool {
        self.failures = self.failures.saturating_add(1);
        let probed = matches!(self.state, State::Probing(_));
        let opens =
            policy.failures > 0 && (probed || (self.state == State::Closed && self.failures >= policy.failures));
        if opens {
            self.open(now, policy);
        }
        opens
    }

    /// The provider asked to be left alone until then. Whatever else is known of it stands.
    pub fn rest(&mut self, until: Timestamp) {
        self.rests_until = self.rests_until.max(Some(until));
    }

    /// A call ended without saying anything about the target: its client went away.
    pub fn let_go(&mut self, now: Timestamp) {
        if matches!(self.state, State::Probing(_)) {
            self.state = State::Open(now);
        }
    }

    /// How it stands.
    pub fn state(&self, now: Timestamp, policy: BreakerPolicy) -> BreakerState {
        match self.state {
            State::Open(until) if now < until && policy.failures > 0 => BreakerState::Open,
            _ if self.rests_until.is_some_and(|until| now < until) => BreakerState::Resting,
            State::Closed => BreakerState::Closed,
            State::Open(_) | State::Probing(_) => BreakerState::HalfOpen,
        }
    }

    /// When a call may try, if there is such a time.
    pub fn opens_at(&self, policy: BreakerPolicy) -> Option<Timestamp> {
        let opens = match self.state {
            State::Closed => None,
            State::Open(until) => Some(until),
            // One that never said how it went must not keep the others out for ever.
            State::Probing(since) => since.saturating_add(policy.open_for).ok(),
        };
        opens.max(self.rests_until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: BreakerPolicy = BreakerPolicy {
        failures: 3,
        open_for: SignedDuration::from_secs(30),
    };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn opened() -> Breaker {
        let mut breaker = Breaker::default();
        assert!(!breaker.failed(at(0), POLICY));
        assert!(!breaker.failed(at(0), POLICY));
        assert!(breaker.failed(at(0), POLICY));
        breaker
    }

    #[test]
    fn failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), POLICY);
        breaker.failed(at(0), POLICY);
        assert!(!breaker.succeeded());
        assert!(!breaker.failed(at(0), POLICY));
        assert!(breaker.admit(at(0), POLICY));
        assert!(!opened().admit(at(29), POLICY));
    }

    #[test]
    fn streams_in_a_row_that_break_off_open_it_though_each_began_well() {
        let mut breaker = Breaker::default();
        for _ in 0..2 {
            assert!(!breaker.began());
            assert!(!breaker.broke_off(at(0), POLICY));
        }
        assert!(!breaker.succeeded(), "one that is whole begins the count anew");
        for last in [false, false, true] {
            assert!(breaker.admit(at(0), POLICY));
            breaker.began();
            assert_eq!(breaker.broke_off(at(0), POLICY), last);
        }
        assert!(!breaker.available(at(29), POLICY));
        // The call that tries closes it with its first word, and opens it again when it breaks off.
        assert!(breaker.admit(at(30), POLICY));
        assert!(breaker.began());
        assert!(breaker.broke_off(at(31), POLICY));
        assert!(!breaker.available(at(60), POLICY));
        let off = BreakerPolicy { failures: 0, ..POLICY };
        let mut never = Breaker::default();
        assert!((0..100).all(|_| !never.broke_off(at(0), off)));
    }

    #[test]
    fn then_one_call_tries_at_a_time() {
        let mut breaker = opened();
        assert!(breaker.admit(at(30), POLICY));
        assert!(!breaker.admit(at(31), POLICY));
        assert!(breaker.succeeded());
        assert!(breaker.admit(at(31), POLICY) && breaker.admit(at(31), POLICY));
    }

    #[test]
    fn a_try_that_fails_opens_it_again_at_once() {
        let mut breaker = opened();
        assert!(breaker.admit(at(30), POLICY));
        assert!(breaker.failed(at(31), POLICY));
        assert!(!breaker.admit(at(60), POLICY));
        assert!(breaker.admit(at(61), POLICY));
    }

    #[test]
    fn a_try_that_says_nothing_leaves_it_to_the_next() {
        let mut breaker = opened();
        assert!(breaker.admit(at(30), POLICY));
        breaker.let_go(at(31));
        assert!(breaker.admit(at(31), POLICY));
        // Not even its end was heard of.
        assert!(!breaker.available(at(60), POLICY));
        assert!(breaker.available(at(61), POLICY));
        let mut closed = Breaker::default();
        closed.let_go(at(0));
        assert_eq!(closed, Breaker::default());
    }

    #[test]
    fn how_it_stands_is_said() {
        let mut breaker = opened();
        assert_eq!(Breaker::default().state(at(0), POLICY), BreakerState::Closed);
        assert_eq!(breaker.state(at(29), POLICY), BreakerState::Open);
        assert_eq!(breaker.state(at(30), POLICY), BreakerState::HalfOpen);
        assert!(breaker.admit(at(30), POLICY));
        assert_eq!(breaker.state(at(31), POLICY), BreakerState::HalfOpen);
        breaker.succeeded();
        breaker.rest(at(40));
        assert_eq!(breaker.state(at(39), POLICY), BreakerState::Resting);
        assert_eq!(breaker.state(at(40), POLICY), BreakerState::Closed);
    }

    #[test]
    fn late_failures_do_not_prolong_it() {
        let mut breaker = opened();
        assert!(!breaker.failed(at(20), POLICY));
        assert!(breaker.admit(at(30), POLICY));
    }

    #[test]
    fn it_can_be_switched_off() {
        let off = BreakerPolicy { failures: 0, ..POLICY };
        let mut breaker = Breaker::default();
        breaker.rest(at(7));
        assert!(breaker.admit(at(7), off));
        assert!((0..100).all(|_| !breaker.failed(at(8), off)));
        assert!(breaker.available(at(8), off));
    }

    #[test]
    fn a_rest_keeps_all_out_and_then_none() {
        let mut breaker = Breaker::default();
        breaker.rest(at(7));
        assert!(!breaker.admit(at(6), POLICY));
        assert_eq!(breaker.opens_at(POLICY), Some(at(7)));
        assert!(breaker.admit(at(7), POLICY) && breaker.admit(at(7), POLICY));
        // It takes as many failures as ever to open it.
        assert!(!breaker.failed(at(8), POLICY));
        assert!(breaker.available(at(8), POLICY));
    }

    #[test]
    fn a_rest_neither_shortens_nor_ends_what_failures_began() {
        let mut breaker = opened();
        breaker.rest(at(1));
        assert!(!breaker.available(at(2), POLICY));
        assert_eq!(breaker.opens_at(POLICY), Some(at(30)));
        breaker.rest(at(60));
        breaker.rest(at(50));
        assert_eq!(breaker.opens_at(POLICY), Some(at(60)));
    }
}
