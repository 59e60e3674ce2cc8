//! A runtime of one thread, whose clock is moved by hand.

use core::cell::UnsafeCell;
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

use dace_core::{Instant, Lock, Runtime};

/// The one clock.
pub mod clock {
    use core::sync::atomic::{AtomicU64, Ordering};
    use core::time::Duration;

    use dace_core::Instant;

    static NANOS: AtomicU64 = AtomicU64::new(0);

    pub fn now() -> Instant {
        Instant::from_nanos(NANOS.load(Ordering::Relaxed))
    }

    pub fn advance(by: Duration) {
        NANOS.fetch_add(by.as_nanos() as u64, Ordering::Relaxed);
    }
}

pub struct Ticks;

impl Runtime for Ticks {
    type Lock<T: Send + 'static> = Spin<T>;
    type Sleep = Until;

    fn now(&self) -> Instant {
        clock::now()
    }

    fn sleep_until(&self, deadline: Instant) -> Until {
        Until(deadline)
    }

    fn seed(&self) -> u64 {
        7
    }
}

/// Ready once the clock says so. Whoever drives this polls again and again.
pub struct Until(Instant);

impl Future for Until {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if clock::now() >= self.0 { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// A lock that spins.
pub struct Spin<T> {
    locked: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: the value is reached by whoever holds the lock alone.
unsafe impl<T: Send> Sync for Spin<T> {}

impl<T> Lock<T> for Spin<T> {
    fn new(value: T) -> Self {
        Self { locked: AtomicBool::new(false), value: UnsafeCell::new(value) }
    }

    fn with<O>(&self, f: impl FnOnce(&mut T) -> O) -> O {
        while self.locked.swap(true, Ordering::Acquire) {
            core::hint::spin_loop();
        }
        // SAFETY: the lock is held.
        let output = f(unsafe { &mut *self.value.get() });
        self.locked.store(false, Ordering::Release);
        output
    }
}
