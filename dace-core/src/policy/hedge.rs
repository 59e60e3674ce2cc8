//! Settings of hedging.

use super::Thousandths;
use crate::ConfigError;

/// A second attempt beside a slow one, at another server; the first good answer wins (Dean and Barroso, "The
/// Tail at Scale", 2013).
///
/// One number says how much it may cost. The hedge begins when the attempt has taken longer than all but that
/// share of the attempts of the last minute, so about that share of calls is hedged; with fewer than 50
/// attempts in that minute nobody is. It takes a token of the retry budget, and one of a budget of its own, to
/// which each call deposits that share: when everything slows down at once, hedges stay as rare. Only the
/// first attempt of a call is hedged, and a hedge is one of its `retry_attempts`.
///
/// An attempt is hedged only if running it twice does no harm; a function that makes no exchanges answers
/// for that itself ([`idempotent`](crate::Policy::idempotent)). If one of the two wants to send a request
/// that must not happen twice, the other can send nothing more. The balancer must be one of dace's own, over
/// at least two targets; where one priority has no other target, that of the next one is taken. While calls wait
/// in the queue, none is hedged. The one that loses is dropped, and that counts for nothing at its server, unless it
/// had run for `hang_after`.
///
/// ```
/// # use dace_core::{Hedge, Policy};
/// let policy = Policy::new().hedge(Hedge::new().max_extra(0.02));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hedge {
    pub(crate) max_extra: Thousandths,
}

impl Hedge {
    /// At most 5 % more attempts.
    pub const fn new() -> Self {
        Self { max_extra: Thousandths(50) }
    }

    /// The share of calls that may be hedged, above 0 and at most 1, in thousandths. Default 0.05.
    #[must_use]
    pub fn max_extra(mut self, share: f64) -> Self {
        self.max_extra = Thousandths::of(share);
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if !(1..=1000).contains(&self.max_extra.0) {
            let problem = "must be above 0 and at most 1, and is kept in thousandths";
            return Err(ConfigError::new("hedge.max_extra", problem));
        }
        Ok(())
    }
}

impl Default for Hedge {
    fn default() -> Self {
        Self::new()
    }
}
