//! Another policy while calls run.

use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::sim::{Answer, Sim, SimBackend, SimRuntime};
use dace::{Backoff, Breaker, Budget, CircuitState, HttpError, Policy, RateLimit, What};

type Dependency = dace::Dependency<SimRuntime, SimBackend>;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn dependency(sim: &Sim, policy: Policy) -> Dependency {
    dependency_of(sim, policy.targets(["http://a:80"]))
}

fn dependency_of(sim: &Sim, policy: Policy) -> Dependency {
    Dependency::builder("a").policy(policy).build_with(sim.runtime(), sim.backend()).unwrap()
}

async fn get(dependency: &Dependency) -> Result<(), dace::Error<HttpError>> {
    let get = |call: dace::Call<SimRuntime, SimBackend>| async move {
        call.http().get("/").send().await?.error_for_status().map(drop)
    };
    dependency.call(get).await
}

fn quick() -> Policy {
    Policy::new().backoff(Backoff::new().base(Duration::ZERO))
}

#[test]
fn a_policy_that_cannot_be_used_changes_nothing() {
    let sim = Sim::new(1);
    let a = dependency(&sim, quick().retry_attempts(1));
    let error = a.reload(quick().retry_attempts(7).queue(9).timeout(Duration::ZERO)).unwrap_err();
    assert_eq!(error.setting(), "timeout");
    assert_eq!(a.policy(), quick().retry_attempts(1));
}

#[test]
fn decisions_after_a_reload_follow_the_new_policy() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let off = quick().circuit_reset_timeout(Duration::ZERO);
    let a = dependency(&sim, off.clone().retry_attempts(1));
    sim.run(get(&a)).unwrap_err();
    assert_eq!(server.requests(), 2);
    a.reload(off.clone().retry_attempts(3)).unwrap();
    sim.run(get(&a)).unwrap_err();
    assert_eq!(server.requests(), 2 + 4);
    a.reload(off.retry_attempts(0).breaker(Breaker::new())).unwrap();
    sim.run(get(&a)).unwrap_err();
    assert_eq!(server.requests(), 2 + 4 + 1);
    // Switched on, the breaker counts from here.
    a.reload(quick().retry_attempts(0).breaker(Breaker::new().consecutive_failures(2))).unwrap();
    for _ in 0..9 {
        sim.run(get(&a)).unwrap_err();
    }
    assert_eq!(server.requests(), 2 + 4 + 1 + 2);
}

#[test]
fn a_call_under_way_keeps_its_deadline_and_retries_as_the_new_policy_says() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(400)).answers(.., 503);
    let a = dependency(&sim, quick().timeout(ms(1_000)).retry_attempts(0));
    let reloaded = sim.run(async {
        let reload = async {
            sim.sleep(ms(100)).await;
            a.reload(quick().timeout(ms(60_000)).retry_attempts(9)).unwrap();
        };
        futures_util::future::join(get(&a), reload).await.0
    });
    // The first attempt ends at 400 ms, the second at 800 ms, the third is cut off.
    assert!(matches!(reloaded, Err(dace::Error::Timeout { attempts: 3, .. })), "{reloaded:?}");
    assert_eq!(sim.elapsed(), ms(1_000));
}

#[test]
fn requests_after_a_reload_follow_the_new_policy() {
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    sim.server("http://a:80").handler(move |request| {
        log.lock().unwrap().push(request.options.connect_timeout);
        Answer::ok("0123456789")
    });
    let a = dependency(&sim, quick());
    let text = || {
        a.call(
            |call| async move { call.http().get("/").send().await?.text().await.map(|t| t.len()) },
        )
    };
    assert_eq!(sim.run(text()).unwrap(), 10);
    a.reload(quick().connect_timeout(ms(70)).body_limit(9)).unwrap();
    sim.run(text()).unwrap_err();
    a.reload(quick().https_only(true)).unwrap();
    sim.run(text()).unwrap_err();
    assert_eq!(*seen.lock().unwrap(), [ms(1_000), ms(70)]);
}

#[test]
fn a_higher_limit_lets_those_in_who_wait() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1_000));
    let a = dependency(&sim, quick().max_open_per_netloc(1).queue(9));
    sim.run(async {
        let reload = async {
            sim.sleep(ms(100)).await;
            assert_eq!(a.snapshot().queued, 2);
            a.reload(quick().max_open_per_netloc(3).queue(9)).unwrap();
        };
        let calls = futures_util::future::join_all((0..3).map(|_| get(&a)));
        let (results, ()) = futures_util::future::join(calls, reload).await;
        assert!(results.iter().all(Result::is_ok));
    });
    assert_eq!(sim.elapsed(), ms(1_100));
}

#[test]
fn what_is_known_stays() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 500);
    let policy = quick().retry_attempts(0);
    let a = dependency(&sim, policy.clone());
    for _ in 0..4 {
        sim.run(get(&a)).unwrap_err();
    }
    let before = a.snapshot();
    a.reload(policy.clone().timeout(ms(900)).queue(7)).unwrap();
    assert_eq!(a.snapshot().to_string(), before.to_string());
    sim.run(get(&a)).unwrap_err();
    assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::Open, "the fifth in a row");
    a.reload(policy).unwrap();
    assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::Open);
}

