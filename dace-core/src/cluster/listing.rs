//! The list of targets, changed and shown while calls run. Each change is one step: all of it holds, or
//! the list stays.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Cluster;
use super::admission::look;
use super::targets::{Listed, Picker};
use crate::balancer::{self, EndpointView, Place};
use crate::event::What;
use crate::machine::balancer::Balance;
use crate::machine::queue::Wakes;
use crate::policy::{Balancing, Rules};
use crate::{ConfigError, Instant, Target};

impl Cluster {
    /// Replaces the targets. Calls under way finish where they are.
    pub(crate) fn set_targets(&mut self, now: Instant, list: Vec<Place>, wakes: &mut Wakes) {
        let count = list.len();
        self.relist(now, list, None, What::TargetsReplaced { count }, wakes);
    }

    fn relist(
        &mut self,
        now: Instant,
        list: Vec<Place>,
        balance: Option<Balance>,
        what: What,
        wakes: &mut Wakes,
    ) {
        let selection = self.targets.selection_of(list, balance);
        let (panicked, before) = (self.targets.panic, self.passed_over());
        self.targets.replace(now, &mut self.table, selection);
        self.events.push(now, 0, || what);
        self.note_list(now, &before);
        if panicked {
            self.events.push(now, 0, || What::PanicMode { on: false });
        }
        self.queue.wake_all(wakes);
    }

    /// What a policy says of targets: another list, another balancer, both, or nothing.
    pub(crate) fn load_targets(
        &mut self,
        now: Instant,
        list: Option<Vec<Place>>,
        balancing: Option<Balancing>,
        wakes: &mut Wakes,
    ) -> Result<(), ConfigError> {
        if balancing.is_some() {
            if self.asks_user() {
                let problem = "is set by a policy, but a balancer of your own picks; leave it out";
                return Err(ConfigError::new("balancer", problem));
            }
            if list.is_none() && self.targets.list.is_empty() {
                let problem = "has nothing to pick from; name `targets`";
                return Err(ConfigError::new("balancer", problem));
            }
        }
        if list.is_none() && balancing.is_none() {
            return Ok(());
        }
        let list = list.unwrap_or_else(|| self.targets.places(&self.table));
        let count = list.len();
        let what = What::TargetsReplaced { count };
        self.relist(now, list, balancing.map(Balance::from), what, wakes);
        Ok(())
    }

    /// One target more.
    pub(crate) fn add_target(
        &mut self,
        now: Instant,
        place: Place,
        wakes: &mut Wakes,
    ) -> Result<(), ConfigError> {
        if self.targets.position(&self.table, &place.target).is_some() {
            return Err(balancer::twice("targets", &place.target));
        }
        let mut list = self.targets.places(&self.table);
        let (netloc, count) = (place.target.netloc().clone(), list.len() + 1);
        list.push(place);
        self.relist(now, list, None, What::TargetAdded { netloc, count }, wakes);
        Ok(())
    }

    /// One target less; what is open there finishes. `false` if it is not listed.
    pub(crate) fn remove_target(
        &mut self,
        now: Instant,
        target: &Target,
        wakes: &mut Wakes,
    ) -> Result<bool, ConfigError> {
        let Some(index) = self.targets.position(&self.table, target) else { return Ok(false) };
        let mut list = self.targets.places(&self.table);
        if list.len() == 1 {
            let problem = "must name at least one target; drain the last one to give it nothing";
            return Err(ConfigError::new("targets", problem));
        }
        let open = self.table[self.targets.list[index].endpoint].open;
        let netloc = list.remove(index).target.netloc().clone();
        let count = list.len();
        self.relist(now, list, None, What::TargetRemoved { netloc, open, count }, wakes);
        Ok(true)
    }

    /// Another weight, which was checked. `false` if the target is not listed.
    pub(crate) fn set_weight(
        &mut self,
        now: Instant,
        target: &Target,
        weight: u32,
        wakes: &mut Wakes,
    ) -> bool {
        let Some(index) = self.targets.position(&self.table, target) else { return false };
        let mut list = self.targets.places(&self.table);
        list[index].options.weight = weight;
        let netloc = target.netloc().clone();
        self.relist(now, list, None, What::TargetWeighed { netloc, weight }, wakes);
        true
    }

    /// What a balancer of the user's is shown.
    pub(crate) fn shown(&self) -> Arc<Vec<Target>> {
        match &self.targets.picker {
            Picker::Custom(shown) => shown.clone(),
            Picker::Function | Picker::Balance(_) => Arc::default(),
        }
    }

    /// The targets and what is known of them.
    pub(crate) fn views(&self, now: Instant, policy: &Rules) -> Vec<EndpointView> {
        let view = |listed: &Listed| {
            let endpoint = &self.table[listed.endpoint];
            EndpointView {
                target: listed.target(&self.table),
                weight: listed.options.weight,
                priority: listed.options.priority,
                open: endpoint.open,
                circuit: endpoint.circuit.state(),
                paused: endpoint.is_paused(now),
                admits: look(now, policy, &self.table, listed.endpoint, false).is_ok(),
                latency: endpoint.load.latency(now),
            }
        };
        self.targets.list.iter().map(view).collect()
    }
}
