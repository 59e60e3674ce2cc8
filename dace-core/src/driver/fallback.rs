//! The last resort: what a call returns when all else failed.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

/// What comes after the final error, `F`.
pub trait Fallback<T, F> {
    /// Takes the error, or gives it back if there is no fallback.
    ///
    /// # Errors
    /// The error itself, if there is no fallback.
    fn begin(self: Pin<&mut Self>, error: F) -> Result<(), F>;

    /// Runs the fallback, if it was begun.
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, F>>;
}

/// The error is the result.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFallback;

impl<T, F> Fallback<T, F> for NoFallback {
    fn begin(self: Pin<&mut Self>, error: F) -> Result<(), F> {
        Err(error)
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<T, F>> {
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

impl<T, F, G, Fut> Fallback<T, F> for OrElse<G, Fut>
where
    G: FnOnce(F) -> Fut,
    Fut: Future<Output = Result<T, F>>,
{
    fn begin(self: Pin<&mut Self>, error: F) -> Result<(), F> {
        let mut this = self.project();
        let Some(make) = this.make.take() else {
            return Err(error);
        };
        this.running.set(Some(make(error)));
        Ok(())
    }

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<T, F>> {
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
