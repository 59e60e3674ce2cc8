//! All shared state of one dependency, behind one lock.
//!
//! A call takes the lock twice: for admission, and for the outcome. One lock gives every input a
//! place in one order, so that the same policy, seed and order of inputs give the same decisions, bit
//! for bit. Nothing here waits, reads a clock, or calls user code; what is to be done after
//! unlocking (wakers) is returned.

mod admission;
mod attempt;
mod call;
mod choice;
mod direct;
mod endpoint;
mod events;
mod exchange;
mod limits;
mod listing;
mod outlook;
mod places;
mod settle;
mod snapshot;
mod table;
mod targets;
mod totals;

pub(crate) use admission::Proposal;
pub(crate) use attempt::AttemptId;
pub(crate) use call::{Action, CallMachine, Ended, Returned, Slot, Start, TimedOut, Verdict};
pub(crate) use endpoint::EndpointId;
pub(crate) use exchange::{Begin, End, Wish};
pub use snapshot::{EndpointSnapshot, Snapshot};
pub(crate) use targets::Selection;
pub use totals::{ByClass, ByWhy, Totals};

use core::task::Waker;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use attempt::Attempt;
pub(crate) use events::{BATCH, Claim, Tap};

use events::Events;
use table::Table;
use targets::Targets;

use crate::event::{Control, What};
use crate::machine::circuit::{CircuitState, Mode, Transition};
use crate::machine::hedge::Hedging;
use crate::machine::queue::{Queue, Wakes};
use crate::machine::slab::Slab;
use crate::machine::tokens::Tokens;
use crate::policy::Rules;
use crate::{Event, Instant, Netloc};

/// Wakers of those who wait for the last call to end, at the most.
const CLOSERS: usize = 64;

/// The shared state of one dependency.
#[derive(Debug)]
pub(crate) struct Cluster {
    table: Table,
    /// The dependency's own entry, for attempts that make no exchange.
    own: EndpointId,
    targets: Targets,
    tokens: Tokens,
    /// If calls are hedged.
    hedging: Option<Box<Hedging>>,
    /// Attempts under way beside each other: the first, and its hedge.
    rivals: Vec<(AttemptId, AttemptId)>,
    rng: fastrand::Rng,
    queue: Queue<EndpointId>,
    /// Those in the queue that wait for a permit: `queue(n)` bounds them.
    waiting_calls: usize,
    attempts: Slab<Attempt>,
    events: Events,
    totals: Totals,
    /// Calls begun so far: the last one's number.
    calls_begun: u64,
    calls_open: u32,
    /// Attempts under way.
    running: u32,
    closed: bool,
    closers: Vec<Waker>,
    /// The general way is taken always, and how often it was not.
    #[cfg(test)]
    generally: bool,
    #[cfg(test)]
    went_directly: u32,
}

impl Cluster {
    pub(crate) fn new(
        now: Instant,
        policy: &Rules,
        id: &Arc<str>,
        selection: Selection,
        observed: bool,
        seed: u64,
    ) -> Self {
        let mut table = Table::new(policy.max_netlocs, seed);
        let own = table.insert_unnamed(Netloc::of_dependency(id));
        let mut targets = Targets::new();
        targets.replace(now, &mut table, selection);
        Self {
            table,
            own,
            targets,
            tokens: Tokens::new(&policy.budget),
            hedging: hedging(now, None, policy),
            rivals: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            queue: Queue::new(),
            waiting_calls: 0,
            attempts: Slab::default(),
            events: Events::new(observed),
            totals: Totals::default(),
            calls_begun: 0,
            calls_open: 0,
            running: 0,
            closed: false,
            closers: Vec::new(),
            #[cfg(test)]
            generally: false,
            #[cfg(test)]
            went_directly: 0,
        }
    }

    /// The fallback takes over.
    pub(crate) fn note_fallback(&mut self, now: Instant, call: u64) {
        self.totals.fallbacks += 1;
        self.events.push(now, call, || What::FallbackUsed);
    }

    /// Something around a call answers in its place.
    pub(crate) fn note_answer(&mut self, event: &Event) {
        self.totals.count_answer(&event.what);
        self.events.push(event.at, event.call, || event.what.clone());
    }

