//! What is counted is what happened. Datagrams and pages have tests of their own, in `observe`.

use std::time::Duration;

use dace::sim::Sim;
use dace::{Breaker, Budget, Outcome, What};
use futures_util::future::{join_all, select};

use crate::support::{Seen, assert_all_back, dependency, get_root, ms, secs};

#[test]
fn l3_after_a_storm_of_failures_drops_and_timeouts_all_gauges_are_at_rest() {
    let sim = Sim::new(7);
    let names = ["http://a:80", "http://b:80", "http://c:80"];
    for name in names {
        sim.server(name).latency(ms(5)).jitter(ms(20)).failing(0.3, 503);
    }
    sim.server(names[0]).hangs(secs(2)..secs(4)).down(secs(5)..secs(7));
    let seen = Seen::default();
    let all = dependency(&sim, |builder| {
        let builder = builder.targets(names).max_open_per_netloc(3).queue(10).timeout(ms(60));
        let builder = builder.http_pool_size(2).attempt_timeout(ms(20)).retry_on_timeout(true);
        builder.circuit_reset_timeout(ms(50)).observer(seen.clone())
    });
    let mut rng = fastrand::Rng::with_seed(7);
    sim.run(async {
        for _ in 0..500 {
            let calls = (0..20).map(|_| get_root(&all)).collect::<Vec<_>>();
            let patience = Box::pin(sim.sleep(ms(rng.u64(1..80))));
            drop(select(Box::pin(join_all(calls)), patience).await);
        }
    });
    assert_all_back(&all);
    all.flush();
    // What the events say was open is nothing either.
    let open = seen.events().iter().rev().find_map(|event| match event.what {
        What::AttemptEnded { open, .. } | What::EventsDropped { open, .. } => Some(open),
        _ => None,
    });
    assert_eq!(open, Some(0));
    let totals = all.snapshot().totals;
    let ended =
        totals.succeeded + totals.failed + totals.timed_out + totals.refused + totals.dropped;
    assert_eq!(ended, 500 * 20, "each call ended once");
    assert!(totals.dropped > 100 && totals.opened > 10, "it was a storm: {totals}");
}

#[test]
fn l4_a_success_after_a_retry_does_not_hide_what_the_server_did() {
    let (sim, seen) = (Sim::new(3), Seen::default());
    let server = sim.server("http://a:80");
    server.failing(0.3, 503);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).circuit_reset_timeout(Duration::ZERO);
        let builder = builder.budget(Budget::new().unlimited()).observer(seen.clone());
        builder.breaker(Breaker::new())
    });
    for _ in 0..1_000 {
        let _ = sim.run(get_root(&a));
    }
    let totals = a.snapshot().totals;
    assert!(totals.succeeded > 980, "{totals}");
    let failed = totals.attempts - totals.good;
    assert!(failed > 300, "three in ten attempts fail, and that is seen: {totals}");
    assert_eq!(totals.attempts as usize, server.requests());
    assert_eq!(totals.retries, totals.attempts - 1_000);
    let events = seen.events();
    let of = |good: bool| move |event: &&dace::Event| matches!(event.what, What::CallEnded { outcome, .. } if (outcome == Outcome::Value) == good);
    assert_eq!(events.iter().filter(of(true)).count() as u64, totals.succeeded);
    assert_eq!(events.iter().filter(of(false)).count() as u64, totals.failed);
}
