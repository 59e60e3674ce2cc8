//! Costs at literal instants, and how the choice follows them.

use alloc::vec::Vec;

use super::*;

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Endpoints: whether each admits, what is known of it, what is open there.
#[derive(Default)]
struct Row(Vec<(bool, Load, u32)>);

impl Row {
    fn admitting(admits: &[bool]) -> Self {
        Self(admits.iter().map(|admits| (*admits, Load::new(), 0)).collect())
    }
}

impl Field for Row {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn admits(&self, index: usize) -> bool {
        self.0[index].0
    }

    fn load(&self, index: usize) -> &Load {
        &self.0[index].1
    }

    fn open(&self, index: usize) -> u32 {
        self.0[index].2
    }

    fn is_full(&self, _: usize) -> bool {
        false
    }

    fn weight(&self, _: usize) -> u32 {
        1
    }

    fn name(&self, index: usize) -> u64 {
        index as u64
    }
}

/// The pick of a list without weights.
fn pick(now: Instant, rng: &mut fastrand::Rng, row: &Row) -> Option<usize> {
    super::pick(now, rng, &mut Turns::default(), row)
}

/// What one more operation would cost while so many are open.
fn score(load: &Load, now: Instant, open: u32) -> f64 {
    load.score(now, open, f64::from(open) + 1.0)
}

/// An endpoint with one result of so many milliseconds, at the start.
fn proven(cost: u64) -> Load {
    let mut load = Load::new();
    load.on_start(at(0), 0);
    load.on_end(at(0), Some(ms(cost)));
    load
}

#[test]
fn the_decay_is_within_six_per_cent_of_the_exponential() {
    // e^(-t / 10 s) at t in milliseconds, in millionths.
    for (millis, exact) in [
        (0, 1_000_000.0),
        (1_000, 904_837.0),
        (2_000, 818_731.0),
        (3_466, 707_083.0),
        (5_000, 606_531.0),
        (6_931, 500_024.0),
        (8_000, 449_329.0),
        (10_000, 367_879.0),
        (15_000, 223_130.0),
        (20_000, 135_335.0),
        (30_000, 49_787.0),
        (50_000, 6_738.0),
    ] {
        let ratio = decay(millis * 1_000_000) * 1e6 / exact;
        assert!((0.9999..1.06 + 0.002).contains(&ratio), "{millis} ms: {ratio}");
    }
}

#[test]
fn the_decay_never_grows_and_reaches_zero() {
    let mut before = 1.0;
    for millis in (0..600_000).step_by(37) {
        let now = decay(millis * 1_000_000);
        assert!(now <= before && now >= 0.0, "{millis} ms");
        before = now;
    }
    assert_eq!(decay(u64::MAX), 0.0);
}

#[test]
fn a_peak_counts_at_once_and_in_full() {
    let mut load = proven(10);
    assert_eq!(load.latency(at(0)), Some(ms(10)));
    load.on_end(at(1), Some(ms(900)));
    assert_eq!(load.latency(at(1)), Some(ms(900)));
}

#[test]
fn a_lower_cost_is_approached_and_never_undercut() {
    let mut load = proven(1000);
    let mut before = ms(1000);
    for second in 1..60 {
        load.on_end(at(second * 1000), Some(ms(100)));
        let latency = load.latency(at(second * 1000)).unwrap();
        assert!(latency < before && latency >= ms(99), "after {second} s: {latency:?}");
        before = latency;
    }
    assert!(before < ms(120), "{before:?}");
}

#[test]
fn a_failure_costs_more_than_a_slow_success() {
    let (mut failing, mut slow) = (proven(1), proven(1));
    failing.on_end(at(1), Some(ms(1).max(PENALTY)));
    slow.on_end(at(1), Some(ms(4_999)));
    assert!(score(&failing, at(1), 0) > score(&slow, at(1), 0));
}

#[test]
fn silence_while_something_is_open_is_the_cost() {
    let mut load = proven(10);
    load.on_start(at(100), 0);
    assert!(score(&load, at(105), 1) < 10e6 * 2.0 + 1.0);
    assert_eq!(score(&load, at(3_100), 1), 3e9 * 2.0);
    assert!(score(&load, at(3_100), 0) < 10e6, "nothing is open: nobody is silent");
    load.on_start(at(3_000), 1);
    assert_eq!(score(&load, at(3_100), 2), 3e9 * 3.0, "a second start ends no silence");
    load.on_end(at(3_100), None);
    assert!(score(&load, at(3_101), 1) < 10e6 * 2.0 + 1.0, "an end does, whatever it says");
}

