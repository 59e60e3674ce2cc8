//! What retries do to a server that has too much to do, and to calls that fail by chance.

#[allow(dead_code, reason = "its `main` prints the table")]
#[path = "../../examples/overload.rs"]
mod example;

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use dace::sim::{Answer, Sim, SimBackend, SimRuntime};
use dace::{Budget, Policy, Why};
use example::{Funding, chance, overload, total_failure};

use crate::common::{dependency, get, get_root, ms};

/// D13: retries do not keep an overload alive.
#[test]
fn when_everything_fails_retries_are_as_good_as_none() {
    let [first, second, third] = total_failure(Funding::Dace);
    assert!(first <= 1.0 + 50.0 / 6_000.0 + 0.03, "at most what was banked: {first}");
    assert!(second <= 1.05 && third <= 1.05, "{second} {third}");
    let naive = total_failure(Funding::Naive);
    assert!(naive[2] > 3.9, "naive retries multiply the load: {naive:?}");
}

/// D12: layers that all retry do not multiply the load.
#[test]
fn three_layers_that_all_retry_ask_the_last_one_hardly_more_than_once_a_call() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let layer = |id: &str| {
        let policy = Policy::new().circuit_reset_timeout(Duration::ZERO);
        let builder = dace::Dependency::builder(id).policy(policy);
        builder.build_with(sim.runtime(), sim.backend()).unwrap()
    };
    let (top, middle, bottom) = (layer("top"), layer("middle"), layer("bottom"));
    let get = |call: dace::Call<SimRuntime, SimBackend>| async move {
        call.http().get("http://a:80/").send().await?.error_for_status().map(drop)
    };
    sim.run(async {
        for _ in 0..2_000 {
            let call = top.call(|_| middle.call(|_| bottom.call(get)));
            call.await.unwrap_err();
        }
    });
    let requests = server.requests() as f64 / 2_000.0;
    assert!(requests <= 1.3, "{requests} requests a call, and 64 without budgets");
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

/// D11: an empty budget ends no attempt that is under way.
#[test]
fn a_retry_under_way_goes_on_when_the_budget_is_empty() {
    let sim = Sim::new(1);
    let firsts = AtomicU32::new(0);
    sim.server("http://a:80").handler(move |request| {
        let paid = request.url.to_string().ends_with("/paid");
        match paid && firsts.fetch_add(1, SeqCst) > 0 {
            true => Answer::ok("late").latency(ms(100)),
            false => Answer::status(503),
        }
    });
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).budget(Budget::new().banked(1));
        builder.circuit_reset_timeout(Duration::ZERO)
    });
    sim.run(async {
        let paid = a.call(|call| get(call, "/paid"));
        let others = async {
            sim.sleep(ms(50)).await;
            for _ in 0..10 {
                assert_eq!(get_root(&a).await.unwrap_err().why(), Some(Why::Budget));
            }
        };
        let (paid, ()) = futures_util::future::join(paid, others).await;
        assert_eq!(paid.unwrap(), "late");
    });
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
