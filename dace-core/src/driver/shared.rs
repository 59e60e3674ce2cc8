//! What the handles of one dependency share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::Cluster;
use crate::machine::queue::Wakes;
use crate::policy::Policy;
use crate::shared_limit::Shares;
use crate::{Balancer, Event, Lock, Observer, Runtime, Span, Target};

/// Batches that the ring holds, and some more.
const ROUNDS: usize = 32;

/// What the observers put around the polls of one call's function, the outermost first.
pub(crate) struct Spans(pub(crate) Vec<Box<dyn Span>>);

pub(crate) struct Shared<R: Runtime, B> {
    pub(crate) runtime: R,
    pub(crate) backend: B,
    pub(crate) policy: Policy,
    pub(crate) cluster: R::Lock<Cluster>,
    pub(crate) balancer: Option<Arc<dyn Balancer>>,
    /// What a balancer of the user's is shown.
    pub(crate) targets: R::Lock<Arc<Vec<Target>>>,
    /// Its parts in limits of several dependencies.
    pub(crate) shares: Shares,
    pub(crate) observers: Vec<Box<dyn Observer>>,
}

impl<R: Runtime, B> Shared<R, B> {
    /// One locked section; after it wakers are woken and events delivered.
    #[inline]
    pub(crate) fn section<O>(&self, act: impl FnOnce(&Policy, &mut Cluster, &mut Wakes) -> O) -> O {
        let (out, due) = self.locked(act);
        if due {
            self.deliver();
        }
        out
    }

    /// One locked section on the way out: a `Drop` wakes, but delivers nothing.
    pub(crate) fn section_in_drop(&self, act: impl FnOnce(&Policy, &mut Cluster, &mut Wakes)) {
        let ((), _) = self.locked(act);
    }

    #[inline]
    pub(crate) fn locked<O>(
        &self,
        act: impl FnOnce(&Policy, &mut Cluster, &mut Wakes) -> O,
    ) -> (O, bool) {
        let mut wakes = Wakes::new();
        let out = self.cluster.with(|cluster| {
            let out = act(&self.policy, cluster, &mut wakes);
            (out, cluster.has_events())
        });
        wakes.wake();
        out
    }

    /// What the observers put around the polls of a call's function.
    #[inline]
    pub(crate) fn spans(&self, call: u64) -> Option<Box<Spans>> {
        if self.observers.is_empty() {
            return None;
        }
        let observers = self.observers.iter();
        let spans: Vec<_> =
            observers.filter_map(|observer| observer.span(&self.policy.id, call)).collect();
        (!spans.is_empty()).then(|| Box::new(Spans(spans)))
    }

    /// Hands over all events that wait. Bounded: an observer may make new ones.
    pub(crate) fn deliver_all(&self) {
        for _ in 0..ROUNDS {
            if !self.deliver() {
                return;
            }
        }
    }

    /// Hands over all events, and has the observers send what they hold back.
    pub(crate) fn flush(&self) {
        self.deliver_all();
        for observer in &self.observers {
            observer.flush();
        }
    }

    /// Hands a batch of events to the observers, in order. `false` if there is none, or somebody
    /// does already.
    pub(crate) fn deliver(&self) -> bool {
        let Some(events) = self.cluster.with(Cluster::claim_events) else {
            return false;
        };
        let mut delivery = Delivery { shared: self, events };
        while let Some(event) = delivery.events.pop() {
            for observer in &self.observers {
                observer.on_event(&self.policy.id, &event);
            }
        }
        true
    }
}

/// Ends the delivery, also when an observer panics: then the rest waits for somebody else.
struct Delivery<'a, R: Runtime, B> {
    shared: &'a Shared<R, B>,
    events: Vec<Event>,
}

impl<R: Runtime, B> Drop for Delivery<'_, R, B> {
    fn drop(&mut self) {
        let rest = core::mem::take(&mut self.events);
        self.shared.cluster.with(|cluster| cluster.release_events(rest));
    }
}
