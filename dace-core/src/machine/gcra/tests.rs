//! Rates, bursts, refunds, clocks that go back, and idle years.

use core::time::Duration;
use std::collections::VecDeque;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn rate(permits: u32, burst: u32) -> RateLimit {
    RateLimit::new(permits, Duration::from_secs(1)).burst(burst)
}

#[test]
fn a_full_bucket_lets_a_burst_pass_and_then_one_an_interval() {
    let (rate, mut gcra) = (rate(10, 3), Gcra::new());
    for now in [500, 500, 500] {
        assert_eq!(gcra.try_take(at(now), &rate), Ok(()));
    }
    // What it says is exact: a nanosecond earlier there is none.
    assert_eq!(gcra.try_take(at(500), &rate), Err(at(600)));
    assert_eq!(gcra.try_take(Instant::from_nanos(600_000_000 - 1), &rate), Err(at(600)));
    assert_eq!(gcra.try_take(at(600), &rate), Ok(()));
    assert_eq!(gcra.try_take(at(600), &rate), Err(at(700)));
}

#[test]
fn who_is_refused_owes_nothing() {
    // C9: fifty who ask over and over, and the next token comes when it would have come.
    let (rate, mut gcra) = (rate(10, 1), Gcra::new());
    assert_eq!(gcra.try_take(at(0), &rate), Ok(()));
    for now in 0..100 {
        for _ in 0..50 {
            assert_eq!(gcra.try_take(at(now), &rate), Err(at(100)));
        }
    }
    assert_eq!(gcra.try_take(at(100), &rate), Ok(()));
}

#[test]
fn tokens_that_are_kept_for_others_are_not_there() {
    let (rate, gcra) = (rate(10, 2), Gcra::new());
    assert_eq!(gcra.next(at(0), &rate, 1), at(0));
    assert_eq!(gcra.next(at(0), &rate, 2), at(100));
    assert_eq!(gcra.next(at(0), &rate, 5), at(400));
}

#[test]
fn a_token_that_comes_back_is_a_whole_one_and_never_one_too_many() {
    let (rate, mut gcra) = (rate(10, 2), Gcra::new());
    assert!(gcra.try_take(at(0), &rate).is_ok() && gcra.try_take(at(0), &rate).is_ok());
    gcra.give_back(&rate);
    assert_eq!(gcra.available(at(0), &rate), 1);
    gcra.give_back(&rate);
    gcra.give_back(&rate);
    assert_eq!(gcra.available(at(0), &rate), 2);
    assert!(gcra.try_take(at(0), &rate).is_ok() && gcra.try_take(at(0), &rate).is_ok());
    assert_eq!(gcra.try_take(at(0), &rate), Err(at(100)));
}

#[test]
fn a_clock_that_goes_back_makes_nobody_wait_longer_than_an_empty_bucket() {
    let (rate, mut gcra) = (rate(10, 3), Gcra::new());
    let hour = 3_600_000;
    for _ in 0..3 {
        assert!(gcra.try_take(at(hour), &rate).is_ok());
    }
    // Nobody is let in for it, and nobody waits for an hour.
    assert_eq!(gcra.try_take(at(0), &rate), Err(at(100)));
    assert_eq!(gcra.available(at(0), &rate), 0);
    assert_eq!(gcra.try_take(at(99), &rate), Err(at(100)));
    assert_eq!(gcra.try_take(at(100), &rate), Ok(()));
    // Threads that come in another order than they read the clock gain nothing.
    assert_eq!(gcra.try_take(at(90), &rate), Err(at(200)));
    assert_eq!(gcra.try_take(at(199), &rate), Err(at(200)));
}

#[test]
fn sixty_idle_years_fill_the_bucket_and_no_more() {
    let (rate, mut gcra) = (rate(10, 3), Gcra::new());
    assert!(gcra.try_take(at(0), &rate).is_ok());
    let later = Instant::from_nanos(60 * 365 * 86_400 * SECOND);
    assert_eq!(gcra.available(later, &rate), 3);
    assert_eq!((0..10).filter(|_| gcra.try_take(later, &rate).is_ok()).count(), 3);
}

#[test]
fn a_span_without_end_gives_each_token_once() {
    let rate = RateLimit::new(10, Duration::MAX).burst(2);
    let mut gcra = Gcra::new();
    assert!(gcra.try_take(at(5), &rate).is_ok() && gcra.try_take(at(6), &rate).is_ok());
    assert_eq!(gcra.try_take(at(7), &rate), Err(Instant::NEVER));
    let later = Instant::from_nanos(60 * 365 * 86_400 * SECOND);
    assert_eq!(gcra.try_take(later, &rate), Err(Instant::NEVER));
}

#[test]
fn no_span_sees_more_than_the_rate_and_the_burst() {
    // Against the definition: every window of a second, at every admission.
    for seed in 0..50 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (permits, burst) = (rng.u32(1..=700), rng.u32(1..=50));
        let rate = rate(permits, burst);
        let (mut gcra, mut now, mut taken) = (Gcra::new(), 0, VecDeque::new());
        let mut unsent = 0;
        for _ in 0..5_000 {
            now += rng.u64(0..=2 * SECOND / u64::from(permits));
            match gcra.try_take(Instant::from_nanos(now), &rate) {
                Ok(()) if rng.u8(..) < 20 => {
                    gcra.give_back(&rate);
                    unsent += 1;
                }
                Ok(()) => taken.push_back(now),
                Err(due) => assert!(due > Instant::from_nanos(now)),
            }
            while taken.front().is_some_and(|first| now - first >= SECOND) {
                taken.pop_front();
            }
            assert!(taken.len() <= (permits + burst) as usize, "seed {seed}: {}", taken.len());
        }
        assert!(unsent > 0);
    }
}

#[test]
fn settings_that_cannot_be_are_named() {
    let second = Duration::from_secs(1);
    for (rate, setting) in [
        (RateLimit::new(0, second), "rate_limit.permits"),
        (RateLimit::new(2, Duration::from_nanos(1)), "rate_limit.permits"),
        (RateLimit::new(1, Duration::ZERO), "rate_limit.per"),
        (RateLimit::new(1, second).burst(0), "rate_limit.burst"),
    ] {
        assert_eq!(rate.validate().unwrap_err().setting(), setting);
    }
    for rate in [
        RateLimit::new(u32::MAX, Duration::MAX).burst(u32::MAX),
        RateLimit::new(1, Duration::from_nanos(1)),
        RateLimit::new(u32::MAX, Duration::from_secs(5)),
    ] {
        assert_eq!(rate.validate(), Ok(()));
        let mut gcra = Gcra::new();
        for now in [Instant::EPOCH, Instant::from_nanos(u64::MAX - 1), Instant::NEVER] {
            let _ = gcra.try_take(now, &rate);
            gcra.available(now, &rate);
        }
    }
    assert_eq!(RateLimit::new(100, second).banked(), 10);
    assert_eq!(RateLimit::new(5, second).banked(), 1);
}
