//! When a second attempt is made beside a slow one, and what pays for it.
//!
//! Latencies of the last minute are counted in buckets a sixteenth of a power of two wide, so that a
//! quantile is at most 6 % too high, and never too low: hedges are rather too rare than too many.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::vec;

use crate::Instant;
use crate::policy::Hedge;

const TOKEN: u64 = 1000;

/// Tokens that are banked at the most.
const BANKED: u64 = 10;

/// Attempts in the window without which nothing is known.
const ENOUGH: u32 = 50;

/// The earliest hedge.
const EARLIEST: Duration = Duration::from_millis(1);

/// Parts of the window, and the length of each.
const PARTS: usize = 6;
const PART: Duration = Duration::from_secs(10);

/// Buckets of a power of two; the first holds all below `2^LOWEST` nanoseconds (16 µs).
const FINE: u32 = 16;
const LOWEST: u32 = 14;
const BUCKETS: usize = ((44 - LOWEST) * FINE) as usize;

/// The latencies of the last minute, and the tokens for hedges.
#[derive(Clone, Debug)]
pub struct Hedging {
    max_extra: u64,
    /// In thousandths. Starts empty: the first calls pay for the first hedge.
    tokens: u64,
    /// Counts of each part of the window, one after the other, and of all of it.
    counts: Box<[u32]>,
    window: Box<[u32]>,
    total: u32,
    newest: usize,
    newest_ends: Instant,
    delay: Option<Duration>,
    /// Samples until the delay is computed anew.
    stale_in: u32,
}

impl Hedging {
    /// Nothing is known yet.
    pub fn new(now: Instant, hedge: &Hedge) -> Self {
        Self {
            max_extra: u64::from(hedge.max_extra.0),
            tokens: 0,
            counts: vec![0; BUCKETS * PARTS].into(),
            window: vec![0; BUCKETS].into(),
            total: 0,
            newest: 0,
            newest_ends: now.after(PART),
            delay: None,
            stale_in: 0,
        }
    }

    /// Another share; what is known stays.
    pub fn set(&mut self, hedge: &Hedge) {
        self.max_extra = u64::from(hedge.max_extra.0);
        self.stale_in = 0;
    }

    /// A call begins, and pays for its share of a hedge.
    pub fn on_call(&mut self) {
        self.tokens = (BANKED * TOKEN).min(self.tokens + self.max_extra);
    }

    /// An attempt took so long, or longer.
    pub fn on_latency(&mut self, now: Instant, took: Duration) {
        self.slide(now);
        let bucket = bucket_of(took);
        let count = &mut self.counts[self.newest * BUCKETS + bucket];
        *count = count.saturating_add(1);
        self.window[bucket] = self.window[bucket].saturating_add(1);
        self.total = self.total.saturating_add(1);
        self.stale_in = self.stale_in.saturating_sub(1);
    }

    /// How long after an attempt's start its hedge begins. `None`: too little is known.
    pub fn delay(&mut self, now: Instant) -> Option<Duration> {
        self.slide(now);
        if self.stale_in == 0 {
            self.delay = self.quantile();
            self.stale_in = 1 + self.total / 32;
        }
        self.delay
    }

    /// Whether there is a token.
    pub const fn has_one(&self) -> bool {
        self.tokens >= TOKEN
    }

    /// Takes a token. `false`: there is none, and nothing was taken.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        let taken = self.has_one();
        self.tokens -= if taken { TOKEN } else { 0 };
        taken
    }

    /// The end of the lowest bucket above which there is at most the share that may be hedged.
    fn quantile(&self) -> Option<Duration> {
        if self.total < ENOUGH {
            return None;
        }
        let above = u64::from(self.total) * self.max_extra / 1000;
        let mut seen = 0;
        let within = |(_, count): &(usize, &u32)| {
            seen += u64::from(**count);
            seen <= above
        };
        let skipped = self.window.iter().enumerate().rev().take_while(within).count();
        let bucket = (BUCKETS - skipped).saturating_sub(1);
        Some(end_of(bucket).max(EARLIEST))
    }

    fn slide(&mut self, now: Instant) {
        if now < self.newest_ends || self.newest_ends.is_never() {
            return;
        }
        let passed = now.since(self.newest_ends).as_nanos() / PART.as_nanos() + 1;
        for _ in 0..passed.min(PARTS as u128) {
            self.newest = (self.newest + 1) % PARTS;
            let oldest = &mut self.counts[self.newest * BUCKETS..][..BUCKETS];
            for (count, all) in oldest.iter_mut().zip(self.window.iter_mut()) {
                *all = all.saturating_sub(*count);
                self.total = self.total.saturating_sub(*count);
                *count = 0;
            }
        }
        let ahead = PART
            - Duration::from_nanos(
                (now.since(self.newest_ends).as_nanos() % PART.as_nanos()) as u64,
            );
        self.newest_ends = now.after(ahead);
        self.stale_in = 0;
    }
}

