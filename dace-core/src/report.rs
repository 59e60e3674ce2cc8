//! What happened in one call, attempt by attempt: its events, told as a story.

use core::fmt;
use core::marker::PhantomData;
use core::time::Duration;

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::Tap;
use crate::driver::Story;
use crate::instant::Short;
use crate::{Class, Error, Event, Instant, Netloc, Phase, WaitCause, What, Why};

/// A call's result, and how it came about. From [`report`](crate::Execution::report).
///
/// It prints as a short trace, a line an attempt.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report<T, E, F = Error<E>> {
    /// The dependency.
    pub dependency_id: String,
    /// What the call returned, or the fallback in its place.
    ///
    /// `F` is the error, or a share in it where an answer was [shared](crate::Execution::shared).
    pub result: Result<T, F>,
    /// Every attempt, in order.
    pub attempts: Vec<AttemptReport>,
    /// Everything that was decided in the call, in order: by the circuits, the limits and their queue,
    /// the retry budget. The same events that observers see, with the texts of errors.
    pub decisions: Vec<Event>,
    /// Events of the call that are not among the decisions: it keeps the first 1,024, and the last.
    pub omitted: u64,
    /// Whether the fallback was used.
    pub fallback_used: bool,
    /// How long it took, the fallback included.
    pub took: Duration,
    source: PhantomData<fn() -> E>,
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
    /// How far it came.
    pub phase: Phase,
    /// When it began, since the call's start.
    pub started: Duration,
    /// How long it ran.
    pub took: Duration,
    /// How long the call waited before it: between attempts, and for a place.
    pub waited: Duration,
    /// Of that, how long it was in the queue for a place.
    pub queued: Duration,
    /// What it waited for besides; `None` for the first attempt.
    pub cause: Option<WaitCause>,
    /// Its error and its sources, if it ended with one.
    pub error: Option<Arc<str>>,
}

impl<T, E, F> Report<T, E, F> {
    pub(crate) fn new(story: Story, result: Result<T, F>) -> Self {
        let Story { dependency_id, tap, fallback_used, took } = story;
        let Tap { events: decisions, omitted } = tap;
        let attempts = attempts(&decisions);
        let dependency_id = (*dependency_id).into();
        let source = PhantomData;
        Self { dependency_id, result, attempts, decisions, omitted, fallback_used, took, source }
    }

    /// How old the answer is, if it is a cache's: then no call was made, or it ended in an error.
    pub fn cached(&self) -> Option<Duration> {
        match self.decisions.last()?.what {
            What::CacheHit { age } | What::StaleUsed { age } => Some(age),
            _ => None,
        }
    }

    /// Why no further attempt was made, if the call, before any fallback, ended with the error of
    /// one.
    pub fn why(&self) -> Option<Why> {
        self.decisions.iter().rev().find_map(|event| match event.what {
            What::CallEnded { why, .. } => why,
            _ => None,
        })
    }
}

/// The attempts in a call's events.
fn attempts(events: &[Event]) -> Vec<AttemptReport> {
    let mut attempts = Vec::new();
    let Some(call) = events.first().map(|event| event.at) else {
        return attempts;
    };
    // Since when the call has waited; `None` while an attempt runs.
    let mut waits: Option<Instant> = Some(call);
    // Attempts under way: number, start, and what they waited for before it.
    let mut running: Vec<(u32, Instant, Duration, Option<WaitCause>)> = Vec::new();
    let (mut queued, mut cause) = (Duration::ZERO, None);
    for event in events {
        match &event.what {
            What::AttemptStarted { attempt, .. } => {
                let beside = running.last().map(|(_, began, ..)| *began);
                let waited = event.at.since(waits.take().or(beside).unwrap_or(event.at));
                running.push((*attempt, event.at, waited, cause.take()));
            }
            What::AttemptEnded { attempt, netloc, class, phase, took, error, .. } => {
                let at = running.iter().position(|(number, ..)| number == attempt);
                let Some((_, began, waited, cause)) = at.map(|at| running.remove(at)) else {
                    continue;
                };
                attempts.push(AttemptReport {
                    number: *attempt,
                    netloc: netloc.clone(),
                    class: *class,
                    phase: *phase,
                    started: began.since(call),
                    took: *took,
                    waited,
                    queued: core::mem::take(&mut queued),
                    cause,
                    error: error.clone(),
                });
                waits = running.is_empty().then_some(event.at);
            }
            What::RetryDecided { cause: decided, .. } => cause = Some(*decided),
            What::Hedged { .. } => cause = Some(WaitCause::Hedge),
            What::Dequeued { waited, .. } if waits.is_some() => queued += *waited,
            _ => {}
        }
    }
    attempts
}

