//! What waits, and for how long.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::time::Duration;

use crate::server::lock;

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often a waiting thread looks whether the test is over.
const GLANCE: Duration = Duration::from_millis(20);

const GLANCES: u128 = PATIENCE.as_millis() / GLANCE.as_millis();

/// Something that one thread waits for and another lets happen. Once open, it stays open.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<Door>, Condvar)>);

#[derive(Debug, Default)]
struct Door {
    open: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it.
    pub fn open(&self) {
        let mut door = lock(&self.0.0);
        door.open = true;
        let waiting = std::mem::take(&mut door.waiting);
        drop(door);
        self.0.1.notify_all();
        for waker in waiting {
            waker.wake();
        }
    }

    /// Waits until it is open, without blocking.
    pub fn opened(&self) -> impl Future<Output = ()> + Send + use<> {
        let this = self.clone();
        std::future::poll_fn(move |cx| {
            let mut door = lock(&this.0.0);
            if door.open {
                return Poll::Ready(());
            }
            door.waiting.push(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Blocks until it is open.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub fn wait(&self) {
        assert!(self.wait_unless(&AtomicBool::new(false)), "a gate stayed closed for {PATIENCE:?}");
    }

    /// Blocks until so many of these are open, whichever they are.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub fn wait_for(count: usize, gates: &[Self]) {
        for _ in 0..GLANCES {
            let mut closed = gates.iter().filter(|gate| !gate.is_open());
            match closed.clone().count() {
                left if gates.len() - left >= count => return,
                _ => closed.next().map(Self::glance),
            };
        }
        panic!("fewer than {count} of {} gates opened in {PATIENCE:?}", gates.len());
    }

    /// Whether it is open.
    pub fn is_open(&self) -> bool {
        lock(&self.0.0).open
    }

    /// Blocks until it is open: whether it was in time.
    pub(crate) fn wait_unless(&self, over: &AtomicBool) -> bool {
        (0..GLANCES).any(|_| over.load(Ordering::Relaxed) || self.glance())
    }

    /// Blocks for a moment at most: whether it is open.
    fn glance(&self) -> bool {
        let (state, changed) = &*self.0;
        let door = lock(state);
        if door.open {
            return true;
        }
        changed.wait_timeout(door, GLANCE).unwrap_or_else(PoisonError::into_inner).0.open
    }
}
