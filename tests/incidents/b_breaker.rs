//! Circuits: they open for the server's failures alone, and half-open is always left.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::sim::{Answer, Sim};
use dace::{Breaker, CircuitState, Error, HttpError, RoundRobin, Throttle};
use futures_util::FutureExt;
use futures_util::future::{join_all, select};

use crate::panics::caught;
use crate::support::{Dependency, assert_all_back, dependency, get, get_root, ms, secs, touchy};

/// Until a circuit that opened for the first time lets a probe in: 10 s, and up to a fifth more.
const OPEN: Duration = secs(12);

fn circuit(dependency: &Dependency) -> CircuitState {
    dependency.snapshot().endpoints[1].circuit
}

/// One target, without retries, whose circuit opens at the first failure.
fn touchy_at_a(sim: &Sim) -> Dependency {
    dependency(sim, |builder| {
        let builder = builder.targets(["http://a:80"]).retry_attempts(0).breaker(touchy());
        builder.timeout(secs(5)).max_open_per_netloc(20_000)
    })
}

/// Opens the circuit, and waits until it lets a probe in.
async fn half_open(sim: &Sim, a: &Dependency) {
    sim.server("http://a:80").answers(sim.elapsed()..sim.elapsed() + ms(1), 500);
    get_root(a).await.unwrap_err();
    assert_eq!(circuit(a), CircuitState::Open);
    sim.sleep(OPEN).await;
}

#[test]
fn b1_half_open_is_left_whatever_becomes_of_the_probe() {
    for exit in ["good", "failed", "ignored", "panicked", "dropped", "timed out", "never polled"] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.latency(ms(10));
        let a = touchy_at_a(&sim);
        sim.run(async {
            half_open(&sim, &a).await;
            let now = sim.elapsed();
            let probe = a.call(|call| async move {
                assert_ne!(exit, "panicked");
                get(call, "/").await
            });
            match exit {
                "failed" => drop(server.answers(now..now + ms(20), 500)),
                "ignored" => drop(server.answers(now..now + ms(20), 404)),
                "timed out" => drop(server.hangs(now..now + ms(20))),
                _ => {}
            }
            let mut probe = Box::pin(probe);
            match exit {
                "panicked" => assert!(caught(probe.as_mut()).await.is_none()),
                "dropped" => drop(select(&mut probe, Box::pin(sim.sleep(ms(5)))).await),
                "never polled" => {
                    let cx = &mut Context::from_waker(Waker::noop());
                    assert!(probe.as_mut().poll(cx).is_pending());
                }
                _ => drop((&mut probe).await),
            }
            if exit == "dropped" {
                drop(probe);
            }
            // A lease of ten seconds at the most, then twice the open time.
            while get_root(&a).await.is_err() {
                sim.sleep(ms(100)).await;
                assert!(sim.elapsed() - now < secs(10) + 2 * OPEN + secs(1), "stuck: {exit}");
            }
        });
        assert_eq!(circuit(&a), CircuitState::Closed, "{exit}");
    }
}

#[test]
fn b2_a_probe_that_never_settles_blocks_the_circuit_no_longer_than_its_lease() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1));
    let a = touchy_at_a(&sim);
    sim.run(async {
        half_open(&sim, &a).await;
        let mut forgotten = Box::pin(get_root(&a));
        assert!(forgotten.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(matches!(get_root(&a).await, Err(Error::CircuitOpen { .. })), "one probe");
        sim.sleep(secs(10)).await;
        // That it ran out is found by the next who asks, and is a failure.
        assert!(matches!(get_root(&a).await, Err(Error::CircuitOpen { .. })));
        assert_eq!(circuit(&a), CircuitState::Open);
        sim.sleep(2 * OPEN).await;
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::Closed);
    });
}

#[test]
fn b3_a_probe_dropped_at_any_point_gives_its_place_back_and_decides_nothing() {
    let sim = Sim::new(1);
    sim.server("http://a:80")
        .handler(|_| Answer::ok("one").latency(ms(10)).piece(ms(10), "two").piece(ms(10), "three"));
    let a = touchy_at_a(&sim);
    sim.run(async {
        half_open(&sim, &a).await;
        // Before the head, and between the pieces of the body.
        for dropped_after in [0, 5, 15, 25] {
            let probe = Box::pin(get_root(&a));
            drop(select(probe, Box::pin(sim.sleep(ms(dropped_after)))).await);
            assert_eq!(circuit(&a), CircuitState::HalfOpen, "after {dropped_after} ms");
            assert_all_back(&a);
        }
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::Closed);
    });
}

