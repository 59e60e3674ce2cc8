//! The circuit breaker of one netloc (Nygard, *Release It!*, 2007).
//!
//! - **Closed**: everybody passes; results are counted. It opens after so many failures in a row that
//!   they are no [accident](super::streak), or
//!   when the failure rate of the last ten seconds is too high and there were enough results to tell.
//! - **Open**: nobody passes. The open time doubles each time a probe fails, up to a cap, and is
//!   jittered so that many clients do not come back at once.
//! - **Half-open**: so many probes at a time. Enough successes in a row close it, one failure opens it
//!   again. It is entered inside admission, so there is no timer and no task.
//!
//! A pass carries the generation of the circuit that gave it: a result of an older generation changes
//! nothing. A probe is a lease: if it is not settled by the end of its lease, that is a failure. So
//! there is no way in which a half-open circuit can wait for ever for somebody who does not come
//! back.

use core::time::Duration;

use alloc::vec::Vec;

use super::Again;
use super::streak;
use super::window::{Counts, Window};
use crate::Instant;
use crate::policy::Breaker;

/// The longest lease of a probe, unless `circuit_reset_timeout` is shorter.
const LONGEST_LEASE: Duration = Duration::from_secs(30);

/// The settings that a circuit reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CircuitRules {
    consecutive_failures: u32,
    failure_thousandths: u32,
    min_calls: u32,
    probes: u32,
    successes: u32,
    /// Zero: the breaker is off.
    open: Duration,
    max_open: Duration,
}

impl CircuitRules {
    /// Rules from the settings. An open time of zero switches the breaker off.
    pub fn new(breaker: &Breaker, circuit_reset_timeout: Duration) -> Self {
        Self {
            consecutive_failures: breaker.consecutive_failures,
            failure_thousandths: breaker.failure_rate.0,
            min_calls: breaker.min_calls,
            probes: breaker.probes,
            successes: breaker.successes,
            open: circuit_reset_timeout,
            max_open: breaker.max_open.max(circuit_reset_timeout),
        }
    }

    /// Whether there is no breaker.
    pub(crate) const fn is_off(&self) -> bool {
        self.open.is_zero()
    }

    /// The open time after so many reopenings, without jitter.
    fn open_time(&self, reopenings: u32) -> Duration {
        let factor = 1u32.checked_shl(reopenings).unwrap_or(u32::MAX);
        self.open.saturating_mul(factor).min(self.max_open)
    }

    fn lease(&self) -> Duration {
        self.open.min(LONGEST_LEASE)
    }
}

/// The right to try, and what it was given for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Pass {
    generation: u32,
    /// The number of the probe, 0 for no probe.
    probe: u32,
}

impl Pass {
    /// Whether it was given to a probe of a half-open circuit.
    pub const fn is_probe(self) -> bool {
        self.probe != 0
    }
}

/// Somebody may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Admission {
    /// To be given back with the result.
    pub pass: Pass,
    /// What changed by it.
    pub transition: Option<Transition>,
}

/// Nobody may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Refused {
    /// When it is worth while to ask again.
    pub again: Again,
    /// What changed by it: a probe's lease had run out.
    pub transition: Option<Transition>,
}

/// What a result means to a circuit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The server works.
    Success,
    /// It does not.
    Failure,
    /// It asks for less: fails a probe, and is not counted otherwise.
    Throttled,
    /// Nothing can be said: a probe gives its place back.
    Neutral,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Transition {
    /// The state before.
    pub from: CircuitState,
    /// The state now.
    pub to: CircuitState,
}

/// The state of a circuit, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CircuitState {
    /// Everybody passes.
    Closed,
    /// Nobody passes.
    Open,
    /// Probes pass.
    HalfOpen,
    /// Nobody passes, by hand.
    ForcedOpen,
    /// Everybody passes, by hand.
    ForcedClosed,
    /// Everybody passes, by hand; results are counted.
    MetricsOnly,
    /// Nobody passes, by hand: the server is to be taken away.
    Drained,
}

