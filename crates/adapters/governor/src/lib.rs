//! Rate limits in this process's memory: GCRA, as the `governor` crate has it.
//!
//! A key has all of a while's acts in one burst and gets one back every `seconds / most` seconds. Each node counts for
//! itself, so that behind a balancer over n nodes a client has up to n times the limit.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock, Reference as _};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore as _;
use governor::state::keyed::{DashMapStateStore, ShrinkableKeyedStateStore as _};
use governor::{Quota, RateLimiter as Governor};

use anteroom_domain::protection::{Limit, Verdict};
use anteroom_ports::RateLimiter;

/// Keys that are kept apart under one limit; about 50 bytes each.
const MAX_KEYS: usize = 100_000;

/// How many counters all keys of a limit share while there are more than [`MAX_KEYS`].
const SHARED_COUNTERS: u128 = 4096;

/// Checks of one limit between two looks at its size.
const CHECKS_BETWEEN_LOOKS: u32 = 1024;

/// A key is kept as a keyed 128-bit hash: of one size, cheap to look up, and no address stays in memory.
type Key = u128;

/// Counts acts in this process's memory, for at most 100,000 keys of each limit. Beyond that, keys share counters
/// until those that were idle for a minute have been forgotten: under an attack from very many addresses, limits
/// become stricter for all rather than void.
pub struct MemoryLimiter<C: Clock = DefaultClock> {
    clock: C,
    max_keys: usize,
    hashers: [RandomState; 2],
    counters: RwLock<HashMap<Limit, Arc<Counter<C>>>>,
    /// Until when what each key took is owed, by limit; in nanoseconds since `begun`.
    debts: RwLock<HashMap<Limit, Arc<DashMapStateStore<Key>>>>,
    begun: C::Instant,
}

impl MemoryLimiter {
    /// Has counted nothing yet.
    pub fn new() -> Self {
        Self::with_clock(DefaultClock::default(), MAX_KEYS)
    }
}

impl Default for MemoryLimiter {
    fn default() -> Self {
        Self::new()
    }
}

impl<C: Clock + Clone> MemoryLimiter<C> {
    fn with_clock(clock: C, max_keys: usize) -> Self {
        Self {
            begun: clock.now(),
            clock,
            max_keys,
            hashers: [RandomState::new(), RandomState::new()],
            counters: RwLock::default(),
            debts: RwLock::default(),
        }
    }

    /// Forgets keys whose limits are full again. Counting is not changed by it; meant to be called every minute.
    pub fn prune(&self) {
        let counters: Vec<_> = self.read().values().cloned().collect();
        for counter in counters {
            counter.look(self.max_keys, 0);
        }
        // API keys have rates of their own: what nobody is counted under any more is no limit to keep.
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        counters.retain(|_, counter| !counter.governor.is_empty());
        drop(counters);
        let now = self.elapsed();
        let mut debts = self.debts.write().unwrap_or_else(PoisonError::into_inner);
        debts.retain(|_, debts| {
            debts.retain_recent(now.into());
            !debts.is_empty()
        });
    }

