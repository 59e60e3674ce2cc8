//! The outermost part: a fallback around a call that has other parts.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::execution::Reported;
use super::fallback::Fallback;
use super::part::{Base, Part, Story};
use crate::Runtime;

/// A call that is cached or shared, with a fallback around it.
///
/// # Cancel safety
/// As the call inside.
#[pin_project]
#[must_use = "a call does nothing unless it is polled"]
pub struct Rescued<C, L> {
    #[pin]
    call: C,
    #[pin]
    fallback: L,
    falling_back: bool,
}

impl<C, L> Rescued<C, L> {
    pub(super) const fn new(call: C, fallback: L) -> Self {
        Self { call, fallback, falling_back: false }
    }

    /// Returns a [`Report`](crate::Report) in place of the result: what happened, attempt by attempt.
    pub fn report(self) -> Reported<Self>
    where
        Self: Part,
    {
        Reported::new(self)
    }
}

impl<C: Part, L: Fallback<C::Value, C::Failure>> Future for Rescued<C, L> {
    type Output = Result<C::Value, C::Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.falling_back {
            this.call.as_mut().base().expect_fallback();
            let mut polling = Polling { call: this.call.as_mut(), armed: true };
            let polled = polling.call.as_mut().poll(cx);
            polling.armed = false;
            drop(polling);
            let result = ready!(polled);
            // Also if the value came from a cache, after the call itself had failed.
            let mut over = Over { base: this.call.as_mut().base(), armed: true };
            let Err(failure) = result else {
                return Poll::Ready(result);
            };
            if let Err(failure) = this.fallback.as_mut().begin(failure) {
                return Poll::Ready(Err(failure));
            }
            *this.falling_back = true;
            over.base.begin_fallback();
            over.armed = false;
        }
        let mut over = Over { base: this.call.base(), armed: true };
        let polled = this.fallback.poll(cx);
        over.armed = polled.is_ready();
        drop(over);
        polled
    }
}

/// If a part panics after the call inside has ended, no fallback will run.
struct Polling<'a, C: Part> {
    call: Pin<&'a mut C>,
    armed: bool,
}

impl<C: Part> Drop for Polling<'_, C> {
    fn drop(&mut self) {
        if self.armed {
            self.call.as_mut().base().fallback_ended();
        }
    }
}

/// Ends the call with its fallback: it will not run, it has ended, or it panicked.
struct Over<'a, R: Runtime, B> {
    base: Base<'a, R, B>,
    armed: bool,
}

impl<R: Runtime, B> Drop for Over<'_, R, B> {
    fn drop(&mut self) {
        if self.armed {
            self.base.fallback_ended();
        }
    }
}

impl<C: Part, L: Fallback<C::Value, C::Failure>> Part for Rescued<C, L> {
    type Runtime = C::Runtime;
    type Backend = C::Backend;
    type Value = C::Value;
    type Failure = C::Failure;

    fn base(self: Pin<&mut Self>) -> Base<'_, Self::Runtime, Self::Backend> {
        self.project().call.base()
    }

    fn is_success(self: Pin<&mut Self>) -> bool {
        !self.falling_back && self.project().call.is_success()
    }

    fn story(self: Pin<&mut Self>) -> Story {
        let this = self.project();
        Story { fallback_used: *this.falling_back, ..this.call.story() }
    }
}

impl<C: fmt::Debug, L> fmt::Debug for Rescued<C, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rescued").field("call", &self.call).finish_non_exhaustive()
    }
}
