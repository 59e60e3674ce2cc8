//! The list of targets, changed while calls run.

use alloc::vec::Vec;

use super::dependency::Dependency;
use crate::balancer::{self, EndpointView, Member};
use crate::{ConfigError, Runtime, Target};

/// # Targets, while calls run
///
/// Each of these is one step. Calls under way finish where they are; a target that is taken away drains.
/// What is known of a target stays as long as it is listed, and mostly when it comes back.
impl<R: Runtime, B> Dependency<R, B> {
    /// Replaces the list of targets. Without a balancer so far, they are balanced by peak-EWMA from now on.
    ///
    /// # Errors
    /// If the list is empty, names a target twice, something that is no target, or a weight or limit that
    /// is none. The old list then stays.
    pub fn set_targets<I>(&self, targets: I) -> Result<(), ConfigError>
    where
        I: IntoIterator<Item: Into<Member>>,
    {
        let targets = balancer::parse("targets", targets)?;
        let now = self.shared.runtime.now();
        self.shared.section(|_, cluster, wakes| cluster.set_targets(now, targets, wakes));
        Ok(())
    }

    /// Adds a target.
    ///
    /// # Errors
    /// If it is listed already, is no target, or has a weight or limit that is none.
    pub fn add_target(&self, target: impl Into<Member>) -> Result<(), ConfigError> {
        let place = target.into().check("targets")?;
        let now = self.shared.runtime.now();
        self.shared.section(|_, cluster, wakes| cluster.add_target(now, place, wakes))
    }

    /// Takes a target away. What is open there finishes. `false` if it is not listed.
    ///
    /// # Errors
    /// If it is the last one: it then stays. [Drain](crate::CircuitControl::drain) it to give it nothing.
    pub fn remove_target(&self, target: &Target) -> Result<bool, ConfigError> {
        let now = self.shared.runtime.now();
        self.shared.section(|_, cluster, wakes| cluster.remove_target(now, target, wakes))
    }

    /// Gives a target another weight. `false` if it is not listed.
    ///
    /// # Errors
    /// If the weight is not from 1 to 1,000.
    pub fn set_weight(&self, target: &Target, weight: u32) -> Result<bool, ConfigError> {
        balancer::check_weight(target, weight)?;
        let now = self.shared.runtime.now();
        Ok(self.shared.section(|_, cluster, wakes| cluster.set_weight(now, target, weight, wakes)))
    }

    /// The targets as they are listed now, by priority, with what is known of each.
    pub fn targets(&self) -> Vec<EndpointView> {
        let now = self.shared.runtime.now();
        self.shared.section(|rules, cluster, _| cluster.views(now, rules))
    }
}
