//! Admission: one step that picks an endpoint and takes its permit and its probe.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::Cluster;
use super::endpoint::EndpointId;
use super::targets::{Listed, Picker};
use crate::machine::Again;
use crate::machine::balancer::Choice;
use crate::machine::circuit::{Admission, Pass, Refused};
use crate::machine::queue::{TicketId, Wakes, Want};
use crate::policy::Rules;
use crate::refusal::{Reason, Refusal};
use crate::{ConfigError, Instant, Scheme, Target};

use super::table::Table;

/// What a balancer of the user's proposed.
#[derive(Clone, Debug, Default)]
pub(crate) enum Proposal {
    /// It was not asked yet.
    #[default]
    Unasked,
    /// It named nobody.
    Nobody,
    /// It named this target.
    Target(Target),
    /// What it named is no target.
    Wrong(Box<ConfigError>),
}

/// Who asks to be let in.
#[derive(Debug)]
pub(super) struct Ask<'a> {
    pub(super) call: u64,
    /// Endpoints that this call has tried already.
    pub(super) tried: &'a [EndpointId],
    /// Whether it is of no use there.
    pub(super) elsewhere: bool,
    /// When the attempt would end.
    pub(super) deadline: Instant,
    pub(super) proposal: &'a Proposal,
    /// The call's sticky key.
    pub(super) key: Option<&'a str>,
    /// Where it waits, if it does.
    pub(super) ticket: Option<TicketId>,
}

/// The answer.
#[derive(Debug)]
#[must_use]
pub(super) enum Admit {
    Go(Grant),
    /// Somebody was only full: it may wait, but not for those whose throttles refused it.
    Full(Want<EndpointId>, Refusal, Vec<EndpointId>),
    Refused(Refusal),
}

/// A permit, held, and the circuit's pass.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grant {
    pub(super) endpoint: EndpointId,
    pub(super) pass: Pass,
    /// Whether a balancer picked it, so that relative URLs ride on it, and over what scheme.
    pub(super) picked: Option<Scheme>,
}

/// Why an endpoint does not let somebody in, the most hopeful first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shut {
    Full,
    Paused(Instant),
    Circuit(Again),
    /// There is a token at this instant.
    Rate(Instant),
    /// The throttle's dice fell against it.
    Throttled,
}

impl Cluster {
    pub(super) fn admit(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        wakes: &mut Wakes,
    ) -> Admit {
        match self.targets.picker {
            Picker::Function => {
                let own = self.own;
                self.admit_at(now, policy, ask, own, None, wakes)
            }
            Picker::Custom(_) => match ask.proposal {
                Proposal::Target(target) => {
                    let id = self.table.intern(now, policy, target.netloc());
                    self.admit_at(now, policy, ask, id, Some(target.scheme()), wakes)
                }
                Proposal::Unasked | Proposal::Nobody | Proposal::Wrong(_) => {
                    Admit::Refused(self.no_endpoint())
                }
            },
            Picker::Balance(_) => self.admit_balanced(now, policy, ask, wakes),
        }
    }

    /// Lets somebody in at one endpoint, or says why not.
    pub(super) fn admit_at(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        id: EndpointId,
        picked: Option<Scheme>,
        wakes: &mut Wakes,
    ) -> Admit {
        if let Err(shut) = look(now, policy, &self.table, id, false) {
            let endpoint = &mut self.table[id];
            endpoint.note_wait(now, policy);
            let refusal = refusal(now, endpoint.netloc.clone(), shut);
            return match shut {
                Shut::Full | Shut::Rate(_) => Admit::Full(Want::Permit(id), refusal, Vec::new()),
                Shut::Paused(_) | Shut::Circuit(_) | Shut::Throttled => Admit::Refused(refusal),
            };
        }
        if self.sheds(now, policy, id, false) {
            return self.refuse_throttled(now, id);
        }
        match self.take(now, policy, ask, id, wakes) {
            Ok(pass) => Admit::Go(Grant { endpoint: id, pass, picked }),
            Err(again) => {
                let netloc = self.table[id].netloc.clone();
                Admit::Refused(refusal(now, netloc, Shut::Circuit(again)))
            }
        }
    }