impl CircuitState {
    /// Whether everybody passes.
    pub const fn lets_all(self) -> bool {
        matches!(self, Self::Closed | Self::ForcedClosed | Self::MetricsOnly)
    }

    /// The name used in logs, metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::MetricsOnly => "metrics_only",
            Self::Drained => "drained",
        }
    }

    /// Whether somebody decided it by hand.
    pub const fn is_manual(self) -> bool {
        !matches!(self, Self::Closed | Self::Open | Self::HalfOpen)
    }
}

/// Who decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The circuit itself.
    #[default]
    Automatic,
    /// Nobody passes.
    ForcedOpen,
    /// Everybody passes.
    ForcedClosed,
    /// Everybody passes, and results are counted.
    MetricsOnly,
    /// Nobody passes, and the server does not count as one that could be had.
    Drained,
}

/// A circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Circuit {
    mode: Mode,
    generation: u32,
    /// How often it was opened again since it was last closed.
    reopenings: u32,
    state: State,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Closed { window: Window, streak: u32 },
    Open { until: Instant },
    HalfOpen { leases: Vec<Lease>, probes_given: u32, successes: u32 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    probe: u32,
    until: Instant,
}

impl State {
    const fn closed() -> Self {
        Self::Closed { window: Window::new(), streak: 0 }
    }
}

impl Default for Circuit {
    fn default() -> Self {
        Self::new()
    }
}

impl Circuit {
    /// A closed circuit that knows nothing.
    pub const fn new() -> Self {
        Self { mode: Mode::Automatic, generation: 0, reopenings: 0, state: State::closed() }
    }

    /// Asks to pass, and takes a probe's place if that is what it takes. `lease_until` is when the
    /// attempt ends at the latest.
    ///
    /// # Errors
    /// When to ask again.
    pub fn try_admit(
        &mut self,
        now: Instant,
        rules: &CircuitRules,
        lease_until: Instant,
    ) -> Result<Admission, Refused> {
        if let Err(again) = self.check(now, rules) {
            return Err(Refused { again, transition: None });
        }
        let generation = self.generation;
        let free = Ok(Admission { pass: Pass { generation, probe: 0 }, transition: None });
        if rules.is_off() || self.mode != Mode::Automatic {
            return free;
        }
        let mut transition = None;
        match &self.state {
            State::Closed { .. } => return free,
            State::Open { .. } => {
                let half_open =
                    State::HalfOpen { leases: Vec::new(), probes_given: 0, successes: 0 };
                transition = self.change(half_open);
            }
            State::HalfOpen { leases, .. } => {
                if leases.iter().any(|lease| lease.until <= now) {
                    // Nobody settled it in time: the server hangs, or its caller does.
                    let random = spread(now.as_nanos() ^ u64::from(generation));
                    let transition = self.reopen(now, rules, random);
                    return Err(Refused { again: self.again(), transition });
                }
            }
        }
        let generation = self.generation;
        let State::HalfOpen { leases, probes_given, .. } = &mut self.state else {
            return free;
        };
        *probes_given += 1;
        let probe = *probes_given;
        leases.push(Lease { probe, until: lease_until.min(now.after(rules.lease())) });
        Ok(Admission { pass: Pass { generation, probe }, transition })
    }