#[test]
fn a_cancelled_operation_counts_only_if_it_ran_longer_than_usual() {
    let mut load = proven(100);
    load.on_cancel(at(0), ms(50));
    assert_eq!(load.latency(at(0)), Some(ms(100)));
    load.on_cancel(at(0), ms(150));
    assert_eq!(load.latency(at(0)), Some(ms(150)));
    let mut unknown = Load::new();
    unknown.on_cancel(at(0), ms(150));
    assert!(!unknown.is_proven(), "it is no result");
}

#[test]
fn an_unproven_endpoint_is_preferred_for_two_operations_and_then_avoided() {
    let mut row = Row(alloc::vec![(true, proven(10), 5), (true, Load::new(), 0)]);
    let mut rng = fastrand::Rng::with_seed(7);
    for open in 0..10 {
        row.0[1].2 = open;
        let expected = if open < 2 { 1 } else { 0 };
        assert_eq!(pick(at(0), &mut rng, &row), Some(expected), "{open} open");
    }
}

#[test]
fn a_new_endpoint_grows_into_its_share() {
    let mut load = proven(10);
    load.ramp_up(at(0));
    let shares: Vec<_> =
        [0, 500, 1_000, 2_500, 5_000, 9_000, 10_000, 99_000].map(|t| load.share(at(t))).into();
    assert_eq!(shares, [0.1, 0.1, 0.1, 0.25, 0.5, 0.9, 1.0, 1.0]);
    assert_eq!(Load::new().share(at(0)), 1.0);
}

#[test]
fn more_open_operations_cost_more() {
    let load = proven(10);
    assert_eq!(score(&load, at(0), 0), 10e6);
    assert_eq!(score(&load, at(0), 3), 40e6);
}

#[test]
fn a_clock_that_goes_back_neither_decays_nor_panics() {
    let mut load = Load::new();
    load.on_start(at(5_000), 0);
    load.on_end(at(5_000), Some(ms(100)));
    assert_eq!(load.latency(at(0)), Some(ms(100)));
    load.on_end(at(0), Some(ms(50)));
    assert_eq!(load.latency(at(5_000)), Some(ms(100)));
    load.on_end(Instant::NEVER, Some(Duration::MAX));
    load.ramp_up(Instant::NEVER);
    assert!(score(&load, at(0), u32::MAX).is_finite());
}

#[test]
fn of_two_the_cheaper_is_picked_every_time() {
    let mut rng = fastrand::Rng::with_seed(7);
    let row = Row(alloc::vec![(true, proven(20), 0), (true, proven(10), 0)]);
    assert!((0..100).all(|_| pick(at(0), &mut rng, &row) == Some(1)));
}

#[test]
fn only_those_that_admit_are_picked_and_each_of_them_is() {
    for len in 1..=20usize {
        for rule in [|i: usize| i % 3 == 0, |i| i % 2 == 0, |_| true, |i| i == 0] {
            let admits: Vec<_> = (0..len).map(rule).collect();
            let row = Row::admitting(&admits);
            let mut rng = fastrand::Rng::with_seed(7);
            let mut picked = alloc::vec![0u32; len];
            for _ in 0..4000 {
                picked[pick(at(0), &mut rng, &row).unwrap()] += 1;
            }
            for (index, count) in picked.iter().enumerate() {
                assert_eq!(*count > 0, admits[index], "{index} of {len}");
            }
        }
        assert_eq!(
            pick(
                at(0),
                &mut fastrand::Rng::with_seed(7),
                &Row::admitting(&alloc::vec![false; len])
            ),
            None
        );
    }
    assert_eq!(pick(at(0), &mut fastrand::Rng::with_seed(7), &Row::default()), None);
}

#[test]
fn the_one_that_admits_is_found_among_a_thousand() {
    let mut admits = alloc::vec![false; 1000];
    let mut rng = fastrand::Rng::with_seed(7);
    for index in [0, 1, 499, 998, 999] {
        admits.fill(false);
        admits[index] = true;
        let row = Row::admitting(&admits);
        assert!((0..20).all(|_| pick(at(0), &mut rng, &row) == Some(index)));
    }
}

#[test]
fn equal_endpoints_get_equal_shares() {
    for len in [2usize, 5, 8, 9, 50] {
        let row = Row((0..len).map(|_| (true, proven(10), 0)).collect());
        let mut rng = fastrand::Rng::with_seed(7);
        let mut picked = alloc::vec![0u32; len];
        for _ in 0..1000 * len {
            picked[pick(at(0), &mut rng, &row).unwrap()] += 1;
        }
        assert!(picked.iter().all(|count| (850..1150).contains(count)), "{picked:?}");
    }
}
