//! Who sees the events of a dependency.

use alloc::boxed::Box;
use alloc::sync::Arc;

use crate::Event;

/// Sees every event of a dependency.
///
/// Events come in order, one at a time, outside every lock, from the task that happened to find
/// nobody else delivering: so an observer must be quick, and may call back into the dependency.
/// A panic goes to the caller of the call that delivered; the event is gone, the next are delivered
/// by others.
pub trait Observer: Send + Sync + 'static {
    /// `event` happened in the dependency called `dependency_id`.
    fn on_event(&self, dependency_id: &str, event: &Event);

    /// Whether it reads the errors of events. If nobody does, which is the default, none is ever
    /// rendered. Asked for each error, so it must be quick.
    fn wants_errors(&self) -> bool {
        false
    }

    /// A span for the call of this number, if it wants one: the wrapped function and the fallback are
    /// called, polled and dropped inside of it. Asked when a call begins its first attempt, or its
    /// fallback. Default: none.
    fn span(&self, dependency_id: &str, call: u64) -> Option<Box<dyn Span>> {
        let _ = (dependency_id, call);
        None
    }

    /// The dependency is flushed or closed: what it holds back goes out now. Whoever flushes calls it,
    /// perhaps while another thread delivers, or from inside of an observer. It may wait for that, but
    /// not for long: observers are flushed one after the other, and what calls is a thread of the
    /// executor. Default: nothing.
    fn flush(&self) {}
}

/// What is around whatever runs of one call's wrapped function. From [`Observer::span`].
pub trait Span: Send + Sync {
    /// Calls `poll`, once, inside of the span.
    fn within(&self, poll: &mut dyn FnMut());
}

macro_rules! forward_to_observer {
    ($($pointer:ident),*) => {$(
        impl Observer for $pointer<dyn Observer> {
            fn on_event(&self, dependency_id: &str, event: &Event) {
                (**self).on_event(dependency_id, event);
            }

            fn wants_errors(&self) -> bool {
                (**self).wants_errors()
            }

            fn span(&self, dependency_id: &str, call: u64) -> Option<Box<dyn Span>> {
                (**self).span(dependency_id, call)
            }

            fn flush(&self) {
                (**self).flush();
            }
        }
    )*};
}

forward_to_observer!(Box, Arc);

impl<F: Fn(&str, &Event) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, dependency_id: &str, event: &Event) {
        self(dependency_id, event);
    }
}
