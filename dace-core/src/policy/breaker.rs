//! Settings of the circuit breaker.

use core::time::Duration;

use super::Thousandths;
use crate::ConfigError;

/// When a circuit opens and closes. See [`Circuit`](crate::machine::circuit::Circuit); the first open
/// time is [`circuit_reset_timeout`](crate::DependencyBuilder::circuit_reset_timeout).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breaker {
    pub(crate) consecutive_failures: u32,
    pub(crate) failure_rate: Thousandths,
    pub(crate) min_calls: u32,
    pub(crate) probes: u32,
    pub(crate) successes: u32,
    pub(crate) max_open: Duration,
}

impl Breaker {
    /// Opens after 5 failures in a row, or at a failure rate of 0.5 over ten seconds with at least 20
    /// results; one probe at a time, 2 successes to close, at most 60 s open.
    pub const fn new() -> Self {
        Self {
            consecutive_failures: 5,
            failure_rate: Thousandths(500),
            min_calls: 20,
            probes: 1,
            successes: 2,
            max_open: Duration::from_secs(60),
        }
    }

    /// Failures in a row that open it. Default 5; `u32::MAX` switches this trip off.
    ///
    /// It takes more of them where the server fails now and then anyway, and at least
    /// [`min_calls`](Self::min_calls) results in the window say so: as many as are as improbable at that rate
    /// as this number is at 1 %. At a rate of 10 % that is twice the number, at 20 % three times.
    #[must_use]
    pub fn consecutive_failures(mut self, failures: u32) -> Self {
        self.consecutive_failures = failures;
        self
    }

    /// The share of failures in the last ten seconds that opens it, above 0 and at most 1, in
    /// thousandths. Default 0.5.
    #[must_use]
    pub fn failure_rate(mut self, rate: f64) -> Self {
        self.failure_rate = Thousandths::of(rate);
        self
    }

    /// Results in the window without which the failure rate says nothing. Default 20; `u32::MAX`
    /// switches this trip off.
    #[must_use]
    pub fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = calls;
        self
    }

    /// Probes that may be under way while it is half-open. Default 1.
    #[must_use]
    pub fn probes(mut self, probes: u32) -> Self {
        self.probes = probes;
        self
    }

    /// Successes in a row that close it. Default 2.
    #[must_use]
    pub fn successes(mut self, successes: u32) -> Self {
        self.successes = successes;
        self
    }

    /// The longest open time. Default 60 s; never below `circuit_reset_timeout`.
    #[must_use]
    pub fn max_open(mut self, max_open: Duration) -> Self {
        self.max_open = max_open;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        for (setting, value) in [
            ("breaker.consecutive_failures", self.consecutive_failures),
            ("breaker.min_calls", self.min_calls),
            ("breaker.probes", self.probes),
            ("breaker.successes", self.successes),
        ] {
            if value == 0 {
                return Err(ConfigError::new(setting, "must be at least 1"));
            }
        }
        if !(1..=1000).contains(&self.failure_rate.0) {
            return Err(ConfigError::new(
                "breaker.failure_rate",
                "must be above 0 and at most 1, and is kept in thousandths",
            ));
        }
        if self.max_open.is_zero() {
            return Err(ConfigError::new("breaker.max_open", "must be longer than zero"));
        }
        Ok(())
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}