    /// How many keys are being counted, over all limits.
    pub fn keys(&self) -> usize {
        let counted: usize = self.read().values().map(|counter| counter.governor.len()).sum();
        let debts = self.debts.read().unwrap_or_else(PoisonError::into_inner);
        counted + debts.values().map(|debts| debts.len()).sum::<usize>()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, HashMap<Limit, Arc<Counter<C>>>> {
        self.counters.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The counter of a limit; `None` for a limit of zero acts.
    fn counter(&self, limit: Limit) -> Option<Arc<Counter<C>>> {
        if let Some(counter) = self.read().get(&limit) {
            return Some(Arc::clone(counter));
        }
        let most = NonZeroU32::new(limit.most)?;
        let quota = Quota::with_period(Duration::from_secs(limit.seconds.into()) / limit.most)?.allow_burst(most);
        let mut counters = self.counters.write().unwrap_or_else(PoisonError::into_inner);
        let counter = counters
            .entry(limit)
            .or_insert_with(|| Arc::new(Counter::new(quota, self.clock.clone())));
        Some(Arc::clone(counter))
    }

    fn debts(&self, limit: Limit) -> Arc<DashMapStateStore<Key>> {
        if let Some(debts) = self.debts.read().unwrap_or_else(PoisonError::into_inner).get(&limit) {
            return Arc::clone(debts);
        }
        let mut debts = self.debts.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(debts.entry(limit).or_default())
    }

    /// Nanoseconds since this began to count; never zero, which a store of states takes for nothing.
    fn elapsed(&self) -> u64 {
        self.clock.now().duration_since(self.begun).as_u64() + 1
    }

    fn hash(&self, key: &str) -> Key {
        let [high, low] = &self.hashers;
        (Key::from(high.hash_one(key)) << 64) | Key::from(low.hash_one(key))
    }
}

impl<C: Clock + Clone + Send + Sync> RateLimiter for MemoryLimiter<C>
where
    C::Instant: Send + Sync,
{
    fn check(&self, limit: Limit, key: &str) -> Verdict {
        let Some(counter) = self.counter(limit) else {
            return Verdict {
                allowed: false,
                remaining: 0,
                after_seconds: limit.seconds.into(),
            };
        };
        let key = counter.place(self.hash(key), self.max_keys);
        match counter.governor.check_key(&key) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity().min(limit.most);
                let used = u64::from(limit.most - remaining);
                Verdict {
                    allowed: true,
                    remaining,
                    after_seconds: (used * u64::from(limit.seconds)).div_ceil(u64::from(limit.most)),
                }
            }
            Err(until) => Verdict {
                allowed: false,
                remaining: 0,
                after_seconds: seconds_up(until.wait_time_from(self.clock.now())).max(1),
            },
        }
    }

    fn take(&self, limit: Limit, key: &str, acts: u32) -> Verdict {
        let (now, each, whole) = (self.elapsed(), nanoseconds_each(limit), nanoseconds(limit));
        let verdict = |owed: u64, allowed| Verdict {
            allowed,
            remaining: u32::try_from(whole.saturating_sub(owed) / each).unwrap_or(u32::MAX),
            after_seconds: seconds_up(Duration::from_nanos(if allowed { owed } else { owed + each - whole })),
        };
        let taken = self.debts(limit).measure_and_replace(&self.hash(key), |until| {
            let until = until.map_or(now, |until| until.as_u64().max(now));
            if until - now + each > whole {
                return Err(verdict(until - now, false));
            }
            let until = until.saturating_add(each.saturating_mul(acts.into()));
            Ok((verdict(until - now, true), Nanos::from(until)))
        });
        taken.unwrap_or_else(|refused| refused)
    }

    fn charge(&self, limit: Limit, key: &str, acts: u32) {
        let (now, each) = (self.elapsed(), nanoseconds_each(limit));
        let charged: Result<(), std::convert::Infallible> =
            self.debts(limit).measure_and_replace(&self.hash(key), |until| {
                let until = until.map_or(now, |until| until.as_u64().max(now));
                Ok(((), Nanos::from(until.saturating_add(each.saturating_mul(acts.into())))))
            });
        let Ok(()) = charged;
    }
}

/// A limit's while.
fn nanoseconds(limit: Limit) -> u64 {
    u64::from(limit.seconds) * 1_000_000_000
}

/// How long it takes until one act has come back. Of a limit of zero none ever fits.
fn nanoseconds_each(limit: Limit) -> u64 {
    nanoseconds(limit)
        .checked_div(limit.most.into())
        .map_or(u64::MAX / 2, |each| each.max(1))
}

/// What is counted under one limit.
struct Counter<C: Clock> {
    governor: Governor<Key, DashMapStateStore<Key>, C, StateInformationMiddleware>,
    checks: AtomicU32,
    full: AtomicBool,
}

