//! What a dependency looks like at one instant.

use core::fmt;
use core::time::Duration;

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::Cluster;
use super::endpoint::Endpoint;
use super::totals::Totals;
use crate::machine::circuit::CircuitState;
use crate::machine::queue::Want;
use crate::machine::window::Counts;
use crate::policy::Rules;
use crate::{Instant, Netloc, SharedLimitSnapshot};

/// A dependency at one instant, taken under its lock: all of it belongs together.
///
/// It prints as a table. With the feature `serde` it can be serialised; times are then seconds, with a
/// fraction.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    /// Whether so few targets are eligible that circuits are ignored.
    pub panic_mode: bool,
    /// Whether it takes no more calls.
    pub closed: bool,
    /// Retry tokens left, in thousandths.
    pub budget_thousandths: u64,
    /// Every netloc that is known, by name; the dependency itself first.
    pub endpoints: Vec<EndpointSnapshot>,
    /// The limits that it shares with other dependencies, each read under its own lock.
    pub shared_limits: Vec<SharedLimitSnapshot>,
    /// What was counted since the start.
    pub totals: Totals,
    /// Events dropped because nobody delivered them in time.
    pub events_dropped: u64,
}

/// One netloc at one instant.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct EndpointSnapshot {
    /// Its name.
    pub netloc: Netloc,
    /// The state of its circuit.
    pub circuit: CircuitState,
    /// When the circuit lets somebody try, if it is open.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub reopens_in: Option<Duration>,
    /// Operations open.
    pub open: u32,
    /// Who waits for this netloc alone. Who waits for any of a balancer's is counted in
    /// [`Snapshot::queued`] alone.
    pub queued: usize,
    /// Connection places taken.
    pub connections: u32,
    /// Probes of a half-open circuit under way.
    pub probes: usize,
    /// Successes in the circuit's window.
    pub successes: u32,
    /// Failures in the circuit's window.
    pub failures: u32,
    /// The peak-EWMA latency, if there is any result.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub latency: Option<Duration>,
    /// How long the pause lasts that the server asked for.
    #[cfg_attr(feature = "serde", serde(serialize_with = "crate::serde_impls::seconds"))]
    pub paused_for: Option<Duration>,
    /// Whether a balancer picks it.
    pub listed: bool,
    /// What the adaptive limit allows, if there is one.
    pub adaptive_limit: Option<u32>,
    /// Tokens that the rate limit has left, if there is one.
    pub rate_tokens: Option<u32>,
    /// The share of attempts that the throttle refuses, in thousandths, if there is one.
    pub throttled_thousandths: Option<u32>,
}

impl Cluster {
    /// In one pass over the queue and one over the table. [Sort](Snapshot::sort) it after unlocking.
    pub(crate) fn snapshot(&self, now: Instant, policy: &Rules) -> Snapshot {
        let mut queued = BTreeMap::<_, usize>::new();
        for place in self.queue.wants().filter_map(Want::place) {
            *queued.entry(place).or_default() += 1;
        }
        let of = |(id, endpoint)| {
            EndpointSnapshot::of(
                now,
                policy,
                endpoint,
                queued.get(&id).copied().unwrap_or_default(),
            )
        };
        let others = self.table.iter().filter(|(id, _)| *id != self.own);
        let own = &self.table[self.own];
        Snapshot {
            dependency_id: own.netloc.to_string(),
            calls: self.calls_open,
            attempts: self.attempts.len(),
            queued: self.queue.len(),
            panic_mode: self.targets.panic,
            closed: self.closed,
            budget_thousandths: self.tokens.available_thousandths(),
            endpoints: core::iter::once((self.own, own)).chain(others).map(of).collect(),
            shared_limits: Vec::new(),
            totals: self.totals.summed(),
            events_dropped: self.events.dropped,
        }
    }
}

