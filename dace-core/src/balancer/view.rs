//! What a balancer of the user's may look at.

use core::fmt;
use core::time::Duration;

use alloc::vec::Vec;

use crate::{CircuitState, Target};

/// What a balancer may look at.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct Pick<'a> {
    /// The dependency's targets, as they are now: by priority, then as they were listed.
    pub targets: &'a [Target],
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How often it was asked for this attempt before: its proposals were refused, or had been tried.
    pub asked: u32,
    /// The sticky key of the call, if it has one.
    pub key: Option<&'a str>,
    pub(crate) source: &'a dyn Source,
}

/// Where the views come from.
pub(crate) trait Source {
    fn endpoints(&self) -> Vec<EndpointView>;
}

impl Pick<'_> {
    /// The dependency's targets as they are at this moment, with what is known of each. It is copied when
    /// it is asked for, so a balancer that does not ask pays nothing. Name what you pick by its `target`:
    /// the list may have changed since [`targets`](Self::targets) was taken.
    pub fn endpoints(&self) -> Vec<EndpointView> {
        self.source.endpoints()
    }
}

impl fmt::Debug for Pick<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pick")
            .field("targets", &self.targets)
            .field("attempt", &self.attempt)
            .field("asked", &self.asked)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// A target of a list at one instant. From [`Pick::endpoints`] and
/// [`Dependency::targets`](crate::Dependency::targets).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointView {
    /// The target.
    pub target: Target,
    /// Its part of the whole.
    pub weight: u32,
    /// 0 is a primary.
    pub priority: u32,
    /// Operations open there.
    pub open: u32,
    /// The state of its circuit.
    pub circuit: CircuitState,
    /// Whether it asked for a pause that is not over.
    pub paused: bool,
    /// Whether it would let an attempt in: its circuit, its pause and its limit are asked.
    pub admits: bool,
    /// The peak-EWMA latency, if there is any result. A failure counts as at least 5 s.
    pub latency: Option<Duration>,
}
