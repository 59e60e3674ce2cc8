//! Which endpoint an attempt goes to.
//!
//! The balancers that dace ships are machines inside admission: they see every endpoint as it is at
//! that instant, and what they pick is taken in the same step. A new one is a file here and a
//! variant of [`Balance`].

mod peak_ewma;
mod round_robin;

pub use peak_ewma::{Load, PENALTY, pick as pick_peak_ewma};
pub use round_robin::RoundRobin;

use crate::Instant;

/// The endpoints that a balancer chooses from, as they are now.
pub trait Field {
    /// How many there are. They are named by their index.
    fn len(&self) -> usize;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this one may be picked: not open, not paused, not full, not tried by this call.
    fn admits(&self, index: usize) -> bool;

    /// What is known about how fast it is.
    fn load(&self, index: usize) -> &Load;

    /// Operations open at it.
    fn open(&self, index: usize) -> u32;
}

/// The shipped balancers.
#[derive(Debug)]
pub enum Balance {
    /// Power of two choices by peak-EWMA, the default.
    PeakEwma,
    /// One after the other.
    RoundRobin(RoundRobin),
}

impl Balance {
    /// Picks an endpoint that admits, `None` if none does.
    pub fn pick(
        &mut self,
        now: Instant,
        rng: &mut fastrand::Rng,
        field: &impl Field,
    ) -> Option<usize> {
        match self {
            Self::PeakEwma => pick_peak_ewma(now, rng, field),
            Self::RoundRobin(turns) => turns.pick(field),
        }
    }
}
