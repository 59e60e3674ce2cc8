//! Exact counts of successes and failures in the last ten seconds.
//!
//! Ten buckets of a second each, counted exactly and never decayed: a burst of failures and the same
//! failures spread out lead to the same decision.

use crate::Instant;

const BUCKETS: usize = 10;
const SECOND: u64 = 1_000_000_000;

/// Counts of results over a sliding window of ten seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    buckets: [Counts; BUCKETS],
    /// The second that the newest bucket stands for.
    second: u64,
    totals: Counts,
}

/// Successes and failures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Results that were good.
    pub successes: u32,
    /// Results that were bad.
    pub failures: u32,
}

impl Window {
    /// An empty window.
    pub const fn new() -> Self {
        const NONE: Counts = Counts { successes: 0, failures: 0 };
        Self { buckets: [NONE; BUCKETS], second: 0, totals: NONE }
    }

    /// Counts a success.
    #[inline]
    pub fn on_success(&mut self, now: Instant) {
        self.slide(now);
        let bucket = &mut self.buckets[index(self.second)];
        // Totals are the sum of the buckets: what saturates one must not reach the other.
        if self.totals.successes < u32::MAX {
            bucket.successes += 1;
            self.totals.successes += 1;
        }
    }

    /// Counts a failure.
    pub fn on_failure(&mut self, now: Instant) {
        self.slide(now);
        let bucket = &mut self.buckets[index(self.second)];
        if self.totals.failures < u32::MAX {
            bucket.failures += 1;
            self.totals.failures += 1;
        }
    }

    /// The counts of the last ten seconds.
    pub fn counts(&mut self, now: Instant) -> Counts {
        self.slide(now);
        self.totals
    }

    /// Drops what is older than the window. A clock that went back counts into the newest bucket.
    #[inline]
    fn slide(&mut self, now: Instant) {
        let second = now.as_nanos() / SECOND;
        if second <= self.second {
            return;
        }
        let passed = second - self.second;
        if passed >= BUCKETS as u64 {
            self.buckets = Default::default();
            self.totals = Counts::default();
        } else {
            for gone in self.second + 1..=second {
                let bucket = core::mem::take(&mut self.buckets[index(gone)]);
                self.totals.successes -= bucket.successes;
                self.totals.failures -= bucket.failures;
            }
        }
        self.second = second;
    }
}

const fn index(second: u64) -> usize {
    (second % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests;
