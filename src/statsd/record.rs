//! What of an event is told: small, without text, so that queueing it costs little.

use std::time::Duration;

use dace_core::{CircuitState, Class, Event, Netloc, Outcome, Reason, What, Why};

/// One event, as it waits in the queue: half a cache line, since whoever queues writes where the thread has read.
#[derive(Clone, Copy, Debug)]
#[repr(align(32))]
pub(super) struct Record {
    /// The number of its source.
    pub(super) source: u32,
    /// Whether a netloc waits beside it.
    pub(super) has_netloc: bool,
    pub(super) told: Told,
}

const _: () = assert!(size_of::<Record>() == 32);

/// Lines tell no more than microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Micros(u64);

impl From<Duration> for Micros {
    fn from(time: Duration) -> Self {
        Self(u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
    }
}

impl From<Micros> for Value {
    fn from(Micros(micros): Micros) -> Self {
        Self::Timer(Duration::from_micros(micros))
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Call(Outcome, Micros),
    Attempt(Class, Micros),
    Retry,
    Resent,
    Hedge,
    Suppressed(Why),
    Rejected(Reason),
    Queued(Micros),
    Fallback,
    Cached,
    Stale,
    Shared,
    Circuit(CircuitState),
    /// Events that found no room.
    Lost(u64),
}

/// What a line says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    Counter(u64),
    Timer(Duration),
    Gauge(u64),
}

impl Told {
    pub(super) fn of(event: &Event) -> Option<Self> {
        Some(match &event.what {
            What::CallEnded { outcome, took, .. } => Self::Call(*outcome, (*took).into()),
            What::AttemptEnded { class, took, .. } => Self::Attempt(*class, (*took).into()),
            What::RetryDecided { .. } => Self::Retry,
            What::Resent { .. } => Self::Resent,
            What::Hedged { .. } => Self::Hedge,
            What::RetrySuppressed { why } => Self::Suppressed(*why),
            What::Refused { refusal } => Self::Rejected(refusal.reason()),
            What::Dequeued { waited, .. } => Self::Queued((*waited).into()),
            What::FallbackUsed => Self::Fallback,
            What::CacheHit { .. } => Self::Cached,
            What::StaleUsed { .. } => Self::Stale,
            What::AnswerShared => Self::Shared,
            What::CircuitChanged { to, .. } => Self::Circuit(*to),
            What::EventsDropped { count, .. } => Self::Lost(*count),
            _ => return None,
        })
    }

    /// Where it happened, if that is told: a call is at no certain server.
    pub(super) fn netloc(self, event: &Event) -> Option<&Netloc> {
        match self {
            Self::Call(..) => None,
            _ => event.netloc(),
        }
    }

    /// Whether it is so frequent that a part may stand for the whole.
    pub(super) fn is_sampled(self) -> bool {
        !matches!(self, Self::Circuit(_) | Self::Lost(_))
    }

    /// The lines that it becomes: each a name, the part after its last dot, and a value.
    pub(super) fn lines(self, mut line: impl FnMut(&str, &str, Value)) {
        const ONE: Value = Value::Counter(1);
        match self {
            Self::Call(outcome, took) => {
                let name = match outcome {
                    Outcome::Value => "success",
                    Outcome::Dropped => "dropped",
                    _ => "error",
                };
                line("call.", name, ONE);
                line("call", "", took.into());
            }
            Self::Attempt(class, took) => {
                line("attempt.", class.name(), ONE);
                line("attempt", "", took.into());
            }
            Self::Retry => line("retry", "", ONE),
            Self::Resent => line("resent", "", ONE),
            Self::Hedge => line("hedge", "", ONE),
            Self::Suppressed(why) => line("retry.suppressed.", why.name(), ONE),
            Self::Rejected(reason) => match reason {
                Reason::CircuitOpen => line("rejected.", "circuit_open", ONE),
                Reason::Full | Reason::Paused | Reason::RateLimit | Reason::Shed => {
                    line("rejected.", "rate_limited", ONE);
                }
                _ => line("rejected.", reason.name(), ONE),
            },
            Self::Queued(waited) => line("queue", "", waited.into()),
            Self::Fallback => line("call.", "fallback", ONE),
            Self::Lost(count) => line("events.", "dropped", Value::Counter(count)),
            Self::Cached => line("answer.", "cached", ONE),
            Self::Stale => line("answer.", "stale", ONE),
            Self::Shared => line("answer.", "shared", ONE),
            Self::Circuit(to) => match to {
                CircuitState::Open => line("circuit.", "opened", ONE),
                CircuitState::HalfOpen => line("circuit.", "half_open", ONE),
                CircuitState::Closed => line("circuit.", "closed", ONE),
                _ => line("circuit.", "by_hand", ONE),
            },
        }
    }
}

/// The number of attempts under way after the event, if it says so.
pub(super) fn open(event: &Event) -> Option<u32> {
    match event.what {
        What::AttemptStarted { open, .. }
        | What::AttemptEnded { open, .. }
        | What::EventsDropped { open, .. } => Some(open),
        _ => None,
    }
}
