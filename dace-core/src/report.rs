//! What happened in one call, attempt by attempt.

use core::fmt;
use core::time::Duration;

use alloc::vec::Vec;

use crate::{Class, Error, Instant, Netloc};

/// A call's result, and how it came about. From [`report`](crate::Execution::report).
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<T, E> {
    /// What the call returned, or the fallback in its place.
    pub result: Result<T, Error<E>>,
    /// Every attempt, in order.
    pub attempts: Vec<AttemptReport>,
    /// Whether the fallback was used.
    pub fallback_used: bool,
    /// How long it took, the fallback included.
    pub took: Duration,
}

/// One attempt of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptReport {
    /// Its number, from 1.
    pub number: u32,
    /// What it was charged to in the end: a server, or the dependency itself if it had no exchange.
    pub netloc: Netloc,
    /// What its result means.
    pub class: Class,
    /// When it began, since the call's start.
    pub started: Duration,
    /// How long it ran.
    pub took: Duration,
    /// How long the call waited before it: for a place, and between attempts.
    pub waited: Duration,
}

/// Attempts, as they happen.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    pub(crate) attempts: Vec<AttemptReport>,
    began: Instant,
    ended: Option<Instant>,
}

impl Trace {
    pub(crate) fn begin(&mut self, now: Instant) {
        self.began = now;
    }

    pub(crate) fn end(
        &mut self,
        now: Instant,
        call: Instant,
        number: u32,
        netloc: Netloc,
        class: Class,
    ) {
        self.attempts.push(AttemptReport {
            number,
            netloc,
            class,
            started: self.began.since(call),
            took: now.since(self.began),
            waited: self.began.since(self.ended.unwrap_or(call)),
        });
        self.ended = Some(now);
    }
}

/// A short trace, a line an attempt.
impl<T, E> fmt::Display for Report<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for attempt in &self.attempts {
            let AttemptReport { number, netloc, class, took, waited, .. } = attempt;
            let class = class.name();
            writeln!(f, "attempt {number} at {netloc}: {class} in {took:?}, after {waited:?}")?;
        }
        let by = if self.fallback_used { " by the fallback" } else { "" };
        match &self.result {
            Ok(_) => write!(f, "value{by} after {:?}", self.took),
            Err(error) => {
                let how = match error {
                    Error::Operation { why, .. }
                    | Error::RetriesExhausted { why, .. }
                    | Error::RetryRequested { why, .. } => {
                        return write!(f, "error{by} after {:?}: {why}", self.took);
                    }
                    Error::Timeout { .. } => "timed out",
                    Error::RateLimited { .. } => "no place",
                    Error::CircuitOpen { .. } => "circuit open",
                    Error::NoEndpoint { .. } => "no endpoint",
                    Error::Config(_) => "wrong setting",
                    Error::Closed => "closed",
                };
                write!(f, "error{by} after {:?}: {how}", self.took)
            }
        }
    }
}
