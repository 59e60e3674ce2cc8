//! What was counted since a dependency was made.

use core::fmt;

use crate::event::{Outcome, What};
use crate::machine::circuit::CircuitState;
use crate::refusal::Reason;
use crate::{Class, Why};

/// Counts since the dependency was made.
///
/// They are kept under the lock, so they miss nothing, and agree with each other: what sinks of events
/// count may lack what the ring dropped ([`Snapshot::events_dropped`](crate::Snapshot)).
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Calls that ended with a value.
    pub succeeded: u64,
    /// Calls that ended with the error of an attempt.
    pub failed: u64,
    /// Calls that ended by their deadline, or by an attempt's.
    pub timed_out: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Calls that were dropped by their callers.
    pub dropped: u64,
    /// Calls that ended by a panic in user code.
    pub panicked: u64,
    /// Calls whose fallback was used. They count above as well, as what they ended with before it.
    pub fallbacks: u64,
    /// Answers of a cache, without a call.
    pub cached: u64,
    /// Calls in whose error's place a cache answered. They count above as well, as what they ended with.
    pub stale: u64,
    /// Answers that another call had, without a call.
    pub shared: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// Attempts of class `Success` or `CallerFault`.
    pub good: u64,
    /// Attempts that ended, by class.
    pub classes: ByClass,
    /// Attempts and exchanges that were refused for a limit or a pause of the server, or shed.
    pub rate_limited: u64,
    /// Attempts and exchanges that were refused by the throttle.
    pub throttled: u64,
    /// Attempts that were refused for a limit that is shared between dependencies.
    pub shared_limited: u64,
    /// Attempts and exchanges that were refused by a circuit.
    pub circuit_open: u64,
    /// Attempts that were refused because there was no endpoint.
    pub no_endpoint: u64,
    /// Calls that were refused because the dependency was closed.
    pub after_close: u64,
    /// Attempts that were refused because what a balancer picked was no target.
    pub wrong_picks: u64,
    /// Retries decided.
    pub retries: u64,
    /// Requests that went out once more, since the connection that they were sent on had been closed.
    pub resent: u64,
    /// Attempts that were begun beside a slow one.
    pub hedges: u64,
    /// Failed attempts that no retry followed, by the reason.
    pub suppressed: ByWhy,
    /// Circuits that opened.
    pub opened: u64,
    /// Circuits that half-opened.
    pub half_opened: u64,
    /// Circuits that closed again.
    pub closed: u64,
}

impl Totals {
    pub(super) fn count_call(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Value => self.succeeded += 1,
            Outcome::Error => self.failed += 1,
            Outcome::Timeout => self.timed_out += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Dropped => self.dropped += 1,
            Outcome::Panicked => self.panicked += 1,
        }
    }

    pub(super) fn count_answer(&mut self, what: &What) {
        match what {
            What::CacheHit { .. } => self.cached += 1,
            What::StaleUsed { .. } => self.stale += 1,
            What::AnswerShared => self.shared += 1,
            _ => {}
        }
    }

    pub(super) fn count_attempt(&mut self, class: Class) {
        self.classes.0[class.index()] += 1;
    }

    /// With the sums, which are counted only when somebody looks.
    pub(super) fn summed(mut self) -> Self {
        self.attempts = self.classes.0.iter().sum();
        self.good = self.classes.of(Class::Success) + self.classes.of(Class::CallerFault);
        self
    }

    pub(super) fn count_refusal(&mut self, reason: Reason) {
        match reason {
            Reason::CircuitOpen => self.circuit_open += 1,
            Reason::Full | Reason::Paused | Reason::RateLimit | Reason::Shed => {
                self.rate_limited += 1;
            }
            Reason::Throttle => self.throttled += 1,
            Reason::SharedLimit => self.shared_limited += 1,
            Reason::NoEndpoint => self.no_endpoint += 1,
            Reason::Closed => self.after_close += 1,
            Reason::Config => self.wrong_picks += 1,
        }
    }

    /// What protections did, but for retries.
    fn protections(&self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("rate limited", self.rate_limited),
            ("throttled", self.throttled),
            ("shared limit", self.shared_limited),
            ("circuit open", self.circuit_open),
            ("no endpoint", self.no_endpoint),
            ("after close", self.after_close),
            ("wrong picks", self.wrong_picks),
            ("resent", self.resent),
            ("hedges", self.hedges),
            ("cached", self.cached),
            ("stale", self.stale),
            ("shared", self.shared),
            ("circuits opened", self.opened),
        ]
        .into_iter()
    }

    pub(super) fn count_suppressed(&mut self, why: Why) {
        self.suppressed.0[why.index()] += 1;
    }

    pub(super) fn count_transition(&mut self, to: CircuitState) {
        match to {
            CircuitState::Open => self.opened += 1,
            CircuitState::HalfOpen => self.half_opened += 1,
            CircuitState::Closed => self.closed += 1,
            _ => {}
        }
    }
}

/// Two lines: calls, then attempts; and what protections did, if they did anything.
impl fmt::Display for Totals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { succeeded, failed, timed_out, refused, dropped, panicked, .. } = self;
        write!(
            f,
            "calls so far: {succeeded} succeeded, {failed} failed, {timed_out} timed out, \
             {refused} refused, {dropped} dropped, {panicked} panicked; {} fallbacks\n\
             attempts so far:",
            self.fallbacks
        )?;
        for (name, count) in self.classes.iter().filter(|(_, count)| *count > 0) {
            write!(f, " {count} {name},")?;
        }
        write!(f, " {} retries", self.retries)?;
        let mut before = "\nprotections so far:";
        for (name, count) in self.protections().filter(|(_, count)| *count > 0) {
            write!(f, "{before} {count} {name}")?;
            before = ",";
        }
        let mut before = if before == "," { "; no retry for" } else { "\nno retry so far for" };
        for (why, count) in self.suppressed.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{before} {why} {count}")?;
            before = ",";
        }
        Ok(())
    }
}

/// A count for each [`Class`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByClass([u64; Class::NAMES.len()]);

impl ByClass {
    /// The count of a class; of all throttles, whatever their hints.
    pub fn of(&self, class: Class) -> u64 {
        self.0[class.index()]
    }

    /// Every class by its name, and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Class::NAMES.into_iter().zip(self.0)
    }
}

/// A count for each [`Why`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByWhy([u64; Why::NAMES.len()]);

impl ByWhy {
    /// The count of a reason.
    pub fn of(&self, why: Why) -> u64 {
        self.0[why.index()]
    }

    /// Every reason by its name, and its count.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Why::NAMES.into_iter().zip(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_and_every_change_is_counted_once() {
        let mut totals = Totals::default();
        for reason in [
            Reason::CircuitOpen,
            Reason::Full,
            Reason::Throttle,
            Reason::SharedLimit,
            Reason::NoEndpoint,
            Reason::Closed,
            Reason::Config,
        ] {
            totals.count_refusal(reason);
            totals.count_refusal(reason);
        }
        for to in [CircuitState::Open, CircuitState::HalfOpen, CircuitState::Closed] {
            totals.count_transition(to);
            totals.count_transition(to);
        }
        let Totals { circuit_open, rate_limited, throttled, shared_limited, .. } = totals;
        assert_eq!([circuit_open, rate_limited, throttled, shared_limited], [2; 4]);
        assert_eq!([totals.no_endpoint, totals.after_close, totals.wrong_picks], [2; 3]);
        assert_eq!([totals.opened, totals.half_opened, totals.closed], [2; 3]);
    }
}
