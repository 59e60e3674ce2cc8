//! The call machine: one call from start to verdict.
//!
//! The driver asks [`poll_action`](CallMachine::poll_action) what to do next, does it, and reports
//! what came of it: an [`Action::Attempt`] is answered by one [`on_returned`](CallMachine::on_returned),
//! an [`Action::Cancel`] by one [`on_cancelled`](CallMachine::on_cancelled), an [`Action::Propose`] by
//! one [`on_proposal`](CallMachine::on_proposal), and after a wait it asks again. Whatever happens to
//! the driver, one [`on_abandoned`](CallMachine::on_abandoned) gives everything back.

mod entry;
mod outcome;
mod told;

use core::task::Waker;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Cluster;
use super::admission::Proposal;
use super::attempt::AttemptId;
use super::endpoint::EndpointId;
use super::settle::Finish;
use crate::error::Trail;
use crate::event::{Outcome, What};
use crate::instant::nanos;
use crate::machine::queue::{TicketId, Wakes};
use crate::policy::Rules;
use crate::refusal::Refusal;
use crate::{Class, ConfigError, Instant, Why};
use told::Text;

/// What the driver does next.
#[derive(Debug)]
#[must_use]
pub(crate) enum Action {
    /// Ask the user's balancer.
    Propose,
    /// Wait in the queue: until woken, at the latest until this instant.
    Queue(Instant),
    /// Run the function. It ends by itself, or is to be looked at again at `deadline`.
    Attempt { id: AttemptId, number: u32, deadline: Instant },
    /// Drop the function's future: its time is up.
    Cancel,
    /// Wait until this instant.
    WaitUntil(Instant),
    /// The call is over.
    Finish(Verdict),
}

/// How the call ends.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// With what the last attempt returned.
    Ended(Ended),
    /// By its deadline, or by an attempt's that is not retried.
    TimedOut { after: Duration, attempts: u32, trail: Option<Box<Trail>> },
    /// Before any attempt.
    Refused(Box<Refusal>),
    /// A user's balancer named what is no target.
    Wrong(Box<ConfigError>),
    /// The dependency takes no more calls.
    Closed,
}

/// What is to be said beside an attempt's error.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) attempts: u32,
    /// It was a value, not an error.
    pub(crate) value: bool,
    pub(crate) why: Why,
    pub(crate) requested: bool,
    /// The exchange that was refused, if that is why.
    pub(crate) refusal: Option<Box<Refusal>>,
    /// Where the last attempt failed, and when to try again.
    pub(crate) trail: Option<Box<Trail>>,
}

/// What the wrapped function returned.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) class: Class,
    /// It was an error.
    pub(crate) failed: bool,
    /// The error's text, if somebody reads it.
    pub(crate) error: Option<Arc<str>>,
}

/// What a call brings along.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// The call's own timeout, in place of the policy's.
    pub(crate) timeout: Option<Duration>,
    /// What is left of a deadline that was handed down.
    pub(crate) within: Duration,
    /// In place of the policy's.
    pub(crate) idempotent: Option<bool>,
}

impl Start {
    /// As the policy says.
    pub(crate) const fn new() -> Self {
        Self { timeout: None, within: Duration::MAX, idempotent: None }
    }
}

#[derive(Debug)]
pub(crate) struct CallMachine {
    state: State,
    call: u64,
    started: Instant,
    deadline: Instant,
    /// In nanoseconds.
    hang_after: u64,
    tried: Vec<EndpointId>,
    proposal: Proposal,
    /// For balancers that send equal keys to the same endpoint.
    key: Option<Box<str>>,
    /// What somebody wants to read.
    text: Option<Box<Text>>,
    attempts: u32,
    proposals: u8,
    idempotent: bool,
    /// The retry that comes took a token.
    token_held: bool,
    /// The attempt under way took a token.
    token_spent: bool,
    /// The last attempt ended with an error, or was cut off.
    failed: bool,
    last: Last,
    /// The call's one retry without a token was made.
    free_used: bool,
}

/// How the last attempt ended.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// By `attempt_timeout`.
    timed_out: bool,
    class: Class,
    /// Where it was charged.
    endpoint: EndpointId,
}

#[derive(Debug)]
enum State {
    New(Start),
    /// Wants to be let in.
    Admission,
    Queued(TicketId),
    Running {
        id: AttemptId,
        deadline: Instant,
    },
    Waiting {
        until: Instant,
    },
    Ended(Verdict),
    Done,
}