    /// Takes permit and pass of an endpoint that looked willing.
    fn take(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        id: EndpointId,
        wakes: &mut Wakes,
    ) -> Result<Pass, Again> {
        match self.table[id].circuit.try_admit(now, &policy.circuit, ask.deadline) {
            Ok(Admission { pass, transition }) => {
                self.note_transition(now, ask.call, id, transition, wakes);
                self.hold(now, policy, id);
                Ok(pass)
            }
            Err(Refused { again, transition }) => {
                self.note_transition(now, ask.call, id, transition, wakes);
                Err(again)
            }
        }
    }

    fn hold(&mut self, now: Instant, policy: &Rules, id: EndpointId) {
        let endpoint = &mut self.table[id];
        endpoint.hold(now);
        endpoint.note_start(now, policy);
    }

    fn admit_balanced(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        wakes: &mut Wakes,
    ) -> Admit {
        // Each round but the last ends because an endpoint that looked willing was not: its probe's
        // lease had run out, or it is throttled. Each happens at most once an endpoint; and who waits is
        // throttled once, not each time that it looks again, until the dice fall in its favour.
        let mut shed = self.still_throttled(now, policy, ask);
        for _ in 0..=2 * self.targets.list.len() {
            let picked = match self.probe_due(now, policy, ask) {
                Some(index) => Some(Choice::Take(index)),
                None => {
                    self.look_at_panic(now, policy, ask);
                    if let Some(refusal) = self.refused_by_circuits(now, policy, &shed) {
                        #[cfg(test)]
                        self.assert_refused(now, policy, ask, &refusal);
                        return Admit::Refused(refusal);
                    }
                    self.pick(now, policy, ask, &shed)
                }
            };
            let index = match picked {
                Some(Choice::Take(index)) => index,
                Some(Choice::Wait(index)) => return self.full_at(now, policy, index, shed),
                None => break,
            };
            let Listed { endpoint, scheme, .. } = self.targets.list[index];
            if self.sheds(now, policy, endpoint, false) {
                shed.push(endpoint);
                continue;
            }
            if let Ok(pass) = self.take(now, policy, ask, endpoint, wakes) {
                let picked = Some(scheme);
                return Admit::Go(Grant { endpoint, pass, picked });
            }
        }
        if let Some(admit) = self.admit_in_panic(now, policy, ask, &mut shed) {
            return admit;
        }
        let throttled = shed.first().copied();
        match (self.refuse_balanced(now, policy, shed), throttled) {
            (Admit::Refused(_), Some(id)) => self.refuse_throttled(now, id),
            // Somebody was only full: that is worth a wait.
            (other, _) => other,
        }
    }

    fn refuse_throttled(&self, now: Instant, id: EndpointId) -> Admit {
        Admit::Refused(refusal(now, self.table[id].netloc.clone(), Shut::Throttled))
    }

    /// An endpoint whose circuit waits for a probe goes first: else, being the most expensive one,
    /// it would be found healthy only by chance.
    fn probe_due(&mut self, now: Instant, policy: &Rules, ask: &Ask<'_>) -> Option<usize> {
        if now < self.targets.probe_due || self.keeps_to_key(ask) {
            return None;
        }
        let mut due = Instant::NEVER;
        for (index, listed) in self.targets.list.iter().enumerate() {
            let endpoint = &self.table[listed.endpoint];
            if endpoint.circuit.state().lets_all() {
                continue;
            }
            match look(now, policy, &self.table, listed.endpoint, false) {
                Ok(()) if !ask.tried.contains(&listed.endpoint) => return Some(index),
                Ok(()) | Err(Shut::Full) => due = now,
                Err(Shut::Paused(until) | Shut::Circuit(Again::At(until))) => due = due.min(until),
                Err(Shut::Rate(at)) => due = due.min(at),
                Err(Shut::Circuit(Again::WhenFreed | Again::Never) | Shut::Throttled) => {}
            }
        }
        self.targets.probe_due = due;
        None
    }

