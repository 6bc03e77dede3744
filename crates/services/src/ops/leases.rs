//! What this node runs it holds for a short time only, and renews while it runs. So a node that dies holds nothing up
//! for long, and one that merely took too long finds out that it lost what it held.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anteroom_domain::Timestamp;
use jiff::SignedDuration;
use uuid::Uuid;

use crate::later;

/// What this node holds under leases of one kind.
#[derive(Debug)]
pub(crate) struct Leases {
    length: SignedDuration,
    held: Arc<Mutex<HashSet<Uuid>>>,
    renewed_at: Mutex<Timestamp>,
}

/// Something that is held until this is dropped: then it is renewed no more.
#[derive(Debug)]
pub(crate) struct Lease {
    id: Uuid,
    held: Arc<Mutex<HashSet<Uuid>>>,
}

fn open<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Leases {
    /// Holds nothing yet.
    pub(crate) fn of(length: SignedDuration) -> Self {
        Self {
            length,
            held: Arc::default(),
            renewed_at: Mutex::new(Timestamp::MIN),
        }
    }

    /// Holds something from now on.
    pub(crate) fn hold(&self, id: Uuid) -> Lease {
        open(&self.held).insert(id);
        let held = Arc::clone(&self.held);
        Lease { id, held }
    }

    /// Until when a lease lasts that is taken or renewed now.
    pub(crate) fn until(&self, now: Timestamp) -> Timestamp {
        later(now, self.length)
    }

    /// What expired so long ago that its holder is dead, and not only cut off from the store for a moment: a lease is
    /// renewed as soon as the store is back.
    pub(crate) fn dead_before(&self, now: Timestamp) -> Timestamp {
        later(now, -self.length)
    }

    /// What is to be renewed now: everything, once a third of a lease has passed since that last succeeded.
    pub(crate) fn due(&self, now: Timestamp) -> Vec<Uuid> {
        if later(*open(&self.renewed_at), self.length / 3) > now {
            return Vec::new();
        }
        open(&self.held).iter().copied().collect()
    }

    /// It was renewed.
    pub(crate) fn renewed(&self, at: Timestamp) {
        *open(&self.renewed_at) = at;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        open(&self.held).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_comes_due_three_times_in_a_lease() {
        let leases = Leases::of(SignedDuration::from_secs(30));
        let at = |second: i64| Timestamp::from_second(1_000 + second).unwrap();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let held = leases.hold(one);
        let short = leases.hold(other);
        assert_eq!(leases.due(at(0)).len(), 2);
        leases.renewed(at(0));
        assert!(leases.due(at(9)).is_empty());
        drop(short);
        assert_eq!(leases.due(at(10)), [one]);
        // It did not succeed, so it is tried again.
        assert_eq!(leases.due(at(11)), [one]);
        drop(held);
        assert!(leases.due(at(12)).is_empty());
        assert_eq!((leases.until(at(0)), leases.dead_before(at(30))), (at(30), at(0)));
    }
}
