//! What the handles of one dependency share.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::{BATCH, Claim, Cluster};
use crate::machine::queue::Wakes;
use crate::policy::Policy;
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

    /// Whether an observer reads the texts of errors.
    pub(crate) fn wants_errors(&self) -> bool {
        self.observers.iter().any(|observer| observer.wants_errors())
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
    pub(crate) fn deliver_all(&self) -> Delivered {
        for _ in 0..ROUNDS {
            match self.deliver() {
                Delivered::Some => {}
                all => return all,
            }
        }
        Delivered::Some
    }

    /// Hands over all events, and has the observers send what they hold back. If somebody else
    /// delivers, he does it: what he has in hand must go out before.
    pub(crate) fn flush(&self) {
        while self.deliver_all() == Delivered::ByOther {
            if self.cluster.with(Cluster::want_flush) {
                return;
            }
        }
        for observer in &self.observers {
            observer.flush();
        }
    }

    /// Hands events to the observers, in order, with those that come meanwhile: [`BATCH`] at the most.
    pub(crate) fn deliver(&self) -> Delivered {
        let events = match self.cluster.with(Cluster::claim_events) {
            Claim::None => return Delivered::All,
            Claim::Busy => return Delivered::ByOther,
            Claim::Batch(events) => events,
        };
        let mut delivery = Delivery { shared: self, events, over: false };
        let mut left = BATCH;
        while !delivery.over {
            left -= delivery.events.len();
            while let Some(event) = delivery.events.pop() {
                for observer in &self.observers {
                    observer.on_event(&self.policy.id, &event);
                }
            }
            delivery.go_on(left);
        }
        if self.cluster.with(Cluster::take_flush) {
            self.flush();
        }
        Delivered::Some
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
    over: bool,
}

impl<R: Runtime, B> Delivery<'_, R, B> {
    /// Takes what came meanwhile, at most so many; if that is nothing, it is over.
    fn go_on(&mut self, most: usize) {
        let Self { shared, events, over } = self;
        let (more, _) = shared.locked(|_, cluster, wakes| cluster.more_events(events, most, wakes));
        *over = !more;
    }
}

impl<R: Runtime, B> Drop for Delivery<'_, R, B> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let rest = core::mem::take(&mut self.events);
        self.shared.section_in_drop(|_, cluster, wakes| cluster.stop_delivery(rest, wakes));
    }
}
