//! The last resort: what a call returns when all else failed.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::Error;

/// What comes after the final error.
pub trait Fallback<T, E> {
    /// Takes the error, or gives it back if there is no fallback.
    ///
    /// # Errors
    /// The error itself, if there is no fallback.
    fn begin(self: Pin<&mut Self>, error: Error<E>) -> Result<(), Error<E>>;

    /// Runs the fallback, if it was begun.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error<E>>>;
}

/// The error is the result.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFallback;

impl<T, E> Fallback<T, E> for NoFallback {
    fn begin(self: Pin<&mut Self>, error: Error<E>) -> Result<(), Error<E>> {
        Err(error)
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<T, Error<E>>> {
        Poll::Pending
    }
}

/// An async function takes the error, and returns a value or another error.
#[pin_project::pin_project]
#[derive(Debug)]
pub struct OrElse<G, Fut> {
    make: Option<G>,
    #[pin]
    running: Option<Fut>,
}

impl<G, Fut> OrElse<G, Fut> {
    pub(crate) fn new(make: G) -> Self {
        Self { make: Some(make), running: None }
    }
}

impl<T, E, G, Fut> Fallback<T, E> for OrElse<G, Fut>
where
    G: FnOnce(Error<E>) -> Fut,
    Fut: Future<Output = Result<T, Error<E>>>,
{
    fn begin(self: Pin<&mut Self>, error: Error<E>) -> Result<(), Error<E>> {
        let mut this = self.project();
        let Some(make) = this.make.take() else {
            return Err(error);
        };
        this.running.set(Some(make(error)));
        Ok(())
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, Error<E>>> {
        let mut this = self.project();
        let Some(running) = this.running.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        let polled = running.poll(cx);
        if polled.is_ready() {
            this.running.set(None);
        }
        polled
    }
}
