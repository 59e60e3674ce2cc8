//! Whatever is dropped, and whenever: everything is given back.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use dace::{Breaker, CircuitState, Class, What};
use dace_sim::{Answer, Sim};

use crate::support::{Seen, assert_all_back, dependency, get, get_root, ms, secs};

/// B6: impatient callers do not open a healthy circuit, nor hide a server that hangs.
#[test]
fn a_drop_before_hang_after_is_neutral_and_one_after_it_is_a_timeout() {
    for (dropped_after, state) in [(ms(100), CircuitState::Closed), (ms(2500), CircuitState::Open)]
    {
        let sim = Sim::new(1);
        sim.server("http://a:80").hangs(..);
        let a = dependency(&sim, |builder| {
            builder.targets(["http://a:80"]).timeout(secs(5)).max_open_per_netloc(100)
        });
        sim.run(async {
            let calls: Vec<_> = (0..20).map(|_| Box::pin(get_root(&a))).collect();
            let all = Box::pin(futures_util::future::join_all(calls));
            let wait = Box::pin(sim.sleep(dropped_after));
            futures_util::future::select(all, wait).await;
        });
        assert_eq!(a.snapshot().endpoints[1].circuit, state, "dropped after {dropped_after:?}");
        assert_all_back(&a);
    }
}

#[test]
fn hang_after_follows_expected_in_or_is_set_or_is_off_without_a_timeout() {
    type Set = fn(crate::support::Builder) -> crate::support::Builder;
    let cases: [(Set, bool); 4] = [
        (|builder| builder.expected_in(ms(50)), true),
        (|builder| builder.hang_after(ms(50)), true),
        (|builder| builder.hang_after(secs(1)), false),
        (|builder| builder.no_timeout(), false),
    ];
    for (number, (set, counts)) in cases.into_iter().enumerate() {
        let sim = Sim::new(1);
        sim.server("http://a:80").hangs(..);
        let a = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]).timeout(secs(5));
            set(builder.breaker(Breaker::new().consecutive_failures(1)))
        });
        sim.run(async {
            let call = Box::pin(get_root(&a));
            futures_util::future::select(call, Box::pin(sim.sleep(ms(100)))).await;
        });
        let open = a.snapshot().endpoints[1].circuit == CircuitState::Open;
        assert_eq!(open, counts, "case {number}");
    }
}

#[test]
fn a_deadline_handed_down_does_not_shorten_hang_after() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).timeout(secs(5)).observer(seen.clone())
    });
    sim.run(a.call(|call| get(call, "/")).within(ms(100))).unwrap_err();
    sim.run(a.call(|call| get(call, "/"))).unwrap_err();
    let classes: Vec<_> = seen
        .events()
        .into_iter()
        .filter_map(|event| match event.what {
            What::AttemptEnded { class, .. } => Some(class),
            _ => None,
        })
        .collect();
    assert_eq!(classes, [Class::Cancelled, Class::Timeout]);
}

/// Drops a future after so many polls.
async fn poll_times<F: Future>(mut future: Pin<Box<F>>, times: u32, every: Duration, sim: &Sim) {
    for _ in 0..times {
        if future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
            return;
        }
        sim.sleep(every).await;
    }
}

#[test]
fn a_million_calls_dropped_at_random_points_leave_nothing_behind() {
    let sim = Sim::new(42);
    let servers = ["http://a:80", "http://b:80", "http://c:80"].map(|target| sim.server(target));
    servers[0].latency(ms(9)).jitter(ms(9));
    servers[1].latency(ms(6)).failing(0.3, 503);
    servers[2].latency(ms(3)).failing(0.5, 500);
    servers[1].handler(|_| Answer::ok("o").piece(ms(2), "k"));
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80", "http://b:80", "http://c:80"])
            .max_open_per_netloc(3)
            .queue(20)
            .http_pool_size(2)
            .circuit_reset_timeout(ms(20))
            .timeout(ms(30))
            .attempt_timeout(ms(12))
            .retry_on_timeout(true)
    });
    let mut rng = fastrand::Rng::with_seed(9);
    sim.run(async {
        while a.snapshot().totals.dropped < 1_000_000 {
            let calls = (0..50).map(|_| {
                let (times, every) = (rng.u32(0..6), ms(rng.u64(1..6)));
                poll_times(Box::pin(get_root(&a)), times, every, &sim)
            });
            futures_util::future::join_all(calls.collect::<Vec<_>>()).await;
        }
    });
    assert_all_back(&a);
    let snapshot = a.snapshot();
    assert!(
        snapshot.totals.retries > 1000 && snapshot.totals.opened > 100,
        "{:?}",
        snapshot.totals
    );
    assert!(snapshot.budget_thousandths <= 50_000);
    // It works as on the first day.
    sim.run(async {
        sim.sleep(secs(100)).await;
        for server in &servers {
            server.latency(ms(1)).jitter(Duration::ZERO).failing(0.0, 200);
        }
        for _ in 0..20 {
            get_root(&a).await.unwrap();
        }
    });
    assert_all_back(&a);
}

#[test]
fn a_call_that_was_never_polled_never_was() {
    let sim = Sim::new(1);
    let seen = Seen::default();
    let a = dependency(&sim, |builder| builder.observer(seen.clone()));
    drop(a.call(|call| get(call, "http://a/")));
    a.flush();
    assert!(seen.events().is_empty());
    assert_all_back(&a);
}
