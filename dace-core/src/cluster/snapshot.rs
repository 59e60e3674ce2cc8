//! What a dependency looks like at one instant.

use core::fmt;
use core::time::Duration;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Cluster;
use super::endpoint::Endpoint;
use crate::error::Reason;
use crate::event::Outcome;
use crate::machine::circuit::CircuitState;
use crate::machine::window::Counts;
use crate::{Class, Instant, Netloc, Why};

/// A dependency at one instant, taken under its lock.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The dependency.
    pub dependency_id: String,
    /// Calls under way.
    pub calls: u32,
    /// Attempts under way, and finished ones whose answers are still being read.
    pub attempts: usize,
    /// Who waits in the queue.
    pub queued: usize,
    /// Retry tokens left, in thousandths.
    pub budget_thousandths: u64,
    /// Every netloc that is known, by name; the dependency itself first.
    pub endpoints: Vec<EndpointSnapshot>,
    /// What was counted since the start.
    pub totals: Totals,
    /// Events dropped because nobody delivered them in time.
    pub events_dropped: u64,
}

/// One netloc at one instant.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// Its name.
    pub netloc: Netloc,
    /// The state of its circuit.
    pub circuit: CircuitState,
    /// When the circuit lets somebody try, if it is open.
    pub reopens_in: Option<Duration>,
    /// Operations open.
    pub open: u32,
    /// Connection places taken.
    pub connections: u32,
    /// Probes of a half-open circuit under way.
    pub probes: usize,
    /// Successes in the circuit's window.
    pub successes: u32,
    /// Failures in the circuit's window.
    pub failures: u32,
    /// The peak-EWMA latency, if there is any result.
    pub latency: Option<Duration>,
    /// How long the pause lasts that the server asked for.
    pub paused_for: Option<Duration>,
    /// Whether a balancer picks it.
    pub listed: bool,
}

/// Counts since the dependency was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Calls that ended with what an attempt returned.
    pub ended: u64,
    /// Calls that ended by their deadline, or by an attempt's.
    pub timed_out: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Calls that were dropped by their callers, or by a panic.
    pub dropped: u64,
    /// Attempts that ended.
    pub attempts: u64,
    /// Attempts of class `Success` or `CallerFault`.
    pub good: u64,
    /// Attempts and exchanges that were refused for a limit or a pause.
    pub rate_limited: u64,
    /// Attempts and exchanges that were refused by a circuit.
    pub circuit_open: u64,
    /// Retries decided.
    pub retries: u64,
    /// Retries not made for want of budget.
    pub out_of_budget: u64,
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
            Outcome::Value | Outcome::Error => self.ended += 1,
            Outcome::Timeout => self.timed_out += 1,
            Outcome::Refused => self.refused += 1,
            Outcome::Dropped | Outcome::Panicked => self.dropped += 1,
        }
    }

    pub(super) fn count_attempt(&mut self, class: Class) {
        self.attempts += 1;
        if matches!(class, Class::Success | Class::CallerFault) {
            self.good += 1;
        }
    }

    pub(super) fn count_refusal(&mut self, reason: Reason) {
        match reason {
            Reason::CircuitOpen => self.circuit_open += 1,
            Reason::Full | Reason::Paused => self.rate_limited += 1,
            Reason::NoEndpoint => {}
        }
    }

    pub(super) fn count_suppressed(&mut self, why: Why) {
        if why == Why::Budget {
            self.out_of_budget += 1;
        }
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

impl Cluster {
    pub(crate) fn snapshot(&self, now: Instant) -> Snapshot {
        let own = &self.table[self.own];
        let mut others: Vec<_> =
            self.table.iter().filter(|endpoint| !core::ptr::eq(*endpoint, own)).collect();
        others.sort_by(|a, b| a.netloc.cmp(&b.netloc));
        Snapshot {
            dependency_id: own.netloc.to_string(),
            calls: self.calls_open,
            attempts: self.attempts.len(),
            queued: self.queue.len(),
            budget_thousandths: self.tokens.available_thousandths(),
            endpoints: core::iter::once(own)
                .chain(others)
                .map(|endpoint| EndpointSnapshot::of(now, endpoint))
                .collect(),
            totals: self.totals,
            events_dropped: self.events.dropped,
        }
    }
}

impl EndpointSnapshot {
    fn of(now: Instant, endpoint: &Endpoint) -> Self {
        let Counts { successes, failures } = endpoint.circuit.counts(now);
        Self {
            netloc: endpoint.netloc.clone(),
            circuit: endpoint.circuit.state(),
            reopens_in: endpoint.circuit.until().map(|until| until.since(now)),
            open: endpoint.open,
            connections: endpoint.connections.used,
            probes: endpoint.circuit.probes(),
            successes,
            failures,
            latency: endpoint.load.latency(now),
            paused_for: endpoint.is_paused(now).then(|| endpoint.paused_until.since(now)),
            listed: endpoint.listed > 0,
        }
    }
}

/// A table, a line a netloc.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tokens = self.budget_thousandths as f64 / 1000.0;
        writeln!(
            f,
            "{}: {} calls, {} queued, {tokens:.1} retry tokens",
            self.dependency_id, self.calls, self.queued
        )?;
        writeln!(
            f,
            "{:<28} {:<12} {:>5} {:>6} {:>6} {:>10}",
            "netloc", "circuit", "open", "good", "bad", "latency"
        )?;
        for endpoint in &self.endpoints {
            let latency = endpoint.latency.map_or(String::from("-"), |latency| {
                alloc::format!("{:.1} ms", latency.as_secs_f64() * 1000.0)
            });
            writeln!(
                f,
                "{:<28} {:<12} {:>5} {:>6} {:>6} {:>10}",
                endpoint.netloc.as_str(),
                endpoint.circuit.name(),
                endpoint.open,
                endpoint.successes,
                endpoint.failures,
                latency
            )?;
        }
        Ok(())
    }
}
