//! The common case, in one step for each of the two locked sections: all targets are well, nobody
//! waits, and the attempt was a success at one netloc.
//!
//! It decides what the general way would decide, with the same draws, and asks for less: a test lets
//! both decide side by side. Whatever is unusual is left to the general way, untouched.

use core::time::Duration;

use super::Cluster;
use super::admission::Grant;
use super::attempt::{Attempt, AttemptId, Visit};
use super::endpoint::{Endpoint, EndpointId};
use super::table::Table;
use super::targets::Listed;
use crate::event::What;
use crate::machine::balancer::{self, Field, Load};
use crate::policy::Rules;
use crate::{Class, Instant};

impl Cluster {
    /// A place for an attempt, where every target may have it.
    #[inline]
    pub(super) fn admit_directly(
        &mut self,
        now: Instant,
        policy: &Rules,
        tried: &[EndpointId],
    ) -> Option<Grant> {
        if !self.may_go_directly()
            || !self.targets.are_all_well()
            || !self.queue.is_empty()
            || policy.limits.is_some()
        {
            return None;
        }
        let Self { targets, table, rng, .. } = self;
        let [level] = targets.levels.as_mut_slice() else { return None };
        let well = Well { now, policy, table, list: &targets.list, tried };
        // The general way draws anew if nobody has a place.
        let mut drawn = rng.clone();
        let at = balancer::pick_peak_ewma(now, &mut drawn, &mut level.turns, &well)?;
        *rng = drawn;
        let Listed { endpoint: id, scheme, .. } = targets.list[at];
        let endpoint = &mut self.table[id];
        endpoint.hold(now);
        let pass = endpoint.circuit.bypass();
        self.note_direct();
        Some(Grant { endpoint: id, pass, picked: Some(scheme) })
    }

    /// An attempt returned a success: settles it, if nothing else is to be told of it, and says where it
    /// was charged.
    #[inline]
    pub(super) fn settle_success(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
    ) -> Option<EndpointId> {
        let attempt = self.attempts.get(id).filter(|attempt| attempt.is_plain())?;
        let Attempt { call, number, charged: Visit { endpoint: at, pass, since, .. }, .. } =
            *attempt;
        let took = now.nanos_since(since);
        let usual = self.may_go_directly()
            && self.queue.is_empty()
            && self.hedging.is_none()
            && policy.limits.is_none()
            && took <= policy.nanos.expected_in;
        let endpoint = &mut self.table[at];
        if !usual || !endpoint.circuit.try_count_success(now, &policy.circuit, pass) {
            return None;
        }
        endpoint.load.on_success(now, took);
        endpoint.open -= 1;
        endpoint.holders -= 1;
        let phase = attempt.flags.phase;
        self.attempts.remove(id);
        self.totals.count_attempt(Class::Success);
        self.running -= 1;
        self.events.push(now, call, || What::AttemptEnded {
            attempt: number,
            netloc: self.table[at].netloc.clone(),
            class: Class::Success,
            phase,
            took: Duration::from_nanos(took),
            open: self.running,
            error: None,
        });
        self.note_direct();
        Some(at)
    }

    #[cfg(not(test))]
    fn may_go_directly(&self) -> bool {
        true
    }

    #[cfg(not(test))]
    fn note_direct(&mut self) {}

    #[cfg(test)]
    fn may_go_directly(&self) -> bool {
        !self.generally
    }

    #[cfg(test)]
    fn note_direct(&mut self) {
        self.went_directly += 1;
    }
}

/// Listed endpoints whose circuits let everybody pass.
struct Well<'a> {
    now: Instant,
    policy: &'a Rules,
    table: &'a Table,
    list: &'a [Listed],
    tried: &'a [EndpointId],
}

impl Well<'_> {
    #[inline]
    fn endpoint(&self, index: usize) -> &Endpoint {
        &self.table[self.list[index].endpoint]
    }
}

impl Field for Well<'_> {
    #[inline]
    fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    fn admits(&self, index: usize) -> bool {
        !self.tried.contains(&self.list[index].endpoint)
            && self.endpoint(index).has_place(self.now, self.policy)
    }

    fn is_full(&self, index: usize) -> bool {
        !self.endpoint(index).has_place(self.now, self.policy)
    }

    #[inline]
    fn load(&self, index: usize) -> &Load {
        &self.endpoint(index).load
    }

    #[inline]
    fn open(&self, index: usize) -> u32 {
        self.endpoint(index).open
    }

    fn weight(&self, index: usize) -> u32 {
        self.list[index].options.weight
    }

    fn name(&self, index: usize) -> u64 {
        self.list[index].name
    }
}

#[cfg(test)]
mod tests;
