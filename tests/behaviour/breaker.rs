//! Circuits, as calls meet them.

use std::future::Future;
use std::time::Duration;

use dace::{Breaker, CircuitState};
use dace_sim::Sim;

use crate::support::{
    Dependency, Error, assert_all_back, dependency, get, get_root, ms, secs, touchy,
};

fn circuit(dependency: &Dependency) -> CircuitState {
    dependency.snapshot().endpoints[1].circuit
}

/// B7: an open circuit is asked first: the server hears nothing.
#[test]
fn five_failures_in_a_row_open_the_circuit_and_it_says_when_to_come_again() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 500);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    sim.run(async {
        for _ in 0..5 {
            assert!(matches!(get_root(&a).await, Err(Error::Operation { .. })));
        }
        let error = get_root(&a).await.unwrap_err();
        let Error::CircuitOpen { netloc, retry_after: Some(after), .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(netloc.as_str(), "a:80");
        assert!((secs(10)..=secs(12)).contains(&after), "{after:?}");
    });
    assert_eq!(server.requests(), 5);
}

#[test]
fn a_success_or_a_callers_fault_in_between_breaks_the_row() {
    for status in [200, 404] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        let a = dependency(&sim, |builder| {
            builder
                .targets(["http://a:80"])
                .retry_attempts(0)
                .breaker(Breaker::new().min_calls(1000))
        });
        sim.run(async {
            for round in 0..20 {
                server.answers(.., if round % 5 == 4 { status } else { 500 });
                let _ = get_root(&a).await;
            }
        });
        assert_eq!((circuit(&a), server.requests()), (CircuitState::Closed, 20));
    }
}

#[test]
fn half_of_twenty_results_in_ten_seconds_open_the_circuit() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    sim.run(async {
        for round in 0..20 {
            assert_eq!(circuit(&a), CircuitState::Closed, "round {round}");
            server.answers(.., if round % 2 == 0 { 200 } else { 500 });
            let _ = get_root(&a).await;
        }
    });
    assert_eq!(circuit(&a), CircuitState::Open);
}

/// B4: when the open time ends, exactly the probes get in, however many ask.
#[test]
fn of_a_hundred_callers_at_the_instant_a_circuit_half_opens_exactly_one_is_let_in() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(10)).down(..ms(1));
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .retry_attempts(0)
            .max_open_per_netloc(1000)
            .breaker(touchy())
    });
    sim.run(async {
        get_root(&a).await.unwrap_err();
        sim.sleep(secs(13)).await;
        let results = futures_util::future::join_all((0..100).map(|_| get_root(&a))).await;
        let refused =
            results.iter().filter(|result| matches!(result, Err(Error::CircuitOpen { .. })));
        assert_eq!(refused.count(), 99);
        assert_eq!(server.requests(), 1);
        assert_eq!(circuit(&a), CircuitState::Closed);
    });
    assert_all_back(&a);
}

#[test]
fn two_successful_probes_in_a_row_close_the_circuit() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.down(..ms(1));
    let a = dependency(&sim, |builder| {
        let breaker = Breaker::new().consecutive_failures(1);
        builder.targets(["http://a:80"]).retry_attempts(0).breaker(breaker)
    });
    sim.run(async {
        get_root(&a).await.unwrap_err();
        sim.sleep(secs(13)).await;
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::HalfOpen);
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::Closed);
    });
}

/// B2: a probe that never ends blocks the circuit no longer than its lease.
#[test]
fn a_probe_that_hangs_is_a_failure_by_its_deadline_and_the_next_one_comes() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.hangs(..secs(14));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).timeout(ms(600)).retry_attempts(0).breaker(touchy())
    });
    sim.run(async {
        assert!(matches!(get_root(&a).await, Err(Error::Timeout { .. })));
        assert_eq!(circuit(&a), CircuitState::Open);
        sim.sleep(secs(12)).await;
        // Shorter than `hang_after`: for an ordinary attempt neutral, for a probe a failure.
        let probe = a.call(|call| get(call, "/")).within(ms(50)).await;
        assert!(matches!(probe, Err(Error::Timeout { .. })));
        assert_eq!(circuit(&a), CircuitState::Open);
        sim.sleep(secs(24)).await;
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::Closed);
    });
}

/// B3: a probe that is dropped gives its place back and decides nothing.
#[test]
fn a_probe_that_is_dropped_gives_its_place_back_and_decides_nothing() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.down(..ms(1)).hangs(secs(12)..secs(14));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).retry_attempts(0).breaker(touchy())
    });
    let world = sim.clone();
    sim.run(async {
        get_root(&a).await.unwrap_err();
        world.sleep(secs(13)).await;
        {
            let probe = Box::pin(get_root(&a));
            let wait = Box::pin(world.sleep(ms(10)));
            futures_util::future::select(probe, wait).await;
        }
        assert_eq!(circuit(&a), CircuitState::HalfOpen);
        assert_all_back(&a);
        world.sleep(secs(2)).await;
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::Closed);
    });
}

