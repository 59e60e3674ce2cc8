//! What hyper runs by itself on a connection of HTTP/2: its tasks, and the timers of its pings.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant as StdInstant};

use dace_core::Instant;
use hyper::rt::Sleep;

use crate::Net;

/// Runs tasks where `N` does.
#[derive(Clone, Debug)]
pub(crate) struct Executor<N>(pub(crate) N);

impl<N: Net, F: Future<Output: Send> + Send + 'static> hyper::rt::Executor<F> for Executor<N> {
    fn execute(&self, task: F) {
        // Where nobody runs it, the connection ends with it.
        self.0.spawn(async move { drop(task.await) });
    }
}

/// `N`'s clock and timers, in hyper's words.
#[derive(Clone, Debug)]
pub(crate) struct Timer<N> {
    net: N,
    /// One moment by either clock.
    begin: (StdInstant, Instant),
}

impl<N: Net> Timer<N> {
    #[expect(
        clippy::disallowed_methods,
        reason = "hyper counts from somewhere on the system's clock"
    )]
    pub(crate) fn new(net: N) -> Self {
        let begin = (StdInstant::now(), net.now());
        Self { net, begin }
    }
}

impl<N: Net> hyper::rt::Timer for Timer<N> {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Box::pin(self.net.sleep_until(self.net.now().after(duration)))))
    }

    fn sleep_until(&self, deadline: StdInstant) -> Pin<Box<dyn Sleep>> {
        let (at, begin) = self.begin;
        let deadline = begin.after(deadline.saturating_duration_since(at));
        Box::pin(Nap(Box::pin(self.net.sleep_until(deadline))))
    }

    fn now(&self) -> StdInstant {
        let (at, begin) = self.begin;
        at + self.net.now().since(begin)
    }
}

struct Nap<S>(Pin<Box<S>>);

impl<S: Future<Output = ()>> Future for Nap<S> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

impl<S: Future<Output = ()> + Send + Sync> Sleep for Nap<S> {}
