//! Settings of the adaptive limit.

use super::Thousandths;
use crate::ConfigError;

/// Finds how many operations a server can have open at once, from how its latency answers to more of
/// them. See [`Gradient`](crate::machine::gradient::Gradient), and `docs/policies/adaptive_limit.md`.
///
/// It works beside [`max_open_per_netloc`](crate::DependencyBuilder::max_open_per_netloc): the smaller one
/// binds, so raise that one, and [`http_pool_size`](crate::DependencyBuilder::http_pool_size), as far as
/// you would ever go.
///
/// ```
/// # use dace_core::{AdaptiveLimit, DependencyBuilder, HttpBackend, Runtime};
/// # fn f<R: Runtime, B: HttpBackend>(builder: DependencyBuilder<R, B>) -> DependencyBuilder<R, B> {
/// let limit = AdaptiveLimit::new().floor(4).start(20);
/// builder.max_open_per_netloc(200).http_pool_size(200).adaptive_limit(limit)
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdaptiveLimit {
    pub(crate) floor: u32,
    pub(crate) ceiling: u32,
    pub(crate) start: u32,
    pub(crate) smoothing: Thousandths,
    pub(crate) tolerance: Thousandths,
}

impl AdaptiveLimit {
    /// From 1 to 200, 20 at the start (ceiling, start and smoothing as in Netflix's *concurrency-limits*,
    /// `Gradient2Limit`; its tolerance of 1.5 lets half of a server's capacity queue up, so here it is 1.05).
    pub const fn new() -> Self {
        Self {
            floor: 1,
            ceiling: 200,
            start: 20,
            smoothing: Thousandths(200),
            tolerance: Thousandths(1050),
        }
    }

    /// It never falls below. Default 1. Some more keep a server in use whose latency says little.
    #[must_use]
    pub fn floor(mut self, operations: u32) -> Self {
        self.floor = operations;
        self
    }

    /// It never rises above. Default 200.
    #[must_use]
    pub fn ceiling(mut self, operations: u32) -> Self {
        self.ceiling = operations;
        self
    }

    /// Where it begins. Default 20, or floor or ceiling if that is outside of them.
    #[must_use]
    pub fn start(mut self, operations: u32) -> Self {
        self.start = operations;
        self
    }

    /// How far one window of results moves it to where they point, above 0 and at most 1 in thousandths.
    /// Default 0.2.
    #[must_use]
    pub fn smoothing(mut self, share: f64) -> Self {
        self.smoothing = Thousandths::of(share);
        self
    }

    /// How much slower than without load the server may be before it falls, from 1 to 10 in thousandths.
    /// Default 1.05. More forgives a noisy latency, and lets about as much more queue up at the server.
    #[must_use]
    pub fn tolerance(mut self, factor: f64) -> Self {
        self.tolerance = Thousandths::of(factor);
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |setting, problem| Err(ConfigError::new(setting, problem));
        if self.floor == 0 {
            return wrong(
                "adaptive_limit.floor",
                "must be at least 1: with 0 nobody is ever let in",
            );
        }
        if self.ceiling < self.floor {
            return wrong("adaptive_limit.ceiling", "must be at least the floor");
        }
        if self.start == 0 {
            return wrong("adaptive_limit.start", "must be at least 1");
        }
        if !(1..=1000).contains(&self.smoothing.0) {
            return wrong("adaptive_limit.smoothing", "must be above 0 and at most 1");
        }
        if !(1000..=10_000).contains(&self.tolerance.0) {
            return wrong("adaptive_limit.tolerance", "must be from 1 to 10");
        }
        Ok(())
    }
}

impl Default for AdaptiveLimit {
    fn default() -> Self {
        Self::new()
    }
}