#[test]
fn b4_of_ten_thousand_callers_at_the_moment_it_half_opens_only_the_probes_get_in() {
    for probes in [1, 3] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        let a = dependency(&sim, |builder| {
            let breaker = touchy().probes(probes).successes(10);
            let builder = builder.targets(["http://a:80"]).retry_attempts(0).breaker(breaker);
            builder.max_open_per_netloc(20_000).http_pool_size(20_000)
        });
        sim.run(async {
            half_open(&sim, &a).await;
            server.latency(ms(10));
            let before = server.requests();
            let ends = join_all((0..10_000).map(|_| get_root(&a))).await;
            let refused = |end: &&Result<_, _>| matches!(end, Err(Error::CircuitOpen { .. }));
            assert_eq!(ends.iter().filter(refused).count() as u32, 10_000 - probes);
            assert_eq!((server.requests() - before) as u32, probes);
        });
        assert_all_back(&a);
    }
}

#[test]
fn b5_results_from_before_a_change_of_state_do_not_count_after_it() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| {
        let breaker = Breaker::new().consecutive_failures(1).successes(2);
        builder.targets(["http://a:80"]).timeout(secs(60)).retry_attempts(0).breaker(breaker)
    });
    sim.run(async {
        server.latency(secs(20));
        let late: Vec<_> = (0..9).map(|_| sim.spawn(get_root_of(&a))).collect();
        sim.sleep(ms(1)).await;
        server.latency(Duration::ZERO);
        half_open(&sim, &a).await;
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::HalfOpen, "one of two successes");
        assert!(join_all(late).await.iter().all(Result::is_ok));
        assert_eq!(circuit(&a), CircuitState::HalfOpen, "nine late ones changed nothing");
    });
}

fn get_root_of(a: &Dependency) -> impl Future<Output = Result<String, Error<HttpError>>> + use<> {
    let a = a.clone();
    async move { get_root(&a).await }
}

#[test]
fn b6_impatient_callers_open_no_healthy_circuit_and_hide_no_server_that_hangs() {
    // Dropped after a tenth of what the server needs; and long after anybody would have waited.
    for (latency, patience, state) in
        [(ms(100), ms(10), CircuitState::Closed), (secs(60), ms(2_500), CircuitState::Open)]
    {
        let sim = Sim::new(1);
        sim.server("http://a:80").latency(latency);
        let a = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]).timeout(secs(5));
            builder.max_open_per_netloc(2_000).http_pool_size(2_000)
        });
        sim.run(async {
            let calls = Box::pin(join_all((0..1_000).map(|_| get_root(&a))));
            drop(select(calls, Box::pin(sim.sleep(patience))).await);
        });
        assert_eq!(circuit(&a), state, "dropped after {patience:?}");
        assert_all_back(&a);
    }
}

#[test]
fn b7_an_open_circuit_answers_by_itself_and_in_one_poll() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.hangs(..);
    let a = touchy_at_a(&sim);
    a.circuit("a:80").unwrap_or_else(|| panic!("{}", a.snapshot())).force_open();
    let ran = Cell::new(false);
    let call = a.call(|call| {
        ran.set(true);
        get(call, "/")
    });
    let refused = call.now_or_never().expect("an answer at the first poll");
    assert!(matches!(refused, Err(Error::CircuitOpen { .. })), "{refused:?}");
    assert_eq!((server.requests(), ran.get()), (0, false));
}

#[test]
fn b8_one_dead_shard_of_ten_costs_the_others_nothing() {
    let sim = Sim::new(1);
    let shards: Vec<_> = (0..10).map(|n| format!("http://shard-{n}/")).collect();
    for shard in &shards {
        sim.server(shard.trim_end_matches('/')).latency(ms(1));
    }
    sim.server("http://shard-3").down(..);
    let service = dependency(&sim, |builder| builder.breaker(touchy()));
    let mut failed = 0;
    sim.run(async {
        for n in 0..10_000 {
            let shard = &shards[n % 10];
            let end = service.call(|call| get(call, shard)).await;
            assert!(n % 10 != 3 || end.is_err());
            failed += u32::from(n % 10 != 3 && end.is_err());
        }
    });
    assert!(failed <= 9, "{failed} of the 9,000 calls to others");
}

#[test]
fn b9_a_burst_of_failures_weighs_as_much_as_the_same_ones_spread_out() {
    // Of twenty results in ten seconds, this many are failures: at once, or one in two.
    let opens = |failures: u32, burst: bool| {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        let a = dependency(&sim, |builder| {
            let breaker = Breaker::new().consecutive_failures(1_000).min_calls(20);
            builder.targets(["http://a:80"]).retry_attempts(0).breaker(breaker)
        });
        sim.run(async {
            for n in 0..20 {
                let left = 20 - n;
                let fails =
                    if burst { left <= failures } else { left % 2 == 1 && left / 2 < failures };
                server.answers(.., if fails { 500 } else { 200 });
                let _ = get_root(&a).await;
                sim.sleep(if burst && fails { ms(1) } else { ms(450) }).await;
            }
        });
        circuit(&a) == CircuitState::Open
    };
    for failures in 8..=10 {
        assert_eq!(opens(failures, true), opens(failures, false), "{failures} of 20");
        assert_eq!(opens(failures, true), failures == 10, "{failures} of 20");
    }
}

