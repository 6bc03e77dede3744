//! A clock that stands still until it is moved, and identifiers that are the same in every run.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use aws_lc_rs::digest::{SHA256, digest};
use jiff::SignedDuration;
use uuid::Uuid;

use anteroom_domain::{Timestamp, micros};
use anteroom_ports::{Clock, Ids};

/// Where a fixed clock begins: 2026-01-01T00:00:00Z.
const BEGIN_SECONDS: i64 = 1_767_225_600;

/// A clock that a test moves by hand.
#[derive(Debug)]
pub struct FixedClock {
    micros: AtomicI64,
}

impl FixedClock {
    /// Stands at 2026-01-01T00:00:00Z.
    pub fn new() -> Self {
        Self {
            micros: AtomicI64::new(BEGIN_SECONDS * 1_000_000),
        }
    }

    /// Stands at `time`.
    pub fn at(time: Timestamp) -> Self {
        Self {
            micros: AtomicI64::new(micros(time).as_microsecond()),
        }
    }

    /// Moves it to `time`, which may lie in the past.
    pub fn set(&self, time: Timestamp) {
        self.micros.store(micros(time).as_microsecond(), Ordering::SeqCst);
    }

    /// Moves it by `step` (back, if negative) and answers the new time.
    pub fn advance(&self, step: SignedDuration) -> Timestamp {
        let step = i64::try_from(step.as_micros()).unwrap_or(i64::MAX);
        self.micros.fetch_add(step, Ordering::SeqCst);
        self.now()
    }

    /// Moves it by whole seconds and answers the new time.
    pub fn advance_seconds(&self, seconds: i64) -> Timestamp {
        self.advance(SignedDuration::from_secs(seconds))
    }
}

impl Default for FixedClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for FixedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_microsecond(self.micros.load(Ordering::SeqCst)).unwrap_or(Timestamp::MAX)
    }
}

/// Identifiers and secrets that depend on nothing but a seed and how many were asked for.
#[derive(Debug)]
pub struct SeededIds {
    seed: u64,
    next: AtomicU64,
}

impl SeededIds {
    /// Two with the same seed give the same values in the same order.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            next: AtomicU64::new(0),
        }
    }

    fn draw(&self, what: &[u8]) -> (u64, [u8; 32]) {
        let number = self.next.fetch_add(1, Ordering::SeqCst);
        let input = [what, &self.seed.to_be_bytes(), &number.to_be_bytes()].concat();
        let mut value = [0; 32];
        value.copy_from_slice(digest(&SHA256, &input).as_ref());
        (number, value)
    }
}

impl Default for SeededIds {
    fn default() -> Self {
        Self::new(1)
    }
}

impl Ids for SeededIds {
    fn uuid(&self) -> Uuid {
        let (number, value) = self.draw(b"uuid");
        let mut rest = [0; 10];
        rest.copy_from_slice(&value[..10]);
        // A millisecond later each time, so that they sort in the order they were made.
        let millis = BEGIN_SECONDS.unsigned_abs() * 1000 + number;
        uuid::Builder::from_unix_timestamp_millis(millis, &rest).into_uuid()
    }

    fn secret(&self) -> [u8; 32] {
        self.draw(b"secret").1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_moves_only_by_hand() {
        let clock = FixedClock::new();
        assert_eq!(clock.now(), "2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.advance_seconds(90), "2026-01-01T00:01:30Z".parse().unwrap());
        clock.set("2026-01-01T00:00:00.1234567Z".parse().unwrap());
        assert_eq!(clock.now(), "2026-01-01T00:00:00.123456Z".parse().unwrap());
    }

    #[test]
    fn ids_are_the_same_in_every_run_and_sort() {
        let (a, b) = (SeededIds::new(7), SeededIds::new(7));
        let (first, second) = (a.uuid(), a.uuid());
        assert_eq!((first, second), (b.uuid(), b.uuid()));
        assert!(first < second);
        assert_eq!(first.get_version_num(), 7);
        assert_eq!(a.secret(), b.secret());
        assert_ne!(a.secret(), a.secret());
        assert_ne!(SeededIds::new(8).uuid(), first);
    }
}
