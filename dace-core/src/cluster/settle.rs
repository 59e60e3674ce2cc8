//! The end of an attempt: what each netloc hears of it, and what is given back.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::Cluster;
use super::attempt::{AttemptId, Visit};
use super::endpoint::EndpointId;
use crate::event::What;
use crate::http::advice::Advice;
use crate::machine::balancer::PENALTY;
use crate::machine::circuit::{Pass, Verdict};
use crate::machine::queue::Wakes;
use crate::policy::Rules;
use crate::refusal::Refusal;
use crate::{Class, Instant};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    /// The function returned; what it returned is of this class, and an error or not.
    Returned { class: Class, failed: bool },
    /// `attempt_timeout` passed.
    TimedOut,
    /// The call's deadline passed.
    DeadlinePassed,
    /// The caller dropped the call.
    Dropped,
    /// User code panicked.
    Panicked,
}

/// What the rest of the call has to know of an attempt that ended.
#[derive(Debug)]
#[must_use]
pub(super) struct Settled {
    pub(super) class: Class,
    /// A request that must not happen twice may have reached its server.
    pub(super) unsafe_sent: bool,
    /// What its answers said of trying again, beside what their classes say.
    pub(super) advice: Advice,
    /// The exchange that dace refused, if that is why the attempt failed.
    pub(super) refusal: Option<Box<Refusal>>,
    pub(super) endpoint: EndpointId,
    pub(super) took: Duration,
}

impl Cluster {
    /// Ends an attempt: each netloc hears of it once, and its places are given back, but for those
    /// that answers still hold. `error` is what is told of its error.
    #[expect(clippy::too_many_arguments, reason = "one step, all of it needed")]
    pub(super) fn settle(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        finish: Finish,
        error: Option<&Arc<str>>,
        hang_after: Duration,
        wakes: &mut Wakes,
    ) -> Option<Settled> {
        let attempt = self.attempts.get_mut(id).filter(|attempt| !attempt.flags.over)?;
        attempt.flags.over = true;
        let took = now.since(attempt.started);
        let refusal = match finish {
            Finish::Returned { failed: true, .. } => attempt.take_refusal(),
            _ => None,
        };
        let class = match finish {
            _ if refusal.is_some() => Class::Rejected,
            Finish::Returned { failed: true, .. } if attempt.flags.outdone => Class::Cancelled,
            Finish::Returned { failed: true, .. } if attempt.flags.retry_requested => {
                Class::RetryRequested
            }
            Finish::Returned { class, .. } => class,
            Finish::TimedOut => Class::Timeout,
            Finish::DeadlinePassed | Finish::Dropped if took >= hang_after => Class::Timeout,
            Finish::DeadlinePassed | Finish::Dropped | Finish::Panicked => Class::Cancelled,
        };
        let cut_off = !matches!(finish, Finish::Returned { .. });
        for visit in attempt.visits().filter(|visit| visit.cut && cut_off) {
            visit.hear(class);
        }
        let (call, number, phase) = (attempt.call, attempt.number, attempt.flags.phase);
        // What is under way in another task counts as well.
        let unsafe_sent = attempt.flags.unsafe_sent || attempt.unsafe_open > 0;
        let (charged, advice) = (attempt.charged, attempt.advice());
        let elsewhere = attempt
            .others()
            .iter()
            .filter_map(|visit| visit.worst())
            .any(|worst| worst.severity() > 0 && worst.severity() >= class.severity());
        let own = if elsewhere { None } else { Some(class) };
        let heard = match (charged.worst(), own) {
            (Some(worst), Some(own)) => Some(worst.worse(own)),
            (worst, own) => worst.or(own),
        };
        // An attempt that is cut off early proves nothing good: what it had not read may hang.
        let softened = |heard: Option<Class>| match heard {
            Some(Class::Success | Class::CallerFault) if class == Class::Cancelled => Some(class),
            heard => heard,
        };
        let late = finish == Finish::DeadlinePassed;
        attempt.note_sent(class);
        // Mostly it was at one netloc, and nothing of it is still being read.
        let simple = attempt.others().is_empty() && charged.exchanges == 0;
        if simple {
            wakes.give_back(attempt.leave_grants());
            self.attempts.remove(id);
        }
        self.totals.count_attempt(class);
        self.running -= 1;
        self.events.push(now, call, || What::AttemptEnded {
            attempt: number,
            netloc: self.table[charged.endpoint].netloc.clone(),
            class,
            phase,
            took,
            open: self.running,
            error: error.cloned(),
        });
        self.conclude(now, policy, call, &charged, softened(heard), late, wakes);
        let others = if simple { 0 } else { self.attempts[id].others().len() };
        for index in 0..others {
            let other = self.attempts[id].others()[index];
            self.conclude(now, policy, call, &other, softened(other.worst()), late, wakes);
        }
        if simple {
            if charged.permit {
                self.release_permit(now, policy, charged.endpoint, wakes);
            }
            self.table[charged.endpoint].holders -= 1;
        } else {
            self.give_back_permits(now, policy, id, wakes);
            self.forget_if_done(id, wakes);
        }
        Some(Settled { class, unsafe_sent, advice, refusal, endpoint: charged.endpoint, took })
    }

