//! The virtual clock and its timers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace_core::{Instant, Runtime};
use slotmap::{SlotMap, new_key_type};

use crate::server::Servers;

/// 2023-11-14 22:13:20 UTC: the wall time at which every simulation begins.
const UNIX_START: Duration = Duration::from_secs(1_700_000_000);

/// What runtime, backend and executor share.
#[derive(Debug)]
pub(crate) struct World {
    /// The present, in nanoseconds: it is read far more often than anything else, so not under the lock.
    now: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    timers: Timers,
    pub(crate) rng: fastrand::Rng,
    pub(crate) servers: Servers,
    pub(crate) variables: BTreeMap<String, String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            timers: Timers::default(),
            rng: fastrand::Rng::with_seed(seed),
            servers: Servers::default(),
            variables: BTreeMap::new(),
        };
        Arc::new(Self { now: AtomicU64::new(0), state: Mutex::new(state) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Relaxed))
    }

    pub(crate) fn sleep_until(self: &Arc<Self>, at: Instant) -> SimSleep {
        SimSleep { world: self.clone(), at, id: None }
    }

    pub(crate) fn sleep(self: &Arc<Self>, duration: Duration) -> SimSleep {
        let at = self.now().after(duration);
        self.sleep_until(at)
    }

    /// Jumps to the next timer, and wakes all that are due then. `false` if there is none.
    pub(crate) fn jump(&self) -> bool {
        let mut state = self.lock();
        let Some(at) = state.timers.next() else {
            return false;
        };
        drop(state);
        self.set(self.now().max(at));
        true
    }

    /// Moves the clock, forth or back, and wakes what is due.
    pub(crate) fn set(&self, now: Instant) {
        self.now.store(now.as_nanos(), Ordering::Relaxed);
        self.fire();
    }

    fn fire(&self) {
        loop {
            let mut state = self.lock();
            let Some(waker) = state.timers.pop(self.now()) else {
                return;
            };
            drop(state);
            waker.wake();
        }
    }
}

new_key_type! {
    struct TimerId;
}

/// Who is to be woken when. What is dropped before its time stays in the order until it would be next, or
/// until half of the order is such: calls mostly end long before their deadlines.
#[derive(Debug, Default)]
struct Timers {
    wakers: SlotMap<TimerId, Waker>,
    /// By time, then by who came first.
    order: BinaryHeap<Reverse<(Instant, u64, TimerId)>>,
    count: u64,
}

impl Timers {
    fn insert(&mut self, at: Instant, waker: Waker) -> TimerId {
        if self.order.len() > 2 * self.wakers.len() + 64 {
            self.order.retain(|Reverse((.., id))| self.wakers.contains_key(*id));
        }
        let id = self.wakers.insert(waker);
        self.count += 1;
        self.order.push(Reverse((at, self.count, id)));
        id
    }

    /// The time of the next one.
    fn next(&mut self) -> Option<Instant> {
        loop {
            let &Reverse((at, _, id)) = self.order.peek()?;
            if self.wakers.contains_key(id) {
                return Some(at);
            }
            self.order.pop();
        }
    }

    /// One that is due.
    fn pop(&mut self, now: Instant) -> Option<Waker> {
        self.next().filter(|at| *at <= now)?;
        let Reverse((.., id)) = self.order.pop()?;
        self.wakers.remove(id)
    }
}

/// The runtime of a [`Sim`](crate::Sim).
#[derive(Clone, Debug)]
pub struct SimRuntime {
    pub(crate) world: Arc<World>,
}

impl Runtime for SimRuntime {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = SimSleep;

    fn now(&self) -> Instant {
        self.world.now()
    }

    fn sleep_until(&self, deadline: Instant) -> SimSleep {
        self.world.sleep_until(deadline)
    }

    fn seed(&self) -> u64 {
        self.world.lock().rng.u64(..)
    }

    const HAS_ENVIRONMENT: bool = true;

    fn variable(&self, name: &str) -> Option<String> {
        self.world.lock().variables.get(name).cloned()
    }

    fn unix_time(&self) -> Option<Duration> {
        Some(UNIX_START + self.world.now().since(Instant::EPOCH))
    }
}

/// A timer on the virtual clock.
#[derive(Debug)]
pub struct SimSleep {
    world: Arc<World>,
    at: Instant,
    id: Option<TimerId>,
}

impl Future for SimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { world, at, id } = &mut *self;
        if world.now() >= *at {
            return Poll::Ready(());
        }
        let mut state = world.lock();
        match id.and_then(|id| state.timers.wakers.get_mut(id)) {
            Some(waker) => waker.clone_from(cx.waker()),
            None => *id = Some(state.timers.insert(*at, cx.waker().clone())),
        }
        Poll::Pending
    }
}

impl Drop for SimSleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.world.lock().timers.wakers.remove(id);
            drop(waker);
        }
    }
}
