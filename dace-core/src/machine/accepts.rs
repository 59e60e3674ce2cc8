//! Client-side throttling: how much of what is asked for a server accepts.
//!
//! A request is refused here with the probability
//!
//! ```text
//! max(0, (requests - K × accepts - allowance) / (requests + 1))
//! ```
//!
//! over the last two minutes (Google, *Site Reliability Engineering*, ch. 21, *Handling Overload*). The
//! book has no allowance, because its clients make thousands of requests: without it the first calls of
//! a process, which nobody has answered yet, refuse each other. Requests are counted before they are
//! sent, so a server that hangs is seen before its first timeout; what is refused here counts as a
//! request, so that the share of what is let through keeps falling while nothing is accepted.

use crate::Instant;
use crate::instant::nanos;
use crate::policy::Throttle;

const BUCKETS: usize = 24;

/// Requests and accepts in a sliding window of 24 buckets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accepts {
    buckets: [Bucket; BUCKETS],
    /// What the newest bucket stands for.
    newest: u64,
    requests: u64,
    accepts: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Bucket {
    requests: u32,
    accepts: u32,
}

impl Accepts {
    /// An empty window.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether a request is refused. If so it was counted; else [`on_request`](Self::on_request) counts
    /// it. A number is drawn only if there is something to decide.
    #[must_use]
    pub fn sheds(&mut self, now: Instant, throttle: &Throttle, rng: &mut fastrand::Rng) -> bool {
        self.slide(now, throttle);
        let (missing, of) = self.odds(throttle);
        if missing == 0 || rng.u64(0..of) >= missing {
            return false;
        }
        self.on_request(now, throttle);
        true
    }

    /// A request is about to be sent, or was refused here.
    pub fn on_request(&mut self, now: Instant, throttle: &Throttle) {
        self.slide(now, throttle);
        let bucket = &mut self.buckets[index(self.newest)];
        if bucket.requests < u32::MAX {
            bucket.requests += 1;
            self.requests += 1;
        }
    }

    /// The server accepted one.
    pub fn on_accept(&mut self, now: Instant, throttle: &Throttle) {
        self.slide(now, throttle);
        let bucket = &mut self.buckets[index(self.newest)];
        if bucket.accepts < u32::MAX {
            bucket.accepts += 1;
            self.accepts += 1;
        }
    }

    /// The request that was counted `then` says nothing about the server.
    pub fn on_neutral(&mut self, now: Instant, throttle: &Throttle, then: Instant) {
        self.slide(now, throttle);
        let counted = number(then, throttle).min(self.newest);
        let bucket = &mut self.buckets[index(counted)];
        if self.newest - counted < BUCKETS as u64 && bucket.requests > 0 {
            bucket.requests -= 1;
            self.requests -= 1;
        }
    }

    /// The probability of being refused, in thousandths.
    pub fn thousandths(&self, now: Instant, throttle: &Throttle) -> u32 {
        let mut slid = self.clone();
        slid.slide(now, throttle);
        let (missing, of) = slid.odds(throttle);
        // At most 1000, since `missing` is less than `of`.
        (u128::from(missing) * 1000 / u128::from(of)) as u32
    }

    /// Whether nothing is known that a new window would not know.
    pub fn is_fresh(&self, now: Instant, throttle: &Throttle) -> bool {
        let mut slid = self.clone();
        slid.slide(now, throttle);
        slid.requests == 0 && slid.accepts == 0
    }

    /// The probability, as a fraction.
    fn odds(&self, throttle: &Throttle) -> (u64, u64) {
        let good = self.accepts.saturating_mul(u64::from(throttle.multiplier.0));
        let spared = good.saturating_add(u64::from(throttle.allowance) * 1000);
        let missing = self.requests.saturating_mul(1000).saturating_sub(spared);
        (missing, (self.requests + 1).saturating_mul(1000))
    }

    /// Drops what is older than the window. A clock that went back counts into the newest bucket.
    fn slide(&mut self, now: Instant, throttle: &Throttle) {
        let number = number(now, throttle);
        if number <= self.newest {
            return;
        }
        if number - self.newest >= BUCKETS as u64 {
            *self = Self { newest: number, ..Self::default() };
            return;
        }
        for gone in self.newest + 1..=number {
            let bucket = core::mem::take(&mut self.buckets[index(gone)]);
            self.requests -= u64::from(bucket.requests);
            self.accepts -= u64::from(bucket.accepts);
        }
        self.newest = number;
    }
}

fn number(at: Instant, throttle: &Throttle) -> u64 {
    at.as_nanos() / (nanos(throttle.window) / BUCKETS as u64).max(1)
}

const fn index(number: u64) -> usize {
    (number % BUCKETS as u64) as usize
}

#[cfg(test)]
mod tests;