/// B2: a probe that never ends blocks the circuit no longer than its lease.
#[test]
fn a_probe_that_nobody_polls_blocks_the_circuit_no_longer_than_its_lease() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(1)).down(..ms(1));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).no_timeout().retry_attempts(0).breaker(touchy())
    });
    sim.run(async {
        get_root(&a).await.unwrap_err();
        sim.sleep(secs(13)).await;
        let mut forgotten = Box::pin(get_root(&a));
        let waker = std::task::Waker::noop();
        let polled = forgotten.as_mut().poll(&mut std::task::Context::from_waker(waker));
        assert!(polled.is_pending());
        sim.sleep(secs(10)).await;
        // The lease has run out: that is found out now, and counts as a failure.
        assert!(matches!(get_root(&a).await, Err(Error::CircuitOpen { .. })));
        assert_eq!(circuit(&a), CircuitState::Open);
        sim.sleep(secs(24)).await;
        get_root(&a).await.unwrap();
        // What the forgotten one finds is of an older generation.
        forgotten.await.unwrap();
        assert_eq!(circuit(&a), CircuitState::Closed);
    });
    assert_all_back(&a);
}

/// B5: results from before a change of state do not count after it.
#[test]
fn results_from_before_the_circuit_opened_do_not_count_after_it() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(secs(20));
    let a = dependency(&sim, |builder| {
        let breaker = Breaker::new().consecutive_failures(1).successes(2);
        builder.targets(["http://a:80"]).timeout(secs(60)).retry_attempts(0).breaker(breaker)
    });
    let world = sim.clone();
    sim.run(async {
        let slow: Vec<_> = (0..5)
            .map(|_| {
                let a = a.clone();
                world.spawn(async move { get_root(&a).await })
            })
            .collect();
        world.sleep(ms(1)).await;
        server.latency(Duration::ZERO).answers(..ms(2), 500);
        get_root(&a).await.unwrap_err();
        assert_eq!(circuit(&a), CircuitState::Open);
        world.sleep(secs(13)).await;
        get_root(&a).await.unwrap();
        assert_eq!(circuit(&a), CircuitState::HalfOpen);
        for call in slow {
            call.await.unwrap();
        }
        assert_eq!(circuit(&a), CircuitState::HalfOpen, "five late successes changed nothing");
    });
}

#[test]
fn an_attempt_that_takes_longer_than_expected_fails_the_circuit_alone() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(300));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).expected_in(ms(200)).breaker(touchy())
    });
    assert_eq!(sim.run(get_root(&a)).unwrap(), "ok");
    assert_eq!(server.requests(), 1, "a slow success is not retried");
    assert_eq!(circuit(&a), CircuitState::Open);
    let latency = a.snapshot().endpoints[1].latency.unwrap();
    assert_eq!(latency, ms(300), "and costs the balancer its real time");
    assert_eq!(a.snapshot().budget_thousandths, 50_000, "and deposits, into a full bank");
}

#[test]
fn a_reset_timeout_of_zero_switches_the_breaker_off() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 500);
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).retry_attempts(0).circuit_reset_timeout(Duration::ZERO)
    });
    sim.run(async {
        for _ in 0..100 {
            assert!(matches!(get_root(&a).await, Err(Error::Operation { .. })));
        }
    });
    assert_eq!(server.requests(), 100);
}

#[test]
fn circuits_can_be_forced_by_hand_and_set_free_again() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).retry_attempts(0).breaker(touchy())
    });
    sim.run(async {
        let control = a.circuit("a:80").unwrap();
        control.force_open();
        let error = get_root(&a).await.unwrap_err();
        assert!(matches!(error, Error::CircuitOpen { retry_after: None, .. }), "{error:?}");
        control.force_closed();
        server.answers(.., 500);
        for _ in 0..10 {
            assert!(matches!(get_root(&a).await, Err(Error::Operation { .. })));
        }
        control.metrics_only();
        for _ in 0..3 {
            assert!(matches!(get_root(&a).await, Err(Error::Operation { .. })));
        }
        assert_eq!(a.snapshot().endpoints[1].failures, 3);
        control.automatic();
        assert!(matches!(get_root(&a).await, Err(Error::Operation { .. })));
        assert!(matches!(get_root(&a).await, Err(Error::CircuitOpen { .. })));
        assert!(a.circuit("b:80").is_none());
    });
}

#[test]
fn a_function_that_failed_before_its_exchanges_is_not_throttled_for_ever_after() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let a = dependency(&sim, |builder| builder.breaker(touchy()).retry_attempts(0));
    let broken = a.call(|_| std::future::ready(Err::<(), _>(std::io::Error::other("no disk"))));
    sim.run(broken).unwrap_err();
    sim.advance(secs(13));
    let whole = || a.call(|call| get(call, "http://a:80/"));
    assert!(sim.run(whole()).is_ok(), "the probe");
    let results = sim.run(async { futures_util::future::join_all((0..5).map(|_| whole())).await });
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    assert_all_back(&a);
}
