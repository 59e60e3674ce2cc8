//! What happened in a dependency, as plain data, in the order of its decisions.

use core::fmt;
use core::time::Duration;

use alloc::sync::Arc;

use crate::machine::circuit::CircuitState;
use crate::{Class, Instant, Netloc, Reason, Refusal, WaitCause, Why};

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
        /// Why no further attempt was made, if it ended with the error of one.
        why: Option<Why>,
        /// Why dace let it, or an exchange in it, not through, if that is how it ended.
        reason: Option<Reason>,
        /// The server that refused or failed last, if one did.
        netloc: Option<Netloc>,
        /// The last attempt's error with its sources, if an observer
        /// [asked](crate::Observer::wants_errors).
        error: Option<Arc<str>>,
    },
    /// An attempt, or an exchange in one, waits for a place.
    Queued {
        /// At which server; `None` if any of the balancer's will do.
        netloc: Option<Netloc>,
    },
    /// It got its place, or left.
    Dequeued {
        /// Where it waited.
        netloc: Option<Netloc>,
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
        /// Attempts of the dependency under way, with this one.
        open: u32,
    },
    /// An attempt ended.
    AttemptEnded {
        /// Its number, from 1.
        attempt: u32,
        /// What it was charged to in the end.
        netloc: Netloc,
        /// What its result means.
        class: Class,
        /// How far it came.
        phase: Phase,
        /// How long it ran.
        took: Duration,
        /// Attempts of the dependency under way, without this one.
        open: u32,
        /// Its error with its sources, if an observer [asked](crate::Observer::wants_errors).
        error: Option<Arc<str>>,
    },
    /// A request went out once more, since the connection that it was sent on, which had been idle, was
    /// closed: no attempt of its own, and no retry.
    Resent {
        /// To which server.
        netloc: Netloc,
    },
    /// A retry was decided.
    RetryDecided {
        /// The wait before it.
        wait: Duration,
        /// What it waits for.
        cause: WaitCause,
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
        /// When it lets somebody try, if it is open.
        reopens_in: Option<Duration>,
    },
    /// A balancer picks a target no more, since its circuit does not let everybody through.
    Ejected {
        /// Which one.
        netloc: Netloc,
        /// How many are left to pick from.
        left: usize,
    },
    /// A balancer picks a target again.
    Readmitted {
        /// Which one.
        netloc: Netloc,
        /// How many there are to pick from now.
        left: usize,
    },
    /// A target that a balancer passed over is in the list no more.
    Removed {
        /// Which one.
        netloc: Netloc,
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
    /// An attempt takes longer than usual, and a second one begins beside it.
    Hedged {
        /// The number of the second one.
        attempt: u32,
        /// What the second one is charged to so far.
        netloc: Netloc,
        /// How long the first one has run.
        after: Duration,
    },
    /// The value came from the fallback, or should have.
    FallbackUsed,
    /// A cache answered, and no call was made.
    CacheHit {
        /// How old the answer is.
        age: Duration,
    },
    /// The call ended in an error, and a cache answered in its place.
    StaleUsed {
        /// How old the answer is.
        age: Duration,
    },
    /// The answer is that of an equal call, and no call was made.
    AnswerShared,
    /// The list of targets was replaced.
    TargetsReplaced {
        /// How many there are now.
        count: usize,
    },
    /// A target more.
    TargetAdded {
        /// Which one.
        netloc: Netloc,
        /// How many there are now.
        count: usize,
    },
    /// A target less. What is open there finishes.
    TargetRemoved {
        /// Which one.
        netloc: Netloc,
        /// Operations open there.
        open: u32,
        /// How many there are now.
        count: usize,
    },
    /// A target has another weight.
    TargetWeighed {
        /// Which one.
        netloc: Netloc,
        /// Its part of the whole.
        weight: u32,
    },
    /// Another policy holds from now on.
    Reloaded,
    /// Somebody worked a circuit by hand.
    Controlled {
        /// Whose circuit.
        netloc: Netloc,
        /// What was done.
        control: Control,
    },
    /// The dependency takes no more calls.
    Closed,
    /// So many events found no room, since nobody delivered those before them in time. What changes a
    /// state has room of its own, and is lost last.
    EventsDropped {
        /// How many since the last time that this was told.
        count: u64,
        /// Attempts of the dependency under way: what is lost may have said so.
        open: u32,
    },
}

impl What {
    /// Whether whoever misses it is wrong about the dependency until the next one.
    pub(crate) const fn is_state(&self) -> bool {
        match self {
            Self::CircuitChanged { .. }
            | Self::Ejected { .. }
            | Self::Readmitted { .. }
            | Self::Removed { .. }
            | Self::PanicMode { .. }
            | Self::TargetsReplaced { .. }
            | Self::TargetAdded { .. }
            | Self::TargetRemoved { .. }
            | Self::TargetWeighed { .. }
            | Self::Reloaded
            | Self::Controlled { .. }
            | Self::Closed => true,
            Self::CallStarted
            | Self::CallEnded { .. }
            | Self::Queued { .. }
            | Self::Dequeued { .. }
            | Self::Refused { .. }
            | Self::AttemptStarted { .. }
            | Self::AttemptEnded { .. }
            | Self::Resent { .. }
            | Self::RetryDecided { .. }
            | Self::RetrySuppressed { .. }
            | Self::Paused { .. }
            | Self::Hedged { .. }
            | Self::FallbackUsed
            | Self::CacheHit { .. }
            | Self::StaleUsed { .. }
            | Self::AnswerShared
            | Self::EventsDropped { .. } => false,
        }
    }
}

