//! What the handles of one dependency share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::balancer::{EndpointView, Place, Source};
use crate::cluster::{BATCH, Claim, Cluster};
use crate::machine::queue::Wakes;
use crate::policy::{Balancing, ClientRules, Rules};
use crate::shared_limit::Shares;
use crate::{Balancer, ConfigError, Event, Instant, Lock, Observer, Runtime, Span};

/// Batches that the ring holds, and some more.
const ROUNDS: usize = 32;

/// What the observers put around the polls of one call's function, the outermost first.
pub(crate) struct Spans(pub(crate) Vec<Box<dyn Span>>);

pub(crate) struct Shared<R: Runtime, B> {
    pub(crate) runtime: R,
    pub(crate) backend: B,
    /// The id, as it was sanitised.
    pub(crate) id: Arc<str>,
    pub(crate) state: R::Lock<State>,
    /// What its requests go by; another lock, because requests are made outside of the decisions.
    pub(crate) client: R::Lock<Arc<ClientRules>>,
    pub(crate) balancer: Option<Arc<dyn Balancer>>,
    /// Its parts in limits of several dependencies.
    pub(crate) shares: Shares,
    pub(crate) observers: Vec<Box<dyn Observer>>,
}

/// What the one lock holds: the rules, and all that is decided by them.
pub(crate) struct State {
    pub(crate) rules: Rules,
    pub(crate) cluster: Cluster,
}

impl<R: Runtime, B> Shared<R, B> {
    /// One locked section; after it wakers are woken and events delivered.
    #[inline]
    pub(crate) fn section<O>(&self, act: impl FnOnce(&Rules, &mut Cluster, &mut Wakes) -> O) -> O {
        let mut wakes = Wakes::new();
        let (out, claim) = self.state.with(|State { rules, cluster }| {
            let out = act(rules, cluster, &mut wakes);
            (out, cluster.claim_events())
        });
        match claim {
            Claim::None | Claim::Busy => wakes.wake(),
            Claim::Batch(events) => {
                let delivery = self.delivery(events);
                wakes.wake();
                delivery.carry_out();
            }
        }
        out
    }

    /// One locked section on the way out: a `Drop` wakes, but delivers nothing.
    pub(crate) fn section_in_drop(&self, act: impl FnOnce(&Rules, &mut Cluster, &mut Wakes)) {
        let ((), _) = self.locked(act);
    }

    #[inline]
    pub(crate) fn locked<O>(
        &self,
        act: impl FnOnce(&Rules, &mut Cluster, &mut Wakes) -> O,
    ) -> (O, bool) {
        self.with_state(|State { rules, cluster }, wakes| act(rules, cluster, wakes))
    }

    #[inline]
    fn with_state<O>(&self, act: impl FnOnce(&mut State, &mut Wakes) -> O) -> (O, bool) {
        let mut wakes = Wakes::new();
        let out = self.state.with(|state| {
            let out = act(state, &mut wakes);
            (out, state.cluster.has_events())
        });
        wakes.wake();
        out
    }

    /// Other rules hold, for decisions and requests alike, and other targets, if any are given.
    pub(crate) fn reload(
        &self,
        now: Instant,
        rules: Rules,
        targets: Option<Vec<Place>>,
        balancing: Option<Balancing>,
    ) -> Result<(), ConfigError> {
        let (loaded, due) = self.with_state(|state, wakes| {
            state.cluster.load_targets(now, targets, balancing, wakes)?;
            // The one lock inside of another; nobody takes them the other way round.
            self.client.with(|client| {
                *client = Arc::new(ClientRules::new(&rules, client.fixed.clone()));
            });
            state.rules = rules;
            state.cluster.reload(now, &state.rules, wakes);
            Ok(())
        });
        if due {
            self.deliver();
        }
        loaded
    }

    /// What requests go by now.
    pub(crate) fn client(&self) -> Arc<ClientRules> {
        self.client.with(|rules| rules.clone())
    }

    /// Whether an observer reads the texts of errors.
    pub(crate) fn wants_errors(&self) -> bool {
        self.observers.iter().any(|observer| observer.wants_errors())
    }

    /// What the observers put around the polls of a call's function.
    #[inline]
    pub(crate) fn spans(&self, call: u64) -> Option<Box<Spans>> {
        if self.observers.is_empty() { None } else { self.make_spans(call) }
    }

    #[cold]
    fn make_spans(&self, call: u64) -> Option<Box<Spans>> {
        let mut spans: Option<Box<Spans>> = None;
        for span in self.observers.iter().filter_map(|observer| observer.span(&self.id, call)) {
            spans.get_or_insert_with(|| Box::new(Spans(Vec::new()))).0.push(span);
        }
        spans
    }

    /// Hands over all events that wait. Bounded: an observer may make new ones.
    pub(crate) fn deliver_all(&self) -> Delivered {
        for _ in 0..ROUNDS {
            match self.deliver() {
                Delivered::Some => {}
                all => return all,
            }
        }
        Delivered::Some
    }

    /// Has the observers send what they hold back. Whoever wants that does it himself, and waits for
    /// it: who delivers does it for nobody.
    pub(crate) fn flush_observers(&self) {
        for observer in &self.observers {
            observer.flush();
        }
    }

    /// Hands events to the observers, in order, with those that come meanwhile: [`BATCH`] at the most.
    pub(crate) fn deliver(&self) -> Delivered {
        match self.state.with(|state| state.cluster.claim_events()) {
            Claim::None => Delivered::All,
            Claim::Busy => Delivered::ByOther,
            Claim::Batch(events) => {
                self.delivery(events).carry_out();
                Delivered::Some
            }
        }
    }

    /// Whoever claimed events makes this at once: it passes on what is not delivered, come what may.
    fn delivery(&self, events: Vec<Event>) -> Delivery<'_, R, B> {
        Delivery { shared: self, events, handed: 0, over: false }
    }
}

impl<R: Runtime, B> Source for Shared<R, B> {
    fn endpoints(&self) -> Vec<EndpointView> {
        let now = self.runtime.now();
        self.locked(|rules, cluster, _| cluster.views(now, rules)).0
    }
}

/// What came of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// Some events; there may be more.
    Some,
    /// There is nothing to deliver.
    All,
    /// Somebody else delivers.
    ByOther,
}

/// Ends the delivery, also when an observer panics: then the rest waits for somebody else.
struct Delivery<'a, R: Runtime, B> {
    shared: &'a Shared<R, B>,
    events: Vec<Event>,
    /// So many of them are handed over.
    handed: usize,
    over: bool,
}

impl<R: Runtime, B> Delivery<'_, R, B> {
    fn carry_out(mut self) {
        let mut left = BATCH;
        while !self.over {
            left -= self.events.len();
            while let Some(event) = self.events.get(self.handed) {
                self.handed += 1;
                for observer in &self.shared.observers {
                    observer.on_event(&self.shared.id, event);
                }
            }
            self.handed = 0;
            self.events.clear();
            self.go_on(left);
        }
    }

    /// Takes what came meanwhile, at most so many; if that is nothing, it is over.
    #[inline]
    fn go_on(&mut self, most: usize) {
        let Self { shared, events, over, .. } = self;
        // Before a waker runs, which may panic: the delivery may be somebody else's by then.
        shared.locked(|_, cluster, wakes| *over = !cluster.more_events(events, most, wakes));
    }
}

impl<R: Runtime, B> Drop for Delivery<'_, R, B> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let rest = self.events.split_off(self.handed);
        self.shared.section_in_drop(|_, cluster, wakes| cluster.stop_delivery(rest, wakes));
    }
}
