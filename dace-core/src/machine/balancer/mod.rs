//! Which endpoint an attempt goes to.
//!
//! The balancers that dace ships are machines inside admission: they see every endpoint as it is at
//! that instant, and what they pick is taken in the same step. A new one is a file here and a
//! variant of [`Balance`]. What one has to remember of its endpoints is in [`Turns`].

mod draw;
mod least_open;
mod peak_ewma;
mod rendezvous;
mod round_robin;
mod turns;

pub use peak_ewma::{Load, PENALTY, pick as pick_peak_ewma};
pub use rendezvous::{Rendezvous, hash, mix};
pub use turns::Turns;

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

    /// Whether it may not be picked for one reason alone: it is full.
    fn is_full(&self, index: usize) -> bool;

    /// What is known about how fast it is.
    fn load(&self, index: usize) -> &Load;

    /// Operations open at it.
    fn open(&self, index: usize) -> u32;

    /// Its part of the whole, from 1.
    fn weight(&self, index: usize) -> u32;

    /// The [`hash`] of its name.
    fn name(&self, index: usize) -> u64;
}

/// The shipped balancers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Balance {
    /// Power of two choices by peak-EWMA, the default.
    PeakEwma,
    /// One after the other, the heavier ones more often.
    RoundRobin,
    /// Power of two choices by open operations.
    LeastOpen,
    /// Equal keys to the same endpoint.
    Rendezvous(Rendezvous),
}

/// What a balancer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Choice {
    /// This one.
    Take(usize),
    /// This one and no other, though it is full.
    Wait(usize),
}

impl Balance {
    /// Chooses an endpoint, `None` if there is none to choose. `key` is the [`hash`] of the call's
    /// sticky key, `turns` what is remembered of these endpoints.
    pub fn pick(
        self,
        now: Instant,
        rng: &mut fastrand::Rng,
        turns: &mut Turns,
        field: &impl Field,
        key: Option<u64>,
    ) -> Option<Choice> {
        let picked = match (self, key) {
            (Self::PeakEwma, _) => pick_peak_ewma(now, rng, turns, field),
            (Self::RoundRobin, _) => round_robin::pick(turns, field),
            (Self::Rendezvous(ring), Some(key)) => return ring.pick(field, key),
            (Self::LeastOpen, _) | (Self::Rendezvous(_), None) => {
                least_open::pick(rng, turns, field)
            }
        };
        picked.map(Choice::Take)
    }

    /// Whether both are the same balancer, however they are set.
    pub fn is_like(self, other: Self) -> bool {
        core::mem::discriminant(&self) == core::mem::discriminant(&other)
    }
}

#[cfg(test)]
mod tests;
