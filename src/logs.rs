//! Logs through `tracing`, with the feature `tracing`.
//!
//! A dependency that fails must not bury the logs that tell why. So attempts are told at `debug`, and
//! what goes to `info` and `warn` is told [`SHOWN`] times in [`WINDOW`] for each kind of line and server,
//! so that one that is ill does not hide another, and [`MOST`] times for each kind; the rest is counted,
//! and told as a number by the first event after the window, or by a flush. Time is that of the events, so
//! nothing here needs a clock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use dace_core::{Event, Instant, Netloc, Observer, Outcome, Span, What};

use crate::names::printable;

/// Lines of a kind that are written in one window about one server.
const SHOWN: usize = 5;

/// Lines of a kind that are written in one window.
const MOST: usize = 50;

/// How long a window is.
const WINDOW: Duration = Duration::from_secs(10);

/// Writes what happens to `tracing`, under the target `dace`: `.observer(dace::Logs::new())`.
///
/// - **A span for each call**, `call`, at `info`, with `dependency_id` and `call` (its number). The
///   wrapped function is polled inside of it, so what the function logs falls into it.
/// - **`warn`**: calls that failed, with the last error and its sources; circuits that open; targets
///   that a balancer passes over; panic mode. **`info`**: circuits that close, pauses, settings that
///   change. At most five lines of each kind in ten seconds for one server, and fifty for all; then a
///   line says how many were left out. What is done by hand is always told.
/// - **`debug`**: each attempt, retry and refusal, and calls that were dropped. **`trace`**: the rest.
///
/// Errors are written once, on one line, without userinfo, query and fragment of what looks like a URL, at most
/// 1 KiB. `docs/observing.md` says what each line means.
#[derive(Debug)]
pub struct Logs {
    limits: Mutex<[Limit; Kind::ALL.len()]>,
    /// When the first of the windows ends in which something was left out.
    due: AtomicU64,
    /// Known from the first event on.
    id: OnceLock<Box<str>>,
}

impl Default for Logs {
    fn default() -> Self {
        Self::new()
    }
}

impl Logs {
    /// An observer for one dependency.
    pub fn new() -> Self {
        let due = AtomicU64::new(Instant::NEVER.as_nanos());
        Self { limits: Mutex::default(), due, id: OnceLock::new() }
    }

    /// Whether a line of this kind is written now.
    fn admit(&self, event: &Event, kind: Kind) -> bool {
        let (at, netloc) = (event.at, event.netloc());
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let limit = &mut limits[kind as usize];
        if at >= limit.end || limit.end > at.after(WINDOW) {
            limit.end = at.after(WINDOW);
            limit.shown.clear();
        }
        let of_it = limit.shown.iter().filter(|shown| shown.as_ref() == netloc).count();
        if of_it < SHOWN && limit.shown.len() < MOST {
            limit.shown.push(netloc.cloned());
            return true;
        }
        limit.left_out += 1;
        self.due.fetch_min(limit.end.as_nanos(), Ordering::Relaxed);
        false
    }

    /// Says what was left out in windows that are over at `at`.
    fn summarize(&self, at: Instant) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let mut due = Instant::NEVER;
        let mut over = Vec::new();
        for kind in Kind::ALL {
            let limit = &mut limits[kind as usize];
            if limit.left_out > 0 && limit.end <= at {
                over.push((kind, std::mem::take(&mut limit.left_out)));
            } else if limit.left_out > 0 {
                due = due.min(limit.end);
            }
        }
        self.due.store(due.as_nanos(), Ordering::Relaxed);
        drop(limits);
        let dependency_id = self.id.get().map(|id| &**id);
        for (kind, left_out) in over {
            macro_rules! tell {
                ($level:ident) => {
                    tracing::$level!(
                        target: "dace",
                        parent: None,
                        dependency_id,
                        kind = kind.name(),
                        left_out,
                        "lines left out"
                    )
                };
            }
            // As loud as the lines that it stands for.
            match kind {
                Kind::Closed | Kind::Paused | Kind::Targets => tell!(info),
                _ => tell!(warn),
            }
        }
    }
}

