//! A runtime for a board with one task: the clock stands still while the task runs, and jumps to the
//! next timer when it waits.

use core::future::Future;
use core::pin::{Pin, pin};
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::{Context, Poll, Waker};

use dace_core::{Instant, Runtime};

use crate::lock::Spin;

static NOW: AtomicU64 = AtomicU64::new(0);
/// The earliest timer that was polled and is not over.
static NEXT: AtomicU64 = AtomicU64::new(u64::MAX);

pub(crate) struct Board;

impl Runtime for Board {
    type Lock<T: Send + 'static> = Spin<T>;
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_nanos(NOW.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep(deadline)
    }

    fn seed(&self) -> u64 {
        7
    }
}

pub(crate) struct Sleep(Instant);

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        if Board.now() >= self.0 {
            return Poll::Ready(());
        }
        // No waker is kept: whenever the clock jumps, everything is polled again.
        NEXT.fetch_min(self.0.as_nanos(), Ordering::Relaxed);
        Poll::Pending
    }
}

/// Runs `future` to its end.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        NEXT.store(u64::MAX, Ordering::Relaxed);
        if let Poll::Ready(out) = future.as_mut().poll(&mut cx) {
            return out;
        }
        let next = NEXT.load(Ordering::Relaxed);
        assert_ne!(next, u64::MAX, "waits, and no timer is set");
        NOW.store(next, Ordering::Relaxed);
    }
}