/// What was done to a circuit by hand, with a [`CircuitControl`](crate::CircuitControl).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Control {
    /// Nobody passes.
    ForceOpen,
    /// Everybody passes.
    ForceClosed,
    /// Everybody passes, and results are counted.
    MetricsOnly,
    /// The circuit decides by itself.
    Automatic,
    /// What was known is forgotten.
    Reset,
    /// Nobody passes, and calls under way finish: the server is to be taken away.
    Drain,
}

impl Control {
    /// The name used in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ForceOpen => "force_open",
            Self::ForceClosed => "force_closed",
            Self::MetricsOnly => "metrics_only",
            Self::Automatic => "automatic",
            Self::Reset => "reset",
            Self::Drain => "drain",
        }
    }
}

/// How far an attempt came with its HTTP exchange, the last one if it had several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Phase {
    /// It made no exchange.
    Function,
    /// The exchange waited for a place.
    Queued,
    /// Nothing of the request was sent: name resolution, connecting or the TLS handshake failed.
    Connecting,
    /// There was no answer: it was connecting, sending, or waiting for one.
    Exchange,
    /// The answer had begun.
    Answer,
}

impl Phase {
    /// The name used in logs and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::Queued => "queued",
            Self::Connecting => "connecting",
            Self::Exchange => "exchange",
            Self::Answer => "answer",
        }
    }
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

impl Outcome {
    /// The name used in logs and metrics.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The names of all, in their order.
    #[doc(hidden)]
    pub const NAMES: [&'static str; 6] =
        ["value", "error", "timeout", "refused", "dropped", "panicked"];
}

impl Event {
    /// The netloc that it concerns, if it concerns one.
    pub fn netloc(&self) -> Option<&Netloc> {
        match &self.what {
            What::AttemptStarted { netloc, .. }
            | What::AttemptEnded { netloc, .. }
            | What::Hedged { netloc, .. }
            | What::CircuitChanged { netloc, .. }
            | What::Ejected { netloc, .. }
            | What::Readmitted { netloc, .. }
            | What::Removed { netloc }
            | What::Resent { netloc }
            | What::Controlled { netloc, .. }
            | What::TargetAdded { netloc, .. }
            | What::TargetRemoved { netloc, .. }
            | What::TargetWeighed { netloc, .. }
            | What::Paused { netloc, .. } => Some(netloc),
            What::CallEnded { netloc, .. }
            | What::Queued { netloc }
            | What::Dequeued { netloc, .. } => netloc.as_ref(),
            What::Refused { refusal } => Some(refusal.netloc()),
            _ => None,
        }
    }

    /// The number of the attempt that it concerns, if it concerns one.
    pub fn attempt(&self) -> Option<u32> {
        match self.what {
            What::AttemptStarted { attempt, .. }
            | What::AttemptEnded { attempt, .. }
            | What::Hedged { attempt, .. } => Some(attempt),
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
            What::CallEnded { why, .. } => why,
            _ => None,
        }
    }

    /// What the result means, if an attempt ended.
    pub fn class(&self) -> Option<Class> {
        match self.what {
            What::AttemptEnded { class, .. } => Some(class),
            _ => None,
        }
    }

    /// How long it took, if something ended: a call, an attempt, or the waiting in the queue.
    pub fn took(&self) -> Option<Duration> {
        match self.what {
            What::CallEnded { took, .. } | What::AttemptEnded { took, .. } => Some(took),
            What::Dequeued { waited, .. } => Some(waited),
            _ => None,
        }
    }

    /// The error with its sources, if something ended with one and an observer
    /// [asked](crate::Observer::wants_errors).
    pub fn error(&self) -> Option<&str> {
        match &self.what {
            What::CallEnded { error, .. } | What::AttemptEnded { error, .. } => error.as_deref(),
            _ => None,
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} call {}: {:?}", self.at, self.call, self.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(what: What) -> Event {
        Event { at: Instant::EPOCH, call: 0, what }
    }

    #[test]
    fn a_wait_in_the_queue_took_what_was_waited() {
        let waited = Duration::from_millis(5);
        assert_eq!(of(What::Dequeued { netloc: None, waited }).took(), Some(waited));
        assert_eq!(of(What::CallStarted).took(), None);
    }

    #[test]
    fn a_circuit_that_changed_says_from_what_to_what() {
        let (from, to) = (CircuitState::Closed, CircuitState::Open);
        let netloc = Netloc::of("a", 80);
        let changed = What::CircuitChanged { netloc, from, to, reopens_in: None };
        assert_eq!(of(changed).circuit(), Some((from, to)));
        assert_eq!(of(What::CallStarted).circuit(), None);
    }
}
