//! Windows of results, fed by hand. Whole servers are in `tests/policies`.

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A gradient, and the time.
struct Fed {
    gradient: Gradient,
    rules: AdaptiveLimit,
    now: u64,
}

impl Fed {
    fn new(rules: AdaptiveLimit) -> Self {
        Self { gradient: Gradient::new(at(0), &rules), rules, now: 0 }
    }

    fn limit(&self) -> u32 {
        self.gradient.limit(&self.rules)
    }

    /// One window of 100 results, with `open` open at the most, of which `bad` in a hundred fail.
    fn window(&mut self, open: u32, latency: Duration, bad: u32) -> u32 {
        self.gradient.on_start(open);
        for result in 0..100 {
            // The last one ends the window.
            self.now += u64::from(result == 99) * 1_000;
            match result < bad {
                true => self.gradient.on_failure(at(self.now), &self.rules),
                false => self.gradient.on_success(at(self.now), &self.rules, latency),
            }
        }
        self.limit()
    }

    /// Without dips, and past the search.
    fn steady(mut self, unloaded: Duration) -> Self {
        self.gradient.searching = false;
        self.gradient.next_dip = Instant::NEVER;
        self.gradient.unloaded = nanos(unloaded);
        self
    }
}

#[test]
fn it_grows_by_half_until_the_latency_answers_and_then_by_a_little() {
    let mut fed = Fed::new(AdaptiveLimit::new().start(20));
    fed.gradient.next_dip = Instant::NEVER;
    assert_eq!(fed.window(20, ms(50), 0), 30);
    assert_eq!(fed.window(30, ms(50), 0), 45);
    assert_eq!(fed.window(45, ms(52), 0), 67);
    // 52.5/75: to 47.3 and a twenty-fourth, a fifth of the way.
    assert_eq!(fed.window(67, ms(75), 0), 64);
    // It searches no more.
    assert_eq!(fed.window(64, ms(50), 0), 64);
    assert_eq!(fed.window(64, ms(50), 0), 65);
}

#[test]
fn it_grows_only_while_it_is_used_up() {
    let mut fed = Fed::new(AdaptiveLimit::new().start(100)).steady(ms(50));
    for _ in 0..20 {
        assert_eq!(fed.window(80, ms(50), 0), 100);
    }
    fed.window(100, ms(50), 0);
    assert_eq!(fed.window(100, ms(50), 0), 101);
}

#[test]
fn failures_lower_it_by_their_share_and_all_of_them_to_the_floor() {
    let mut fed = Fed::new(AdaptiveLimit::new().start(100).floor(3)).steady(ms(50));
    // 100 × 0.8 + 4.17, a fifth of the way.
    assert_eq!(fed.window(100, ms(50), 20), 96);
    // A few are no reason.
    assert_eq!(fed.window(100, ms(50), 1), 97);
    for _ in 0..60 {
        fed.window(1, ms(50), 100);
    }
    assert_eq!(fed.limit(), 3);
}

#[test]
fn a_slow_server_lowers_it_only_if_it_is_loaded() {
    let mut fed = Fed::new(AdaptiveLimit::new().start(100)).steady(ms(50));
    assert_eq!(fed.window(100, ms(100), 0), 91);
    // Little open, and slow all the same: that is how slow it is.
    for _ in 0..40 {
        fed.window(10, ms(100), 0);
    }
    assert_eq!(fed.limit(), 91);
    assert!(fed.gradient.unloaded > 99_000_000);
}

#[test]
fn a_dip_measures_the_latency_without_load() {
    let mut fed = Fed::new(AdaptiveLimit::new().start(40)).steady(ms(100));
    fed.gradient.next_dip = at(1);
    let full = fed.window(40, ms(100), 0);
    assert_eq!((full, fed.gradient.dip), (20, Dip::Draining));
    // What was under way before says nothing.
    assert_eq!(fed.window(20, ms(900), 0), 20);
    assert_eq!(fed.gradient.unloaded, 100_000_000);
    assert_eq!(fed.window(20, ms(50), 0), 40);
    assert_eq!((fed.gradient.unloaded, fed.gradient.dip), (50_000_000, Dip::No));
    // It moved: the next dip comes soon, and once it does not, later.
    assert_eq!(fed.gradient.next_dip, at(fed.now).after(UNSETTLED));
    assert!(fed.gradient.measure(52_000_000));
    assert_eq!(fed.gradient.unloaded, 51_000_000);
    // A slower server may have room all the same.
    assert!(!fed.gradient.searching);
    assert!(!fed.gradient.measure(200_000_000) && fed.gradient.searching);
}

