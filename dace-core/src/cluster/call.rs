//! The call machine: one call from start to verdict.
//!
//! The driver asks [`poll_action`](CallMachine::poll_action) what to do next, does it, and reports
//! what came of it: an [`Action::Attempt`] is answered by one [`on_returned`](CallMachine::on_returned),
//! an [`Action::Cancel`] by one [`on_cancelled`](CallMachine::on_cancelled), an [`Action::Propose`] by
//! one [`on_proposal`](CallMachine::on_proposal), an [`Action::Share`] by one
//! [`on_shared`](CallMachine::on_shared), and after a wait it asks again. Whatever happens to the driver,
//! one [`on_abandoned`](CallMachine::on_abandoned) gives everything back.

mod entry;
mod hedging;
mod outcome;
mod told;

use core::task::Waker;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;

use smallvec::SmallVec;

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
use crate::refusal::{Reason, Refusal};
use crate::{Class, ConfigError, Instant, Netloc, Priority, Why};
use told::Text;

/// What the driver does next. It is small, so that it comes back in registers.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) enum Action {
    /// Ask the user's balancer.
    Propose,
    /// Ask the limits that the dependency shares, before its lock is taken.
    Share,
    /// Wait in the queue: until woken, at the latest until this instant.
    Queue(Instant),
    /// Run the function, in this place, for [the attempt](CallMachine::attempt) there. It ends by itself, or
    /// is to be looked at again at `look_at`.
    Attempt { slot: Slot, look_at: Instant },
    /// Drop the function's future in this place: its time is up, or it lost.
    Cancel(Slot),
    /// Wait until this instant.
    WaitUntil(Instant),
    /// The call is over: [how](CallMachine::take_verdict).
    Finish,
}

/// Where a future of the function is held: there are two at a time at the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Where attempts run that follow each other.
    First,
    /// Where the hedge of one runs.
    Hedge,
}

/// How the call ends, if not with the value that its last attempt returned.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// With the error that the last attempt returned.
    Ended(Ended),
    /// By its deadline, or by an attempt's that is not retried.
    TimedOut(Box<TimedOut>),
    /// Before any attempt, or because the dependency takes no more calls.
    Refused(Box<Refusal>),
    /// A user's balancer named what is no target.
    Wrong(Box<ConfigError>),
}

/// What is to be said of a timeout.
#[derive(Debug)]
pub(crate) struct TimedOut {
    pub(crate) after: Duration,
    pub(crate) why: Option<Why>,
    pub(crate) trail: Option<Box<Trail>>,
}

/// What is to be said beside an attempt's error.
#[derive(Debug)]
pub(crate) struct Ended {
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
    /// What is left of a deadline that was handed down, in nanoseconds.
    pub(crate) within: u64,
}

impl Start {
    /// As the policy says.
    pub(crate) const fn new() -> Self {
        Self { timeout: None, within: u64::MAX }
    }
}

#[derive(Debug)]
pub(crate) struct CallMachine {
    state: State,
    /// How it ended, from [`State::Ended`] on, until the driver takes it. Without one: with a value.
    verdict: Option<Verdict>,
    call: u64,
    started: Instant,
    deadline: Instant,
    /// In nanoseconds.
    hang_after: u64,
    extra: Option<Box<Extra>>,
    /// The class of the last attempt, and where it was charged.
    last_class: Class,
    last_endpoint: EndpointId,
    attempts: u32,
    proposals: u8,
    /// What it said of being run twice, and from its start on what holds.
    idempotent: Option<bool>,
    /// What it said of its importance.
    priority: Option<Priority>,
    /// The retry that comes took a token.
    token_held: bool,
    /// The attempt under way took a token.
    token_spent: bool,
    /// The last attempt ended with an error, or was cut off.
    failed: bool,
    /// The last attempt ended by `attempt_timeout`.
    timed_out: bool,
    /// The call's one retry without a token was made.
    free_used: bool,
    /// An attempt that did not win a race sent what must not happen twice.
    unsafe_sent: bool,
    /// A fallback comes after the final error.
    falls_back: bool,
    /// It came.
    fell_back: bool,
}

