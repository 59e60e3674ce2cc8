//! Settings of client-side throttling.

use core::time::Duration;

use super::Thousandths;
use crate::ConfigError;

/// Refuses a part of the attempts here, before they are sent, when a server accepts too few of them: what
/// it would have to refuse costs it too. See [`Accepts`](crate::machine::accepts::Accepts), and
/// `docs/policies/throttle.md`.
///
/// ```
/// # use dace_core::{DependencyBuilder, HttpBackend, Runtime, Throttle};
/// # fn f<R: Runtime, B: HttpBackend>(builder: DependencyBuilder<R, B>) -> DependencyBuilder<R, B> {
/// builder.throttle(Throttle::new())
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    pub(crate) multiplier: Thousandths,
    pub(crate) allowance: u32,
    pub(crate) window: Duration,
}

impl Throttle {
    /// Two requests for each that is accepted, in a window of two minutes (both from *Site Reliability
    /// Engineering*, ch. 21), and 10 beyond that.
    pub const fn new() -> Self {
        let window = Duration::from_secs(120);
        Self { multiplier: Thousandths(2000), allowance: 10, window }
    }

    /// Requests that are let through for each that is accepted (the book's K), from 1 to 1000 in
    /// thousandths. Default 2: at the worst, half of what reaches the server is in vain. Less spares the
    /// server more, and finds out later that it is well again.
    #[must_use]
    pub fn multiplier(mut self, requests: f64) -> Self {
        self.multiplier = Thousandths::of(requests);
        self
    }

    /// Requests beyond that which are never refused. Default 10, as many as are open at a netloc by
    /// default: as long as it is no less than
    /// [`max_open_per_netloc`](crate::DependencyBuilder::max_open_per_netloc), a server that answers well
    /// is never throttled, not even at the first calls. 0 is the book's formula.
    #[must_use]
    pub fn allowance(mut self, requests: u32) -> Self {
        self.allowance = requests;
        self
    }

    /// How far back it looks. Default two minutes; must be longer than an attempt takes. A shorter one
    /// finds out earlier that a server is well again.
    #[must_use]
    pub fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if !(1000..=1_000_000).contains(&self.multiplier.0) {
            let problem =
                "must be from 1 to 1000: below 1 even a server that accepts all is throttled";
            return Err(ConfigError::new("throttle.multiplier", problem));
        }
        if self.window.is_zero() {
            return Err(ConfigError::new("throttle.window", "must be longer than zero"));
        }
        Ok(())
    }
}

impl Default for Throttle {
    fn default() -> Self {
        Self::new()
    }
}
