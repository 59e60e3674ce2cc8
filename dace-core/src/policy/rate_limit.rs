//! Settings of the rate limit.

use core::time::Duration;

use crate::ConfigError;
use crate::instant::nanos;

/// The most attempts that begin at one netloc in a span of time, however fast they end: for servers with
/// a quota, and for those that are to be spared. See [`Gcra`](crate::machine::gcra::Gcra), and
/// `docs/policies/rate_limit.md`.
///
/// An attempt takes a token when it is let in, and when it moves to another netloc; one of which nothing
/// reached the server gives it back. A balancer passes over a server without a token. If nobody has one,
/// the call waits in the [`queue`](crate::DependencyBuilder::queue), if that has room, or is refused as
/// `RateLimited`, with the exact time of the next token.
///
/// ```
/// # use std::time::Duration;
/// # use dace_core::{DependencyBuilder, HttpBackend, RateLimit, Runtime};
/// # fn f<R: Runtime, B: HttpBackend>(builder: DependencyBuilder<R, B>) -> DependencyBuilder<R, B> {
/// // 100 a second, 20 of them at once; up to 50 calls wait for their turn.
/// let rate = RateLimit::new(100, Duration::from_secs(1)).burst(20);
/// builder.rate_limit(rate).queue(50)
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RateLimit {
    pub(crate) permits: u32,
    pub(crate) per: Duration,
    /// Unless it follows from the permits.
    pub(crate) burst: Option<u32>,
}

impl RateLimit {
    /// `permits` in every `per`, evenly, and a tenth of them (at least 1) at once. `Duration::MAX`: what
    /// was taken never comes back.
    ///
    /// In any span of `per`, at most `permits + burst` begin: a tenth keeps that near to what a server
    /// counts, and lets small bursts pass (AWS and Stripe let the whole of it pass at once, which is
    /// twice the quota at the border of two windows).
    pub const fn new(permits: u32, per: Duration) -> Self {
        Self { permits, per, burst: None }
    }

    /// Attempts that may begin at once after a pause. Default: a tenth of the permits, at least 1.
    #[must_use]
    pub fn burst(mut self, attempts: u32) -> Self {
        self.burst = Some(attempts);
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.permits == 0 {
            let problem = "must not be zero; leave the limit out to switch it off";
            return Err(ConfigError::new("rate_limit.permits", problem));
        }
        if self.per.is_zero() {
            return Err(ConfigError::new("rate_limit.per", "must be longer than zero"));
        }
        if u64::from(self.permits) > nanos(self.per) {
            let problem = "must be at most one a nanosecond";
            return Err(ConfigError::new("rate_limit.permits", problem));
        }
        if self.burst == Some(0) {
            let problem = "must be at least 1: with 0 nobody is ever let in";
            return Err(ConfigError::new("rate_limit.burst", problem));
        }
        Ok(())
    }
}

/// What the machine reads.
impl RateLimit {
    /// Nanoseconds from token to token, rounded up so that no span sees more than it may.
    pub(crate) fn interval(&self) -> u64 {
        match nanos(self.per) {
            u64::MAX => u64::MAX,
            per => per.div_ceil(u64::from(self.permits)),
        }
    }

    /// Tokens that are banked at the most.
    pub(crate) fn banked(&self) -> u32 {
        self.burst.unwrap_or((self.permits / 10).max(1))
    }
}