/// What most calls have nothing of.
#[derive(Debug, Default)]
struct Extra {
    tried: SmallVec<[EndpointId; 4]>,
    proposal: Proposal,
    /// For balancers that send equal keys to the same endpoint.
    key: Option<Box<str>>,
    /// In place of the policy's.
    connect_timeout: Option<Duration>,
    /// What somebody wants to read.
    text: Option<Text>,
    /// The hedge of the attempt under way, and when it ends. It means nothing unless that is
    /// [hedged](Run::hedged).
    hedge: Option<(AttemptId, Instant)>,
    /// The attempt that lost, until it is dropped.
    lost: Option<AttemptId>,
    /// Where the last attempt was charged, while a retry is to come: its endpoint may be forgotten
    /// meanwhile.
    last_failed_at: Option<Netloc>,
}

/// It owns nothing, so that a change of it is a store.
#[derive(Clone, Copy, Debug)]
enum State {
    New(Start),
    /// Wants to be let in.
    Admission,
    Queued(TicketId),
    Running(Run),
    /// One attempt decided what comes next, and [the one](Extra::lost) here is to be dropped before that.
    Lost {
        slot: Slot,
        next: Next,
    },
    Waiting {
        until: Instant,
    },
    /// It has its verdict.
    Ended,
    /// It is over, but for its fallback.
    FallingBack,
    Done,
}

/// What comes after an attempt.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Another one, at this instant.
    Retry(Instant),
    /// The verdict.
    End,
    /// Nothing: nobody waits for the call any more.
    Nothing,
}

impl From<Next> for State {
    fn from(next: Next) -> Self {
        match next {
            Next::Retry(until) => Self::Waiting { until },
            Next::End => Self::Ended,
            Next::Nothing => Self::Done,
        }
    }
}

/// An attempt under way.
#[derive(Clone, Copy, Debug)]
struct Run {
    id: AttemptId,
    number: u32,
    slot: Slot,
    deadline: Instant,
    /// When it is to be hedged; never, for most.
    hedge_from: Instant,
    /// [A hedge](Extra::hedge) runs beside it. Its number is the next.
    hedged: bool,
}

impl CallMachine {
    pub(crate) fn new(start: Start) -> Self {
        Self {
            state: State::New(start),
            verdict: None,
            call: 0,
            started: Instant::EPOCH,
            deadline: Instant::NEVER,
            hang_after: 0,
            extra: None,
            last_class: Class::Success,
            last_endpoint: EndpointId::default(),
            attempts: 0,
            proposals: 0,
            idempotent: None,
            priority: None,
            token_held: false,
            token_spent: false,
            failed: false,
            timed_out: false,
            free_used: false,
            unsafe_sent: false,
            falls_back: false,
            fell_back: false,
        }
    }

    /// Its final error, if it is one, is followed by a fallback, whose end is told by
    /// [`on_fallback_ended`](Self::on_fallback_ended).
    pub(crate) fn expect_fallback(&mut self) {
        self.falls_back = true;
    }

    pub(crate) fn falls_back(&self) -> bool {
        self.falls_back
    }

    /// The fallback takes over.
    pub(crate) fn fall_back(&mut self) {
        self.fell_back = true;
    }

    pub(crate) fn fell_back(&self) -> bool {
        self.fell_back
    }

    /// The settings of the call, while it has not begun.
    pub(crate) fn start_mut(&mut self) -> Option<&mut Start> {
        match &mut self.state {
            State::New(start) => Some(start),
            _ => None,
        }
    }

    pub(crate) fn set_idempotent(&mut self, idempotent: bool) {
        if let State::New(_) = self.state {
            self.idempotent = Some(idempotent);
        }
    }

    fn is_idempotent(&self) -> bool {
        self.idempotent == Some(true)
    }

    pub(crate) fn set_priority(&mut self, priority: Priority) {
        if let State::New(_) = self.state {
            self.priority = Some(priority);
        }
    }

    pub(crate) fn set_key(&mut self, key: Box<str>) {
        self.extra().key = Some(key);
    }

    /// The call's sticky key.
    pub(crate) fn key(&self) -> Option<&str> {
        self.extra.as_ref()?.key.as_deref()
    }

    pub(crate) fn set_connect_timeout(&mut self, timeout: Duration) {
        self.extra().connect_timeout = Some(timeout);
    }

    /// The call's own time for connecting.
    pub(crate) fn connect_timeout(&self) -> Option<Duration> {
        self.extra.as_ref()?.connect_timeout
    }

    fn extra(&mut self) -> &mut Extra {
        self.extra.get_or_insert_default()
    }

