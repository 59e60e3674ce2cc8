//! The way in: one step of admission, and what comes of it.

use core::task::Waker;
use core::time::Duration;

use alloc::boxed::Box;

use super::{Action, CallMachine, Ended, Run, Slot, State, Verdict};
use crate::cluster::Cluster;
use crate::cluster::admission::{Admit, Ask, Grant, Proposal};
use crate::cluster::attempt::Attempt;
use crate::machine::queue::{OFFER, TicketId, Wakes};
use crate::machine::retry::SHORTEST_ATTEMPT;
use crate::policy::Rules;
use crate::refusal::{Reason, Refusal};
use crate::shared_limit::Grants;
use crate::{Class, Instant, Priority, Why, render};

/// How often a user's balancer is asked for one attempt.
const PROPOSALS: u8 = 4;

/// What the shared limits grant, or for how long one of them is used up, if that is known.
pub(crate) type Shared = Result<Option<Box<Grants>>, Option<Duration>>;

impl CallMachine {
    /// A step of admission, once the limits that the dependency shares were asked.
    pub(super) fn enter(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        ticket: Option<TicketId>,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Action {
        if policy.shares {
            self.state = ticket.map_or(State::Admission, State::Queued);
            return Action::Share;
        }
        if ticket.is_none() {
            if let Some(grant) = cluster.admit_directly(now, policy, self.tried()) {
                return self.run_directly(now, policy, cluster, grant);
            }
        }
        self.admit(now, policy, cluster, ticket, &mut None, waker, wakes)
    }

    /// The answer to [`Action::Share`]. The grants are taken if the call is let in; else the driver drops
    /// them.
    pub(crate) fn on_shared(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        shared: &mut Shared,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Action {
        if let State::Running(run) = self.state {
            return match shared {
                Ok(grants) => self.hedge(now, policy, cluster, run, grants, wakes),
                Err(_) => self.stay_alone(run),
            };
        }
        let ticket = match self.state {
            State::Queued(ticket) => Some(ticket),
            _ => None,
        };
        let again = match shared {
            Ok(grants) => return self.admit(now, policy, cluster, ticket, grants, waker, wakes),
            Err(again) => *again,
        };
        if let Some(refusal) = ticket.and_then(|ticket| cluster.shed(ticket)) {
            self.leave(now, policy, cluster, ticket, wakes);
            return self.refused(now, policy, cluster, refusal, wakes);
        }
        let start_by = self.deadline.before(SHORTEST_ATTEMPT);
        if let Some(ticket) = ticket.filter(|_| now < start_by) {
            // It keeps its place.
            self.state = State::Queued(ticket);
            return Action::Queue(now.after(again.unwrap_or(OFFER).max(OFFER)).min(start_by));
        }
        self.leave(now, policy, cluster, ticket, wakes);
        let netloc = cluster.table[cluster.own].netloc.clone();
        let refusal = Refusal { reason: Reason::SharedLimit, netloc, retry_after: again };
        self.refused(now, policy, cluster, refusal, wakes)
    }

    /// One step of admission, from the queue if the call waits there.
    #[expect(clippy::too_many_arguments, reason = "one step, all of it needed")]
    pub(super) fn admit(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        ticket: Option<TicketId>,
        grants: &mut Option<Box<Grants>>,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Action {
        if let Some(refusal) = ticket.and_then(|ticket| cluster.shed(ticket)) {
            self.leave(now, policy, cluster, ticket, wakes);
            return self.refused(now, policy, cluster, refusal, wakes);
        }
        if cluster.asks_user() && self.wants_proposal(cluster) {
            self.state = ticket.map_or(State::Admission, State::Queued);
            return Action::Propose;
        }
        if let Proposal::Wrong(error) = self.proposal() {
            let error = error.clone();
            self.leave(now, policy, cluster, ticket, wakes);
            self.give_back_token(cluster);
            let refusal = cluster.refused_by_all(Reason::Config);
            self.note_refusal(now, cluster, &refusal);
            if cluster.events.is_active() || self.is_reported() {
                self.note_error(Some(render::chain(&*error)));
            }
            return self.finish(now, cluster, Verdict::Wrong(error), wakes);
        }
        if self.last_class == Class::Rejected && self.proposes_a_tried_one(cluster) {
            // What dace refused is tried on another endpoint, or not at all.
            self.leave(now, policy, cluster, ticket, wakes);
            let refusal = cluster.no_endpoint();
            return self.refused(now, policy, cluster, refusal, wakes);
        }
        let offer = cluster.take_turn(now, policy, ticket, waker, wakes);
        let deadline = now.after(policy.attempt_timeout).min(self.deadline);
        let ask = Ask {
            call: self.call,
            tried: self.tried(),
            elsewhere: false,
            deadline,
            proposal: self.proposal(),
            key: self.key(),
            ticket,
        };
        let admitted = cluster.admit(now, policy, &ask, wakes);
        if let (Some(ticket), Admit::Full(_, _, shed)) = (ticket, &admitted) {
            // Before what it did not take is offered on: else it would be offered that again, at once.
            cluster.queue.decline(ticket, shed);
        }
        if let Some(place) = offer {
            cluster.offer_on(now, policy, place, wakes);
        }
        match admitted {
            Admit::Go(grant) => {
                self.leave(now, policy, cluster, ticket, wakes);
                self.run(now, cluster, grant, deadline, grants.take())
            }
            Admit::Full(want, mut refusal, shed) => {
                let start_by = self.deadline.before(SHORTEST_ATTEMPT);
                let rank = Priority::rank(self.priority, self.attempts > 0);
                let turn = cluster.turn(now, policy, rank, want, &mut refusal, ticket);
                let late = now >= start_by || turn.is_some_and(|turn| turn.due > start_by);
                let mut room = || ticket.is_some() || cluster.has_room(policy, rank, wakes);
                if late || !room() {
                    self.leave(now, policy, cluster, ticket, wakes);
                    return self.refused(now, policy, cluster, refusal, wakes);
                }
                let current = ticket.filter(|ticket| cluster.queue.want(*ticket) == Some(want));
                let ticket = match current {
                    Some(ticket) => ticket,
                    None => {
                        self.leave(now, policy, cluster, ticket, wakes);
                        let ticket = cluster.join_queue(now, self.call, rank, want, waker);
                        cluster.queue.decline(ticket, &shed);
                        ticket
                    }
                };
                self.state = State::Queued(ticket);
                let look_again = || cluster.queue.look_again(now, ticket);
                let look = turn.map_or_else(look_again, |turn| turn.look);
                Action::Queue(look.min(start_by))
            }
            Admit::Refused(refusal) => {
                self.leave(now, policy, cluster, ticket, wakes);
                self.refused(now, policy, cluster, refusal, wakes)
            }
        }
    }

    fn take_proposal(&mut self) -> Proposal {
        self.extra.as_mut().map(|extra| core::mem::take(&mut extra.proposal)).unwrap_or_default()
    }

    /// Whether the user's balancer is to be asked: it was not yet, or named one that was tried.
    fn wants_proposal(&mut self, cluster: &Cluster) -> bool {
        match self.proposal() {
            Proposal::Unasked => true,
            Proposal::Nobody | Proposal::Wrong(_) => false,
            Proposal::Target(target) => {
                let tried = cluster.is_among(self.tried(), target.netloc());
                let again = tried && self.proposals + 1 < PROPOSALS;
                self.proposals += u8::from(again);
                again
            }
        }
    }

    fn proposes_a_tried_one(&self, cluster: &Cluster) -> bool {
        match self.proposal() {
            Proposal::Target(target) => cluster.is_among(self.tried(), target.netloc()),
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

    /// An attempt that was [admitted directly](Cluster::admit_directly).
    #[inline]
    pub(super) fn run_directly(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        grant: Grant,
    ) -> Action {
        let deadline = now.after_nanos(policy.nanos.attempt_timeout).min(self.deadline);
        self.run(now, cluster, grant, deadline, None)
    }

    #[inline]
    fn run(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        grant: Grant,
        deadline: Instant,
        grants: Option<Box<Grants>>,
    ) -> Action {
        self.attempts += 1;
        self.proposals = 0;
        self.token_spent = core::mem::replace(&mut self.token_held, false);
        let number = self.attempts;
        let mut attempt = Attempt::new(now, self.call, number, grant);
        attempt.rank = Priority::rank(self.priority, number > 1);
        if cluster.asks_user() {
            if let Proposal::Target(target) = self.take_proposal() {
                let shared = cluster.table[grant.endpoint].netloc != *target.netloc();
                if shared {
                    attempt.set_target(target);
                }
            }
        }
        if let Some(grants) = grants {
            attempt.take_grants(grants);
        }
        let id = cluster.begin_attempt(now, attempt);
        let (slot, from) = (Slot::First, self.hedge_from(now, cluster));
        let run = Run { id, number, slot, deadline, hedge_from: from, hedged: false };
        self.state = State::Running(run);
        Action::Attempt { slot, look_at: from.min(deadline) }
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
        let is_final =
            matches!(refusal.reason, Reason::NoEndpoint | Reason::SharedLimit | Reason::Shed);
        if cluster.asks_user() && self.proposals < PROPOSALS && !is_final {
            self.take_proposal();
            self.state = State::Admission;
            return Action::Propose;
        }
        self.note_refusal(now, cluster, &refusal);
        self.give_back_token(cluster);
        self.verdict = if self.attempts == 0 {
            Some(Verdict::Refused(Box::new(refusal)))
        } else if self.timed_out {
            Some(self.timed_out(now, cluster, policy.attempt_timeout, Some(Why::NoEndpoint)))
        } else if !self.failed {
            None
        } else {
            Some(Verdict::Ended(Ended {
                why: Why::NoEndpoint,
                requested: false,
                refusal: None,
                trail: self.trail(now, cluster, refusal.retry_after),
            }))
        };
        self.close(now, cluster, wakes)
    }
}
