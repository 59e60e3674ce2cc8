//! The verdicts, on fleets that are small enough for every run.

use std::sync::OnceLock;

use dace_core::Budget;

use crate::fleet::{Fleet, Record, Size};
use crate::flood::{CAP, flood};
use crate::funding::Kind;
use crate::liveness::{Ending, recovery};
use crate::storm::{Storm, Verdict, WITHIN};
use crate::{layers, overload};

const SMALL: Size = Size::fleet(400);

fn dace(storm: Storm) -> (Record, Verdict) {
    storm.run(7, SMALL, &Kind::dace())
}

fn naive(storm: Storm) -> Verdict {
    let [_, naive, ..] = Kind::of_fleets();
    storm.run(7, SMALL, &naive).1
}

/// The fleet is well in time, nothing bursts, and nothing is left behind.
#[track_caller]
fn comes_through(storm: Storm, amplification: f64) -> Verdict {
    let (record, verdict) = dace(storm);
    let recovered = verdict.recovered.expect("99 % of the calls succeed again");
    assert!(recovered <= WITHIN, "{recovered} s");
    assert!(verdict.burst <= 1.2, "{verdict:?}");
    assert!(verdict.amplification <= amplification, "{verdict:?}");
    assert!(verdict.settled.is_some_and(|settled| settled <= WITHIN), "{verdict:?}");
    assert!(record.most_connections <= 10, "{}", record.most_connections);
    assert_eq!(record.connections_left, 0);
    verdict
}

#[test]
fn a_fleet_recovers_from_a_total_failure_and_naive_retries_keep_it_down() {
    // What each client has banked.
    comes_through(Storm::TotalFailure, 2.5);
    assert_eq!(naive(Storm::TotalFailure).recovered, None);
}

#[test]
fn a_fleet_recovers_from_half_the_capacity_and_naive_retries_keep_it_down() {
    comes_through(Storm::HalvedCapacity, 1.05);
    assert_eq!(naive(Storm::HalvedCapacity).recovered, None);
}

#[test]
fn a_fleet_loses_a_rack_and_hardly_a_call() {
    let verdict = comes_through(Storm::RackLoss, 1.05);
    assert!(verdict.worst >= 0.98, "{verdict:?}");
}

#[test]
fn a_fleet_recovers_from_a_brown_out_and_naive_retries_keep_it_down() {
    // Of calls of which each attempt fails by half, as many as four make: 1.875.
    comes_through(Storm::BrownOut, 1.9);
    assert_eq!(naive(Storm::BrownOut).recovered, None);
}

#[test]
fn a_rolling_restart_costs_hardly_a_call() {
    let verdict = comes_through(Storm::RollingRestart, 1.05);
    assert!(verdict.worst >= 0.99, "{verdict:?}");
}

#[test]
fn a_fleet_follows_names_that_move() {
    comes_through(Storm::Move, 1.05);
}

#[test]
fn a_fleet_comes_back_after_five_minutes_without_servers() {
    let verdict = comes_through(Storm::AllDown, 1.05);
    assert_eq!(verdict.ejected, 400 * 20, "every circuit opened");
}

#[test]
fn one_seed_is_one_history() {
    let hash = |seed| {
        let changes = Storm::BrownOut.changes(SMALL, 5);
        Fleet::run(seed, SMALL, &Kind::dace(), 20, &changes).hash
    };
    let first = hash(1);
    assert_eq!(first, hash(1));
    assert_ne!(first, hash(2));
}

#[test]
fn when_everything_fails_retries_are_as_good_as_none() {
    let [_, naive, _, dace, _] = overload::kinds();
    let [first, second, third] = overload::total_failure(&dace);
    assert!(first <= 1.0 + 50.0 / 6_000.0 + 0.03, "at most what was banked: {first}");
    assert!(second <= 1.05 && third <= 1.05, "{second} {third}");
    let naive = overload::total_failure(&naive);
    assert!(naive[2] > 3.9, "naive retries multiply the load: {naive:?}");
}

/// D13: retries do not keep an overload alive.
#[test]
fn an_overload_ends_as_fast_as_without_retries() {
    static KINDS: OnceLock<[Kind; 5]> = OnceLock::new();
    let [none, naive, _, dace, breaker] = KINDS.get_or_init(overload::kinds);
    let (without, _) = overload::overload(7, none, 0.85, 40);
    let (with, peak) = overload::overload(7, dace, 0.85, 40);
    let (with, without) = (with.unwrap() as f64, without.unwrap() as f64);
    assert!(with <= without * 1.25, "{with} s, without retries {without} s");
    assert!(peak <= 1.05, "{peak}");
    let (broken, peak) = overload::overload(7, breaker, 0.85, 40);
    assert!(broken.unwrap() as f64 <= without / 2.0 && peak <= 1.05, "{broken:?}, {peak}");
    assert_eq!(overload::overload(7, naive, 0.85, 40).0, None, "it never ends");
}

/// B8: one bad server does not become a failure of all.
#[test]
fn failures_by_chance_are_made_up_for_and_open_no_circuit() {
    let [_, _, requests, dace, breaker] = overload::kinds();
    for kind in [dace, breaker] {
        for (share, least) in [(0.1, 0.9995), (0.2, 0.997), (0.3, 0.985)] {
            let (success, _) = overload::chance(&kind, share);
            assert!(success >= least, "{}, {share}: {success}", kind.name);
        }
    }
    // What requests pay for does not suffice for 3 retries at 30 %.
    assert!(overload::chance(&requests, 0.3).0 < 0.9);
}

/// D12: layers that all retry do not multiply the load.
#[test]
fn three_layers_that_all_retry_ask_the_last_one_hardly_more_than_once_a_call() {
    let requests = layers::requests_per_call(Budget::new());
    assert!(requests <= 1.3, "{requests} requests a call");
    let naive = layers::requests_per_call(Budget::new().unlimited());
    assert!(naive > 3.9, "{naive} without budgets");
}

#[test]
fn a_circuit_is_left_in_time_however_its_first_probe_ends() {
    for ending in Ending::ALL {
        let recovery = recovery(ending).expect("some call succeeds");
        assert!(recovery.took <= recovery.bound, "{ending:?}: {recovery:?}");
    }
}

#[test]
fn a_million_netlocs_fill_the_table_and_no_more() {
    for answers in [true, false] {
        let flood = flood(1_000_000, answers);
        assert!(flood.bytes <= 64 << 20, "{flood:?}");
        assert_eq!(flood.table, CAP, "{flood:?}");
        assert!(flood.fresh <= flood.known * 2, "{flood:?}");
    }
}
