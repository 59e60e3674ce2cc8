//! Counters, histograms and gauges through the `metrics` facade, with the feature `metrics`.
//!
//! The application picks the exporter. Handles are kept, so an event costs a look-up by netloc and a
//! few atomics; at most 1,000 netlocs are told apart, the rest is `other`.

use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

use dace_core::{Event, Netloc, Observer, Outcome, Reason, What, Why};
use metrics::{Counter, Gauge, Histogram, Unit};

use crate::names::{self, ByNetloc};

/// Feeds the recorder of the `metrics` facade: `.observer(dace::Metrics::new())`. One for each
/// dependency.
///
/// Install the recorder first: what is made before it goes nowhere, as with every user of `metrics`.
///
/// | name | kind | labels |
/// |---|---|---|
/// | `dace_calls_total` | counter | `dependency`, `outcome` |
/// | `dace_call_duration_seconds` | histogram | `dependency` |
/// | `dace_fallbacks_total` | counter | `dependency` |
/// | `dace_answers_total` | counter | `dependency`, `from` |
/// | `dace_attempts_total` | counter | `dependency`, `netloc`, `class` |
/// | `dace_attempt_duration_seconds` | histogram | `dependency`, `netloc` |
/// | `dace_open_attempts` | gauge | `dependency` |
/// | `dace_retries_total` | counter | `dependency` |
/// | `dace_resent_total` | counter | `dependency` |
/// | `dace_hedges_total` | counter | `dependency` |
/// | `dace_retries_suppressed_total` | counter | `dependency`, `why` |
/// | `dace_rejected_total` | counter | `dependency`, `netloc`, `reason` |
/// | `dace_queue_duration_seconds` | histogram | `dependency` |
/// | `dace_circuit_changes_total` | counter | `dependency`, `netloc`, `to` |
/// | `dace_circuit_open` | gauge | `dependency`, `netloc` |
/// | `dace_pauses_total` | counter | `dependency`, `netloc` |
/// | `dace_panic_mode` | gauge | `dependency` |
/// | `dace_events_dropped_total` | counter | `dependency` |
#[derive(Debug)]
pub struct Metrics {
    /// Known from the first event on.
    series: OnceLock<Series>,
}