    /// A place for an attempt beside another one: at an endpoint that the call has not tried, and only if
    /// there are enough of them.
    pub(super) fn admit_beside(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        wakes: &mut Wakes,
    ) -> Option<Grant> {
        let Choice::Take(index) = self.choose(now, policy, ask, &[], false)? else {
            return None;
        };
        let Listed { endpoint, scheme, .. } = self.targets.list[index];
        if self.sheds(now, policy, endpoint, false) {
            return None;
        }
        let pass = self.take(now, policy, ask, endpoint, wakes).ok()?;
        Some(Grant { endpoint, pass, picked: Some(scheme) })
    }

    /// When fewer than half of several endpoints have a circuit that lets calls through, the circuits
    /// are ignored: the few could not carry the load of all. Pauses, limits and manual modes bind.
    fn admit_in_panic(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        shed: &mut Vec<EndpointId>,
    ) -> Option<Admit> {
        if !self.targets.panic {
            return None;
        }
        // Each round but the last ends because an endpoint is throttled.
        while let Some(choice) = self.choose(now, policy, ask, shed, true) {
            let index = match choice {
                Choice::Take(index) => index,
                Choice::Wait(index) => {
                    return Some(self.full_at(now, policy, index, core::mem::take(shed)));
                }
            };
            let Listed { endpoint, scheme, .. } = self.targets.list[index];
            if self.sheds(now, policy, endpoint, true) {
                shed.push(endpoint);
                continue;
            }
            let pass = self.table[endpoint].circuit.bypass();
            self.hold(now, policy, endpoint);
            return Some(Admit::Go(Grant { endpoint, pass, picked: Some(scheme) }));
        }
        None
    }

    /// The call goes to this one or nowhere, and it is full, or has no token.
    fn full_at(
        &mut self,
        now: Instant,
        policy: &Rules,
        index: usize,
        shed: Vec<EndpointId>,
    ) -> Admit {
        let id = self.targets.list[index].endpoint;
        let endpoint = &mut self.table[id];
        endpoint.note_wait(now, policy);
        let token = endpoint.lacks_token(now, policy).filter(|_| !endpoint.is_full(policy));
        let shut = token.map_or(Shut::Full, Shut::Rate);
        Admit::Full(Want::Permit(id), refusal(now, endpoint.netloc.clone(), shut), shed)
    }

    /// The refusal, where no circuit lets anybody in: then no balancer has to be asked, and who looks in vain,
    /// again and again, costs little.
    fn refused_by_circuits(
        &self,
        now: Instant,
        policy: &Rules,
        shed: &[EndpointId],
    ) -> Option<Refusal> {
        let all = self.targets.suspects >= self.targets.list.len();
        if !all || !shed.is_empty() || policy.limits.is_some() {
            return None;
        }
        let mut first: Option<(Instant, EndpointId, Shut)> = None;
        for (id, force) in self.targets.forced() {
            let shut = look(now, policy, &self.table, id, force).err()?;
            let until = match shut {
                Shut::Paused(until) | Shut::Circuit(Again::At(until)) => until,
                Shut::Circuit(Again::WhenFreed | Again::Never) => Instant::NEVER,
                Shut::Full | Shut::Rate(_) | Shut::Throttled => return None,
            };
            if first.is_none_or(|(earliest, ..)| until < earliest) {
                first = Some((until, id, shut));
            }
        }
        first.map(|(_, id, shut)| refusal(now, self.table[id].netloc.clone(), shut))
    }

