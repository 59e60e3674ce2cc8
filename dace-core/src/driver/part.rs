//! What may be around a call: its parts, in their fixed order.
//!
//! ```text
//! fallback( cache( coalesce( deadline( retry( admit → attempt )))))
//! ```
//!
//! Each part is a future around the next one inside. The methods that add a part exist only on what may
//! be inside of it, so the order cannot be changed.

use core::future::Future;
use core::pin::Pin;
use core::time::Duration;

use alloc::sync::Arc;

use super::shared::Shared;
use crate::cluster::{CallMachine, Start, Tap};
use crate::instant::nanos;
use crate::{Class, Error, Event, Instant, Runtime, What};

/// A call, with what is around it. You need not name it.
pub trait Part: Future<Output = Result<Self::Value, Self::Failure>> {
    /// The runtime of the call's dependency.
    type Runtime: Runtime;
    /// Its backend.
    type Backend;
    /// What the call is made for.
    type Value;
    /// What it fails with.
    type Failure: Failure;

    /// The call itself.
    #[doc(hidden)]
    fn base(self: Pin<&mut Self>) -> Base<'_, Self::Runtime, Self::Backend>;

    /// Whether the value that it ended with is a success, and not merely no error.
    #[doc(hidden)]
    fn is_success(self: Pin<&mut Self>) -> bool;

    /// What happened, once it is over.
    #[doc(hidden)]
    fn story(self: Pin<&mut Self>) -> Story;
}

/// What a call fails with: its error, or a share in it. You need not name it.
pub trait Failure {
    /// What the function itself fails with.
    #[doc(hidden)]
    type Source;

    /// Whether an older answer may be given in its place: if the call failed, and not if the server
    /// answered that there is nothing, or if the settings are wrong.
    #[doc(hidden)]
    fn may_be_hidden(&self) -> bool;
}

impl<E> Failure for Error<E> {
    type Source = E;

    fn may_be_hidden(&self) -> bool {
        let answered = self.trail().is_some_and(|trail| trail.class == Class::CallerFault);
        !answered && !matches!(self, Self::Config(_))
    }
}

impl<E> Failure for Arc<Error<E>> {
    type Source = E;

    fn may_be_hidden(&self) -> bool {
        (**self).may_be_hidden()
    }
}

/// The call inside of all parts.
pub struct Base<'a, R: Runtime, B> {
    pub(super) shared: &'a Shared<R, B>,
    pub(super) machine: &'a mut CallMachine,
}

/// What is told of a call once it is over.
#[derive(Debug)]
pub struct Story {
    pub(crate) dependency_id: Arc<str>,
    pub(crate) tap: Tap,
    pub(crate) fallback_used: bool,
    pub(crate) took: Duration,
}

impl<R: Runtime, B> Base<'_, R, B> {
    pub(super) fn now(&self) -> Instant {
        self.shared.runtime.now()
    }

    /// Something around the call answers in its place.
    pub(super) fn note(&self, what: What) -> Event {
        let event = Event { at: self.now(), call: self.machine.call(), what };
        self.shared.section(|_, cluster, _| cluster.note_answer(&event));
        event
    }

    pub(super) fn note_fallback(&mut self) {
        self.machine.fall_back();
        let (now, call) = (self.now(), self.machine.call());
        self.shared.section(|_, cluster, _| cluster.note_fallback(now, call));
    }

    /// A fallback comes after the call's final error, and the call is over only with it.
    pub(super) fn expect_fallback(&mut self) {
        self.machine.expect_fallback();
    }

    /// The fallback takes over. Whoever had another call's answer is a call of its own from now on.
    pub(super) fn begin_fallback(&mut self) {
        let (now, machine) = (self.now(), &mut *self.machine);
        self.shared.section(|_, cluster, _| {
            machine.on_fallback_begun(cluster);
            cluster.note_fallback(now, machine.call());
        });
    }

    /// The fallback ended, or panicked, or was not needed.
    pub(super) fn fallback_ended(&mut self) {
        let machine = &mut *self.machine;
        if machine.is_falling_back() {
            self.shared.section_in_drop(|_, cluster, wakes| {
                machine.on_fallback_ended(cluster, wakes);
            });
        }
    }

    /// How long the call may take, if it has not begun.
    pub(super) fn allowed(&mut self) -> Duration {
        let Some(&mut Start { timeout, within }) = self.machine.start_mut() else {
            return Duration::MAX;
        };
        let usual = || self.shared.section(|rules, _, _| rules.timeout);
        timeout.unwrap_or_else(usual).min(Duration::from_nanos(within))
    }

    /// The call, if it has not begun, has only so long.
    pub(super) fn shorten(&mut self, left: Duration) {
        if let Some(start) = self.machine.start_mut() {
            start.within = start.within.min(nanos(left));
        }
    }

    pub(super) fn story(&mut self) -> Story {
        let started = self.machine.started();
        Story {
            dependency_id: self.shared.id.clone(),
            tap: self.machine.take_report(),
            fallback_used: self.machine.fell_back(),
            took: self.now().since(started),
        }
    }
}
