//! The adaptive limit: a server that is asked for more than it can do at once gets slower.
//!
//! Results come in windows of at least 20, at least 100 ms, and at least twice the latency, so that each
//! sees what the last change did. A window moves the limit to
//!
//! ```text
//! limit × gradient × accepted + limit / 24
//! ```
//!
//! by [`smoothing`](AdaptiveLimit::smoothing), where the gradient is how the latency without load
//! compares with that of the window (from ½ to 1, times the tolerance), and `accepted` is the share that
//! did not fail, time out or get throttled: Netflix's *concurrency-limits* (`Gradient2Limit`), and DCTCP
//! (RFC 8257) for the failures. What is dropped early says nothing. The last term is room to grow, only
//! if the limit was used up; in proportion, so that the limit stands at the same multiple of every
//! capacity, 1.1 by default.
//!
//! **The latency without load is measured, not remembered.** An average over a long time (`Gradient2`)
//! learns the queue that it is to prevent, and the limit of a busy server creeps up for ever. So every ten
//! seconds of full use the limit dips to a half for two windows, one for what was under way to end and
//! one to measure (BBR's `ProbeRTT`), and again after a second if the measure had moved. A window
//! that uses less than half of the limit measures without a dip.
//!
//! It begins by growing by half a window until the latency answers.

use core::time::Duration;

use crate::Instant;
use crate::instant::nanos;
use crate::policy::AdaptiveLimit;

/// The shortest window.
const WINDOW: Duration = Duration::from_millis(100);

/// The fewest results in a window.
const RESULTS: u32 = 20;

/// Between dips.
const DIPS: Duration = Duration::from_secs(10);

/// Until the next dip while the measure moves.
const UNSETTLED: Duration = Duration::from_secs(1);

/// What the limit grows by at the least, in thousandths, however small it is.
const LEAST_GROWTH: u64 = 250;

