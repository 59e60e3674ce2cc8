//! Exchanges: which netloc an attempt is charged to, and what its answers said.
//!
//! An attempt holds one permit. Without a balancer it starts charged to the dependency itself, and
//! its first exchange moves it; a later one elsewhere moves it on, if none is under way. Before it
//! waits for the new place it gives the old one back: an attempt that waits holds nothing that
//! another one could wait for. A second exchange elsewhere *while* the first is under way takes an
//! extra permit or is refused at once.

use core::task::Waker;

use super::Cluster;
use super::admission::{Admit, Ask, Proposal};
use super::attempt::{Attempt, AttemptId, Visit};
use super::endpoint::EndpointId;
use crate::event::What;
use crate::http::advice::Advice;
use crate::http::{Sent, Url, UrlError};
use crate::machine::circuit::Verdict;
use crate::machine::queue::{TicketId, Wakes, Want};
use crate::machine::retry::SHORTEST_ATTEMPT;
use crate::policy::Rules;
use crate::refusal::{Reason, Refusal};
use crate::{Class, Instant, Netloc, Phase, Target};

/// An exchange that wants to begin.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) to: Netloc,
    /// Whether it may happen twice.
    pub(crate) replay_safe: bool,
    /// When its attempt ends.
    pub(crate) until: Instant,
}

/// The answer to an exchange that wants to begin.
#[derive(Debug)]
#[must_use]
pub(crate) enum Begin {
    /// It may: end it with [`Cluster::leave_exchange`] and
    /// [`Cluster::release_connection`].
    Go(EndpointId),
    /// It waits, and looks again when it is woken, at the latest at this instant.
    Wait(Instant),
    /// Somebody refused it.
    Refused(Refusal),
    /// It would wait for a connection that its own attempt holds.
    OwnPlace,
    /// The attempt has ended.
    AttemptOver,
}

/// How an exchange ended, up to its answer's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct End {
    pub(crate) class: Class,
    pub(crate) sent: Sent,
    /// Whether the answer's head came.
    pub(crate) answered: bool,
    /// Whether it may happen twice.
    pub(crate) replay_safe: bool,
    /// The answer came over a connection that carries many exchanges at a time.
    pub(crate) multiplexed: bool,
    /// What it said of trying again.
    pub(crate) advice: Advice,
}

impl Cluster {
    /// The target that a balancer picked for the attempt.
    pub(crate) fn picked_target(&self, id: AttemptId) -> Option<Target> {
        let attempt = self.attempts.get(id).filter(|attempt| !attempt.flags.over)?;
        if let Some(target) = attempt.target() {
            return Some(target.clone());
        }
        let scheme = attempt.flags.picked?;
        Some(Target::new(scheme, self.table[attempt.charged.endpoint].netloc.clone()))
    }

    /// The root URL of that target: parsed once, since it is asked for with every request.
    pub(crate) fn picked_root(&mut self, id: AttemptId) -> Option<Result<Url, UrlError>> {
        let target = self.picked_target(id)?;
        let endpoint = self.attempts[id].charged.endpoint;
        let root = &mut self.table[endpoint].root;
        if let Some(root) = root.as_ref().filter(|root| root.is_root_of(&target)) {
            return Some(Ok(root.clone()));
        }
        let parsed = target.base();
        if let Ok(parsed) = &parsed {
            *root = Some(parsed.clone());
        }
        Some(parsed)
    }

    /// Whether an attempt has not ended.
    pub(crate) fn is_under_way(&self, id: AttemptId) -> bool {
        self.attempts.get(id).is_some_and(|attempt| !attempt.flags.over)
    }

