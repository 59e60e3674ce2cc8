//! The settings of a dependency, and what follows from them.

mod backoff;
mod bounds;
mod breaker;
mod budget;
mod client;
#[cfg(feature = "serde")]
mod data;
mod settings;
mod targets;

pub use backoff::Backoff;
pub use bounds::{Bounds, Lint};
pub use breaker::Breaker;
pub use budget::Budget;
pub(crate) use client::{ClientRules, Fixed};
pub use settings::Policy;
pub(crate) use settings::{not_zero, positive};
pub use targets::Balancing;
pub(crate) use targets::Listing;

use core::ops::Deref;

use crate::ConfigError;
use crate::machine::circuit::CircuitRules;

/// What the machines decide by: a policy that was checked, and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    policy: Policy,
    pub(crate) circuit: CircuitRules,
}

impl Rules {
    /// # Errors
    /// The first setting that cannot be used.
    pub(crate) fn new(policy: Policy) -> Result<Self, ConfigError> {
        policy.validate()?;
        let circuit = CircuitRules::new(&policy.breaker, policy.circuit_reset_timeout);
        Ok(Self { policy, circuit })
    }

    /// Takes the targets out of the policy, and what is to pick from them: they change by themselves from
    /// here on.
    pub(crate) fn take_targets(&mut self) -> (Option<Listing>, Option<Balancing>) {
        (self.policy.targets.take(), self.policy.balancer.take())
    }
}

impl Deref for Rules {
    type Target = Policy;

    #[inline]
    fn deref(&self) -> &Policy {
        &self.policy
    }
}

/// A share, in thousandths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Thousandths(pub(crate) u32);

impl Thousandths {
    /// What is no number, or negative, is out of every range.
    pub(crate) fn of(value: f64) -> Self {
        if value.is_finite() && value >= 0.0 {
            // The cast saturates.
            Self((value * 1000.0 + 0.5) as u32)
        } else {
            Self(u32::MAX)
        }
    }
}
