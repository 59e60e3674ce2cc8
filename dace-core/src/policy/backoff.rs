//! Settings of the waits between attempts, and the waits.

use core::time::Duration;

use crate::ConfigError;
use crate::instant::nanos;

/// The waits between attempts: full jitter on an exponential (Brooker, "Exponential Backoff And
/// Jitter", 2015). The wait before retry `n` is uniform between 0 and `base × 2ⁿ`, at most `cap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
}

impl Backoff {
    /// Base 25 ms, cap 1 s.
    pub const fn new() -> Self {
        Self { base: Duration::from_millis(25), cap: Duration::from_secs(1) }
    }

    /// The longest wait before the first retry. Default 25 ms; 0 means that all retries are made at
    /// once.
    #[must_use]
    pub fn base(mut self, base: Duration) -> Self {
        self.base = base;
        self
    }

    /// The longest wait of all. Default 1 s.
    #[must_use]
    pub fn cap(mut self, cap: Duration) -> Self {
        self.cap = cap;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.cap < self.base {
            return Err(ConfigError::new("backoff.cap", "must not be shorter than `backoff.base`"));
        }
        Ok(())
    }

    /// The wait before retry `retry`, counted from 0.
    pub fn wait(&self, retry: u32, rng: &mut fastrand::Rng) -> Duration {
        let factor = 1u64.checked_shl(retry).unwrap_or(u64::MAX);
        let longest = nanos(self.base).saturating_mul(factor).min(nanos(self.cap));
        if longest == 0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(rng.u64(0..=longest))
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest(backoff: &Backoff, retry: u32) -> Duration {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..2000).map(|_| backoff.wait(retry, &mut rng)).max().unwrap_or_default()
    }

    #[test]
    fn the_wait_is_uniform_up_to_a_bound_that_doubles_to_its_cap() {
        let backoff = Backoff::new();
        let mut rng = fastrand::Rng::with_seed(7);
        for (retry, bound) in
            [(0, 25), (1, 50), (2, 100), (5, 800), (6, 1000), (63, 1000), (64, 1000)]
        {
            let bound = Duration::from_millis(bound);
            let waits: alloc::vec::Vec<_> =
                (0..4000).map(|_| backoff.wait(retry, &mut rng)).collect();
            assert!(waits.iter().all(|wait| *wait <= bound), "retry {retry}");
            assert!(waits.iter().any(|wait| *wait > bound * 99 / 100), "retry {retry}");
            assert!(waits.iter().any(|wait| *wait < bound / 100), "retry {retry}");
            let mean = waits.iter().sum::<Duration>() / 4000;
            assert!(mean > bound * 48 / 100 && mean < bound * 52 / 100, "{retry}: {mean:?}");
        }
    }

    #[test]
    fn a_base_of_zero_is_at_once_at_every_retry() {
        let backoff = Backoff::new().base(Duration::ZERO);
        for retry in [0, 1, 63, 64, u32::MAX] {
            assert_eq!(longest(&backoff, retry), Duration::ZERO);
        }
        assert_eq!(longest(&backoff.cap(Duration::ZERO), u32::MAX), Duration::ZERO);
    }

    /// C3: no retry number makes a wait overflow, vanish or exceed its cap.
    #[test]
    fn no_retry_number_and_no_setting_overflows() {
        let nanosecond = Duration::from_nanos(1);
        let settings = [Duration::ZERO, nanosecond, Duration::from_secs(1), Duration::MAX];
        for base in settings {
            for cap in settings.into_iter().filter(|cap| *cap >= base) {
                let backoff = Backoff::new().base(base).cap(cap);
                let mut before = Duration::ZERO;
                for retry in [0, 1, 2, 31, 32, 33, 62, 63, 64, 65, 1000, u32::MAX] {
                    let mut rng = fastrand::Rng::with_seed(7);
                    let wait = backoff.wait(retry, &mut rng);
                    assert!(wait <= cap, "{base:?}, {cap:?}, {retry}: {wait:?}");
                    // The same dice: a later retry never waits less.
                    let shrank = wait + Duration::from_nanos(1) < before;
                    assert!(!shrank, "{base:?}, {cap:?}, {retry}: {wait:?} after {before:?}");
                    before = wait;
                }
            }
        }
    }
}