fn bucket_of(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    if nanos >> LOWEST == 0 {
        return 0;
    }
    let power = nanos.ilog2();
    let fine = (nanos >> (power - 4)) & u64::from(FINE - 1);
    (((power - LOWEST) * FINE) as usize + fine as usize).min(BUCKETS - 1)
}

/// The first time that is not in the bucket.
fn end_of(bucket: usize) -> Duration {
    let next = bucket as u64 + 1;
    let (power, fine) = (next / u64::from(FINE), next % u64::from(FINE));
    let start = 1u64 << (u64::from(LOWEST) + power);
    Duration::from_nanos(start + (start / u64::from(FINE)) * fine)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn every_time_is_in_a_bucket_that_ends_at_most_a_sixteenth_later() {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..100_000 {
            let nanos = 1u64 << rng.u32(15..43);
            let nanos = nanos + rng.u64(0..nanos);
            let end = end_of(bucket_of(Duration::from_nanos(nanos))).as_nanos() as u64;
            assert!(end > nanos && end <= nanos + nanos / 16 + 1, "{nanos}: {end}");
        }
        assert_eq!(bucket_of(Duration::ZERO), 0);
        assert_eq!(bucket_of(Duration::MAX), BUCKETS - 1);
    }

    #[test]
    fn the_delay_is_the_quantile_that_the_share_asks_for() {
        for (share, least, most) in [(0.05, 950, 1010), (0.5, 500, 532), (0.001, 999, 1062)] {
            let mut hedging = Hedging::new(at(0), &Hedge::new().max_extra(share));
            for millis in 1..=1000 {
                hedging.on_latency(at(0), ms(millis));
            }
            let delay = hedging.delay(at(0)).unwrap();
            assert!(delay >= ms(least) && delay <= ms(most), "{share}: {delay:?}");
        }
    }

    #[test]
    fn too_few_attempts_say_nothing_and_a_fast_server_is_hedged_after_a_millisecond() {
        let mut hedging = Hedging::new(at(0), &Hedge::new());
        for _ in 0..ENOUGH - 1 {
            hedging.on_latency(at(0), Duration::from_micros(3));
            assert_eq!(hedging.delay(at(0)), None);
        }
        hedging.on_latency(at(0), Duration::from_micros(3));
        assert_eq!(hedging.delay(at(0)), Some(EARLIEST));
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut hedging = Hedging::new(at(0), &Hedge::new());
        for _ in 0..100 {
            hedging.on_latency(at(0), ms(900));
        }
        assert!(hedging.delay(at(49_999)).is_some());
        for _ in 0..60 {
            hedging.on_latency(at(50_000), ms(10));
        }
        assert!(hedging.delay(at(59_999)).unwrap() > ms(800));
        assert!(hedging.delay(at(60_000)).unwrap() < ms(12), "the slow ones are a minute old");
        assert_eq!(hedging.delay(at(110_000)), None);
        assert!(hedging.window.iter().chain(&*hedging.counts).all(|count| *count == 0));
        for _ in 0..60 {
            hedging.on_latency(Instant::NEVER, ms(10));
        }
        assert!(hedging.delay(at(0)).is_some(), "a clock that goes back");
    }

    #[test]
    fn each_call_pays_for_its_share_and_ten_hedges_are_banked_at_the_most() {
        let mut hedging = Hedging::new(at(0), &Hedge::new());
        assert!(!hedging.try_take());
        for _ in 0..20 {
            assert!(!hedging.has_one());
            hedging.on_call();
        }
        assert!(hedging.try_take() && !hedging.try_take());
        for _ in 0..1_000 {
            hedging.on_call();
        }
        assert_eq!((0..100).filter(|_| hedging.try_take()).count(), 10);
    }
}