impl Metrics {
    /// An observer, and the descriptions of what it feeds.
    pub fn new() -> Self {
        describe();
        Self { series: OnceLock::new() }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn describe() {
    use metrics::{describe_counter, describe_gauge, describe_histogram};
    let count = Unit::Count;
    let time = Unit::Seconds;
    describe_counter!("dace_calls_total", count, "Calls that ended, by how they ended.");
    describe_histogram!(
        "dace_call_duration_seconds",
        time,
        "Time that calls took, with all waits."
    );
    describe_counter!("dace_fallbacks_total", count, "Calls whose fallback was used.");
    describe_counter!("dace_answers_total", count, "Answers of a cache or of another call.");
    describe_counter!("dace_attempts_total", count, "Attempts that ended, by what that means.");
    describe_histogram!("dace_attempt_duration_seconds", time, "Time that attempts took.");
    describe_gauge!("dace_open_attempts", count, "Attempts under way.");
    describe_counter!("dace_retries_total", count, "Retries that were decided.");
    describe_counter!("dace_resent_total", count, "Requests sent once more: closed connections.");
    describe_counter!("dace_hedges_total", count, "Attempts begun beside a slow one.");
    describe_counter!(
        "dace_retries_suppressed_total",
        count,
        "Failed attempts that no retry followed, by the reason."
    );
    describe_counter!(
        "dace_rejected_total",
        count,
        "Attempts and exchanges that dace refused, by the reason."
    );
    describe_histogram!("dace_queue_duration_seconds", time, "Time spent waiting for a place.");
    describe_counter!(
        "dace_circuit_changes_total",
        count,
        "Changes of circuits, by the new state."
    );
    describe_gauge!("dace_circuit_open", count, "Circuits that do not let everybody through.");
    describe_counter!("dace_pauses_total", count, "Pauses that servers asked for.");
    describe_gauge!("dace_panic_mode", count, "1 while circuits are ignored: too few are closed.");
    describe_counter!(
        "dace_events_dropped_total",
        count,
        "Events that found no room, so that the other numbers lack them."
    );
}

/// What answers in place of a call.
const ANSWERS: [&str; 3] = ["cache", "stale", "shared"];

/// The handles of one dependency.
#[derive(Debug)]
struct Series {
    id: String,
    calls: Labelled,
    call_time: Histogram,
    fallbacks: Counter,
    answers: Labelled,
    open: Gauge,
    retries: Counter,
    resent: Counter,
    hedges: Counter,
    suppressed: Labelled,
    queue_time: Histogram,
    panic_mode: Gauge,
    lost: Counter,
    /// What concerns no certain netloc is the dependency's own.
    netlocs: Mutex<ByNetloc<At>>,
}

/// The handles of one netloc, or of all that are told apart no more.
#[derive(Debug)]
struct At {
    attempts: Labelled,
    attempt_time: Histogram,
    rejected: Labelled,
    circuit_changes: Labelled,
    circuit_open: Gauge,
    /// Whose circuits do not let everybody through.
    shut: HashSet<Netloc>,
    pauses: Counter,
}

impl Series {
    fn new(dependency_id: &str) -> Self {
        let id = dependency_id.to_owned();
        Self {
            calls: Labelled::new("dace_calls_total", "outcome", &id, None).born(&Outcome::NAMES),
            call_time: metrics::histogram!("dace_call_duration_seconds", "dependency" => id.clone()),
            fallbacks: metrics::counter!("dace_fallbacks_total", "dependency" => id.clone()),
            answers: Labelled::new("dace_answers_total", "from", &id, None).born(&ANSWERS),
            open: metrics::gauge!("dace_open_attempts", "dependency" => id.clone()),
            retries: metrics::counter!("dace_retries_total", "dependency" => id.clone()),
            resent: metrics::counter!("dace_resent_total", "dependency" => id.clone()),
            hedges: metrics::counter!("dace_hedges_total", "dependency" => id.clone()),
            suppressed: Labelled::new("dace_retries_suppressed_total", "why", &id, None)
                .born(&Why::NAMES),
            queue_time: metrics::histogram!("dace_queue_duration_seconds", "dependency" => id.clone()),
            panic_mode: metrics::gauge!("dace_panic_mode", "dependency" => id.clone()),
            lost: metrics::counter!("dace_events_dropped_total", "dependency" => id.clone()),
            netlocs: Mutex::new(ByNetloc::new()),
            id,
        }
    }

    fn at(&self, netloc: &Netloc, act: impl FnOnce(&mut At)) {
        let mut netlocs = self.netlocs.lock().unwrap_or_else(PoisonError::into_inner);
        act(netlocs.of(netloc, |netloc| At::new(&self.id, &names::printable(netloc))));
    }
}

impl At {
    fn new(id: &str, netloc: &str) -> Self {
        let labels = [("dependency", id.to_owned()), ("netloc", netloc.to_owned())];
        let labelled = |name, label| Labelled::new(name, label, id, Some(netloc));
        Self {
            attempts: labelled("dace_attempts_total", "class"),
            attempt_time: metrics::histogram!("dace_attempt_duration_seconds", &labels),
            rejected: labelled("dace_rejected_total", "reason").born(&Reason::NAMES),
            circuit_changes: labelled("dace_circuit_changes_total", "to"),
            circuit_open: metrics::gauge!("dace_circuit_open", &labels),
            shut: HashSet::new(),
            pauses: metrics::counter!("dace_pauses_total", &labels),
        }
    }

    fn set_shut(&mut self, netloc: &Netloc, shut: bool) {
        if shut {
            self.shut.insert(netloc.clone());
        } else {
            self.shut.remove(netloc);
        }
        self.circuit_open.set(self.shut.len() as f64);
    }
}

/// A counter for each value of one label. There are few values, and the frequent ones come first.
#[derive(Debug)]
struct Labelled {
    name: &'static str,
    label: &'static str,
    id: String,
    netloc: Option<String>,
    known: Mutex<Vec<(&'static str, Counter)>>,
}

impl Labelled {
    fn new(name: &'static str, label: &'static str, id: &str, netloc: Option<&str>) -> Self {
        let known = Mutex::new(Vec::new());
        Self { name, label, id: id.to_owned(), netloc: netloc.map(str::to_owned), known }
    }

    /// Exists with these values from the start: what a counter is born with, a rate does not see.
    fn born(self, values: &[&'static str]) -> Self {
        values.iter().for_each(|value| self.add(value, 0));
        self
    }

    fn count(&self, value: &'static str) {
        self.add(value, 1);
    }

    fn add(&self, value: &'static str, count: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(name, _)| *name == value) {
            return counter.increment(count);
        }
        let (id, label) = (self.id.clone(), self.label);
        let counter = match self.netloc.clone() {
            Some(netloc) => {
                metrics::counter!(self.name, "dependency" => id, "netloc" => netloc, label => value)
            }
            None => metrics::counter!(self.name, "dependency" => id, label => value),
        };
        counter.increment(count);
        known.push((value, counter));
    }
}

impl Observer for Metrics {
    fn on_event(&self, dependency_id: &str, event: &Event) {
        let series = self.series.get_or_init(|| Series::new(dependency_id));
        match &event.what {
            What::CallEnded { outcome, took, .. } => {
                series.calls.count(outcome.name());
                series.call_time.record(took.as_secs_f64());
            }
            What::FallbackUsed => series.fallbacks.increment(1),
            What::CacheHit { .. } => series.answers.count(ANSWERS[0]),
            What::StaleUsed { .. } => series.answers.count(ANSWERS[1]),
            What::AnswerShared => series.answers.count(ANSWERS[2]),
            What::AttemptStarted { open, .. } => series.open.set(*open),
            What::AttemptEnded { netloc, class, took, open, .. } => {
                series.open.set(*open);
                series.at(netloc, |at| {
                    at.attempts.count(class.name());
                    at.attempt_time.record(took.as_secs_f64());
                });
            }
            What::RetryDecided { .. } => series.retries.increment(1),
            What::Resent { .. } => series.resent.increment(1),
            What::Hedged { .. } => series.hedges.increment(1),
            What::RetrySuppressed { why } => series.suppressed.count(why.name()),
            What::Refused { refusal } => {
                let reason = refusal.reason().name();
                series.at(refusal.netloc(), |at| at.rejected.count(reason));
            }
            What::Dequeued { waited, .. } => series.queue_time.record(waited.as_secs_f64()),
            What::CircuitChanged { netloc, to, .. } => series.at(netloc, |at| {
                at.circuit_changes.count(to.name());
                at.set_shut(netloc, !to.lets_all());
            }),
            What::Ejected { netloc, .. } => series.at(netloc, |at| at.set_shut(netloc, true)),
            What::Removed { netloc } => series.at(netloc, |at| at.set_shut(netloc, false)),
            What::Paused { netloc, .. } => series.at(netloc, |at| at.pauses.increment(1)),
            What::PanicMode { on } => series.panic_mode.set(u32::from(*on)),
            What::EventsDropped { count, open } => {
                series.lost.increment(*count);
                series.open.set(*open);
            }
            _ => {}
        }
    }
}
