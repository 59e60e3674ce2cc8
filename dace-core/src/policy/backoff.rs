//! Settings of the waits between attempts, and the waits.

use core::time::Duration;

use crate::ConfigError;
use crate::instant::nanos;

/// The waits between attempts: full jitter on an exponential (Brooker, "Exponential Backoff And
/// Jitter", 2015). The wait before retry `n` is uniform between 0 and `base × 2ⁿ`, at most `cap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backoff {
    base: Duration,
    cap: Duration,
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