    /// Whether somebody would pass now. A probe whose lease ran out is found out by
    /// [`try_admit`](Self::try_admit) alone, so that is worth asking too.
    ///
    /// # Errors
    /// When to ask again.
    #[inline]
    pub fn check(&self, now: Instant, rules: &CircuitRules) -> Result<(), Again> {
        match (self.mode, &self.state) {
            (Mode::ForcedOpen | Mode::Drained, _) => Err(Again::Never),
            (Mode::ForcedClosed | Mode::MetricsOnly, _) => Ok(()),
            _ if rules.is_off() => Ok(()),
            (Mode::Automatic, State::Closed { .. }) => Ok(()),
            (Mode::Automatic, State::Open { until }) if now < *until => Err(Again::At(*until)),
            (Mode::Automatic, State::Open { .. }) => Ok(()),
            (Mode::Automatic, State::HalfOpen { leases, .. }) => {
                let free = leases.len() < rules.probes as usize;
                let lapsed = leases.iter().any(|lease| lease.until <= now);
                if free || lapsed { Ok(()) } else { Err(Again::WhenFreed) }
            }
        }
    }

    /// Lets somebody pass although the circuit is not closed: its result changes nothing.
    pub const fn bypass(&self) -> Pass {
        Pass { generation: self.generation, probe: 0 }
    }

    /// Counts a success, if that is all there is to it: it decides nothing about a probe. `false`:
    /// nothing was done, and [`on_result`](Self::on_result) decides.
    #[inline]
    pub fn try_count_success(&mut self, now: Instant, rules: &CircuitRules, pass: Pass) -> bool {
        match &mut self.state {
            State::Closed { window, streak } if pass.generation == self.generation => {
                if !rules.is_off() {
                    window.on_success(now);
                    *streak = 0;
                }
                true
            }
            _ => false,
        }
    }

    /// The result of somebody who passed.
    pub fn on_result(
        &mut self,
        now: Instant,
        rules: &CircuitRules,
        rng: &mut fastrand::Rng,
        pass: Pass,
        verdict: Verdict,
    ) -> Option<Transition> {
        if pass.generation != self.generation {
            return None;
        }
        if rules.is_off() {
            // Switched off while a probe was under way: its place is free, and its result says nothing.
            if let State::HalfOpen { leases, .. } = &mut self.state {
                leases.retain(|lease| lease.probe != pass.probe);
            }
            return None;
        }
        match &mut self.state {
            State::Closed { window, streak } => {
                match verdict {
                    Verdict::Success => {
                        window.on_success(now);
                        *streak = 0;
                    }
                    Verdict::Failure => {
                        window.on_failure(now);
                        *streak = streak.saturating_add(1);
                    }
                    Verdict::Throttled | Verdict::Neutral => return None,
                }
                let trips = verdict == Verdict::Failure
                    && (is_no_accident(*streak, window, now, rules)
                        || is_too_much(window.counts(now), rules));
                if !trips || self.mode != Mode::Automatic {
                    return None;
                }
                self.open(now, rules, rng)
            }
            State::Open { .. } => None,
            State::HalfOpen { leases, successes, .. } => {
                let place = leases.iter().position(|lease| lease.probe == pass.probe)?;
                let lease = leases.swap_remove(place);
                let lapsed = now > lease.until;
                match verdict {
                    Verdict::Neutral if !lapsed => None,
                    Verdict::Success if !lapsed => {
                        *successes += 1;
                        if *successes < rules.successes {
                            return None;
                        }
                        self.reopenings = 0;
                        self.change(State::closed())
                    }
                    _ => self.reopen(now, rules, rng.u64(..)),
                }
            }
        }
    }

    /// Sets who decides. `Automatic` starts closed, and knows nothing of what was before.
    pub fn set_mode(&mut self, mode: Mode) -> Option<Transition> {
        let from = self.state();
        self.mode = mode;
        self.forget(from)
    }

    /// Closed, and nothing known, whoever decides: a mode that was set by hand stays.
    pub fn reset(&mut self) -> Option<Transition> {
        self.forget(self.state())
    }

    fn forget(&mut self, from: CircuitState) -> Option<Transition> {
        self.reopenings = 0;
        self.state = State::closed();
        self.generation = self.generation.wrapping_add(1);
        let to = self.state();
        (from != to).then_some(Transition { from, to })
    }

