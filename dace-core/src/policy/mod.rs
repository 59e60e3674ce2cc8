//! The settings of a dependency, and what follows from them.

mod adaptive_limit;
mod backoff;
mod bounds;
mod breaker;
mod budget;
mod cache;
mod client;
#[cfg(feature = "serde")]
mod data;
mod hedge;
mod hints;
mod priority;
mod rate_limit;
mod settings;
mod targets;
mod throttle;

pub use adaptive_limit::AdaptiveLimit;
pub use backoff::Backoff;
pub use bounds::{Bounds, Lint};
pub use breaker::Breaker;
pub use budget::Budget;
pub use cache::CachePolicy;
pub(crate) use client::{Announced, ClientRules, Fixed};
pub use hedge::Hedge;
pub use hints::Hints;
pub use priority::Priority;
pub use rate_limit::RateLimit;
pub use settings::Policy;
pub(crate) use settings::{not_zero, positive};
pub use targets::Balancing;
pub(crate) use targets::Listing;
pub use throttle::Throttle;

use core::ops::Deref;

use alloc::boxed::Box;

use crate::ConfigError;
use crate::instant::nanos;
use crate::machine::circuit::CircuitRules;

/// What the machines decide by: a policy that was checked, and what follows from it.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    policy: Policy,
    pub(crate) circuit: CircuitRules,
    pub(crate) limits: Option<Box<LimitRules>>,
    /// Whether a limit is shared with other dependencies.
    pub(crate) shares: bool,
    pub(crate) nanos: Nanos,
}

/// Times of the policy in nanoseconds, as every call asks for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Nanos {
    pub(crate) timeout: u64,
    pub(crate) attempt_timeout: u64,
    pub(crate) hang_after: u64,
    pub(crate) expected_in: u64,
}

impl Nanos {
    fn of(policy: &Policy) -> Self {
        Self {
            timeout: nanos(policy.timeout),
            attempt_timeout: nanos(policy.attempt_timeout),
            hang_after: nanos(policy.hang_after_of(policy.timeout)),
            expected_in: nanos(policy.expected_in),
        }
    }
}

/// The limits beside `max_open_per_netloc`, at least one of them.
#[derive(Clone, Debug)]
pub(crate) struct LimitRules {
    pub(crate) rate: Option<RateLimit>,
    pub(crate) adaptive: Option<AdaptiveLimit>,
    pub(crate) throttle: Option<Throttle>,
}

impl LimitRules {
    fn of(policy: &Policy) -> Option<Box<Self>> {
        let (rate, adaptive) = (policy.rate_limit.clone(), policy.adaptive_limit.clone());
        let throttle = policy.throttle.clone();
        let asked = rate.is_some() || adaptive.is_some() || throttle.is_some();
        asked.then(|| Box::new(Self { rate, adaptive, throttle }))
    }
}

impl Rules {
    /// `shares`: whether a limit is shared with other dependencies.
    ///
    /// # Errors
    /// The first setting that cannot be used.
    pub(crate) fn new(policy: Policy, shares: bool) -> Result<Self, ConfigError> {
        policy.validate()?;
        let circuit = CircuitRules::new(&policy.breaker, policy.circuit_reset_timeout);
        let limits = LimitRules::of(&policy);
        let nanos = Nanos::of(&policy);
        Ok(Self { policy, circuit, limits, shares, nanos })
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
