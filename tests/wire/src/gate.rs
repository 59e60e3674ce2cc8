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

    /// Blocks until it is open: whether it was in time.
    pub(crate) fn wait_unless(&self, over: &AtomicBool) -> bool {
        let (state, changed) = &*self.0;
        let mut door = lock(state);
        let glances = PATIENCE.as_millis() / GLANCE.as_millis();
        for _ in 0..glances {
            if door.open || over.load(Ordering::Relaxed) {
                return true;
            }
            door = changed.wait_timeout(door, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        door.open
    }
}
