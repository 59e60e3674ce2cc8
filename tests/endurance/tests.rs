//! What `main.rs` does at length, in small; and that it finds what it is to find.

mod cuts;
mod deadlines;
mod drops;
mod slope;
mod support;

use std::time::Duration;

use crate::slope::{Measure, Slope};

#[test]
fn calls_dropped_at_any_point_lose_no_permit() {
    drops::on_both(2_000).unwrap();
}

#[test]
fn no_post_arrives_twice_where_the_server_closes_at_any_byte() {
    cuts::on_both(2_000).unwrap();
}

/// On a machine that does other things as well.
#[test]
fn a_call_ends_soon_after_its_deadline() {
    deadlines::on_both(200, Duration::from_secs(2)).unwrap();
}

/// Samples of as many calls as three minutes have, with noise.
fn samples(value: impl Fn(f64) -> f64) -> Vec<(f64, f64)> {
    let mut rng = fastrand::Rng::with_seed(7);
    let calls = (1..=34).map(|sample| f64::from(sample) * 7_000.0);
    calls.map(|calls| (calls, value(calls) + rng.f64() * 60.0)).collect()
}

#[test]
fn an_object_lost_in_a_thousand_calls_is_a_slope_and_noise_is_none() {
    let measure = Measure { name: "objects", per_thousand: 0.5, at_least: 60.0 };
    let noise = Slope::of(measure, &samples(|_| 1_000.0));
    assert!(!noise.grows(), "{noise}");
    let falls = Slope::of(measure, &samples(|calls| 1_000.0 - calls / 1_000.0));
    assert!(!falls.grows(), "{falls}");
    let warms = Slope::of(measure, &samples(|calls| 1_000.0 + calls.min(50_000.0)));
    assert!(!warms.grows(), "what is there after the warm-up is no slope: {warms}");
    let leaks = Slope::of(measure, &samples(|calls| 1_000.0 + calls / 1_000.0));
    assert!(leaks.grows(), "{leaks}");
}