/// A limit that follows what a server can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gradient {
    /// In thousandths.
    limit: u64,
    /// The latency without load in nanoseconds; 0 while it is not known.
    unloaded: u64,
    /// The limit still grows until the latency answers.
    searching: bool,
    dip: Dip,
    next_dip: Instant,
    /// The limit at the last dip.
    dipped_at: u64,
    window: Window,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dip {
    No,
    /// What was under way before ends.
    Draining,
    Measuring,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Window {
    begun: Instant,
    good: u32,
    bad: u32,
    /// Of the good ones, in nanoseconds.
    latencies: u64,
    /// The most that were open.
    peak: u32,
}

impl Gradient {
    /// Nothing is known yet.
    pub fn new(now: Instant, rules: &AdaptiveLimit) -> Self {
        Self {
            limit: within(rules, u64::from(rules.start) * 1000),
            unloaded: 0,
            searching: true,
            dip: Dip::No,
            next_dip: now.after(UNSETTLED),
            dipped_at: 0,
            window: Window { begun: now, ..Window::default() },
        }
    }

    /// Operations that may be open.
    pub fn limit(&self, rules: &AdaptiveLimit) -> u32 {
        let limit = match self.dip {
            Dip::No => self.limit,
            Dip::Draining | Dip::Measuring => self.limit / 2,
        };
        // It is at most the ceiling, which is a `u32`.
        (within(rules, limit) / 1000) as u32
    }

    /// An operation began; so many are open now.
    pub fn on_start(&mut self, open: u32) {
        self.window.peak = self.window.peak.max(open);
    }

    /// An operation ended well after `took`.
    pub fn on_success(&mut self, now: Instant, rules: &AdaptiveLimit, took: Duration) {
        self.window.good = self.window.good.saturating_add(1);
        self.window.latencies = self.window.latencies.saturating_add(nanos(took));
        self.on_result(now, rules);
    }

    /// An operation failed, timed out, or was throttled.
    pub fn on_failure(&mut self, now: Instant, rules: &AdaptiveLimit) {
        self.window.bad = self.window.bad.saturating_add(1);
        self.on_result(now, rules);
    }

    fn on_result(&mut self, now: Instant, rules: &AdaptiveLimit) {
        let Window { begun, good, bad, .. } = self.window;
        if now < begun {
            // The clock went back.
            self.window.begun = now;
            self.next_dip = self.next_dip.min(now.after(DIPS));
            return;
        }
        let length = nanos(WINDOW).max(self.unloaded.saturating_mul(2));
        let counts = self.dip == Dip::Draining || good.saturating_add(bad) >= RESULTS;
        if counts && nanos(now.since(begun)) >= length {
            let next = Window { begun: now, ..Window::default() };
            let window = core::mem::replace(&mut self.window, next);
            self.on_window(now, rules, &window);
        }
    }

    fn on_window(&mut self, now: Instant, rules: &AdaptiveLimit, window: &Window) {
        let latency = window.latencies.checked_div(u64::from(window.good)).map(|mean| mean.max(1));
        match (self.dip, latency) {
            (Dip::No, _) => self.move_limit(now, rules, window, latency),
            (Dip::Draining, _) => self.dip = Dip::Measuring,
            (Dip::Measuring, measured) => {
                self.dip = Dip::No;
                let settled = measured.is_none_or(|measured| self.measure(measured));
                self.next_dip = now.after(if settled { DIPS } else { UNSETTLED });
                self.dipped_at = self.limit;
            }
        }
    }

    /// A dip measured the latency without load. `false` if it is not what was known.
    fn measure(&mut self, measured: u64) -> bool {
        let known = self.unloaded;
        if known == 0 {
            self.unloaded = measured;
            return false;
        }
        // What is clearly less was under load before; what is more may be what is left of a queue.
        let clearly_less = measured < known - known / 10;
        self.unloaded = if clearly_less { measured } else { known / 2 + measured / 2 };
        // A slower server may have room all the same.
        self.searching |= measured > known.saturating_add(known / 10);
        measured.abs_diff(known) <= known / 10
    }

    fn move_limit(
        &mut self,
        now: Instant,
        rules: &AdaptiveLimit,
        window: &Window,
        latency: Option<u64>,
    ) {
        let peak = u64::from(window.peak) * 1000;
        let used_up = peak.saturating_add(1000) > self.limit || peak * 10 >= self.limit * 9;
        let mut gradient = 1000;
        if let Some(latency) = latency {
            if self.unloaded == 0 {
                self.unloaded = latency;
            } else if peak * 2 < self.limit {
                self.unloaded = self.unloaded - self.unloaded / 8 + latency / 8;
            } else {
                let allowed = u128::from(self.unloaded) * u128::from(rules.tolerance.0);
                gradient = (allowed / u128::from(latency)).clamp(500, 1000) as u64;
            }
        }
        let bad = u64::from(window.bad) * 1000 / (u64::from(window.good) + u64::from(window.bad));
        let factor = (gradient * (1000 - bad) / 1000).max(500);
        self.searching &= gradient == 1000 && bad <= 60;
        let target = match used_up {
            true if self.searching => self.limit + self.limit / 2,
            true => self.limit * factor / 1000 + (self.limit / 24).max(LEAST_GROWTH),
            false => self.limit * factor / 1000,
        };
        let smoothing = if self.searching { 1000 } else { u64::from(rules.smoothing.0) };
        let moved = self.limit * (1000 - smoothing) + target * smoothing;
        self.limit = within(rules, moved / 1000);
        if used_up && (now >= self.next_dip || self.limit * 2 < self.dipped_at) {
            self.dip = Dip::Draining;
        }
    }

    /// Whether nothing is known that would matter to a server's protection.
    pub fn is_forgettable(&self, now: Instant, rules: &AdaptiveLimit) -> bool {
        let start = within(rules, u64::from(rules.start) * 1000);
        self.limit >= start || now.since(self.window.begun) > DIPS * 6
    }
}

fn within(rules: &AdaptiveLimit, limit: u64) -> u64 {
    limit.clamp(u64::from(rules.floor) * 1000, u64::from(rules.ceiling) * 1000)
}

#[cfg(test)]
mod tests;