    /// The state. An open circuit whose time is over stays open until somebody asks.
    pub const fn state(&self) -> CircuitState {
        match (self.mode, &self.state) {
            (Mode::ForcedOpen, _) => CircuitState::ForcedOpen,
            (Mode::ForcedClosed, _) => CircuitState::ForcedClosed,
            (Mode::MetricsOnly, _) => CircuitState::MetricsOnly,
            (Mode::Drained, _) => CircuitState::Drained,
            (Mode::Automatic, State::Closed { .. }) => CircuitState::Closed,
            (Mode::Automatic, State::Open { .. }) => CircuitState::Open,
            (Mode::Automatic, State::HalfOpen { .. }) => CircuitState::HalfOpen,
        }
    }

    /// Until when it is open, if it is.
    pub const fn until(&self) -> Option<Instant> {
        match (self.mode, &self.state) {
            (Mode::Automatic, State::Open { until }) => Some(*until),
            _ => None,
        }
    }

    /// The counts of the window, while the circuit is closed.
    pub fn counts(&self, now: Instant) -> Counts {
        match &self.state {
            State::Closed { window, .. } => window.clone().counts(now),
            State::Open { .. } | State::HalfOpen { .. } => Counts::default(),
        }
    }

    /// Probes under way.
    pub fn probes(&self) -> usize {
        match &self.state {
            State::HalfOpen { leases, .. } => leases.len(),
            State::Closed { .. } | State::Open { .. } => 0,
        }
    }

    /// Whether nothing speaks against the server: closed, decided by itself, no failure in the
    /// window.
    pub fn is_unsuspected(&self, now: Instant) -> bool {
        let State::Closed { streak: 0, .. } = &self.state else {
            return false;
        };
        self.mode == Mode::Automatic && self.counts(now).failures == 0
    }

    fn again(&self) -> Again {
        self.until().map_or(Again::WhenFreed, Again::At)
    }

    fn open(
        &mut self,
        now: Instant,
        rules: &CircuitRules,
        rng: &mut fastrand::Rng,
    ) -> Option<Transition> {
        self.open_for(now, rules.open_time(0), rng.u64(..))
    }

    fn reopen(&mut self, now: Instant, rules: &CircuitRules, random: u64) -> Option<Transition> {
        self.reopenings = self.reopenings.saturating_add(1);
        self.open_for(now, rules.open_time(self.reopenings), random)
    }

    /// Opens for `time` and up to a fifth more.
    fn open_for(&mut self, now: Instant, time: Duration, random: u64) -> Option<Transition> {
        let fifth = crate::instant::nanos(time) / 5;
        let jitter = ((u128::from(random) * u128::from(fifth)) >> 64) as u64;
        let until = now.after(time).after(Duration::from_nanos(jitter));
        self.change(State::Open { until })
    }

    fn change(&mut self, state: State) -> Option<Transition> {
        let from = self.state();
        self.state = state;
        self.generation = self.generation.wrapping_add(1);
        Some(Transition { from, to: self.state() })
    }
}

/// A number in place of a random one, where there is no generator: two clients that find out at two
/// instants come back at two (the finalizer of SplitMix64).
const fn spread(seed: u64) -> u64 {
    let x = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Whether so many failures in a row are more than chance makes of the server's usual ones.
fn is_no_accident(row: u32, window: &mut Window, now: Instant, rules: &CircuitRules) -> bool {
    if row < rules.consecutive_failures {
        return false;
    }
    let mut before = window.counts(now);
    before.failures = before.failures.saturating_sub(row);
    row >= streak::required(rules.consecutive_failures, before, rules.min_calls)
}

fn is_too_much(counts: Counts, rules: &CircuitRules) -> bool {
    let (bad, all) =
        (u64::from(counts.failures), u64::from(counts.failures) + u64::from(counts.successes));
    all >= u64::from(rules.min_calls) && bad * 1000 >= u64::from(rules.failure_thousandths) * all
}

#[cfg(test)]
mod exhaustive;
#[cfg(test)]
mod tests;