#[test]
fn a_clock_that_goes_back_and_idle_years_change_nothing() {
    let mut fed = Fed::new(AdaptiveLimit::new()).steady(ms(50));
    fed.now = 3_600_000;
    fed.window(20, ms(50), 0);
    let limit = fed.limit();
    fed.now = 0;
    fed.gradient.on_success(at(0), &fed.rules, ms(50));
    assert_eq!(fed.limit(), limit);
    // From there it goes on.
    (0..8).for_each(|_| _ = fed.window(limit + 1, ms(50), 0));
    assert!(fed.limit() > limit);
    fed.now = 60 * 365 * 86_400_000;
    // With the dip that was due.
    (0..4).for_each(|_| _ = fed.window(fed.limit(), ms(50), 0));
    assert!(fed.limit() > limit);
    for took in [Duration::ZERO, Duration::MAX] {
        for now in [Instant::EPOCH, Instant::from_nanos(u64::MAX - 1), Instant::NEVER] {
            for _ in 0..100 {
                fed.gradient.on_start(u32::MAX);
                fed.gradient.on_success(now, &fed.rules, took);
                fed.gradient.on_failure(now, &fed.rules);
                assert!((1..=200).contains(&fed.limit()));
            }
        }
    }
}

#[test]
fn floor_ceiling_start_smoothing_and_tolerance_are_what_they_are_set_to() {
    assert_eq!(Fed::new(AdaptiveLimit::new()).limit(), 20);
    assert_eq!(Fed::new(AdaptiveLimit::new().start(7)).limit(), 7);
    assert_eq!(Fed::new(AdaptiveLimit::new().floor(30)).limit(), 30);
    let mut low = Fed::new(AdaptiveLimit::new().ceiling(25));
    for _ in 0..10 {
        low.window(low.limit(), ms(50), 0);
    }
    assert_eq!(low.limit(), 25);
    let slow =
        |rules: AdaptiveLimit| Fed::new(rules.start(100)).steady(ms(50)).window(100, ms(100), 0);
    assert_eq!(slow(AdaptiveLimit::new()), 91);
    assert_eq!(slow(AdaptiveLimit::new().smoothing(1.0)), 56);
    assert_eq!(slow(AdaptiveLimit::new().tolerance(2.0)), 100);
}

#[test]
fn settings_that_cannot_be_are_named() {
    let new = AdaptiveLimit::new;
    for (rules, setting) in [
        (new().floor(0), "adaptive_limit.floor"),
        (new().floor(9).ceiling(8), "adaptive_limit.ceiling"),
        (new().ceiling(0), "adaptive_limit.ceiling"),
        (new().start(0), "adaptive_limit.start"),
        (new().smoothing(0.0), "adaptive_limit.smoothing"),
        (new().smoothing(1.1), "adaptive_limit.smoothing"),
        (new().smoothing(f64::NAN), "adaptive_limit.smoothing"),
        (new().tolerance(0.9), "adaptive_limit.tolerance"),
        (new().tolerance(f64::INFINITY), "adaptive_limit.tolerance"),
    ] {
        assert_eq!(rules.validate().unwrap_err().setting(), setting);
    }
    let wide = new().ceiling(u32::MAX).start(u32::MAX);
    assert_eq!((wide.validate(), Fed::new(wide).limit()), (Ok(()), u32::MAX));
}

#[test]
fn a_limit_below_its_start_is_worth_keeping_for_a_minute() {
    let mut fed = Fed::new(AdaptiveLimit::new().start(20));
    fed.gradient.limit = 19_999;
    assert!(!fed.gradient.is_forgettable(at(0), &fed.rules));
    assert!(!fed.gradient.is_forgettable(at(60_000), &fed.rules));
    assert!(fed.gradient.is_forgettable(at(60_001), &fed.rules));
    fed.gradient.limit = 20_000;
    assert!(fed.gradient.is_forgettable(at(0), &fed.rules));
}

#[test]
fn a_limit_below_half_of_what_it_was_dips_before_its_time() {
    for (dipped_at, draining) in [(40_000, false), (1_000_000, true)] {
        let mut fed = Fed::new(AdaptiveLimit::new().start(20)).steady(ms(50));
        fed.gradient.dipped_at = dipped_at;
        fed.window(20, ms(50), 0);
        assert_eq!(matches!(fed.gradient.dip, Dip::Draining), draining, "{dipped_at}");
    }
}
