//! Chance that can be had again: the same seed throws the same.

use std::time::Duration;

/// Throws that depend on nothing but the seed.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Those of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Those of one of many things under a seed, independent of the others'.
    pub fn of(seed: u64, number: u64) -> Self {
        let mut of_seed = Self(seed);
        Self(of_seed.throw() ^ Self(number).throw())
    }

    /// A seed that `ANTEROOM_TEST_SEED` names, or the clock.
    pub fn seed() -> u64 {
        let by_the_clock = u64::try_from(crate::now().as_microsecond()).unwrap_or_default() % 1_000_000_000;
        crate::number_from("ANTEROOM_TEST_SEED", by_the_clock)
    }

    /// Any number. The steps are those of `SplitMix64` (Steele, Lea and Flood, 2014).
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below an end.
    pub fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap();
        usize::try_from(self.throw() % end).unwrap()
    }

    /// A time below so many milliseconds.
    pub fn within(&mut self, milliseconds: usize) -> Duration {
        Duration::from_millis(u64::try_from(self.below(milliseconds)).unwrap())
    }
}
