//! The orderly end of a dependency.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use alloc::sync::Arc;

use pin_project::pin_project;

use super::shared::{Delivered, Shared};
use super::timer::Timer;
use crate::{Instant, Runtime};

/// Waits until no call is under way, its fallback included, and all events are delivered, and has the
/// observers send what they hold back. From [`Dependency::close`](crate::Dependency::close).
///
/// Answers how many calls were still under way when the time was up: 0 if all ended.
///
/// # Cancel safety
/// Once it was polled the dependency is closed, and stays so; dropping it ends the waiting alone.
#[pin_project]
#[must_use = "nothing is closed unless it is polled"]
pub struct Close<R: Runtime, B> {
    shared: Arc<Shared<R, B>>,
    within: Duration,
    until: Option<Instant>,
    #[pin]
    timer: Timer<R>,
}

impl<R: Runtime, B> Close<R, B> {
    pub(super) fn new(shared: Arc<Shared<R, B>>, within: Duration) -> Self {
        Self { shared, within, until: None, timer: Timer::new() }
    }
}

impl<R: Runtime, B> Future for Close<R, B> {
    type Output = u32;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u32> {
        let mut this = self.project();
        loop {
            let now = this.shared.runtime.now();
            let until = *this.until.get_or_insert_with(|| now.after(*this.within));
            this.shared.section(|_, cluster, _| cluster.close(now));
            let delivered = this.shared.deliver_all();
            let ((over, left), due) = this.shared.locked(|_, cluster, wakes| {
                (cluster.poll_closed(cx.waker(), wakes), cluster.calls_open())
            });
            if over && due && delivered != Delivered::Some {
                // It came meanwhile, or was left by somebody who delivers no more.
                continue;
            }
            if over || now >= until {
                this.shared.flush_observers();
                return Poll::Ready(left);
            }
            if this.timer.as_mut().poll_at(cx, &this.shared.runtime, until).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<R: Runtime, B> fmt::Debug for Close<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Close").field("within", &self.within).finish_non_exhaustive()
    }
}
