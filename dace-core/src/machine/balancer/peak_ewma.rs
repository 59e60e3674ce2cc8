//! Power of two choices by peak-EWMA: of two endpoints drawn at random, the cheaper one.
//!
//! An endpoint's cost is its peak-EWMA latency times the operations that it would then have open
//! (Finagle's `LoadBalancer.p2cPeakEwma`; the two choices are Mitzenmacher's, 2001). The peak makes it
//! fall out at once when it turns slow, the decay lets it come back. Two rules are added:
//!
//! - **A failure costs at least [`PENALTY`].** Else an endpoint that fails in a millisecond is the
//!   fastest of all, and gets most of the traffic.
//! - **Silence is a cost.** While operations are open and none has ended for longer than the EWMA,
//!   that silence is the cost. Else an endpoint that hangs looks as fast as it was, until the first
//!   timeout.
//!
//! Where weights differ, they are held: latencies decide only if they differ by more than a factor of
//! two ([`Turns`]).
//!
//! The decay is exponential, by halving: `2^-n` between whole numbers is drawn straight, which is
//! within 6 % and needs no library.

use core::time::Duration;

use super::{Field, Turns, draw};
use crate::Instant;

/// Halvings in a nanosecond, for a decay with a time constant of 10 s; a halving is an exponent less.
const FALL: u64 = (core::f64::consts::LOG2_E / 10e9 * EXPONENT as f64 + 0.5) as u64;

/// One more in a float's exponent, as a number that its bits are.
const EXPONENT: u64 = 1 << 52;

/// After so many nanoseconds nothing is left: 64 halvings.
const FORGOTTEN: u64 = 64 * EXPONENT / FALL;

/// The least that a failure costs.
pub const PENALTY: Duration = Duration::from_secs(5);

/// How long a new endpoint takes to get its full share.
const RAMP: Duration = Duration::from_secs(10);

/// Operations that an endpoint without any result may have open while another one has results.
const UNPROVEN: u32 = 2;

/// So many times cheaper is clearly cheaper, where the weights are somebody's word for who is faster.
const CLEARLY: f64 = 2.0;

/// What is known about how fast an endpoint is.
#[derive(Clone, Debug, PartialEq)]
pub struct Load {
    /// Nanoseconds; negative while there is no result.
    ewma: f64,
    updated: Instant,
    /// Since when nothing has ended here, while something is open.
    quiet_since: Instant,
    /// When the full share is reached.
    ramped: Instant,
}

impl Load {
    /// Nothing is known, and the full share is its own at once.
    pub const fn new() -> Self {
        Self {
            ewma: -1.0,
            updated: Instant::EPOCH,
            quiet_since: Instant::EPOCH,
            ramped: Instant::EPOCH,
        }
    }

    /// The endpoint joined others at `now`: its share grows over ten seconds.
    pub fn ramp_up(&mut self, now: Instant) {
        self.ramped = now.after(RAMP);
    }

    /// Forgets all results, at `now`.
    pub fn reset(&mut self, now: Instant) {
        *self = Self { quiet_since: now, ..Self::new() };
    }

    /// An operation began; `open` were open before.
    pub fn on_start(&mut self, now: Instant, open: u32) {
        if open == 0 {
            self.quiet_since = now;
        }
    }

    /// An operation ended, and cost this much: its time, or more if it failed. `None` if it says
    /// nothing about the endpoint.
    pub fn on_end(&mut self, now: Instant, cost: Option<Duration>) {
        self.quiet_since = now;
        if let Some(cost) = cost {
            self.on_result(now, crate::instant::nanos(cost));
        }
    }

    /// An operation ended after so many nanoseconds.
    #[inline]
    pub fn on_success(&mut self, now: Instant, nanos: u64) {
        self.quiet_since = now;
        self.on_result(now, nanos);
    }

    #[inline]
    fn on_result(&mut self, now: Instant, nanos: u64) {
        let cost = i64::try_from(nanos).unwrap_or(i64::MAX) as f64;
        let passed = now.nanos_since(self.updated);
        self.updated = self.updated.max(now);
        self.ewma =
            if cost >= self.ewma { cost } else { cost + (self.ewma - cost) * decay(passed) };
    }

    /// An operation was dropped after this long: known only to have cost at least that.
    pub fn on_cancel(&mut self, now: Instant, elapsed: Duration) {
        let elapsed_nanos = crate::instant::nanos(elapsed) as f64;
        let told = self.is_proven() && elapsed_nanos > self.decayed(now);
        self.on_end(now, told.then_some(elapsed));
    }

    /// Whether there is any result yet.
    pub fn is_proven(&self) -> bool {
        self.ewma >= 0.0
    }

    /// The peak-EWMA latency, decayed to now. `None` without results.
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        self.is_proven().then(|| Duration::from_nanos(self.decayed(now) as u64))
    }

    fn decayed(&self, now: Instant) -> f64 {
        self.ewma.max(0.0) * decay(now.nanos_since(self.updated))
    }

    /// What so many operations would cost, in nanoseconds times operations, while `open` are open. No
    /// result yet costs nothing up to [`UNPROVEN`] operations, then more than everything.
    fn score(&self, now: Instant, open: u32, operations: f64) -> f64 {
        if !self.is_proven() {
            return if open < UNPROVEN { 0.0 } else { f64::from(open) * 1e30 };
        }
        let mut cost = self.decayed(now);
        if open > 0 {
            cost = cost.max(nanos_since(now, self.quiet_since) as f64);
        }
        if now >= self.ramped { cost * operations } else { cost * operations / self.share(now) }
    }

    /// The share of its weight that an endpoint may have already.
    fn share(&self, now: Instant) -> f64 {
        let missing = self.ramped.since(now).as_nanos() as f64 / RAMP.as_nanos() as f64;
        (1.0 - missing).clamp(0.1, 1.0)
    }
}

/// As a signed number, which is quicker to make a float of. 292 years are enough.
fn nanos_since(now: Instant, earlier: Instant) -> i64 {
    i64::try_from(now.nanos_since(earlier)).unwrap_or(i64::MAX)
}

/// What is left of 1 after so many nanoseconds: it falls in straight lines from each power of two to the
/// next, as the value of a float does while its bits fall evenly.
#[inline]
fn decay(passed: u64) -> f64 {
    if passed >= FORGOTTEN { 0.0 } else { f64::from_bits(1_f64.to_bits() - passed * FALL) }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

/// Draws two endpoints that admit, and picks the cheaper one. Where weights differ, the one that is behind
/// its share, unless the other one is clearly cheaper.
pub fn pick(
    now: Instant,
    rng: &mut fastrand::Rng,
    turns: &mut Turns,
    field: &impl Field,
) -> Option<usize> {
    let (a, b) = draw::two(rng, turns, field)?;
    if turns.odds().is_none() {
        let score = |index: usize| {
            let open = field.open(index);
            field.load(index).score(now, open, f64::from(open) + 1.0)
        };
        return Some(if a == b || score(a) <= score(b) { a } else { b });
    }
    let cost =
        |index: usize, operations: f64| field.load(index).score(now, field.open(index), operations);
    let better = |one: usize, other: usize| {
        let part = |index: usize, more: u32| {
            let open = f64::from(field.open(index)) + f64::from(more);
            cost(index, open / f64::from(field.weight(index)))
        };
        let with_one_more = CLEARLY * part(one, 1);
        with_one_more < part(other, 0)
            || with_one_more < part(other, 1) && CLEARLY * cost(one, 1.0) < cost(other, 1.0)
    };
    Some(turns.settle((a, b), better, field))
}

#[cfg(test)]
mod tests;