    /// Endpoints that were tried already.
    fn tried(&self) -> &[EndpointId] {
        self.extra.as_ref().map_or(&[], |extra| &extra.tried)
    }

    /// What a balancer of the user's proposed.
    fn proposal(&self) -> &Proposal {
        self.extra.as_ref().map_or(&Proposal::Unasked, |extra| &extra.proposal)
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
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.state, State::New(_) | State::Done)
    }

    /// Whether what it ended with is a success, and not merely no error.
    pub(crate) fn ended_well(&self) -> bool {
        !self.fell_back && !self.failed && self.last_class == Class::Success
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
            self.start(now, policy, cluster, start);
            if cluster.closed {
                let refusal = cluster.refused_by_all(Reason::Closed);
                self.note_refusal(now, cluster, &refusal);
                return self.finish(now, cluster, Verdict::Refused(Box::new(refusal)), wakes);
            }
            if now < self.deadline && !policy.shares {
                if let Some(grant) = cluster.admit_directly(now, policy, &[]) {
                    return self.run_directly(now, policy, cluster, grant);
                }
                return self.admit(now, policy, cluster, None, &mut None, waker, wakes);
            }
        }
        if now >= self.deadline {
            match self.state {
                State::Running(run) => {
                    return Action::Cancel(if run.hedged { Slot::Hedge } else { run.slot });
                }
                State::Lost { .. } | State::Ended | State::FallingBack | State::Done => {}
                State::New(_) | State::Admission | State::Queued(_) | State::Waiting { .. } => {
                    self.give_back_place(now, policy, cluster, wakes);
                    let after = self.deadline.since(self.started);
                    self.verdict = Some(self.timed_out(now, cluster, after, None));
                    self.state = State::Ended;
                }
            }
        }
        match self.state {
            State::New(_) | State::FallingBack | State::Done => Action::WaitUntil(Instant::NEVER),
            State::Admission => self.enter(now, policy, cluster, None, waker, wakes),
            State::Queued(ticket) => self.enter(now, policy, cluster, Some(ticket), waker, wakes),
            State::Running(run) => self.go_on(now, policy, cluster, run, wakes),
            State::Lost { slot, .. } => Action::Cancel(slot),
            State::Waiting { until } if now < until => Action::WaitUntil(until.min(self.deadline)),
            State::Waiting { .. } => self.enter(now, policy, cluster, None, waker, wakes),
            State::Ended => self.close(now, cluster, wakes),
        }
    }

    #[inline]
    fn start(&mut self, now: Instant, policy: &Rules, cluster: &mut Cluster, start: Start) {
        cluster.calls_begun += 1;
        cluster.calls_open += 1;
        self.call = cluster.calls_begun;
        self.started = now;
        self.idempotent.get_or_insert(policy.idempotent);
        let timeout = match start.timeout {
            None => {
                self.hang_after = policy.nanos.hang_after;
                policy.nanos.timeout
            }
            Some(timeout) => {
                self.hang_after = nanos(policy.hang_after_of(timeout));
                nanos(timeout)
            }
        };
        self.deadline = now.after_nanos(timeout.min(start.within));
        self.state = State::Admission;
        if self.is_reported() {
            cluster.events.tap(self.call);
        }
        cluster.events.push(now, self.call, || What::CallStarted);
    }

    /// The answer to [`Action::Propose`].
    pub(crate) fn on_proposal(&mut self, proposal: Proposal) {
        self.extra().proposal = proposal;
    }

    /// The answer to [`Action::Attempt`]: the function returned something of this class.
    pub(crate) fn on_returned(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        slot: Slot,
        returned: Returned,
        wakes: &mut Wakes,
    ) {
        let Returned { class, failed, error } = returned;
        self.note_error(error);
        let finish = Finish::Returned { class, failed };
        self.end_attempt(now, policy, cluster, slot, finish, wakes);
    }

    /// As [`on_returned`](Self::on_returned), and says what is next. In line, so that what was returned
    /// stays in registers where it is a plain success.
    #[inline(always)]
    pub(crate) fn returned(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        (slot, returned): (Slot, Returned),
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Action {
        let plain = returned.class == Class::Success && !returned.failed;
        if plain && self.succeeds_directly(now, policy, cluster, slot) {
            return self.close(now, cluster, wakes);
        }
        self.on_returned(now, policy, cluster, slot, returned, wakes);
        self.poll_action(now, policy, cluster, waker, wakes)
    }

    /// The answer to [`Action::Cancel`]: the function's future was dropped.
    pub(crate) fn on_cancelled(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        slot: Slot,
        wakes: &mut Wakes,
    ) {
        let late = now >= self.deadline;
        let finish = if late { Finish::DeadlinePassed } else { Finish::TimedOut };
        self.end_attempt(now, policy, cluster, slot, finish, wakes);
    }

    fn timed_out(
        &self,
        now: Instant,
        cluster: &Cluster,
        after: Duration,
        why: Option<Why>,
    ) -> Verdict {
        let trail = self.trail(now, cluster, None);
        Verdict::TimedOut(Box::new(TimedOut { after, why, trail }))
    }

    fn finish(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        verdict: Verdict,
        wakes: &mut Wakes,
    ) -> Action {
        self.verdict = Some(verdict);
        self.close(now, cluster, wakes)
    }

    /// How the call ended, after [`Action::Finish`]: with a value, if there is no verdict.
    pub(crate) fn take_verdict(&mut self) -> Option<Verdict> {
        self.verdict.take()
    }

    /// The attempt that runs in this place: which it is, its number, and when it ends at the latest.
    pub(crate) fn attempt(&self, slot: Slot) -> Option<(AttemptId, u32, Instant)> {
        match self.state {
            State::Running(run) if run.slot == slot => Some((run.id, run.number, run.deadline)),
            _ => self.running(slot).map(|(run, _)| (run.id, run.number, run.deadline)),
        }
    }

    /// The call is over, as its verdict says.
    #[inline]
    fn close(&mut self, now: Instant, cluster: &mut Cluster, wakes: &mut Wakes) -> Action {
        let outcome = match &self.verdict {
            None => Outcome::Value,
            Some(Verdict::Ended(_)) => Outcome::Error,
            Some(Verdict::TimedOut(_)) => Outcome::Timeout,
            Some(Verdict::Wrong(_) | Verdict::Refused(_)) => Outcome::Refused,
        };
        self.tell(now, cluster, outcome);
        if self.falls_back && outcome != Outcome::Value {
            self.state = State::FallingBack;
        } else {
            self.state = State::Done;
            cluster.end_call(wakes);
        }
        Action::Finish
    }

    #[inline]
    fn tell(&mut self, now: Instant, cluster: &mut Cluster, outcome: Outcome) {
        cluster.totals.count_call(outcome);
        if cluster.events.is_active() {
            self.tell_end(now, cluster, outcome);
        }
    }

    /// The fallback begins, of one that may have had another call's error and made no call of its own.
    pub(crate) fn on_fallback_begun(&mut self, cluster: &mut Cluster) {
        if let State::New(_) = self.state {
            self.state = State::FallingBack;
            cluster.calls_open += 1;
        }
    }

    pub(crate) fn is_falling_back(&self) -> bool {
        matches!(self.state, State::FallingBack)
    }

    /// The fallback ended, or was dropped.
    pub(crate) fn on_fallback_ended(&mut self, cluster: &mut Cluster, wakes: &mut Wakes) {
        if let State::FallingBack = self.state {
            self.state = State::Done;
            cluster.end_call(wakes);
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
        if let State::FallingBack = self.state {
            return self.on_fallback_ended(cluster, wakes);
        }
        if self.is_idle() {
            return;
        }
        let finish = if panicked { Finish::Panicked } else { Finish::Dropped };
        for slot in [Slot::Hedge, Slot::First] {
            self.end_attempt(now, policy, cluster, slot, finish, wakes);
        }
        self.give_back_place(now, policy, cluster, wakes);
        let outcome = if panicked { Outcome::Panicked } else { Outcome::Dropped };
        // Nobody waits for how.
        self.verdict = None;
        self.tell(now, cluster, outcome);
        self.state = State::Done;
        cluster.end_call(wakes);
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

    fn note_refusal(&self, now: Instant, cluster: &mut Cluster, refusal: &Refusal) {
        cluster.totals.count_refusal(refusal.reason);
        cluster.events.push(now, self.call, || What::Refused { refusal: refusal.clone() });
    }

    /// A retry that was paid for is not made.
    fn give_back_token(&mut self, cluster: &mut Cluster) {
        if core::mem::replace(&mut self.token_held, false) {
            cluster.tokens.give_back();
        }
    }
}

#[cfg(test)]
mod tests;