impl<C: Clock> Counter<C> {
    fn new(quota: Quota, clock: C) -> Self {
        let store = DashMapStateStore::default();
        Self {
            governor: Governor::new(quota, store, clock),
            checks: AtomicU32::new(0),
            full: AtomicBool::new(false),
        }
    }

    /// Where a key is counted: by itself, or with others while there are too many.
    fn place(&self, key: Key, max_keys: usize) -> Key {
        if self.checks.fetch_add(1, Ordering::Relaxed) % CHECKS_BETWEEN_LOOKS == CHECKS_BETWEEN_LOOKS - 1 {
            self.look(max_keys, max_keys);
        }
        if self.full.load(Ordering::Relaxed) {
            return key % SHARED_COUNTERS;
        }
        key
    }

    /// Forgets idle keys if there are more than `tolerated`, then decides whether there are still too many.
    fn look(&self, max_keys: usize, tolerated: usize) {
        if self.governor.len() > tolerated {
            self.governor.retain_recent();
        }
        self.full.store(self.governor.len() > max_keys, Ordering::Relaxed);
    }
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    const LOGIN: Limit = Limit::per_minute("login", 10);
    const SIGNUP: Limit = Limit::per_minute("signup", 10);
    const TOKENS: Limit = Limit::per_minute("tokens", 600);

    fn limiter(max_keys: usize) -> (FakeRelativeClock, MemoryLimiter<FakeRelativeClock>) {
        let clock = FakeRelativeClock::default();
        (clock.clone(), MemoryLimiter::with_clock(clock, max_keys))
    }

    fn allowed(limiter: &impl RateLimiter, limit: Limit, key: &str, tries: u32) -> usize {
        let tries = (0..tries).filter(|_| limiter.check(limit, key).allowed);
        tries.count()
    }

    #[test]
    fn the_eleventh_act_in_a_minute_is_refused() {
        let limiter = MemoryLimiter::new();
        for left in (0..10).rev() {
            let verdict = limiter.check(LOGIN, "192.0.2.1");
            assert!(verdict.allowed && verdict.remaining == left, "{verdict:?}");
            assert_eq!(verdict.after_seconds, 60 - 6 * u64::from(left));
        }
        let refused = limiter.check(LOGIN, "192.0.2.1");
        assert!(!refused.allowed && refused.remaining == 0);
        assert!((1..=6).contains(&refused.after_seconds), "{refused:?}");
        assert!(limiter.check(LOGIN, "192.0.2.2").allowed, "another key is unaffected");
        assert!(limiter.check(SIGNUP, "192.0.2.1").allowed, "limits are counted apart");
    }

    #[test]
    fn acts_come_back_one_by_one_and_a_refusal_costs_none() {
        let (clock, limiter) = limiter(MAX_KEYS);
        assert_eq!(allowed(&limiter, LOGIN, "a", 50), 10);
        clock.advance(Duration::from_millis(5_500));
        let early = limiter.check(LOGIN, "a");
        assert_eq!((early.allowed, early.after_seconds), (false, 1));
        clock.advance(Duration::from_millis(500));
        assert_eq!(allowed(&limiter, LOGIN, "a", 5), 1);
        clock.advance(Duration::from_secs(60));
        assert_eq!(allowed(&limiter, LOGIN, "a", 50), 10);
    }