impl fmt::Display for AttemptReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, netloc, class, phase, took, .. } = self;
        write!(f, "attempt {number} at {netloc}: {} in {}", class.name(), Short(*took))?;
        if *phase != Phase::Function && *phase != Phase::Answer {
            write!(f, " ({})", phase.name())?;
        }
        let between = self.waited.saturating_sub(self.queued);
        match self.cause {
            Some(cause) if !between.is_zero() => {
                write!(f, ", after {} for {cause}", Short(between))?
            }
            _ => {}
        }
        if !self.queued.is_zero() {
            write!(f, ", after {} in the queue", Short(self.queued))?;
        }
        match &self.error {
            Some(error) => write!(f, ": {error}"),
            None => Ok(()),
        }
    }
}

/// A short trace, a line an attempt.
impl<T, E, F> fmt::Display for Report<T, E, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dependency_id, took, .. } = self;
        let took = Short(*took);
        let what = if self.result.is_ok() { "value" } else { "error" };
        let by = if self.fallback_used { " by the fallback" } else { "" };
        write!(f, "{dependency_id}: {what}{by} after {took}")?;
        let Some(start) = self.decisions.first().map(|event| event.at) else {
            return Ok(());
        };
        let mut runs = false;
        for (index, event) in self.decisions.iter().enumerate() {
            let since = Short(event.at.since(start));
            let begins = |event: &Event| matches!(event.what, What::AttemptStarted { .. });
            let in_vain = || !self.decisions[index..].iter().any(begins);
            match &event.what {
                What::AttemptEnded { .. } => runs = false,
                // What an attempt waited for before it began is told with it.
                What::Dequeued { netloc, waited } if runs || in_vain() => {
                    write!(f, "\n  {since}: waited {} in the queue", Short(*waited))?;
                    if let Some(netloc) = netloc {
                        write!(f, " for {netloc}")?;
                    }
                }
                What::RetryDecided { wait, cause } if in_vain() => {
                    let wait = Short(*wait);
                    write!(f, "\n  {since}: another attempt was to come in {wait}, for {cause}")?;
                }
                What::AttemptStarted { attempt, .. } => {
                    runs = true;
                    let of = |report: &&AttemptReport| report.number == *attempt;
                    if let Some(report) = self.attempts.iter().find(of) {
                        write!(f, "\n  {since}: {report}")?;
                    }
                }
                What::Refused { refusal } => write!(f, "\n  {since}: refused: {refusal}")?,
                What::Paused { netloc, pause } => {
                    write!(f, "\n  {since}: {netloc} asked for a pause: {}", Short(*pause))?;
                }
                What::CircuitChanged { netloc, to, .. } => {
                    write!(f, "\n  {since}: the circuit of {netloc} is {} now", to.name())?;
                }
                What::Resent { netloc } => {
                    write!(
                        f,
                        "\n  {since}: sent once more to {netloc}: its connection was closed"
                    )?;
                }
                What::PanicMode { on: true } => write!(f, "\n  {since}: panic mode")?,
                What::RetrySuppressed { why } => write!(f, "\n  {since}: {why}")?,
                What::CallEnded { outcome, .. } => {
                    if self.omitted > 0 {
                        write!(f, "\n  … {} more", self.omitted)?;
                    }
                    let then = if self.fallback_used { ", in its place the fallback" } else { "" };
                    write!(f, "\n  {since}: {}{then}", outcome.name())?;
                }
                What::AnswerShared => write!(f, "\n  {since}: the answer of an equal call")?,
                What::CacheHit { age } => {
                    write!(f, "\n  {since}: from the cache, {} old", Short(*age))?
                }
                What::StaleUsed { age } => {
                    write!(f, "\n  {since}: in its place from the cache, {} old", Short(*age))?;
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_attempt_waited_in_the_queue_is_what_was_waited_before_it() {
        let ms = Duration::from_millis;
        let netloc = Netloc::of_dependency(&Arc::from("servers"));
        let dequeued = |waited| What::Dequeued { netloc: None, waited };
        let started = || What::AttemptStarted { attempt: 1, netloc: netloc.clone(), open: 1 };
        let ended = What::AttemptEnded {
            attempt: 1,
            netloc: netloc.clone(),
            class: Class::Success,
            phase: Phase::Answer,
            took: ms(9),
            open: 0,
            error: None,
        };
        let story = [dequeued(ms(2)), dequeued(ms(3)), started(), dequeued(ms(7)), ended];
        let told = story.map(|what| Event { at: Instant::EPOCH, call: 1, what });
        assert_eq!(attempts(&told)[0].queued, ms(5));
    }
}