    /// Gives back the permits of an attempt that is over, but for those that answers still hold.
    fn give_back_permits(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        wakes: &mut Wakes,
    ) {
        for index in 0.. {
            let Some(visit) = self.attempts[id].visits().nth(index) else {
                return;
            };
            if visit.permit && visit.exchanges == 0 {
                visit.permit = false;
                let endpoint = visit.endpoint;
                self.release_permit(now, policy, endpoint, wakes);
            }
        }
    }

    /// Tells one netloc what the attempt had to do with it.
    #[expect(clippy::too_many_arguments, reason = "one step, all of it needed")]
    fn conclude(
        &mut self,
        now: Instant,
        policy: &Rules,
        call: u64,
        visit: &Visit,
        heard: Option<Class>,
        late: bool,
        wakes: &mut Wakes,
    ) {
        let elapsed = now.since(visit.since);
        // A probe that the deadline ends has failed, however short it was.
        let class = match heard {
            Some(Class::Cancelled) if late && visit.pass.is_probe() => Class::Timeout,
            Some(class) => class,
            None => Class::Ignored,
        };
        self.table[visit.endpoint].note_end(now, policy, visit, class);
        self.hear(now, policy, call, visit.endpoint, visit.pass, class, elapsed, wakes);
    }

    /// One netloc hears of one result: circuit, balancer and pauses read the same class.
    #[expect(clippy::too_many_arguments, reason = "one step, all of it needed")]
    pub(super) fn hear(
        &mut self,
        now: Instant,
        policy: &Rules,
        call: u64,
        id: EndpointId,
        pass: Pass,
        class: Class,
        elapsed: Duration,
        wakes: &mut Wakes,
    ) {
        let endpoint = &mut self.table[id];
        match class {
            Class::Success | Class::CallerFault => endpoint.load.on_end(now, Some(elapsed)),
            Class::Unsent | Class::Refused | Class::Transient | Class::Timeout | Class::Failure => {
                endpoint.load.on_end(now, Some(elapsed.max(PENALTY)))
            }
            Class::Throttled(hint) => {
                let hint = hint.unwrap_or_default().min(policy.hint_max);
                endpoint.load.on_end(now, Some(elapsed.max(hint)));
            }
            Class::Cancelled => endpoint.load.on_cancel(now, elapsed),
            Class::Rejected | Class::RetryRequested | Class::Ignored => {
                endpoint.load.on_end(now, None);
            }
        }
        let slow = class.severity() > 0 && elapsed > policy.expected_in;
        let verdict = if slow { Verdict::Failure } else { verdict(class) };
        let transition =
            endpoint.circuit.on_result(now, &policy.circuit, &mut self.rng, pass, verdict);
        if let Class::Throttled(Some(hint)) = class {
            self.pause(now, policy, call, id, hint);
        }
        self.note_transition(now, call, id, transition, wakes);
        if pass.is_probe() && self.table[id].listed > 0 {
            self.targets.probe_due = now;
        }
    }

    /// A server asked for a pause: every call respects it.
    pub(super) fn pause(
        &mut self,
        now: Instant,
        policy: &Rules,
        call: u64,
        id: EndpointId,
        hint: Duration,
    ) {
        let pause = hint.min(policy.hint_max);
        let jitter = pause.as_nanos() as u64 / 4;
        let pause = pause.saturating_add(Duration::from_nanos(self.rng.u64(0..=jitter)));
        if pause.is_zero() {
            return;
        }
        let endpoint = &mut self.table[id];
        let until = now.after(pause);
        if until <= endpoint.paused_until {
            return;
        }
        endpoint.paused_until = until;
        self.events.push(now, call, || What::Paused { netloc: endpoint.netloc.clone(), pause });
    }

    /// A pass that was not used. If it was a probe's, and late, that is a failure all the same.
    pub(super) fn give_back_pass(
        &mut self,
        now: Instant,
        policy: &Rules,
        call: u64,
        id: EndpointId,
        pass: Pass,
        wakes: &mut Wakes,
    ) {
        let circuit = &mut self.table[id].circuit;
        let unused = Verdict::Neutral;
        let transition = circuit.on_result(now, &policy.circuit, &mut self.rng, pass, unused);
        self.note_transition(now, call, id, transition, wakes);
    }
}

/// What a circuit makes of a class.
fn verdict(class: Class) -> Verdict {
    match class {
        Class::Success | Class::CallerFault => Verdict::Success,
        Class::Unsent | Class::Transient | Class::Timeout | Class::Failure => Verdict::Failure,
        Class::Throttled(_) => Verdict::Throttled,
        Class::Refused
        | Class::Rejected
        | Class::RetryRequested
        | Class::Cancelled
        | Class::Ignored => Verdict::Neutral,
    }
}
