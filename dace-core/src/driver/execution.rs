//! One call, as a future that users hold.

use core::fmt;
use core::future::Future;
use core::hash::Hash;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;

use pin_project::pin_project;

use super::cached::{Cache, Cached};
use super::call::Call;
use super::coalesce::{Coalesced, Group};
use super::drive::Drive;
use super::fallback::{Fallback, NoFallback, OrElse};
use super::judge::{ByFn, ByType, Judge, Sourced};
use super::part::{Base, Failure, Part, Story};
use super::shared::Shared;
use crate::instant::nanos;
use crate::report::Report;
use crate::{Class, Error, Priority, Runtime};

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
}

impl<R: Runtime, B, F, Fut> Execution<R, B, F, Fut>
where
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future,
{
    pub(super) fn new(shared: Arc<Shared<R, B>>, function: F) -> Self {
        let drive = Drive::new(shared, function);
        Self { drive, judge: ByType, fallback: NoFallback }
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
        self.drive.adjust(|start| start.within = start.within.min(nanos(remaining)));
        self
    }

    /// Whether running the function again does no harm, in place of the dependency's setting.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.drive.machine.set_idempotent(idempotent);
        self
    }

    /// The time that connecting may take in this call, in place of the dependency's. Zero fails
    /// every new connection, `Duration::MAX` leaves it to the other timeouts.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.drive.machine.set_connect_timeout(timeout);
        self
    }

    /// How important the call is, where it has to wait for a place. Default: [`Priority::Normal`], in
    /// order of arrival. A call that says it goes before new work of its class when it is retried.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.drive.machine.set_priority(priority);
        self
    }

    /// A key for balancers that send equal keys to the same endpoint:
    /// [`Rendezvous`](crate::Rendezvous), or one of your own.
    pub fn sticky(mut self, key: impl Into<Box<str>>) -> Self {
        self.drive.machine.set_key(key.into());
        self
    }

    /// Returns a [`Report`] in place of the result: what happened, attempt by attempt.
    pub fn report(self) -> Reported<Self> {
        Reported::new(self)
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
        let Self { drive, fallback, .. } = self;
        Execution { drive, judge: ByFn(classify), fallback }
    }

    /// Has logs and reports tell this call's errors with their sources, which need not be in what they
    /// show of themselves. Without [`classify`](Self::classify), and after it only if this is asked for:
    /// `.classify(…).sources()`.
    pub fn sources(self) -> Execution<R, B, F, Fut, Sourced<J>, L>
    where
        E: core::error::Error,
    {
        let Self { drive, judge, fallback } = self;
        Execution { drive, judge: Sourced(judge), fallback }
    }

    /// An async function that gets the final error, of any kind, and returns a value or another
    /// error in its place. It runs outside the call's deadline and permits.
    pub fn fallback<G, GFut>(self, fallback: G) -> Execution<R, B, F, Fut, J, OrElse<G, GFut>>
    where
        G: FnOnce(Error<E>) -> GFut,
        GFut: Future<Output = Result<T, Error<E>>>,
    {
        let Self { mut drive, judge, .. } = self;
        drive.machine.expect_fallback();
        Execution { drive, judge, fallback: OrElse::new(fallback) }
    }
}

impl<R, B, F, Fut, T, E, J, L> Future for Execution<R, B, F, Fut, J, L>
where
    R: Runtime,
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    J: Judge<T, E>,
    L: Fallback<T, Error<E>>,
{
    type Output = Result<T, Error<E>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if !this.drive.machine.fell_back() {
            let error = match this.drive.as_mut().poll_call(cx, this.judge) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(value)) => return Poll::Ready(Ok(value)),
                Poll::Ready(Err(error)) => error,
            };
            let begin = || this.fallback.as_mut().begin(error);
            if let Err(error) = this.drive.as_mut().fall_back(begin) {
                return Poll::Ready(Err(error));
            }
            this.drive.as_mut().base().note_fallback();
        }
        let polled = this.drive.as_mut().fall_back(|| this.fallback.poll(cx));
        if polled.is_ready() {
            this.drive.fallback_ended();
        }
        polled
    }
}

impl<R, B, F, Fut, T, E, J> Execution<R, B, F, Fut, J>
where
    R: Runtime,
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    J: Judge<T, E>,
{
    /// Shares the answer with equal calls under way: the first one makes the call, the others wait for
    /// what it brings, each until its own deadline. Only that one call counts, and is retried. If it is
    /// dropped or panics, the next one makes its own.
    pub fn shared<K>(self, group: &Group<R, K, T, E>, key: K) -> Coalesced<Self, K, E>
    where
        K: Hash + Eq + Send + Sync + 'static,
        T: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        Coalesced::new(self, group, key)
    }

    /// Answers from a [`Cache`]: while a value is fresh, without a call; and where the call ends in an
    /// error, with one that is not too stale. What a call succeeds with is kept.
    ///
    /// An error that says that the caller asked for something wrong
    /// ([`CallerFault`](crate::Class::CallerFault)) is an answer, and is not replaced.
    pub fn cached<K>(self, cache: &Cache<R, K, T>, key: K) -> Cached<Self, K>
    where
        K: Hash + Eq + Send + Sync + 'static,
        T: Clone + Send + Sync + 'static,
    {
        Cached::new(self, cache, key)
    }
}

impl<R, B, F, Fut, T, E, J, L> Part for Execution<R, B, F, Fut, J, L>
where
    R: Runtime,
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    J: Judge<T, E>,
    L: Fallback<T, Error<E>>,
{
    type Runtime = R;
    type Backend = B;
    type Value = T;
    type Failure = Error<E>;

    fn base(self: Pin<&mut Self>) -> Base<'_, R, B> {
        self.project().drive.base()
    }

    fn is_success(self: Pin<&mut Self>) -> bool {
        self.base().machine.ended_well()
    }

    fn story(self: Pin<&mut Self>) -> Story {
        self.base().story()
    }
}

/// A call that returns a [`Report`]. From [`Execution::report`].
///
/// # Cancel safety
/// As the call inside.
#[pin_project]
#[must_use = "a call does nothing unless it is polled"]
pub struct Reported<C> {
    #[pin]
    call: C,
}

impl<C> Reported<C> {
    pub(super) const fn new(call: C) -> Self {
        Self { call }
    }
}

impl<C: Part> Future for Reported<C> {
    type Output = Report<C::Value, <C::Failure as Failure>::Source, C::Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut call = self.project().call;
        let machine = call.as_mut().base().machine;
        if machine.start_mut().is_some() {
            machine.keep_report();
        }
        let result = ready!(call.as_mut().poll(cx));
        Poll::Ready(Report::new(call.story(), result))
    }
}

impl<R: Runtime, B, F, Fut: Future, J, L> fmt::Debug for Execution<R, B, F, Fut, J, L> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Execution").field("machine", &self.drive.machine).finish_non_exhaustive()
    }
}

impl<C: fmt::Debug> fmt::Debug for Reported<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reported").field(&self.call).finish()
    }
}
