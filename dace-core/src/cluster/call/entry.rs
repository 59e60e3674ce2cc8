//! The way in: one step of admission, and what comes of it.

use core::task::Waker;

use alloc::boxed::Box;

use super::{Action, CallMachine, Ended, State, Verdict};
use crate::cluster::Cluster;
use crate::cluster::admission::{Admit, Ask, Grant, Proposal};
use crate::cluster::attempt::Attempt;
use crate::event::What;
use crate::machine::queue::{TicketId, Wakes};
use crate::machine::retry::SHORTEST_ATTEMPT;
use crate::policy::Rules;
use crate::refusal::{Reason, Refusal};
use crate::{Class, Instant, Why};

/// How often a user's balancer is asked for one attempt.
const PROPOSALS: u8 = 4;

impl CallMachine {
    /// One step of admission, from the queue if the call waits there.
    pub(super) fn admit(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        ticket: Option<TicketId>,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Action {
        if cluster.asks_user() && self.wants_proposal(cluster) {
            self.state = ticket.map_or(State::Admission, State::Queued);
            return Action::Propose;
        }
        if let Proposal::Wrong(error) = &self.proposal {
            let error = error.clone();
            self.leave(now, policy, cluster, ticket, wakes);
            self.give_back_token(cluster);
            return self.finish(now, cluster, Verdict::Wrong(error), wakes);
        }
        if self.last.class == Class::Rejected && self.proposes_a_tried_one(cluster) {
            // What dace refused is tried on another endpoint, or not at all.
            self.leave(now, policy, cluster, ticket, wakes);
            let refusal = cluster.no_endpoint();
            return self.refused(now, policy, cluster, refusal, wakes);
        }
        let offer = cluster.take_turn(now, policy, ticket, waker, wakes);
        let deadline = now.after(policy.attempt_timeout).min(self.deadline);
        let ask = Ask {
            call: self.call,
            tried: &self.tried,
            deadline,
            proposal: &self.proposal,
            key: self.key.as_deref(),
        };
        let admitted = cluster.admit(now, policy, &ask, wakes);
        if let Some(place) = offer {
            cluster.offer_on(now, policy, place, wakes);
        }
        match admitted {
            Admit::Go(grant) => {
                self.leave(now, policy, cluster, ticket, wakes);
                self.run(now, cluster, grant, deadline)
            }
            Admit::Full(want, refusal) => {
                let start_by = self.deadline.before(SHORTEST_ATTEMPT);
                let room = ticket.is_some() || cluster.waiting_calls < policy.queue;
                if now >= start_by || !room {
                    self.leave(now, policy, cluster, ticket, wakes);
                    return self.refused(now, policy, cluster, refusal, wakes);
                }
                let current = ticket.filter(|ticket| cluster.queue.want(*ticket) == Some(want));
                let ticket = match current {
                    Some(ticket) => ticket,
                    None => {
                        self.leave(now, policy, cluster, ticket, wakes);
                        cluster.join_queue(now, self.call, want, waker)
                    }
                };
                self.state = State::Queued(ticket);
                Action::Queue(cluster.queue.look_again(now, ticket).min(start_by))
            }
            Admit::Refused(refusal) => {
                self.leave(now, policy, cluster, ticket, wakes);
                self.refused(now, policy, cluster, refusal, wakes)
            }
        }
    }

    /// Whether the user's balancer is to be asked: it was not yet, or named one that was tried.
    fn wants_proposal(&mut self, cluster: &Cluster) -> bool {
        match &self.proposal {
            Proposal::Unasked => true,
            Proposal::Nobody | Proposal::Wrong(_) => false,
            Proposal::Target(target) => {
                let tried = cluster.is_among(&self.tried, target.netloc());
                let again = tried && self.proposals + 1 < PROPOSALS;
                self.proposals += u8::from(again);
                again
            }
        }
    }

    fn proposes_a_tried_one(&self, cluster: &Cluster) -> bool {
        match &self.proposal {
            Proposal::Target(target) => cluster.is_among(&self.tried, target.netloc()),
            Proposal::Unasked | Proposal::Nobody | Proposal::Wrong(_) => false,
        }
    }

    fn leave(
        &self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        ticket: Option<TicketId>,
        wakes: &mut Wakes,
    ) {
        if let Some(ticket) = ticket {
            cluster.leave_queue(now, policy, self.call, ticket, wakes);
        }
    }

    fn run(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        grant: Grant,
        deadline: Instant,
    ) -> Action {
        self.attempts += 1;
        self.proposals = 0;
        self.token_spent = core::mem::replace(&mut self.token_held, false);
        let number = self.attempts;
        let mut attempt = Attempt::new(now, self.call, number, deadline, grant);
        if let Proposal::Target(target) = core::mem::take(&mut self.proposal) {
            let shared = cluster.table[grant.endpoint].netloc != *target.netloc();
            attempt.target = shared.then(|| Box::new(target));
        }
        let id = cluster.attempts.insert(attempt);
        cluster.running += 1;
        cluster.events.push(now, self.call, || What::AttemptStarted {
            attempt: number,
            netloc: cluster.table[grant.endpoint].netloc.clone(),
            open: cluster.running,
        });
        self.state = State::Running { id, deadline };
        Action::Attempt { id, number, deadline }
    }

    /// Nobody lets the call in.
    fn refused(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        refusal: Refusal,
        wakes: &mut Wakes,
    ) -> Action {
        self.proposals += 1;
        if cluster.asks_user() && self.proposals < PROPOSALS && refusal.reason != Reason::NoEndpoint
        {
            self.proposal = Proposal::Unasked;
            self.state = State::Admission;
            return Action::Propose;
        }
        cluster.totals.count_refusal(refusal.reason);
        cluster.events.push(now, self.call, || What::Refused { refusal: refusal.clone() });
        self.give_back_token(cluster);
        let verdict = if self.attempts == 0 {
            Verdict::Refused(Box::new(refusal))
        } else if self.last.timed_out {
            self.timed_out(now, cluster, policy.attempt_timeout)
        } else {
            Verdict::Ended(Ended {
                attempts: self.attempts,
                value: !self.failed,
                why: Why::NoEndpoint,
                requested: false,
                refusal: None,
                trail: self.trail(now, cluster, refusal.retry_after),
            })
        };
        self.finish(now, cluster, verdict, wakes)
    }
}