    #[test]
    fn what_is_taken_beyond_the_limit_is_made_up_for() {
        let (clock, limiter) = limiter(MAX_KEYS);
        let take = |acts| {
            let verdict = limiter.take(TOKENS, "a", acts);
            (verdict.allowed, verdict.remaining, verdict.after_seconds)
        };
        assert_eq!(take(100), (true, 500, 10));
        assert_eq!(
            take(1_100),
            (true, 0, 120),
            "one that is larger than the limit goes through, once"
        );
        assert_eq!(take(1), (false, 0, 61));
        assert!(limiter.take(TOKENS, "b", 1).allowed, "another key is unaffected");
        limiter.charge(TOKENS, "a", 60);
        clock.advance(Duration::from_secs(66));
        assert_eq!(take(1), (false, 0, 1));
        clock.advance(Duration::from_millis(100));
        assert_eq!(take(1), (true, 0, 60));
        limiter.prune();
        assert_eq!(limiter.keys(), 1, "the other owes nothing any more");
        clock.advance(Duration::from_secs(61));
        limiter.prune();
        assert_eq!(limiter.keys(), 0);
        assert_eq!(take(0), (true, 600, 0));
        let none = Limit::per_minute("none", 0);
        assert!(!limiter.take(none, "a", 1).allowed);
    }

    #[test]
    fn sixty_four_parallel_takers_are_all_counted() {
        let limiter = MemoryLimiter::with_clock(FakeRelativeClock::default(), MAX_KEYS);
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| limiter.charge(TOKENS, "a", 5));
            }
        });
        assert_eq!(limiter.take(TOKENS, "a", 0).remaining, 600 - 64 * 5);
    }

    #[test]
    fn a_limit_may_have_another_while() {
        let (clock, limiter) = limiter(MAX_KEYS);
        let daily = Limit {
            name: "daily",
            most: 2,
            seconds: 86_400,
        };
        assert_eq!(allowed(&limiter, daily, "a", 5), 2);
        let refused = limiter.check(daily, "a");
        assert_eq!((refused.allowed, refused.after_seconds), (false, 43_200));
        clock.advance(Duration::from_secs(43_200));
        limiter.prune();
        assert_eq!(allowed(&limiter, daily, "a", 5), 1);
    }

    #[test]
    fn waiting_as_long_as_was_said_suffices() {
        let (clock, limiter) = limiter(MAX_KEYS);
        let limit = Limit::per_minute("odd", 7);
        allowed(&limiter, limit, "a", 7);
        for _ in 0..20 {
            let refused = limiter.check(limit, "a");
            assert!(!refused.allowed);
            clock.advance(Duration::from_secs(refused.after_seconds));
            assert!(allowed(&limiter, limit, "a", 7) >= 1);
        }
    }

    #[test]
    fn sixty_four_parallel_acts_are_counted_exactly() {
        let limiter = MemoryLimiter::new();
        let hits = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..64)
                .map(|_| scope.spawn(|| allowed(&limiter, LOGIN, "a", 1)))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(hits, 10);
    }

    #[test]
    fn a_limit_of_nothing_allows_nothing() {
        let limit = Limit::per_minute("closed", 0);
        assert!(!MemoryLimiter::new().check(limit, "a").allowed);
    }

    #[test]
    fn memory_is_bounded_and_still_limits() {
        let (clock, limiter) = limiter(5_000);
        for number in 0..200_000 {
            limiter.check(LOGIN, &format!("address {number}"));
        }
        let kept = limiter.keys();
        assert!(kept <= 5_000 + CHECKS_BETWEEN_LOOKS as usize + 4096, "{kept}");
        assert_eq!(
            allowed(&limiter, LOGIN, "one more", 100),
            0,
            "shared counters are used up"
        );
        clock.advance(Duration::from_secs(70));
        limiter.prune();
        assert_eq!(limiter.keys(), 0, "what was idle is forgotten");
        assert_eq!(
            allowed(&limiter, LOGIN, "one more", 100),
            10,
            "and keys are counted apart again"
        );
    }

    #[test]
    fn pruning_forgets_nobody_who_is_still_limited() {
        let (clock, limiter) = limiter(MAX_KEYS);
        assert_eq!(allowed(&limiter, LOGIN, "a", 20), 10);
        clock.advance(Duration::from_secs(2));
        limiter.prune();
        assert_eq!(allowed(&limiter, LOGIN, "a", 20), 0);
    }
}