    /// Whether a balancer of the user's proposes endpoints.
    fn asks_user(&self) -> bool {
        matches!(self.targets.picker, targets::Picker::Custom(_))
    }

    fn is_among(&self, endpoints: &[EndpointId], netloc: &Netloc) -> bool {
        !endpoints.is_empty()
            && self.table.find(netloc.as_str()).is_some_and(|id| endpoints.contains(&id))
    }

    /// Other rules hold from now on. What is known stays: windows, latencies, circuits, tokens.
    pub(crate) fn reload(&mut self, now: Instant, policy: &Rules, wakes: &mut Wakes) {
        self.tokens.set_budget(&policy.budget);
        self.hedging = hedging(now, self.hedging.take(), policy);
        self.table.set_cap(policy.max_netlocs);
        self.events.push(now, 0, || What::Reloaded);
        if policy.circuit.is_off() {
            self.close_circuits(now, wakes);
        }
        self.queue.wake_all(wakes);
    }

    /// Without a breaker no result closes them, and a balancer would take them for circuits that wait for
    /// a probe.
    fn close_circuits(&mut self, now: Instant, wakes: &mut Wakes) {
        let left_alone = |state: CircuitState| state.lets_all() || state.is_manual();
        let shut = self.table.iter().filter(|(_, one)| !left_alone(one.circuit.state()));
        let shut: Vec<_> = shut.map(|(id, _)| id).collect();
        for id in shut {
            let transition = self.table[id].circuit.reset();
            self.note_transition(now, 0, id, transition, wakes);
        }
    }

    /// The listed endpoints that a balancer passes over.
    fn passed_over(&self) -> Vec<EndpointId> {
        let ids = self.targets.list.iter().map(|listed| listed.endpoint);
        ids.filter(|id| !self.table[*id].circuit.state().lets_all()).collect()
    }

    /// Tells which endpoints are passed over from now on, and which are no more, since the list is
    /// another one.
    fn note_list(&mut self, now: Instant, before: &[EndpointId]) {
        let left = self.targets.list.len() - self.targets.suspects;
        for id in before {
            if let Some(gone) = self.table.get(*id).filter(|endpoint| endpoint.listed == 0) {
                self.events.push(now, 0, || What::Removed { netloc: gone.netloc.clone() });
            }
        }
        for id in self.passed_over().into_iter().filter(|id| !before.contains(id)) {
            let netloc = || self.table[id].netloc.clone();
            self.events.push(now, 0, || What::Ejected { netloc: netloc(), left });
        }
    }

    /// Takes no more calls.
    pub(crate) fn close(&mut self, now: Instant) {
        if !core::mem::replace(&mut self.closed, true) {
            self.events.push(now, 0, || What::Closed);
        }
    }

    /// `true` if no call is under way and nobody delivers events; else `waker` is woken then. Events may
    /// wait all the same: see [`has_events`](Self::has_events).
    pub(crate) fn poll_closed(&mut self, waker: &Waker, wakes: &mut Wakes) -> bool {
        if self.calls_open == 0 && !self.events.is_delivering() {
            return true;
        }
        if !self.closers.iter().any(|closer| closer.will_wake(waker)) {
            if self.closers.len() >= CLOSERS {
                // Those who went away left theirs behind; those who are there come again.
                self.closers.drain(..).for_each(|closer| wakes.push(closer));
            }
            self.closers.push(waker.clone());
        }
        false
    }

    pub(crate) fn calls_open(&self) -> u32 {
        self.calls_open
    }

    /// Whether events wait for somebody to deliver them.
    pub(crate) fn has_events(&self) -> bool {
        self.events.is_due()
    }

    #[inline]
    pub(crate) fn claim_events(&mut self) -> Claim {
        self.events.try_claim(self.running)
    }

    /// What came while the caller delivered, at most so many. `false` if there is none: then it
    /// delivers no more.
    #[inline]
    pub(crate) fn more_events(
        &mut self,
        batch: &mut Vec<Event>,
        most: usize,
        wakes: &mut Wakes,
    ) -> bool {
        let more = self.events.try_more(batch, most, self.running);
        if !more {
            self.wake_closers(wakes);
        }
        more
    }

