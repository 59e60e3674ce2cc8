//! The end of an attempt: whether another one follows.

use core::time::Duration;

use super::{CallMachine, Ended, Last, State, Verdict};
use crate::cluster::Cluster;
use crate::cluster::settle::{Finish, Settled};
use crate::event::What;
use crate::machine::queue::Wakes;
use crate::machine::retry::{self, Failed, Retry};
use crate::policy::Policy;
use crate::{Class, Instant, Why};

impl CallMachine {
    pub(super) fn end_attempt(
        &mut self,
        now: Instant,
        policy: &Policy,
        cluster: &mut Cluster,
        finish: Finish,
        wakes: &mut Wakes,
    ) {
        let State::Running { id, .. } = self.state else {
            return;
        };
        let hang_after = Duration::from_nanos(self.hang_after);
        let error = match finish {
            Finish::Returned { failed: true, .. } => self.error(),
            _ => None,
        };
        let settled = cluster.settle(now, policy, id, finish, error, hang_after, wakes);
        let Some(settled) = settled else { return };
        if !matches!(finish, Finish::Returned { .. }) {
            self.failed = true;
        }
        let timed_out = finish == Finish::TimedOut;
        self.last = Last { timed_out, class: settled.class, endpoint: settled.endpoint };
        self.state = match finish {
            Finish::Returned { failed, .. } => {
                self.failed = failed;
                if settled.class == Class::Success {
                    self.reward(cluster);
                }
                self.after_return(now, policy, cluster, settled, failed)
            }
            Finish::TimedOut => match self.decide(now, policy, cluster, &settled) {
                Ok(until) => State::Waiting { until },
                Err(why) => {
                    let after = policy.attempt_timeout;
                    State::Ended(self.timed_out(now, cluster, after, Some(why)))
                }
            },
            Finish::DeadlinePassed => {
                State::Ended(self.timed_out(now, cluster, self.deadline.since(self.started), None))
            }
            Finish::Dropped | Finish::Panicked => State::Done,
        };
    }

    /// Successes pay for retries.
    fn reward(&mut self, cluster: &mut Cluster) {
        if self.token_spent {
            cluster.tokens.give_back();
        } else if self.attempts == 1 {
            cluster.tokens.on_first_try_success();
        }
    }

    fn after_return(
        &mut self,
        now: Instant,
        policy: &Policy,
        cluster: &mut Cluster,
        settled: Settled,
        failed: bool,
    ) -> State {
        let why = match self.decide(now, policy, cluster, &settled) {
            Ok(until) => return State::Waiting { until },
            Err(why) => why,
        };
        let hint = match settled.class {
            Class::Throttled(hint) => hint,
            _ => None,
        };
        let refusal = settled.refusal.filter(|_| failed);
        State::Ended(Verdict::Ended(Ended {
            attempts: self.attempts,
            value: !failed,
            why,
            requested: settled.class == Class::RetryRequested,
            refusal,
            trail: if failed { self.trail(now, cluster, hint) } else { None },
        }))
    }

    /// Decides on a retry: when it begins, or why there is none.
    fn decide(
        &mut self,
        now: Instant,
        policy: &Policy,
        cluster: &mut Cluster,
        settled: &Settled,
    ) -> Result<Instant, Why> {
        if matches!(settled.class, Class::Success | Class::CallerFault | Class::Ignored) {
            return Err(Why::Class);
        }
        if !self.tried.contains(&settled.endpoint) {
            self.tried.push(settled.endpoint);
        }
        let outlook = cluster.outlook(now, policy, settled.class, &self.tried, settled.endpoint);
        let failed = Failed {
            class: settled.class,
            replay_safe: !settled.unsafe_sent && self.idempotent,
            unsafe_sent: settled.unsafe_sent,
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
                self.last_failed_at = last.map(|endpoint| endpoint.netloc.clone());
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
