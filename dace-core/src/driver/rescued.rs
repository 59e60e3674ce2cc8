//! The outermost part: a fallback around a call that has other parts.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use pin_project::pin_project;

use super::execution::Reported;
use super::fallback::Fallback;
use super::part::{Base, Part, Story};
use crate::Error;

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
    pub fn report<E>(self) -> Reported<Self>
    where
        Self: Part<Failure = Error<E>>,
    {
        Reported::new(self)
    }
}

impl<C: Part, L: Fallback<C::Value, C::Failure>> Future for Rescued<C, L> {
    type Output = Result<C::Value, C::Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.falling_back {
            let failure = match ready!(this.call.as_mut().poll(cx)) {
                Ok(value) => return Poll::Ready(Ok(value)),
                Err(failure) => failure,
            };
            if let Err(failure) = this.fallback.as_mut().begin(failure) {
                return Poll::Ready(Err(failure));
            }
            *this.falling_back = true;
            this.call.base().note_fallback();
        }
        this.fallback.poll(cx)
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
