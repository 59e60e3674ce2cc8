//! What of an event is told: small, without text, so that queueing it costs little.

use std::time::Duration;

use dace_core::{CircuitState, Class, Event, Netloc, Outcome, Reason, What, Why};

/// One event, as it waits in the queue.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) told: Told,
    /// Where it happened, if that is told.
    pub(super) netloc: Option<Netloc>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Told {
    Call(Outcome, Duration),
    Attempt(Class, Duration),
    Retry,
    Resent,
    Hedge,
    Suppressed(Why),
    Rejected(Reason),
    Queued(Duration),
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

impl Record {
    pub(super) fn of(event: &Event, tags: bool) -> Option<Self> {
        let told = match &event.what {
            What::CallEnded { outcome, took, .. } => Told::Call(*outcome, *took),
            What::AttemptEnded { class, took, .. } => Told::Attempt(*class, *took),
            What::RetryDecided { .. } => Told::Retry,
            What::Resent { .. } => Told::Resent,
            What::Hedged { .. } => Told::Hedge,
            What::RetrySuppressed { why } => Told::Suppressed(*why),
            What::Refused { refusal } => Told::Rejected(refusal.reason()),
            What::Dequeued { waited, .. } => Told::Queued(*waited),
            What::FallbackUsed => Told::Fallback,
            What::CacheHit { .. } => Told::Cached,
            What::StaleUsed { .. } => Told::Stale,
            What::AnswerShared => Told::Shared,
            What::CircuitChanged { to, .. } => Told::Circuit(*to),
            What::EventsDropped { count, .. } => Told::Lost(*count),
            _ => return None,
        };
        // A call is at no certain server.
        let tags = tags && !matches!(told, Told::Call(..));
        Some(Self { told, netloc: event.netloc().filter(|_| tags).cloned() })
    }

    /// Whether it is so frequent that a part may stand for the whole.
    pub(super) fn is_sampled(&self) -> bool {
        !matches!(self.told, Told::Circuit(_) | Told::Lost(_))
    }

    /// The lines that it becomes: each a name, the part after its last dot, and a value.
    pub(super) fn lines(&self, mut line: impl FnMut(&str, &str, Value)) {
        const ONE: Value = Value::Counter(1);
        match self.told {
            Told::Call(outcome, took) => {
                let name = match outcome {
                    Outcome::Value => "success",
                    Outcome::Dropped => "dropped",
                    _ => "error",
                };
                line("call.", name, ONE);
                line("call", "", Value::Timer(took));
            }
            Told::Attempt(class, took) => {
                line("attempt.", class.name(), ONE);
                line("attempt", "", Value::Timer(took));
            }
            Told::Retry => line("retry", "", ONE),
            Told::Resent => line("resent", "", ONE),
            Told::Hedge => line("hedge", "", ONE),
            Told::Suppressed(why) => line("retry.suppressed.", why.name(), ONE),
            Told::Rejected(reason) => match reason {
                Reason::CircuitOpen => line("rejected.", "circuit_open", ONE),
                Reason::Full | Reason::Paused | Reason::RateLimit | Reason::Shed => {
                    line("rejected.", "rate_limited", ONE);
                }
                _ => line("rejected.", reason.name(), ONE),
            },
            Told::Queued(waited) => line("queue", "", Value::Timer(waited)),
            Told::Fallback => line("call.", "fallback", ONE),
            Told::Lost(count) => line("events.", "dropped", Value::Counter(count)),
            Told::Cached => line("answer.", "cached", ONE),
            Told::Stale => line("answer.", "stale", ONE),
            Told::Shared => line("answer.", "shared", ONE),
            Told::Circuit(to) => match to {
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
