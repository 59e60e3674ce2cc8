//! The settings of a dependency, parsed and resolved: what the machines read.

mod backoff;
mod breaker;
mod budget;
mod client;

pub use backoff::Backoff;
pub use breaker::Breaker;
pub use budget::Budget;
pub(crate) use client::ClientRules;

use core::time::Duration;

use alloc::sync::Arc;

use crate::machine::circuit::CircuitRules;

/// Everything that is decided by settings. Times of `Duration::MAX` mean never.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) id: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Duration,
    pub(crate) retry_attempts: u32,
    pub(crate) retry_on_timeout: bool,
    pub(crate) idempotent: bool,
    pub(crate) max_open_per_netloc: u32,
    pub(crate) queue: usize,
    pub(crate) expected_in: Duration,
    pub(crate) hang_after: Option<Duration>,
    pub(crate) connect_timeout: Duration,
    pub(crate) http_pool_size: u32,
    pub(crate) stall_timeout: Duration,
    pub(crate) body_limit: usize,
    pub(crate) client: ClientRules,
    pub(crate) circuit: CircuitRules,
    pub(crate) backoff: Backoff,
    pub(crate) budget: Budget,
    pub(crate) hint_max: Duration,
    pub(crate) max_netlocs: usize,
    /// Whether anybody looks at events.
    pub(crate) observed: bool,
}

impl Policy {
    /// How long a cut-off attempt must have run to count as hung, in a call with this `timeout`.
    pub(crate) fn hang_after(&self, timeout: Duration) -> Duration {
        if let Some(set) = self.hang_after {
            return set;
        }
        if self.expected_in != Duration::MAX {
            return self.expected_in;
        }
        if timeout == Duration::MAX { Duration::MAX } else { timeout / 2 }
    }
}

/// A number in thousandths; what is no number, or negative, is out of every range.
fn thousandths(value: f64) -> u32 {
    if value.is_finite() && value >= 0.0 {
        // The cast saturates.
        (value * 1000.0 + 0.5) as u32
    } else {
        u32::MAX
    }
}
