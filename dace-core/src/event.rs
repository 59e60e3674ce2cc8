//! What happened in a dependency, as plain data, in the order of its decisions.

use core::fmt;
use core::time::Duration;

use crate::machine::circuit::CircuitState;
use crate::{Class, Instant, Netloc, Refusal, Why};

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// When, on the runtime's clock.
    pub at: Instant,
    /// The call that it concerns: they are numbered from 1 in the order of their start. 0 if it
    /// concerns none.
    pub call: u64,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum What {
    /// A call began.
    CallStarted,
    /// A call ended.
    CallEnded {
        /// How.
        outcome: Outcome,
        /// After how long.
        took: Duration,
        /// Attempts begun.
        attempts: u32,
    },
    /// An attempt, or an exchange in one, waits for a place.
    Queued,
    /// It got its place, or left.
    Dequeued {
        /// How long it waited.
        waited: Duration,
    },
    /// Nothing was let through.
    Refused {
        /// Why, by whom, and until when.
        refusal: Refusal,
    },
    /// An attempt began.
    AttemptStarted {
        /// Its number, from 1.
        attempt: u32,
        /// What it is charged to so far.
        netloc: Netloc,
    },
    /// An attempt ended.
    AttemptEnded {
        /// Its number, from 1.
        attempt: u32,
        /// What it was charged to in the end.
        netloc: Netloc,
        /// What its result means.
        class: Class,
        /// How long it ran.
        took: Duration,
    },
    /// A retry was decided.
    RetryDecided {
        /// The wait before it.
        wait: Duration,
    },
    /// No retry was made.
    RetrySuppressed {
        /// Why.
        why: Why,
    },
    /// A circuit changed its state.
    CircuitChanged {
        /// Whose circuit.
        netloc: Netloc,
        /// The state before.
        from: CircuitState,
        /// The state now.
        to: CircuitState,
    },
    /// A server asked for a pause.
    Paused {
        /// Which server.
        netloc: Netloc,
        /// For how long.
        pause: Duration,
    },
    /// So few endpoints are eligible that circuits are ignored, or no longer.
    PanicMode {
        /// Whether it began.
        on: bool,
    },
    /// The value came from the fallback, or should have.
    FallbackUsed,
    /// The list of targets was replaced.
    TargetsReplaced {
        /// How many there are now.
        count: usize,
    },
    /// The dependency takes no more calls.
    Closed,
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// With the value of an attempt.
    Value,
    /// With the error of an attempt.
    Error,
    /// By its deadline.
    Timeout,
    /// Refused by dace.
    Refused,
    /// Dropped by its caller.
    Dropped,
    /// By a panic in user code.
    Panicked,
}

impl Event {
    /// The netloc that it concerns, if it concerns one.
    pub fn netloc(&self) -> Option<&Netloc> {
        match &self.what {
            What::AttemptStarted { netloc, .. }
            | What::AttemptEnded { netloc, .. }
            | What::CircuitChanged { netloc, .. }
            | What::Paused { netloc, .. } => Some(netloc),
            What::Refused { refusal } => Some(refusal.netloc()),
            _ => None,
        }
    }

    /// The number of the attempt that it concerns, if it concerns one.
    pub fn attempt(&self) -> Option<u32> {
        match self.what {
            What::AttemptStarted { attempt, .. } | What::AttemptEnded { attempt, .. } => {
                Some(attempt)
            }
            _ => None,
        }
    }

    /// The states before and after, if a circuit changed.
    pub fn circuit(&self) -> Option<(CircuitState, CircuitState)> {
        match self.what {
            What::CircuitChanged { from, to, .. } => Some((from, to)),
            _ => None,
        }
    }

    /// Why no retry was made, if none was.
    pub fn why(&self) -> Option<Why> {
        match self.what {
            What::RetrySuppressed { why } => Some(why),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} call {}: {:?}", self.at, self.call, self.what)
    }
}

/// Sees every event of a dependency.
///
/// Events come in order, one at a time, outside every lock, from the task that happened to find
/// nobody else delivering: so an observer must be quick, and may call back into the dependency.
/// A panic goes to the caller of the call that delivered; the event is gone, the next are delivered
/// by others.
pub trait Observer: Send + Sync + 'static {
    /// `event` happened in the dependency called `dependency_id`.
    fn on_event(&self, dependency_id: &str, event: &Event);
}

impl<F: Fn(&str, &Event) + Send + Sync + 'static> Observer for F {
    fn on_event(&self, dependency_id: &str, event: &Event) {
        self(dependency_id, event);
    }
}
