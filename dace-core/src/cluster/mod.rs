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
mod endpoint;
mod events;
mod exchange;
mod listing;
mod places;
mod settle;
mod snapshot;
mod table;
mod targets;
mod totals;

pub(crate) use admission::Proposal;
pub(crate) use attempt::AttemptId;
pub(crate) use call::{Action, CallMachine, Ended, Returned, Start, Verdict};
pub(crate) use endpoint::EndpointId;
pub(crate) use exchange::{Begin, End, Wish};
pub use snapshot::{EndpointSnapshot, Snapshot};
pub(crate) use targets::Selection;
pub use totals::{ByClass, ByWhy, Totals};

use core::task::Waker;

use alloc::sync::Arc;
use alloc::vec::Vec;

use slotmap::SlotMap;

use attempt::Attempt;
use events::Events;
use table::Table;
use targets::Targets;

use crate::event::{Control, What};
use crate::machine::circuit::{CircuitState, Mode, Transition};
use crate::machine::queue::{Queue, Wakes};
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
    rng: fastrand::Rng,
    queue: Queue<EndpointId>,
    /// Those in the queue that wait for a permit: `queue(n)` bounds them.
    waiting_calls: usize,
    attempts: SlotMap<AttemptId, Attempt>,
    events: Events,
    totals: Totals,
    /// Calls begun so far: the last one's number.
    calls_begun: u64,
    calls_open: u32,
    /// Attempts under way.
    running: u32,
    closed: bool,
    closers: Vec<Waker>,
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
            rng: fastrand::Rng::with_seed(seed),
            queue: Queue::new(),
            waiting_calls: 0,
            attempts: SlotMap::with_key(),
            events: Events::new(observed),
            totals: Totals::default(),
            calls_begun: 0,
            calls_open: 0,
            running: 0,
            closed: false,
            closers: Vec::new(),
        }
    }

    /// The fallback takes over.
    pub(crate) fn note_fallback(&mut self, now: Instant, call: u64) {
        self.totals.fallbacks += 1;
        self.events.push(now, call, || What::FallbackUsed);
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
        self.table.set_cap(policy.max_netlocs);
        self.events.push(now, 0, || What::Reloaded);
        self.queue.wake_all(wakes);
    }

    /// Takes no more calls. `true` once none is under way; else `waker` is woken then.
    pub(crate) fn poll_close(&mut self, now: Instant, waker: &Waker, wakes: &mut Wakes) -> bool {
        if !self.closed {
            self.closed = true;
            self.events.push(now, 0, || What::Closed);
        }
        if self.calls_open == 0 {
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

    pub(crate) fn claim_events(&mut self) -> Option<Vec<Event>> {
        self.events.try_claim()
    }

    pub(crate) fn release_events(&mut self, undelivered: Vec<Event>) {
        self.events.release(undelivered);
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
