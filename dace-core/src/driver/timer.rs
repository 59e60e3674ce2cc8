//! A timer that exists only while something waits for it.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::{Instant, Runtime};

/// At most one timer, made when it is first polled, and made anew when it is to end earlier or
/// later. Never, until it is set. The caller compares clock and deadline before it polls.
#[pin_project::pin_project]
pub(crate) struct Timer<R: Runtime> {
    #[pin]
    sleep: Option<R::Sleep>,
    at: Instant,
}

impl<R: Runtime> Timer<R> {
    pub(crate) const fn new() -> Self {
        Self { sleep: None, at: Instant::NEVER }
    }

    /// When it ends.
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    /// Has it end at `at`.
    #[inline]
    pub(crate) fn set_at(self: Pin<&mut Self>, at: Instant) {
        let mut this = self.project();
        if *this.at != at {
            *this.at = at;
            if this.sleep.is_some() {
                this.sleep.set(None);
            }
        }
    }

    /// [Sets](Self::set_at) and [polls](Self::poll) it.
    pub(crate) fn poll_at(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        runtime: &R,
        at: Instant,
    ) -> Poll<()> {
        self.as_mut().set_at(at);
        self.poll(cx, runtime)
    }

    /// Ready when its time has come, as far as it knows. `NEVER` needs no timer.
    pub(crate) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>, runtime: &R) -> Poll<()> {
        let mut this = self.project();
        if this.at.is_never() {
            return Poll::Pending;
        }
        if this.sleep.is_none() {
            this.sleep.set(Some(runtime.sleep_until(*this.at)));
        }
        let Some(sleep) = this.sleep.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let polled = sleep.poll(cx);
        if polled.is_ready() {
            this.sleep.set(None);
        }
        polled
    }

    pub(crate) fn clear(self: Pin<&mut Self>) {
        self.project().sleep.set(None);
    }
}

/// A future that ends at an instant, whether it is ready or not. The clock is read before the future
/// is polled, and what it said then comes with the output.
#[pin_project::pin_project]
pub(crate) struct Within<'a, R: Runtime, F> {
    runtime: &'a R,
    /// What the clock says, where somebody has just read it.
    now: Option<Instant>,
    until: Instant,
    #[pin]
    inner: F,
    #[pin]
    timer: Timer<R>,
}

/// Pending once, so that whoever polls has a turn.
pub(crate) fn turn() -> impl Future<Output = ()> {
    let mut turned = false;
    poll_fn(move |cx| {
        if core::mem::replace(&mut turned, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl<'a, R: Runtime, F> Within<'a, R, F> {
    /// To be polled at once: it is `now`.
    pub(crate) const fn new(runtime: &'a R, now: Instant, until: Instant, inner: F) -> Self {
        Self { runtime, now: Some(now), until, inner, timer: Timer::new() }
    }
}

impl<R: Runtime, F: Future> Future for Within<'_, R, F> {
    type Output = Result<(F::Output, Instant), Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let now = this.now.take().unwrap_or_else(|| this.runtime.now());
            if now >= *this.until {
                return Poll::Ready(Err(Elapsed));
            }
            if let Poll::Ready(out) = this.inner.as_mut().poll(cx) {
                return Poll::Ready(Ok((out, now)));
            }
            if this.timer.as_mut().poll_at(cx, this.runtime, *this.until).is_pending() {
                return Poll::Pending;
            }
        }
    }
}
