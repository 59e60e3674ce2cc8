//! What retries do to a server that has too much to do, and to calls that fail by chance.

#[allow(dead_code, reason = "its `main` prints the table")]
#[path = "../../examples/overload.rs"]
mod example;

use example::{Funding, chance, overload, total_failure};

/// D13: retries do not keep an overload alive.
#[test]
fn when_everything_fails_retries_are_as_good_as_none() {
    let [first, second, third] = total_failure(Funding::Dace);
    assert!(first <= 1.0 + 50.0 / 6_000.0 + 0.03, "at most what was banked: {first}");
    assert!(second <= 1.05 && third <= 1.05, "{second} {third}");
    let naive = total_failure(Funding::Naive);
    assert!(naive[2] > 3.9, "naive retries multiply the load: {naive:?}");
}

/// D13: retries do not keep an overload alive.
#[test]
fn an_overload_ends_as_fast_as_without_retries() {
    let (without, _) = overload(7, Funding::None, 0.85, 60);
    let (with, peak) = overload(7, Funding::Dace, 0.85, 60);
    let (with, without) = (with.unwrap() as f64, without.unwrap() as f64);
    assert!(with <= without * 1.25, "{with} s, without retries {without} s");
    assert!(peak <= 1.05, "{peak}");
    let (breaker, peak) = overload(7, Funding::DaceWithBreaker, 0.85, 60);
    assert!(breaker.unwrap() as f64 <= without / 2.0 && peak <= 1.05, "{breaker:?}, {peak}");
    assert_eq!(overload(7, Funding::Naive, 0.85, 60).0, None, "it never ends");
}

/// B8: one bad server does not become a failure of all.
#[test]
fn failures_by_chance_are_made_up_for_and_open_no_circuit() {
    for funding in [Funding::Dace, Funding::DaceWithBreaker] {
        for (share, least) in [(0.1, 0.9995), (0.2, 0.997), (0.3, 0.985)] {
            let (success, _) = chance(funding, share);
            assert!(success >= least, "{funding:?}, {share}: {success}");
        }
    }
    // What requests pay for does not suffice for 3 retries at 30 %.
    assert!(chance(Funding::Requests, 0.3).0 < 0.9);
}
