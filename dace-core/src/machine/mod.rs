//! The machines: plain data and plain functions that decide.
//!
//! Nothing here waits, reads a clock, locks, or calls user code: `now` is the first argument, and all
//! randomness comes from one generator that is passed in. So each can be driven with literal
//! instants, and the same inputs give the same decisions.
//!
//! | verb | meaning |
//! |---|---|
//! | `try_x(now, …)` | asks for permission, and may take a place |
//! | `on_x(now, …)` | reports a fact |
//! | `pick(now, rng, …)` | chooses |
//!
//! They are public for tests and benches of your own; most users never meet them.

pub mod accepts;
pub mod balancer;
pub mod cache;
pub mod circuit;
pub mod flights;
pub mod gcra;
pub mod gradient;
pub mod hedge;
pub mod index;
pub mod queue;
pub(crate) mod retry;
pub(crate) mod slab;
pub mod streak;
pub mod tokens;
pub mod window;

use crate::Instant;

/// When somebody who was refused may ask again with some hope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Again {
    /// At this instant.
    At(Instant),
    /// When somebody gives back what he holds.
    WhenFreed,
    /// Not before something is changed by hand.
    Never,
}