impl CallMachine {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            state: State::New(start),
            call: 0,
            started: Instant::EPOCH,
            deadline: Instant::NEVER,
            hang_after: 0,
            tried: Vec::new(),
            proposal: Proposal::Unasked,
            key: None,
            text: None,
            attempts: 0,
            proposals: 0,
            idempotent: true,
            token_held: false,
            token_spent: false,
            failed: false,
            last: Last { timed_out: false, class: Class::Success, endpoint: EndpointId::default() },
            free_used: false,
        }
    }

    /// The settings of the call, while it has not begun.
    pub(crate) fn start_mut(&mut self) -> Option<&mut Start> {
        match &mut self.state {
            State::New(start) => Some(start),
            _ => None,
        }
    }

    pub(crate) fn set_key(&mut self, key: Box<str>) {
        self.key = Some(key);
    }

    /// The call's sticky key.
    pub(crate) fn key(&self) -> Option<&str> {
        self.key.as_deref()
    }

    /// The number of the call, 0 before it began.
    pub(crate) fn call(&self) -> u64 {
        self.call
    }

    /// Attempts begun.
    pub(crate) fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Proposals of the user's balancer for the attempt to come that were of no use.
    pub(crate) fn proposals(&self) -> u32 {
        u32::from(self.proposals)
    }

    /// Whether it holds nothing: it has not begun, or is over.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::New(_) | State::Done)
    }

    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn poll_action(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Action {
        if let State::New(start) = self.state {
            if let Some(verdict) = self.start(now, policy, cluster, start) {
                self.state = State::Done;
                return Action::Finish(verdict);
            }
        }
        if now >= self.deadline {
            if let State::Running { .. } = self.state {
                return Action::Cancel;
            }
            if !matches!(self.state, State::Ended(_) | State::Done) {
                self.give_back_place(now, policy, cluster, wakes);
                self.state =
                    State::Ended(self.timed_out(now, cluster, self.deadline.since(self.started)));
            }
        }
        match core::mem::replace(&mut self.state, State::Done) {
            State::New(_) | State::Done => Action::WaitUntil(Instant::NEVER),
            State::Admission => self.admit(now, policy, cluster, None, waker, wakes),
            State::Queued(ticket) => self.admit(now, policy, cluster, Some(ticket), waker, wakes),
            State::Running { id, deadline } => {
                self.state = State::Running { id, deadline };
                if now >= deadline { Action::Cancel } else { Action::WaitUntil(deadline) }
            }
            State::Waiting { until } if now < until => {
                self.state = State::Waiting { until };
                Action::WaitUntil(until.min(self.deadline))
            }
            State::Waiting { .. } => self.admit(now, policy, cluster, None, waker, wakes),
            State::Ended(verdict) => self.finish(now, cluster, verdict, wakes),
        }
    }

    fn start(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        start: Start,
    ) -> Option<Verdict> {
        if cluster.closed {
            return Some(Verdict::Closed);
        }
        cluster.calls_begun += 1;
        cluster.calls_open += 1;
        self.call = cluster.calls_begun;
        self.started = now;
        self.idempotent = start.idempotent.unwrap_or(policy.idempotent);
        let timeout = start.timeout.unwrap_or(policy.timeout);
        self.deadline = now.after(timeout.min(start.within));
        self.hang_after = nanos(policy.hang_after_of(timeout));
        self.state = State::Admission;
        if self.is_reported() {
            cluster.events.tap(self.call);
        }
        cluster.events.push(now, self.call, || What::CallStarted);
        None
    }

    /// The answer to [`Action::Propose`].
    pub(crate) fn on_proposal(&mut self, proposal: Proposal) {
        self.proposal = proposal;
    }

    /// The answer to [`Action::Attempt`]: the function returned something of this class.
    pub(crate) fn on_returned(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        returned: Returned,
        wakes: &mut Wakes,
    ) {
        let Returned { class, failed, error } = returned;
        self.note_error(error);
        self.end_attempt(now, policy, cluster, Finish::Returned { class, failed }, wakes);
    }

    /// The answer to [`Action::Cancel`]: the function's future was dropped.
    pub(crate) fn on_cancelled(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        wakes: &mut Wakes,
    ) {
        let late = now >= self.deadline;
        let finish = if late { Finish::DeadlinePassed } else { Finish::TimedOut };
        self.end_attempt(now, policy, cluster, finish, wakes);
    }

    fn timed_out(&self, now: Instant, cluster: &Cluster, after: Duration) -> Verdict {
        Verdict::TimedOut { after, attempts: self.attempts, trail: self.trail(now, cluster, None) }
    }

    fn finish(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        verdict: Verdict,
        wakes: &mut Wakes,
    ) -> Action {
        let outcome = match &verdict {
            Verdict::Ended(Ended { value: true, .. }) => Outcome::Value,
            Verdict::Ended(_) => Outcome::Error,
            Verdict::TimedOut { .. } => Outcome::Timeout,
            Verdict::Wrong(_) | Verdict::Refused(_) | Verdict::Closed => Outcome::Refused,
        };
        self.close(now, cluster, outcome, Some(&verdict), wakes);
        Action::Finish(verdict)
    }

    fn close(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        outcome: Outcome,
        verdict: Option<&Verdict>,
        wakes: &mut Wakes,
    ) {
        self.state = State::Done;
        cluster.calls_open -= 1;
        cluster.totals.count_call(outcome);
        if cluster.events.is_active() {
            self.tell_end(now, cluster, outcome, verdict);
        }
        if cluster.calls_open == 0 && !cluster.closers.is_empty() {
            for closer in cluster.closers.drain(..) {
                wakes.push(closer);
            }
        }
    }

    /// The driver goes away, or user code panicked in it: everything is given back.
    pub(crate) fn on_abandoned(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        panicked: bool,
        wakes: &mut Wakes,
    ) {
        if self.is_idle() {
            return;
        }
        if let State::Running { .. } = self.state {
            let finish = if panicked { Finish::Panicked } else { Finish::Dropped };
            self.end_attempt(now, policy, cluster, finish, wakes);
        }
        self.give_back_place(now, policy, cluster, wakes);
        let outcome = if panicked { Outcome::Panicked } else { Outcome::Dropped };
        self.close(now, cluster, outcome, None, wakes);
    }

    fn give_back_place(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        wakes: &mut Wakes,
    ) {
        self.give_back_token(cluster);
        if let State::Queued(ticket) = self.state {
            cluster.leave_queue(now, policy, self.call, ticket, wakes);
        }
    }

    /// A retry that was paid for is not made.
    fn give_back_token(&mut self, cluster: &mut Cluster) {
        if core::mem::replace(&mut self.token_held, false) {
            cluster.tokens.give_back();
        }
    }
}
