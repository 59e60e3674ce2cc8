//! The waker of a connection that is driven by whoever holds it.
//!
//! The driver is always polled with the same waker. It wakes the task of whoever waits, remembers that
//! something happened while nobody does, and lets nobody wake himself by what he is about to do anyway.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

#[derive(Debug, Default)]
pub(crate) struct Relay {
    /// Whoever waits.
    task: Mutex<Option<Waker>>,
    /// The thread that does something to the connection of which it need not be told.
    hushed: AtomicUsize,
    /// Whether something happened since the connection was driven last.
    stirred: AtomicBool,
}

/// Names this thread while it lives.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl Relay {
    /// Does something to the connection that would wake whoever does it.
    pub(crate) fn quietly<O>(&self, act: impl FnOnce() -> O) -> O {
        struct Hushed<'a>(&'a Relay);
        impl Drop for Hushed<'_> {
            fn drop(&mut self) {
                self.0.hushed.store(0, Ordering::Relaxed);
            }
        }
        self.hushed.store(this_thread(), Ordering::Relaxed);
        let _hushed = Hushed(self);
        act()
    }

    /// The connection is driven now, for the task of `cx`, if for any.
    pub(crate) fn listen(&self, cx: Option<&Context<'_>>) {
        let known = |task: &Option<Waker>| match (task, cx) {
            (Some(task), Some(cx)) => task.will_wake(cx.waker()),
            (task, cx) => task.is_none() && cx.is_none(),
        };
        let task = self.task();
        self.stirred.store(false, Ordering::Relaxed);
        if known(&task) {
            return;
        }
        drop(task);
        // Whoever drops the last waker of a task may drop anything with it: not under the lock.
        let next = cx.map(|cx| cx.waker().clone());
        let mut task = self.task();
        let before = std::mem::replace(&mut *task, next);
        drop(task);
        drop(before);
    }

    /// Nobody waits any more.
    pub(crate) fn forget(&self) {
        let task = self.task().take();
        drop(task);
    }

    /// Whether something happened since the connection was driven last.
    pub(crate) fn is_stirred(&self) -> bool {
        self.stirred.load(Ordering::Relaxed)
    }

    fn task(&self) -> MutexGuard<'_, Option<Waker>> {
        self.task.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only the thread itself has to see that it is hushed.
        if self.hushed.load(Ordering::Relaxed) == this_thread() {
            return;
        }
        let task = self.task();
        // Under the lock: whoever drives from now on sees what happened, or it is remembered.
        self.stirred.store(true, Ordering::Relaxed);
        let waiting = task.clone();
        drop(task);
        if let Some(waiting) = waiting {
            waiting.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn the_task_that_drives_is_woken_until_it_is_forgotten() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let (waker, task) = (Waker::from(relay.clone()), Waker::from(count.clone()));
        let woken = || count.0.load(Ordering::Relaxed);
        relay.listen(Some(&Context::from_waker(&task)));
        assert!(!relay.is_stirred());
        waker.wake_by_ref();
        waker.wake_by_ref();
        assert_eq!((woken(), relay.is_stirred()), (2, true));
        relay.listen(Some(&Context::from_waker(&task)));
        relay.forget();
        assert_eq!(Arc::strong_count(&count), 2, "nothing of the task is kept");
        waker.wake_by_ref();
        assert_eq!((woken(), relay.is_stirred()), (2, true), "nobody waits, and it is remembered");
        relay.listen(None);
        assert!(!relay.is_stirred());
    }

    #[test]
    fn who_does_something_is_not_woken_for_it_but_for_what_others_do_meanwhile() {
        let (relay, count) = (Arc::new(Relay::default()), Arc::new(Count::default()));
        let (waker, task) = (Waker::from(relay.clone()), Waker::from(count.clone()));
        let woken = || count.0.load(Ordering::Relaxed);
        relay.listen(Some(&Context::from_waker(&task)));
        relay.quietly(|| waker.wake_by_ref());
        assert_eq!((woken(), relay.is_stirred()), (0, false));
        relay.quietly(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| waker.wake_by_ref());
            });
        });
        assert_eq!((woken(), relay.is_stirred()), (1, true));
        waker.wake_by_ref();
        assert_eq!(woken(), 2);
    }
}