    /// The function asks for another attempt.
    pub(crate) fn request_retry(&mut self, id: AttemptId) {
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.flags.retry_requested = true;
        }
    }

    /// Asks for an exchange, again if it waited: `ticket` is its place in the queue.
    #[expect(clippy::too_many_arguments, reason = "one step, all of it needed")]
    pub(crate) fn begin_exchange(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        wish: &Wish,
        ticket: &mut Option<TicketId>,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Begin {
        if let Some(refusal) = ticket.and_then(|ticket| self.shed(ticket)) {
            if let Some(left) = ticket.take() {
                self.leave_queue(now, policy, self.call_of(id), left, wakes);
            }
            return match self.attempts.get(id).is_some() {
                true => self.refuse_exchange(now, id, refusal),
                false => Begin::AttemptOver,
            };
        }
        let offer = self.take_turn(now, policy, *ticket, waker, wakes);
        let begin = self.step(now, policy, id, wish, wakes);
        if let Some(place) = offer {
            self.offer_on(now, policy, place, wakes);
        }
        match begin {
            Ok(begin) => {
                if let Some(left) = ticket.take() {
                    self.leave_queue(now, policy, self.call_of(id), left, wakes);
                }
                begin
            }
            Err((want, refusal)) => {
                self.wait(now, policy, id, wish, want, refusal, ticket, waker, wakes)
            }
        }
    }

    /// One step towards an exchange: `Err` is what it has to wait for.
    fn step(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        wish: &Wish,
        wakes: &mut Wakes,
    ) -> Result<Begin, (Want<EndpointId>, Refusal)> {
        let over =
            |attempt: &Attempt| attempt.flags.over || attempt.flags.outdone || now >= wish.until;
        if self.attempts.get(id).is_none_or(over) {
            return Ok(Begin::AttemptOver);
        }
        let endpoint = self.table.intern(now, policy, &wish.to);
        let held = self.attempts[id].visit(endpoint).is_some_and(|visit| visit.permit);
        if !held {
            if let Some(begin) = self.go_to(now, policy, id, endpoint, wish.until, wakes)? {
                return Ok(begin);
            }
        }
        let begin = self.connect(policy, id, endpoint, wish);
        if !wish.replay_safe && matches!(begin, Ok(Begin::Go(_))) {
            self.outdo_rival(id);
        }
        begin
    }

    /// Gets a permit at an endpoint where the attempt holds none. `Ok(None)`: it has one now.
    fn go_to(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        endpoint: EndpointId,
        deadline: Instant,
        wakes: &mut Wakes,
    ) -> Result<Option<Begin>, (Want<EndpointId>, Refusal)> {
        let attempt = &self.attempts[id];
        let call = attempt.call;
        let moves = attempt.flags.picked.is_none() && !attempt.is_exchanging();
        let ask = Ask {
            call,
            tried: &[],
            elsewhere: false,
            deadline,
            proposal: &Proposal::Unasked,
            key: None,
            ticket: None,
        };
        match self.admit_at(now, policy, &ask, endpoint, None, wakes) {
            Admit::Go(grant) => {
                if moves {
                    self.pass_own_probe(now, policy, id, wakes);
                    self.leave_own(policy, id);
                    self.give_back_charged(now, policy, id, wakes);
                }
                let visit = Visit::new(now, endpoint, grant.pass);
                self.arrive(now, policy, id, visit, moves, wakes);
                Ok(None)
            }
            Admit::Full(want, refusal, _) if moves => {
                self.give_back_charged(now, policy, id, wakes);
                Err((want, refusal))
            }
            Admit::Full(_, refusal, _) | Admit::Refused(refusal) => {
                Ok(Some(self.refuse_exchange(now, id, refusal)))
            }
        }
    }

    /// The attempt has a permit at a netloc: a new one, or one that it had been at before.
    fn arrive(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        visit: Visit,
        moves: bool,
        wakes: &mut Wakes,
    ) {
        let attempt = &mut self.attempts[id];
        let (call, endpoint) = (attempt.call, visit.endpoint);
        let Some(known) = attempt.visit(endpoint) else {
            if moves {
                attempt.move_to(visit)
            } else {
                attempt.push(visit)
            }
            return;
        };
        // It hears once of the attempt: by the pass of the first visit, which is older.
        known.permit = true;
        if moves {
            attempt.charge_to(endpoint);
        }
        let entry = &mut self.table[endpoint];
        entry.holders -= 1;
        entry.note_return(now, policy);
        self.give_back_pass(now, policy, call, endpoint, visit.pass, wakes);
    }

    /// The dependency's own circuit is there for functions that make no exchange: a probe that came
    /// as far as its first one has succeeded. Else it would be half-open for as long as every attempt
    /// makes one.
    fn pass_own_probe(&mut self, now: Instant, policy: &Rules, id: AttemptId, wakes: &mut Wakes) {
        let Attempt { call, charged, .. } = self.attempts[id];
        if charged.endpoint != self.own || !charged.pass.is_probe() {
            return;
        }
        let circuit = &mut self.table[self.own].circuit;
        let (rules, pass) = (&policy.circuit, charged.pass);
        let transition = circuit.on_result(now, rules, &mut self.rng, pass, Verdict::Success);
        self.note_transition(now, call, self.own, transition, wakes);
    }

    /// The dependency's own entry limits functions that make no exchange: this one makes one.
    fn leave_own(&mut self, policy: &Rules, id: AttemptId) {
        let charged = &self.attempts[id].charged;
        if charged.endpoint == self.own && charged.permit {
            self.table[self.own].note_unused(policy);
        }
    }

    fn give_back_charged(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        wakes: &mut Wakes,
    ) {
        let charged = &mut self.attempts[id].charged;
        if core::mem::replace(&mut charged.permit, false) {
            let endpoint = charged.endpoint;
            self.release_permit(now, policy, endpoint, wakes);
        }
    }

    /// Takes a connection place for an exchange.
    fn connect(
        &mut self,
        policy: &Rules,
        id: AttemptId,
        endpoint: EndpointId,
        wish: &Wish,
    ) -> Result<Begin, (Want<EndpointId>, Refusal)> {
        let attempt = &mut self.attempts[id];
        let entry = &mut self.table[endpoint];
        let Some(visit) = attempt.visit(endpoint) else {
            return Ok(Begin::AttemptOver);
        };
        if !entry.has_connection(policy.http_pool_size) {
            if visit.exchanges > 0 {
                return Ok(Begin::OwnPlace);
            }
            let netloc = entry.netloc.clone();
            let refusal = Refusal { reason: Reason::Full, netloc, retry_after: None };
            return Err((Want::Connection(endpoint), refusal));
        }
        entry.connections.used += 1;
        visit.exchanges += 1;
        attempt.flags.phase = Phase::Exchange;
        attempt.unsafe_open += u32::from(!wish.replay_safe);
        Ok(Begin::Go(endpoint))
    }

    #[expect(clippy::too_many_arguments, reason = "one step, all of it needed")]
    fn wait(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        wish: &Wish,
        want: Want<EndpointId>,
        mut refusal: Refusal,
        ticket: &mut Option<TicketId>,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Begin {
        if ticket.is_some_and(|ticket| self.queue.want(ticket) != Some(want)) {
            if let Some(left) = ticket.take() {
                self.leave_queue(now, policy, self.call_of(id), left, wakes);
            }
        }
        let start_by = wish.until.before(SHORTEST_ATTEMPT);
        let is_call = !matches!(want, Want::Connection(_));
        let rank = self.attempts[id].rank;
        let turn = self.turn(now, policy, rank, want, &mut refusal, *ticket);
        let late = now >= start_by || turn.is_some_and(|turn| turn.due > start_by);
        let joins = is_call && ticket.is_none();
        if late || (joins && !self.has_room(policy, rank, wakes)) {
            if let Some(left) = ticket.take() {
                self.leave_queue(now, policy, self.call_of(id), left, wakes);
            }
            return self.refuse_exchange(now, id, refusal);
        }
        self.attempts[id].flags.phase = Phase::Queued;
        let call = self.call_of(id);
        let ticket = *ticket.get_or_insert_with(|| self.join_queue(now, call, rank, want, waker));
        let look = turn.map_or_else(|| self.queue.look_again(now, ticket), |turn| turn.look);
        Begin::Wait(look.min(start_by))
    }

    fn refuse_exchange(&mut self, now: Instant, id: AttemptId, refusal: Refusal) -> Begin {
        let attempt = &mut self.attempts[id];
        attempt.set_refusal(refusal.clone());
        let call = attempt.call;
        self.totals.count_refusal(refusal.reason);
        self.events.push(now, call, || What::Refused { refusal: refusal.clone() });
        Begin::Refused(refusal)
    }

    /// The exchange has an answer's head, or none ever. Its place stays taken until
    /// [`leave_exchange`](Self::leave_exchange).
    pub(crate) fn on_answer(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        endpoint: EndpointId,
        end: End,
        wakes: &mut Wakes,
    ) {
        if end.multiplexed {
            self.table[endpoint].connections.multiplexed = true;
        }
        let Some(attempt) = self.attempts.get_mut(id) else { return };
        attempt.flags.phase = match end.sent {
            _ if end.answered => Phase::Answer,
            Sent::Unsent => Phase::Connecting,
            Sent::MaybeSent | Sent::Sent => Phase::Exchange,
        };
        if !end.replay_safe {
            attempt.unsafe_open = attempt.unsafe_open.saturating_sub(1);
            attempt.flags.unsafe_sent |= end.sent != Sent::Unsent;
        }
        // A throttle's wait is told with its class.
        let told = matches!(end.class, Class::Throttled(_));
        let wait = end.advice.wait.filter(|_| !told);
        self.on_advice(now, policy, id, endpoint, Advice { wait, ..end.advice });
        self.on_exchange_class(now, policy, id, endpoint, end.class, wakes);
    }

    /// An answer said something of trying again.
    pub(crate) fn on_advice(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        endpoint: EndpointId,
        advice: Advice,
    ) {
        if advice == Advice::default() {
            return;
        }
        let call = self.call_of(id);
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.advise(advice);
        }
        if let Some(wait) = advice.wait {
            self.pause(now, policy, call, endpoint, wait);
        }
    }

    /// An exchange, or the body of its answer, was of this class. While its attempt runs that is part of
    /// what the attempt did; after that it is a result of its own.
    pub(crate) fn on_exchange_class(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        endpoint: EndpointId,
        class: Class,
        wakes: &mut Wakes,
    ) {
        let Some(attempt) = self.attempts.get_mut(id) else {
            return;
        };
        let (call, over) = (attempt.call, attempt.flags.over);
        let Some(visit) = attempt.visit(endpoint) else {
            return;
        };
        if !over {
            visit.hear(class);
            return;
        }
        let (pass, elapsed) = (visit.pass, now.since(visit.since));
        self.hear(now, policy, call, endpoint, pass, class, elapsed, wakes);
    }

    /// The exchange takes part in its attempt no more: its answer was read, dropped or detached.
    /// `cut` if it was dropped before the answer began; then whether it may happen twice.
    pub(crate) fn leave_exchange(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        endpoint: EndpointId,
        cut: Option<bool>,
        wakes: &mut Wakes,
    ) {
        let Some(attempt) = self.attempts.get_mut(id) else {
            return;
        };
        let over = attempt.flags.over;
        let charged = attempt.charged.endpoint == endpoint;
        if cut == Some(false) {
            attempt.unsafe_open = attempt.unsafe_open.saturating_sub(1);
            attempt.flags.unsafe_sent = true;
        }
        let Some(visit) = attempt.visit(endpoint) else {
            return;
        };
        visit.exchanges -= 1;
        visit.cut |= cut.is_some();
        // The place of an extra exchange ends with it; that of the attempt itself with the attempt.
        if visit.exchanges == 0 && visit.permit && (over || !charged) {
            visit.permit = false;
            self.release_permit(now, policy, endpoint, wakes);
        }
        self.forget_if_done(id, wakes);
    }

    /// An exchange that waited is given up.
    pub(crate) fn abandon_exchange(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: AttemptId,
        ticket: TicketId,
        wakes: &mut Wakes,
    ) {
        self.leave_queue(now, policy, self.call_of(id), ticket, wakes);
    }

    /// The request of an exchange goes out once more, on another connection.
    pub(crate) fn on_resent(&mut self, now: Instant, id: AttemptId, endpoint: EndpointId) {
        self.totals.resent += 1;
        let (call, table) = (self.call_of(id), &self.table);
        self.events.push(now, call, || What::Resent { netloc: table[endpoint].netloc.clone() });
    }

    fn call_of(&self, id: AttemptId) -> u64 {
        self.attempts.get(id).map_or(0, |attempt| attempt.call)
    }

    /// Drops the record of an attempt that is over and whose answers are all read.
    pub(super) fn forget_if_done(&mut self, id: AttemptId, wakes: &mut Wakes) {
        let done = |attempt: &Attempt| attempt.flags.over && !attempt.is_exchanging();
        if !self.attempts.get(id).is_some_and(done) {
            return;
        }
        let Some(mut attempt) = self.attempts.remove(id) else {
            return;
        };
        wakes.give_back(attempt.leave_grants());
        for visit in attempt.visits() {
            debug_assert!(!visit.permit, "a finished attempt holds no permit");
            self.table[visit.endpoint].holders -= 1;
        }
    }
}

#[cfg(test)]
mod tests;