impl Snapshot {
    /// The netlocs by name, but for the first, which is the dependency itself.
    pub(crate) fn sort(&mut self) {
        if let Some((_, others)) = self.endpoints.split_first_mut() {
            others.sort_by(|a, b| a.netloc.cmp(&b.netloc));
        }
    }
}

impl EndpointSnapshot {
    fn of(now: Instant, policy: &Rules, endpoint: &Endpoint, queued: usize) -> Self {
        let Counts { successes, failures } = endpoint.circuit.counts(now);
        Self {
            netloc: endpoint.netloc.clone(),
            circuit: endpoint.circuit.state(),
            reopens_in: endpoint.circuit.until().map(|until| until.since(now)),
            open: endpoint.open,
            queued,
            connections: endpoint.connections.used,
            probes: endpoint.circuit.probes(),
            successes,
            failures,
            latency: endpoint.load.latency(now),
            paused_for: endpoint.is_paused(now).then(|| endpoint.paused_until.since(now)),
            listed: endpoint.listed > 0,
            adaptive_limit: endpoint.adaptive_limit(policy),
            rate_tokens: endpoint.tokens(now, policy),
            throttled_thousandths: endpoint.throttled_thousandths(now, policy),
        }
    }
}

impl EndpointSnapshot {
    /// What the limits say, at the end of its line.
    fn write_limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(limit) = self.adaptive_limit {
            write!(f, "  limit {limit}")?;
        }
        if let Some(tokens) = self.rate_tokens {
            write!(f, "  {tokens} tokens")?;
        }
        if let Some(share) = self.throttled_thousandths {
            write!(f, "  throttled {}.{} %", share / 10, share % 10)?;
        }
        writeln!(f)
    }
}

/// A table, a line a netloc.
impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dependency_id, calls, queued, totals, .. } = self;
        let tokens = self.budget_thousandths as f64 / 1000.0;
        write!(f, "{dependency_id}: {calls} calls, {queued} queued, {tokens:.1} retry tokens")?;
        f.write_str(if self.panic_mode { ", panic mode" } else { "" })?;
        writeln!(f, "{}", if self.closed { ", closed" } else { "" })?;
        writeln!(f, "{totals}")?;
        for SharedLimitSnapshot { open, max_open, rate_tokens } in &self.shared_limits {
            write!(f, "shared limit: {open} open")?;
            max_open.map_or(Ok(()), |most| write!(f, " of {most}"))?;
            rate_tokens.map_or(Ok(()), |tokens| write!(f, ", {tokens} tokens"))?;
            writeln!(f)?;
        }
        if self.events_dropped > 0 {
            writeln!(f, "{} events dropped", self.events_dropped)?;
        }
        let names = self.endpoints.iter().map(|endpoint| endpoint.netloc.as_str().len());
        let width = names.max().unwrap_or_default().max(28);
        writeln!(
            f,
            "{:<width$} {:<13} {:>8} {:>5} {:>6} {:>6} {:>6} {:>10} {:>8}",
            "netloc", "circuit", "again in", "open", "queued", "good", "bad", "latency", "pause"
        )?;
        let time = |time: Option<Duration>, millis: bool| match time {
            Some(time) if millis => format!("{:.1} ms", time.as_secs_f64() * 1000.0),
            Some(time) => format!("{:.1} s", time.as_secs_f64()),
            None => String::from("-"),
        };
        for endpoint in &self.endpoints {
            write!(
                f,
                "{:<width$} {:<13} {:>8} {:>5} {:>6} {:>6} {:>6} {:>10} {:>8}",
                endpoint.netloc.as_str(),
                endpoint.circuit.name(),
                time(endpoint.reopens_in, false),
                endpoint.open,
                endpoint.queued,
                endpoint.successes,
                endpoint.failures,
                time(endpoint.latency, true),
                time(endpoint.paused_for, false),
            )?;
            endpoint.write_limits(f)?;
        }
        Ok(())
    }
}
