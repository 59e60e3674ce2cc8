//! A lock without an operating system.

use core::cell::UnsafeCell;
use core::hint;
use core::sync::atomic::{AtomicBool, Ordering};

use dace_core::Lock;

/// A spin lock. There is one thread here, so it never spins; it would be right with more.
pub(crate) struct Spin<T> {
    held: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `held` lets one in at a time.
unsafe impl<T: Send> Sync for Spin<T> {}

impl<T> Spin<T> {
    pub(crate) const fn new_const(value: T) -> Self {
        Self {
            held: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }
}

impl<T> Lock<T> for Spin<T> {
    fn new(value: T) -> Self {
        Self::new_const(value)
    }

    fn with<O>(&self, f: impl FnOnce(&mut T) -> O) -> O {
        while self.held.swap(true, Ordering::Acquire) {
            hint::spin_loop();
        }
        // SAFETY: `held` was false and is true now, so nobody else is here. Nothing unwinds.
        let out = f(unsafe { &mut *self.value.get() });
        self.held.store(false, Ordering::Release);
        out
    }
}
