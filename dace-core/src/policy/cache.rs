//! Settings of a cache.

use core::time::Duration;

use crate::ConfigError;

/// How long answers are kept, and how many. For a [`Cache`](crate::Cache).
///
/// ```
/// use core::time::Duration;
/// use dace_core::CachePolicy;
///
/// let policy = CachePolicy::new()
///     .ttl(Duration::from_secs(10))                  // for so long nobody is asked again
///     .stale_if_error(Duration::from_secs(3600))     // and for so long an old answer beats none
///     .capacity(500);
/// # let _ = policy;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CachePolicy {
    pub(crate) ttl: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) capacity: usize,
}

impl CachePolicy {
    /// Nothing is fresh and nothing is served stale, until one of them is set: how old an answer may be
    /// is known to nobody but you (RFC 9111, 4.2, RFC 5861, 4). At most 1,000 answers.
    pub const fn new() -> Self {
        Self { ttl: Duration::ZERO, stale_if_error: Duration::ZERO, capacity: 1_000 }
    }

    /// For how long a value is fresh: it is the answer, and no call is made. Default 0: every call is
    /// made, for those who want [`stale_if_error`](Self::stale_if_error) alone.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// For how long after that a value is the answer of a call that ends in an error. Default 0: it is
    /// not.
    #[must_use]
    pub fn stale_if_error(mut self, duration: Duration) -> Self {
        self.stale_if_error = duration;
        self
    }

    /// The most values that are kept; the least recently used goes first. Default 1,000; zero is an
    /// error.
    #[must_use]
    pub fn capacity(mut self, values: usize) -> Self {
        self.capacity = values;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.ttl.is_zero() && self.stale_if_error.is_zero() {
            let problem = "must be longer than zero, unless `cache.stale_if_error` is: nothing would be \
                           kept";
            return Err(ConfigError::new("cache.ttl", problem));
        }
        if self.ttl == Duration::MAX && !self.stale_if_error.is_zero() {
            let problem = "has no effect where `cache.ttl` never ends; leave one of them out";
            return Err(ConfigError::new("cache.stale_if_error", problem));
        }
        if self.capacity == 0 {
            return Err(ConfigError::new("cache.capacity", "must not be zero; allow at least 1"));
        }
        Ok(())
    }

    /// Whether a value of this age is the answer: without a call, or in place of an error.
    pub(crate) fn serves(&self, age: Duration, in_place_of_error: bool) -> bool {
        if in_place_of_error {
            age < self.ttl.saturating_add(self.stale_if_error)
        } else {
            age < self.ttl
        }
    }
}

impl Default for CachePolicy {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);
    const MAX: Duration = Duration::MAX;
    const ZERO: Duration = Duration::ZERO;

    #[test]
    fn extreme_settings_are_an_error_or_mean_what_they_say() {
        let cases = [
            (ZERO, ZERO, 1, Some("cache.ttl")),
            (ZERO, HOUR, 1, None),
            (HOUR, ZERO, 1, None),
            (HOUR, MAX, usize::MAX, None),
            (MAX, ZERO, 1, None),
            (MAX, HOUR, 1, Some("cache.stale_if_error")),
            (HOUR, HOUR, 0, Some("cache.capacity")),
        ];
        for (ttl, stale, capacity, wrong) in cases {
            let policy = CachePolicy::new().ttl(ttl).stale_if_error(stale).capacity(capacity);
            let said = policy.validate().err();
            assert_eq!(said.as_ref().map(ConfigError::setting), wrong, "{policy:?}");
        }
    }

    #[test]
    fn a_value_is_fresh_below_its_ttl_and_usable_for_as_long_again_as_is_said() {
        let policy = CachePolicy::new().ttl(HOUR).stale_if_error(HOUR);
        let tick = Duration::from_nanos(1);
        assert!(policy.serves(HOUR - tick, false) && !policy.serves(HOUR, false));
        assert!(policy.serves(2 * HOUR - tick, true) && !policy.serves(2 * HOUR, true));
        let for_ever = CachePolicy::new().ttl(HOUR).stale_if_error(MAX);
        assert!(for_ever.serves(HOUR * 1_000_000, true));
    }
}