/// Kinds of lines that a failing server could make many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Failed,
    Fallback,
    Opened,
    Closed,
    Ejected,
    Paused,
    Panic,
    Targets,
    Lost,
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Failed,
        Self::Fallback,
        Self::Opened,
        Self::Closed,
        Self::Ejected,
        Self::Paused,
        Self::Panic,
        Self::Targets,
        Self::Lost,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed calls",
            Self::Fallback => "fallbacks",
            Self::Opened => "circuits that opened",
            Self::Closed => "circuits that closed",
            Self::Ejected => "targets passed over",
            Self::Paused => "pauses",
            Self::Panic => "changes of panic mode",
            Self::Targets => "replaced lists of targets",
            Self::Lost => "losses of events",
        }
    }
}

#[derive(Debug, Default)]
struct Limit {
    /// When its window ends.
    end: Instant,
    /// What the lines were about that were written in it.
    shown: Vec<Option<Netloc>>,
    left_out: u64,
}

/// A line of a kind, if it is written now. Events of `tracing` belong to no span of whoever happens to
/// deliver them.
macro_rules! limited {
    ($logs:expr, $id:expr, $event:expr, $kind:ident, $level:ident, $($rest:tt)+) => {
        if $logs.admit($event, Kind::$kind) {
            tracing::$level!(
                target: "dace",
                parent: None,
                dependency_id = $id,
                $($rest)+
            );
        }
    };
}

macro_rules! line {
    ($level:ident, $id:expr, $event:expr, $($rest:tt)+) => {
        tracing::$level!(
            target: "dace",
            parent: None,
            dependency_id = $id,
            call = ($event.call > 0).then_some($event.call),
            $($rest)+
        )
    };
}