#[test]
fn b10_a_throttled_probe_does_not_close_the_circuit_and_throttles_do_not_open_it() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = touchy_at_a(&sim);
    sim.run(async {
        server.answers(.., 429);
        for _ in 0..100 {
            get_root(&a).await.unwrap_err();
        }
        assert_eq!(circuit(&a), CircuitState::Closed, "it answers, and asks for less");
        half_open(&sim, &a).await;
        server.answers(.., 429);
        get_root(&a).await.unwrap_err();
        assert_ne!(circuit(&a), CircuitState::Closed, "it is not known to be well");
    });
}

#[test]
fn b11_whatever_fails_there_is_always_a_target_to_pick() {
    const TARGETS: [&str; 3] = ["http://a:80", "http://b:80", "http://c:80"];
    let sim = Sim::new(1);
    let servers = TARGETS.map(|target| sim.server(target));
    let all = dependency(&sim, |builder| {
        let builder = builder.load_balancer(RoundRobin::new(TARGETS)).breaker(touchy());
        builder.retry_attempts(0)
    });
    let mut rng = fastrand::Rng::with_seed(7);
    let mut failed = 0;
    sim.run(async {
        for _ in 0..2_000 {
            servers[rng.usize(0..3)].answers(.., if rng.u8(0..3) > 0 { 500 } else { 200 });
            match get_root(&all).await {
                Err(error) if error.is_rejected() => panic!("{error}\n{}", all.snapshot()),
                end => failed += u32::from(end.is_err()),
            }
            sim.sleep(ms(rng.u64(0..2_000))).await;
        }
    });
    assert!(failed > 500 && all.snapshot().totals.opened > 100, "{failed} failed");
}

#[test]
fn b12_open_times_grow_to_a_cap_and_clients_do_not_come_back_at_once() {
    let open_times = |seed| {
        let sim = Sim::new(seed);
        sim.server("http://a:80").down(..);
        let a = dependency(&sim, |builder| {
            let breaker = touchy().max_open(secs(60));
            builder.targets(["http://a:80"]).retry_attempts(0).breaker(breaker)
        });
        sim.run(async {
            let mut times = Vec::new();
            for _ in 0..6 {
                get_root(&a).await.unwrap_err();
                let open = a.snapshot().endpoints[1].reopens_in.unwrap();
                times.push(open);
                sim.sleep(open).await;
            }
            times
        })
    };
    for seconds in [10, 20, 40, 60, 60, 60].iter().zip(open_times(1)) {
        let (least, open) = (secs(*seconds.0), seconds.1);
        assert!(open >= least && open <= least + least / 5, "{open:?}, {least:?}");
    }
    let clients: BTreeSet<_> = (0..100).map(|seed| open_times(seed)[0].as_millis()).collect();
    assert!(clients.len() > 80, "a hundred clients come back at {} moments", clients.len());
}

#[test]
fn b14_those_who_wait_are_woken_when_a_circuit_changes() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(secs(1));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(10)
    });
    sim.run(async {
        let calls: Vec<_> = (0..4).map(|_| sim.spawn(get_root_of(&a))).collect();
        sim.sleep(ms(3)).await;
        a.circuit("a:80").unwrap().force_open();
        let ends = join_all(calls.into_iter().skip(1)).await;
        let refused = |end: &Result<_, _>| matches!(end, Err(Error::CircuitOpen { .. }));
        assert!(ends.iter().all(refused), "{ends:?}");
        assert_eq!(sim.elapsed(), ms(3), "all three, at once");
    });
}

#[test]
fn b15_a_throttle_sees_a_server_that_hangs_before_its_first_timeout() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.hangs(..);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).timeout(secs(30)).retry_attempts(0);
        let builder = builder.max_open_per_netloc(10_000).http_pool_size(10_000);
        builder.throttle(Throttle::new()).circuit_reset_timeout(Duration::ZERO)
    });
    sim.run(async {
        for _ in 0..1_000 {
            drop(sim.spawn(get_root_of(&a)));
            sim.sleep(ms(20)).await;
        }
    });
    let totals = a.snapshot().totals;
    assert_eq!(totals.timed_out, 0, "nothing has ended yet");
    assert!(server.requests() < 200 && totals.throttled > 800, "{}", a.snapshot());
}

/// A panic that is caught here is no panic of the test's.
#[test]
fn b1_a_panic_in_the_probe_gives_its_place_back() {
    let sim = Sim::new(1);
    let a = touchy_at_a(&sim);
    sim.run(half_open(&sim, &a));
    for _ in 0..100 {
        let mut probe =
            Box::pin(a.call(|_| -> std::future::Ready<Result<(), HttpError>> {
                panic!("the user's own")
            }));
        let cx = &mut Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| drop::<Poll<_>>(probe.as_mut().poll(cx))));
        polled.unwrap_err();
        assert_all_back(&a);
    }
    assert_eq!(circuit(&a), CircuitState::HalfOpen);
}
