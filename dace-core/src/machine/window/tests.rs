//! What the window counts, second by second.

use super::*;

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn counts(window: &mut Window, millis: u64) -> (u32, u32) {
    let counts = window.counts(at(millis));
    (counts.successes, counts.failures)
}

#[test]
fn a_result_counts_for_ten_buckets_and_no_longer() {
    let mut window = Window::new();
    window.on_failure(at(500));
    window.on_success(at(999));
    assert_eq!(counts(&mut window, 9_999), (1, 1));
    assert_eq!(counts(&mut window, 10_000), (0, 0));
}

#[test]
fn every_second_takes_along_exactly_what_it_had() {
    let mut window = Window::new();
    for second in 0..10 {
        for _ in 0..=second {
            window.on_failure(at(second * 1000));
        }
    }
    assert_eq!(counts(&mut window, 9_999), (0, 55));
    let mut left = 55;
    for second in 10..20 {
        left -= second as u32 - 9;
        assert_eq!(counts(&mut window, second * 1000), (0, left));
    }
    assert_eq!(left, 0);
}

#[test]
fn a_gap_shorter_than_the_window_clears_only_the_seconds_that_passed() {
    let mut window = Window::new();
    window.on_failure(at(0));
    window.on_failure(at(5_000));
    assert_eq!(counts(&mut window, 12_000), (0, 1));
    window.on_success(at(14_999));
    assert_eq!(counts(&mut window, 15_000), (1, 0));
}

#[test]
fn a_gap_longer_than_the_window_clears_all() {
    for gap in [10_000, 10_001, 19_000, 60 * 365 * 86_400_000] {
        let mut window = Window::new();
        window.on_failure(at(3_000));
        window.on_success(at(3_000));
        assert_eq!(counts(&mut window, 3_000 + gap), (0, 0), "after {gap} ms");
    }
}

#[test]
fn a_clock_that_goes_back_counts_into_the_newest_bucket() {
    let mut window = Window::new();
    window.on_failure(at(20_000));
    window.on_failure(at(1_000));
    assert_eq!(counts(&mut window, 0), (0, 2));
    assert_eq!(counts(&mut window, 29_999), (0, 2));
    assert_eq!(counts(&mut window, 30_000), (0, 0));
}

/// B9: a burst of failures weighs as much as the same ones spread out.
#[test]
fn a_burst_and_the_same_results_spread_out_count_alike() {
    let (mut burst, mut spread) = (Window::new(), Window::new());
    for number in 0..40 {
        let time = number * 250;
        if number % 2 == 0 {
            burst.on_failure(at(9_900));
            spread.on_failure(at(time));
        } else {
            burst.on_success(at(9_900));
            spread.on_success(at(time));
        }
    }
    assert_eq!(counts(&mut burst, 9_999), (20, 20));
    assert_eq!(counts(&mut spread, 9_999), (20, 20));
}

#[test]
fn the_end_of_time_is_an_instant_like_any_other() {
    let mut window = Window::new();
    window.on_failure(Instant::NEVER);
    assert_eq!(window.counts(Instant::NEVER), Counts { successes: 0, failures: 1 });
}

#[test]
fn a_full_counter_stays_full_and_still_slides() {
    let mut window = Window::new();
    window.buckets[0].failures = u32::MAX - 1;
    window.totals.failures = u32::MAX - 1;
    window.on_failure(at(0));
    window.on_failure(at(1_000));
    assert_eq!(counts(&mut window, 1_000), (0, u32::MAX));
    assert_eq!(counts(&mut window, 10_000), (0, 0));
}