impl Observer for Logs {
    fn on_event(&self, id: &str, event: &Event) {
        if event.at.as_nanos() >= self.due.load(Ordering::Relaxed) {
            self.summarize(event.at);
        }
        self.id.get_or_init(|| id.into());
        let netloc = || event.netloc().map(|netloc| printable(netloc.as_str()));
        match &event.what {
            What::CallStarted => line!(trace, id, event, "call started"),
            What::CallEnded { outcome: Outcome::Value, took, attempts, .. } => {
                line!(debug, id, event, ?took, attempts, "call succeeded");
            }
            What::CallEnded { outcome: Outcome::Dropped, took, attempts, .. } => {
                line!(debug, id, event, ?took, attempts, "call dropped");
            }
            What::CallEnded { outcome, took, attempts, why, reason, error, .. } => limited!(
                self,
                id,
                event,
                Failed,
                warn,
                call = event.call,
                outcome = outcome.name(),
                ?took,
                attempts,
                netloc = netloc(),
                why = why.map(dace_core::Why::name),
                reason = reason.map(dace_core::Reason::name),
                error = error.as_deref(),
                "call failed"
            ),
            What::FallbackUsed => {
                limited!(self, id, event, Fallback, warn, call = event.call, "fallback used");
            }
            What::CacheHit { age } => line!(debug, id, event, ?age, "answer from cache"),
            What::StaleUsed { age } => limited!(
                self,
                id,
                event,
                Fallback,
                warn,
                call = event.call,
                ?age,
                "stale answer used"
            ),
            What::AnswerShared => line!(debug, id, event, "answer shared"),
            What::Queued { .. } => line!(trace, id, event, netloc = netloc(), "queued"),
            What::Dequeued { waited, .. } => {
                line!(trace, id, event, netloc = netloc(), ?waited, "dequeued");
            }
            What::Refused { refusal } => line!(
                debug,
                id,
                event,
                netloc = netloc(),
                reason = refusal.reason().name(),
                retry_after = refusal.retry_after().map(tracing::field::debug),
                "refused"
            ),
            What::AttemptStarted { attempt, .. } => {
                line!(trace, id, event, attempt, netloc = netloc(), "attempt started");
            }
            What::AttemptEnded { attempt, class, phase, took, error, .. } => line!(
                debug,
                id,
                event,
                attempt,
                netloc = netloc(),
                class = class.name(),
                phase = phase.name(),
                ?took,
                error = error.as_deref(),
                "attempt ended"
            ),
            What::Resent { .. } => line!(debug, id, event, netloc = netloc(), "sent once more"),
            What::RetryDecided { wait, cause } => {
                line!(debug, id, event, ?wait, cause = cause.name(), "retry");
            }
            What::Hedged { attempt, after, .. } => {
                line!(debug, id, event, attempt, netloc = netloc(), ?after, "hedge");
            }
            What::RetrySuppressed { why } => {
                line!(debug, id, event, why = why.name(), "no retry");
            }
            What::CircuitChanged { from, to, reopens_in, .. } if to.lets_all() => limited!(
                self,
                id,
                event,
                Closed,
                info,
                netloc = netloc(),
                from = from.name(),
                to = to.name(),
                reopens_in = reopens_in.map(tracing::field::debug),
                "circuit changed"
            ),
            What::CircuitChanged { from, to, reopens_in, .. } => limited!(
                self,
                id,
                event,
                Opened,
                warn,
                netloc = netloc(),
                from = from.name(),
                to = to.name(),
                reopens_in = reopens_in.map(tracing::field::debug),
                "circuit changed"
            ),
            What::Ejected { left, .. } => {
                limited!(self, id, event, Ejected, warn, netloc = netloc(), left, "target ejected");
            }
            What::Readmitted { left, .. } => {
                line!(debug, id, event, netloc = netloc(), left, "target readmitted");
            }
            What::Removed { .. } => {
                line!(debug, id, event, netloc = netloc(), "ejected target removed")
            }
            What::Paused { pause, .. } => {
                limited!(self, id, event, Paused, info, netloc = netloc(), ?pause, "server pauses");
            }
            What::PanicMode { on } => {
                limited!(self, id, event, Panic, warn, on, "panic mode");
            }
            What::TargetsReplaced { count } => {
                limited!(self, id, event, Targets, info, count, "targets replaced");
            }
            What::Controlled { control, .. } => {
                let control = control.name();
                line!(info, id, event, netloc = netloc(), control, "circuit worked by hand");
            }
            What::TargetAdded { count, .. } => {
                let netloc = netloc();
                limited!(self, id, event, Targets, info, netloc, count, "target added");
            }
            What::TargetRemoved { open, count, .. } => {
                let netloc = netloc();
                limited!(self, id, event, Targets, info, netloc, open, count, "target removed");
            }
            What::TargetWeighed { weight, .. } => {
                let netloc = netloc();
                limited!(self, id, event, Targets, info, netloc, weight, "target weighed");
            }
            What::Reloaded => {
                line!(info, id, event, "policy reloaded");
            }
            What::Closed => line!(info, id, event, "closed"),
            What::EventsDropped { count, .. } => {
                limited!(self, id, event, Lost, warn, count, "events dropped");
            }
            _ => {}
        }
    }

    /// If anybody would see the loudest line that shows one.
    fn wants_errors(&self) -> bool {
        tracing::enabled!(target: "dace", tracing::Level::WARN)
    }

    fn span(&self, dependency_id: &str, call: u64) -> Option<Box<dyn Span>> {
        let span = tracing::info_span!(target: "dace", "call", dependency_id, call);
        (!span.is_disabled()).then(|| Box::new(CallSpan(span)) as Box<dyn Span>)
    }

    /// Says what was left out and not told yet.
    fn flush(&self) {
        self.summarize(Instant::NEVER);
    }
}

struct CallSpan(tracing::Span);

impl Span for CallSpan {
    fn within(&self, poll: &mut dyn FnMut()) {
        self.0.in_scope(poll);
    }
}
