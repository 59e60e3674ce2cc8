//! The virtual clock and its timers.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace_core::{Instant, Runtime};

use crate::server::Servers;

/// 2023-11-14 22:13:20 UTC: the wall time at which every simulation begins.
const UNIX_START: Duration = Duration::from_secs(1_700_000_000);

/// What runtime, backend and executor share.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) now: Instant,
    timers: BTreeMap<(Instant, u64), Waker>,
    timer_count: u64,
    pub(crate) rng: fastrand::Rng,
    pub(crate) servers: Servers,
    pub(crate) variables: BTreeMap<String, String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> Arc<Self> {
        let state = State {
            now: Instant::EPOCH,
            timers: BTreeMap::new(),
            timer_count: 0,
            rng: fastrand::Rng::with_seed(seed),
            servers: Servers::default(),
            variables: BTreeMap::new(),
        };
        Arc::new(Self { state: Mutex::new(state) })
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn now(&self) -> Instant {
        self.lock().now
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
        let Some((&(at, _), _)) = state.timers.first_key_value() else {
            return false;
        };
        state.now = state.now.max(at);
        drop(state);
        self.fire();
        true
    }

    /// Moves the clock, forth or back, and wakes what is due.
    pub(crate) fn set(&self, now: Instant) {
        self.lock().now = now;
        self.fire();
    }

    fn fire(&self) {
        loop {
            let mut state = self.lock();
            let now = state.now;
            match state.timers.first_entry() {
                Some(entry) if entry.key().0 <= now => {
                    let waker = entry.remove();
                    drop(state);
                    waker.wake();
                }
                _ => return,
            }
        }
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
    id: Option<u64>,
}

impl Future for SimSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let (world, at) = (self.world.clone(), self.at);
        let mut state = world.lock();
        if state.now >= at {
            return Poll::Ready(());
        }
        let id = *self.id.get_or_insert_with(|| {
            state.timer_count += 1;
            state.timer_count
        });
        state.timers.insert((at, id), cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for SimSleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            let waker = self.world.lock().timers.remove(&(self.at, id));
            drop(waker);
        }
    }
}