#[test]
fn tokens_stay_as_far_as_the_new_bank_holds_them() {
    let sim = Sim::new(1);
    let a = dependency(&sim, Policy::new());
    for (banked, left) in [(9, 9_000), (50, 9_000), (3, 3_000), (0, 0), (50, 0)] {
        a.reload(Policy::new().budget(Budget::new().banked(banked))).unwrap();
        assert_eq!(a.snapshot().budget_thousandths, left, "{banked}");
    }
    a.reload(Policy::new().budget(Budget::new().deposit(1.0))).unwrap();
    sim.run(a.call(|_| ready(Ok::<_, HttpError>(())))).unwrap();
    assert_eq!(a.snapshot().budget_thousandths, 1_000);
}

#[test]
fn fewer_netlocs_are_kept_after_a_reload() {
    let sim = Sim::new(1);
    let builder = Dependency::builder("a").policy(quick().max_netlocs(3));
    let a = builder.build_with(sim.runtime(), sim.backend()).unwrap();
    for host in ["a", "b", "c", "d", "e"] {
        let url = format!("http://{host}:80/");
        sim.server(&url);
        let call = a.call(|call| {
            let url = url.clone();
            async move { call.http().get(&url).send().await.map(drop) }
        });
        sim.run(call).unwrap();
        if host == "b" {
            a.reload(quick().max_netlocs(2)).unwrap();
        }
    }
    assert_eq!(a.snapshot().endpoints.len(), 1 + 2, "the dependency itself, and two");
}

#[test]
fn limits_that_a_reload_brings_hold_at_servers_that_are_known() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, quick());
    for _ in 0..20 {
        sim.run(get(&a)).unwrap();
    }
    let rate = RateLimit::new(1, ms(60_000)).burst(3);
    a.reload(quick().retry_attempts(0).rate_limit(rate)).unwrap();
    let let_in = (0..20).filter(|_| sim.run(get(&a)).is_ok()).count();
    assert_eq!((let_in, server.requests()), (3, 23));
    a.reload(quick()).unwrap();
    sim.run(get(&a)).unwrap();
}

#[test]
fn a_reload_is_an_event() {
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    struct Log(Arc<Mutex<Vec<What>>>);
    impl dace::Observer for Log {
        fn on_event(&self, _: &str, event: &dace::Event) {
            self.0.lock().unwrap().push(event.what.clone());
        }
    }
    let builder = Dependency::builder("a").observer(Log(log));
    let a = builder.build_with(sim.runtime(), sim.backend()).unwrap();
    a.reload(Policy::new()).unwrap();
    assert!(matches!(seen.lock().unwrap().as_slice(), [What::Reloaded]));
}

/// A policy out of several, each of which every call gets along with.
fn some(round: u32) -> Policy {
    let timeout = Duration::from_secs(60 + u64::from(round % 5));
    let policy =
        quick().timeout(timeout).max_open_per_netloc(100 + round % 7).queue(round as usize);
    policy.budget(Budget::new().banked(50 + round % 3)).http_pool_size(100)
}

#[test]
fn a_thousand_reloads_during_a_hundred_thousand_calls_lose_none() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1));
    let a = dependency(&sim, some(0));
    sim.run(async {
        let workers = (0..50).map(|_| async {
            for _ in 0..2_000 {
                get(&a).await.unwrap();
            }
        });
        let reloads = async {
            for round in 0..1_000 {
                a.reload(some(round)).unwrap();
                sim.sleep(ms(2)).await;
            }
        };
        futures_util::future::join(futures_util::future::join_all(workers), reloads).await;
    });
    let snapshot = a.snapshot();
    assert_eq!(snapshot.totals.succeeded, 100_000);
    assert_eq!(snapshot.calls, 0);
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0));
}

/// C11: no update is lost between threads.
#[cfg(feature = "tokio")]
#[test]
fn threads_that_call_while_another_reloads_lose_no_call() {
    let dependency = dace::tokio::Dependency::builder("a").policy(some(0)).build().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    let workers: Vec<_> = (0..2)
        .map(|_| {
            let dependency = dependency.clone();
            runtime.spawn(async move {
                for _ in 0..50_000 {
                    dependency.call(|_| ready(Ok::<_, HttpError>(()))).await.unwrap();
                }
            })
        })
        .collect();
    for round in 0..1_000 {
        dependency.reload(some(round)).unwrap();
    }
    for worker in workers {
        runtime.block_on(worker).unwrap();
    }
    let snapshot = dependency.snapshot();
    assert_eq!((snapshot.totals.succeeded, snapshot.calls), (100_000, 0));
}

/// Else a balancer would take an open circuit for one that waits for a probe, and send everything there.
#[test]
fn a_breaker_that_is_switched_off_closes_its_circuits() {
    let sim = Sim::new(1);
    let servers = ["http://a:80", "http://b:80"].map(|target| sim.server(target));
    let touchy = Breaker::new().consecutive_failures(1);
    let policy = quick().retry_attempts(0).breaker(touchy).targets(["http://a:80", "http://b:80"]);
    let policy = policy.balancer(dace::Balancing::RoundRobin);
    let a = dependency_of(&sim, policy);
    servers[0].answers(..ms(1), 503);
    assert!(sim.run(get(&a)).is_err());
    sim.advance(ms(1));
    assert_eq!(a.circuit("a:80").unwrap().state(), Some(CircuitState::Open));
    a.reload(quick().circuit_reset_timeout(Duration::ZERO)).unwrap();
    assert_eq!(a.circuit("a:80").unwrap().state(), Some(CircuitState::Closed));
    let before = servers.each_ref().map(|server| server.requests());
    for _ in 0..20 {
        sim.run(get(&a)).unwrap();
    }
    let share = |index: usize| servers[index].requests() - before[index];
    assert_eq!((share(0), share(1)), (10, 10));
}
