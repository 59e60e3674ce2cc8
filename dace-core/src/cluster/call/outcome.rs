//! The end of an attempt: whether another one follows.

use core::time::Duration;

use super::hedging::is_final;
use super::{CallMachine, Ended, Next, Run, Slot, State, Verdict};
use crate::cluster::Cluster;
use crate::cluster::endpoint::EndpointId;
use crate::cluster::settle::{Finish, Settled};
use crate::event::What;
use crate::machine::queue::Wakes;
use crate::machine::retry::{self, Failed, Retry};
use crate::policy::Rules;
use crate::{Class, Instant, Why};

impl CallMachine {
    /// The attempt in this place is over. Does nothing if none runs there.
    pub(super) fn end_attempt(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        slot: Slot,
        finish: Finish,
        wakes: &mut Wakes,
    ) {
        if let State::Lost { .. } = self.state {
            return self.end_loser(now, policy, cluster, slot, wakes);
        }
        let Some((run, other)) = self.running(slot) else {
            return;
        };
        let error = match finish {
            Finish::Returned { failed: true, .. } => self.error(),
            _ => None,
        };
        let hang_after = Duration::from_nanos(self.hang_after);
        let settled = cluster.settle(now, policy, run.id, finish, error, hang_after, wakes);
        let Some(settled) = settled else { return };
        if other.is_some() {
            cluster.rivals.retain(|(first, hedge)| *first != run.id && *hedge != run.id);
        }
        if let Some(hedging) = &mut cluster.hedging {
            if matches!(settled.class, Class::Success | Class::CallerFault | Class::Timeout) {
                hedging.on_latency(now, settled.took);
            }
        }
        if !matches!(finish, Finish::Returned { .. }) {
            self.failed = true;
        }
        let timed_out = finish == Finish::TimedOut;
        self.timed_out = timed_out;
        (self.last_class, self.last_endpoint) = (settled.class, settled.endpoint);
        let waits = |other: &Run| {
            let can_send = cluster.attempts.get(other.id).is_some_and(|other| !other.flags.outdone);
            let dropped = !matches!(finish, Finish::Returned { .. } | Finish::TimedOut);
            !is_final(settled.class) && (can_send || dropped)
        };
        if let Some(other) = other.filter(waits) {
            // The other one may still be good.
            self.unsafe_sent |= settled.unsafe_sent;
            self.note_tried(settled.endpoint);
            self.state = State::Running(other);
            return;
        }
        let next = match finish {
            Finish::Returned { failed, .. } => {
                self.failed = failed;
                if settled.class == Class::Success {
                    self.reward(cluster, run.number);
                }
                self.after_return(now, policy, cluster, settled, failed)
            }
            Finish::TimedOut => match self.decide(now, policy, cluster, &settled) {
                Ok(until) => Next::Retry(until),
                Err(why) => {
                    let after = policy.attempt_timeout;
                    self.end_with(self.timed_out(now, cluster, after, Some(why)))
                }
            },
            Finish::DeadlinePassed => {
                let after = self.deadline.since(self.started);
                self.end_with(self.timed_out(now, cluster, after, None))
            }
            Finish::Dropped | Finish::Panicked => Next::Nothing,
        };
        self.state = match other {
            Some(Run { id, slot, .. }) => {
                self.extra().lost = Some(id);
                State::Lost { slot, next }
            }
            None => next.into(),
        };
    }

    /// The only attempt under way was a success, and there is nothing else to it.
    #[inline]
    pub(super) fn succeeds_directly(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        slot: Slot,
    ) -> bool {
        let State::Running(Run { id, number, slot: at, hedged: false, .. }) = self.state else {
            return false;
        };
        if self.text().is_some() || slot != at {
            return false;
        }
        let Some(endpoint) = cluster.settle_success(now, policy, id) else {
            return false;
        };
        (self.last_class, self.last_endpoint) = (Class::Success, endpoint);
        (self.failed, self.timed_out) = (false, false);
        self.reward(cluster, number);
        true
    }

    /// The attempt that lost was dropped, and the call goes on as the other one decided.
    fn end_loser(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        slot: Slot,
        wakes: &mut Wakes,
    ) {
        let State::Lost { slot: at, next } = self.state else {
            return;
        };
        if at != slot {
            return;
        }
        self.state = next.into();
        let Some(id) = self.extra().lost.take() else {
            debug_assert!(false, "it has a name until it is dropped");
            return;
        };
        let (finish, hang_after) = (Finish::Dropped, Duration::from_nanos(self.hang_after));
        let settled = cluster.settle(now, policy, id, finish, None, hang_after, wakes);
        if let (Some(settled), Some(hedging)) = (settled, &mut cluster.hedging) {
            // It would have taken longer still.
            hedging.on_latency(now, settled.took);
        }
    }

    fn end_with(&mut self, verdict: Verdict) -> Next {
        self.verdict = Some(verdict);
        Next::End
    }

    /// Successes pay for retries.
    fn reward(&mut self, cluster: &mut Cluster, number: u32) {
        if number == 1 {
            cluster.tokens.on_first_try_success();
        } else if self.token_spent {
            cluster.tokens.give_back();
        }
    }

    fn note_tried(&mut self, endpoint: EndpointId) {
        let tried = &mut self.extra().tried;
        if !tried.contains(&endpoint) {
            tried.push(endpoint);
        }
    }

    fn after_return(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        settled: Settled,
        failed: bool,
    ) -> Next {
        let why = match self.decide(now, policy, cluster, &settled) {
            Ok(until) => return Next::Retry(until),
            Err(why) => why,
        };
        if !failed {
            return Next::End;
        }
        let hint = match settled.class {
            Class::Throttled(hint) => hint,
            _ => settled.advice.wait,
        };
        let trail = self.trail(now, cluster, hint);
        self.end_with(Verdict::Ended(Ended {
            why,
            requested: settled.class == Class::RetryRequested,
            refusal: settled.refusal,
            trail,
        }))
    }

    /// Decides on a retry: when it begins, or why there is none.
    fn decide(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        settled: &Settled,
    ) -> Result<Instant, Why> {
        if matches!(settled.class, Class::Success | Class::CallerFault | Class::Ignored) {
            return Err(Why::Class);
        }
        self.note_tried(settled.endpoint);
        let outlook = cluster.outlook(now, policy, settled.class, self.tried(), settled.endpoint);
        let unsafe_sent = settled.unsafe_sent || self.unsafe_sent;
        let failed = Failed {
            class: settled.class,
            replay_safe: !unsafe_sent && self.is_idempotent(),
            unsafe_sent,
            advice: settled.advice,
            attempts: self.attempts,
            free_used: self.free_used,
            deadline: self.deadline,
        };
        let Cluster { rng, tokens, .. } = cluster;
        match retry::decide(now, policy, rng, tokens, &failed, outlook) {
            Ok(Retry { at, cause, token }) => {
                self.free_used |= settled.class == Class::Refused && !token;
                self.token_held = token;
                let last = cluster.table.get(settled.endpoint);
                self.extra().last_failed_at = last.map(|endpoint| endpoint.netloc.clone());
                cluster.totals.retries += 1;
                let wait = at.since(now);
                cluster.events.push(now, self.call, || What::RetryDecided { wait, cause });
                Ok(at)
            }
            Err(why) => {
                cluster.totals.count_suppressed(why);
                cluster.events.push(now, self.call, || What::RetrySuppressed { why });
                Err(why)
            }
        }
    }
}