    /// The balancer would find nobody, and the general refusal is the same.
    #[cfg(test)]
    fn assert_refused(&mut self, now: Instant, policy: &Rules, ask: &Ask<'_>, told: &Refusal) {
        let dice = self.rng.clone();
        let force = self.targets.panic;
        assert_eq!(self.choose(now, policy, ask, &[], force), None);
        match self.refuse_balanced(now, policy, Vec::new()) {
            Admit::Refused(refusal) => assert_eq!(refusal, *told),
            other => panic!("{told:?}, but in general {other:?}"),
        }
        self.rng = dice;
    }

    /// Nobody lets the call in: it may wait for the full ones that did not shed it, else the one that opens
    /// first tells when.
    fn refuse_balanced(&mut self, now: Instant, policy: &Rules, shed: Vec<EndpointId>) -> Admit {
        if policy.limits.is_some() {
            for listed in &self.targets.list {
                self.table[listed.endpoint].note_wait(now, policy);
            }
        }
        let shut = |(id, force): (EndpointId, bool)| {
            Some((id, look(now, policy, &self.table, id, force).err()?))
        };
        let waits = policy.queue > 0;
        let others = self.targets.forced().filter(|(id, _)| !shed.contains(id));
        let first = others.filter_map(shut).min_by_key(|&(_, shut)| match shut {
            Shut::Full => (0, Instant::EPOCH),
            Shut::Rate(at) => (if waits { 1 } else { 2 }, at),
            Shut::Paused(until) | Shut::Circuit(Again::At(until)) => (2, until),
            Shut::Circuit(Again::WhenFreed | Again::Never) | Shut::Throttled => (2, Instant::NEVER),
        });
        let Some((id, shut)) = first else {
            return Admit::Refused(self.no_endpoint());
        };
        let refusal = refusal(now, self.table[id].netloc.clone(), shut);
        match shut {
            Shut::Full | Shut::Rate(_) => Admit::Full(Want::Any, refusal, shed),
            Shut::Paused(_) | Shut::Circuit(_) | Shut::Throttled => Admit::Refused(refusal),
        }
    }

    pub(super) fn no_endpoint(&self) -> Refusal {
        self.refused_by_all(Reason::NoEndpoint)
    }

    /// A refusal of the dependency as a whole.
    pub(super) fn refused_by_all(&self, reason: Reason) -> Refusal {
        Refusal { reason, netloc: self.table[self.own].netloc.clone(), retry_after: None }
    }
}

/// Whether an endpoint would let somebody in now. `force`: although its circuit is open, unless that
/// was done by hand.
#[inline]
pub(super) fn look(
    now: Instant,
    policy: &Rules,
    table: &Table,
    id: EndpointId,
    force: bool,
) -> Result<(), Shut> {
    let endpoint = &table[id];
    if let Err(again) = endpoint.circuit.check(now, &policy.circuit) {
        if !force || endpoint.circuit.state().is_manual() {
            return Err(Shut::Circuit(again));
        }
    }
    if endpoint.is_paused(now) {
        return Err(Shut::Paused(endpoint.paused_until));
    }
    if endpoint.is_full(policy) {
        return Err(Shut::Full);
    }
    endpoint.lacks_token(now, policy).map_or(Ok(()), |at| Err(Shut::Rate(at)))
}

fn refusal(now: Instant, netloc: crate::Netloc, shut: Shut) -> Refusal {
    let (reason, again) = match shut {
        Shut::Full => (Reason::Full, None),
        Shut::Paused(until) => (Reason::Paused, Some(until)),
        Shut::Rate(at) => (Reason::RateLimit, Some(at)),
        Shut::Throttled => (Reason::Throttle, None),
        Shut::Circuit(Again::At(until)) => (Reason::CircuitOpen, Some(until)),
        // The probe under way decides; when that will be nobody knows.
        Shut::Circuit(Again::WhenFreed | Again::Never) => (Reason::CircuitOpen, None),
    };
    let retry_after: Option<Duration> = again.map(|until| until.since(now));
    Refusal { reason, netloc, retry_after }
}
