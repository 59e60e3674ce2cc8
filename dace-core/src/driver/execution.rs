//! One call, as a future that users hold.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;

use pin_project::pin_project;

use super::call::Call;
use super::drive::Drive;
use super::fallback::{Fallback, NoFallback, OrElse};
use super::judge::{ByFn, ByType, Judge};
use super::shared::Shared;
use crate::report::Report;
use crate::{Class, Error, Runtime};

/// A call made by [`Dependency::call`](crate::Dependency::call): adjust it, then await or spawn it.
///
/// It does nothing until it is polled; its time counts from then.
///
/// # Cancel safety
/// Dropping it at any point gives back its permit, its place in the queue, its probe and its token.
/// An attempt that is dropped after it ran for at least `hang_after` counts as a timeout of the
/// server; before that it counts for nothing.
#[pin_project]
#[must_use = "a call does nothing unless it is polled"]
pub struct Execution<R: Runtime, B, F, Fut: Future, J = ByType, L = NoFallback> {
    #[pin]
    drive: Drive<R, B, F, Fut>,
    judge: J,
    #[pin]
    fallback: L,
    falling_back: bool,
}

impl<R: Runtime, B, F, Fut> Execution<R, B, F, Fut>
where
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future,
{
    pub(super) fn new(shared: Arc<Shared<R, B>>, function: F) -> Self {
        let drive = Drive::new(shared, function);
        Self { drive, judge: ByType, fallback: NoFallback, falling_back: false }
    }
}

impl<R: Runtime, B, F, Fut: Future, J, L> Execution<R, B, F, Fut, J, L> {
    /// The timeout of this call alone, in place of the dependency's. Zero ends the call at once,
    /// `Duration::MAX` never.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.drive.adjust(|start| start.timeout = Some(timeout));
        self
    }

    /// What is left of somebody else's deadline: the call ends then, if its own timeout is not
    /// earlier. See [`Call::remaining`].
    pub fn within(mut self, remaining: Duration) -> Self {
        self.drive.adjust(|start| start.within = start.within.min(remaining));
        self
    }

    /// Whether running the function again does no harm, in place of the dependency's setting.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.drive.adjust(|start| start.idempotent = Some(idempotent));
        self
    }

    /// The time that connecting may take in this call, in place of the dependency's. Zero fails
    /// every new connection, `Duration::MAX` leaves it to the other timeouts.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.drive.connect_timeout = Some(timeout);
        self
    }

    /// A key for balancers that send equal keys to the same endpoint:
    /// [`Rendezvous`](crate::Rendezvous), or one of your own.
    pub fn sticky(mut self, key: impl Into<Box<str>>) -> Self {
        self.drive.machine.set_key(key.into());
        self
    }

    /// Returns a [`Report`] in place of the result: what happened, attempt by attempt.
    pub fn report(mut self) -> Reported<R, B, F, Fut, J, L> {
        self.drive.machine.keep_report();
        Reported { execution: self }
    }
}

impl<R, B, F, Fut, T, E, J, L> Execution<R, B, F, Fut, J, L>
where
    R: Runtime,
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    /// Says what this call's results mean, in place of the error's type, which then needs no
    /// [`Classify`](crate::Classify), and need not even be an error: what it shows is what logs and
    /// reports say of it.
    pub fn classify<G>(self, classify: G) -> Execution<R, B, F, Fut, ByFn<G>, L>
    where
        G: Fn(&Result<T, E>) -> Class,
    {
        let Self { drive, fallback, falling_back, .. } = self;
        Execution { drive, judge: ByFn(classify), fallback, falling_back }
    }

    /// An async function that gets the final error, of any kind, and returns a value or another
    /// error in its place. It runs outside the call's deadline and permits.
    pub fn fallback<G, GFut>(self, fallback: G) -> Execution<R, B, F, Fut, J, OrElse<G, GFut>>
    where
        G: FnOnce(Error<E>) -> GFut,
        GFut: Future<Output = Result<T, Error<E>>>,
    {
        let Self { drive, judge, falling_back, .. } = self;
        Execution { drive, judge, fallback: OrElse::new(fallback), falling_back }
    }
}

impl<R, B, F, Fut, T, E, J, L> Future for Execution<R, B, F, Fut, J, L>
where
    R: Runtime,
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    J: Judge<T, E>,
    L: Fallback<T, E>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !*this.falling_back {
            let error = match this.drive.as_mut().poll_call(cx, this.judge) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(value)) => return Poll::Ready(Ok(value)),
                Poll::Ready(Err(error)) => error,
            };
            if let Err(error) = this.fallback.as_mut().begin(error) {
                return Poll::Ready(Err(error));
            }
            *this.falling_back = true;
            this.drive.note_fallback();
        }
        this.fallback.poll(cx)
    }
}

/// A call that returns a [`Report`]. From [`Execution::report`].
///
/// # Cancel safety
/// As [`Execution`].
#[pin_project]
#[must_use = "a call does nothing unless it is polled"]
pub struct Reported<R: Runtime, B, F, Fut: Future, J = ByType, L = NoFallback> {
    #[pin]
    execution: Execution<R, B, F, Fut, J, L>,
}

impl<R, B, F, Fut, T, E, J, L> Future for Reported<R, B, F, Fut, J, L>
where
    R: Runtime,
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    J: Judge<T, E>,
    L: Fallback<T, E>,
{
    type Output = Report<T, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Report<T, E>> {
        let mut this = self.project();
        let Poll::Ready(result) = this.execution.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        let execution = this.execution.project();
        let fallback_used = *execution.falling_back;
        let drive = execution.drive.project();
        let events = drive.machine.take_report();
        let took = drive.shared.runtime.now().since(drive.machine.started());
        let dependency_id = &drive.shared.id;
        Poll::Ready(Report::new(dependency_id, result, events, fallback_used, took))
    }
}

impl<R: Runtime, B, F, Fut: Future, J, L> fmt::Debug for Execution<R, B, F, Fut, J, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("machine", &self.drive.machine).finish_non_exhaustive()
    }
}

impl<R: Runtime, B, F, Fut: Future, J, L> fmt::Debug for Reported<R, B, F, Fut, J, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reported").field(&self.execution).finish()
    }
}