    /// The caller delivers no more; `undelivered` is for somebody else.
    pub(crate) fn stop_delivery(&mut self, undelivered: Vec<Event>, wakes: &mut Wakes) {
        self.events.stop(undelivered);
        self.wake_closers(wakes);
    }

    /// A call is over, and with it its fallback.
    #[inline]
    fn end_call(&mut self, wakes: &mut Wakes) {
        self.calls_open -= 1;
        self.wake_closers(wakes);
    }

    #[inline]
    fn wake_closers(&mut self, wakes: &mut Wakes) {
        if self.calls_open == 0 && !self.closers.is_empty() {
            self.wake_all_closers(wakes);
        }
    }

    #[cold]
    fn wake_all_closers(&mut self, wakes: &mut Wakes) {
        self.closers.drain(..).for_each(|closer| wakes.push(closer));
    }

    /// The state of a netloc's circuit. `None` if it is not known.
    pub(crate) fn circuit_state(&self, netloc: &str) -> Option<CircuitState> {
        Some(self.table[self.known(netloc)?].circuit.state())
    }

    /// Manual control of one circuit. `false` if the netloc is not known.
    pub(crate) fn control(
        &mut self,
        now: Instant,
        netloc: &str,
        control: Control,
        wakes: &mut Wakes,
    ) -> bool {
        let Some(id) = self.known(netloc) else { return false };
        let endpoint = &mut self.table[id];
        self.events.push(now, 0, || What::Controlled { netloc: endpoint.netloc.clone(), control });
        let circuit = &mut endpoint.circuit;
        let transition = match control {
            Control::ForceOpen => circuit.set_mode(Mode::ForcedOpen),
            Control::ForceClosed => circuit.set_mode(Mode::ForcedClosed),
            Control::MetricsOnly => circuit.set_mode(Mode::MetricsOnly),
            Control::Automatic => circuit.set_mode(Mode::Automatic),
            Control::Drain => circuit.set_mode(Mode::Drained),
            Control::Reset => {
                endpoint.load.reset(now);
                endpoint.paused_until = Instant::EPOCH;
                circuit.reset()
            }
        };
        self.note_transition(now, 0, id, transition, wakes);
        if control == Control::Reset {
            self.queue.wake_all(wakes);
        }
        true
    }

    fn known(&self, netloc: &str) -> Option<EndpointId> {
        if netloc == self.table[self.own].netloc.as_str() {
            return Some(self.own);
        }
        self.table.find(netloc)
    }

    /// Tells everybody whom it concerns that a circuit changed.
    #[inline]
    fn note_transition(
        &mut self,
        now: Instant,
        call: u64,
        id: EndpointId,
        transition: Option<Transition>,
        wakes: &mut Wakes,
    ) {
        let Some(Transition { from, to }) = transition else {
            return;
        };
        self.totals.count_transition(to);
        let endpoint = &self.table[id];
        if endpoint.listed > 0 {
            self.targets.on_transition(&self.table, id, &Transition { from, to });
        }
        self.events.push(now, call, || What::CircuitChanged {
            netloc: endpoint.netloc.clone(),
            from,
            to,
            reopens_in: endpoint.circuit.until().map(|until| until.since(now)),
        });
        if endpoint.listed > 0 && from.lets_all() != to.lets_all() {
            let left = self.targets.list.len() - self.targets.suspects;
            let netloc = || endpoint.netloc.clone();
            self.events.push(now, call, || match to.lets_all() {
                true => What::Readmitted { netloc: netloc(), left },
                false => What::Ejected { netloc: netloc(), left },
            });
        }
        self.queue.wake_all(wakes);
    }
}

/// What hedges go by, with what is known already.
fn hedging(now: Instant, known: Option<Box<Hedging>>, policy: &Rules) -> Option<Box<Hedging>> {
    let hedge = policy.hedge.as_ref()?;
    let mut hedging = known.unwrap_or_else(|| Box::new(Hedging::new(now, hedge)));
    hedging.set(hedge);
    Some(hedging)
}
