//! A second attempt beside a slow one.

use std::future::Future as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use dace::http::Method;
use dace::sim::{Answer, Sim, SimBackend, SimRuntime};
use dace::{Backoff, Budget, Class, Hedge, HttpError, Policy, WaitCause, What};

type Dependency = dace::Dependency<SimRuntime, SimBackend>;
type Call = dace::Call<SimRuntime, SimBackend>;

const SERVERS: [&str; 3] = ["http://a:80", "http://b:80", "http://c:80"];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn hedged() -> Policy {
    Policy::new().hedge(Hedge::new()).backoff(Backoff::new().base(Duration::ZERO))
}

fn dependency(sim: &Sim, policy: Policy) -> Dependency {
    let builder = Dependency::builder("a").load_balancer(dace::RoundRobin::new(SERVERS));
    builder.policy(policy).build_with(sim.runtime(), sim.backend()).unwrap()
}

async fn fetch(call: Call) -> Result<u16, HttpError> {
    let response = call.http().get("/").send().await?.error_for_status()?;
    let status = response.status();
    response.bytes().await.map(|_| status)
}

/// Three servers that answer in 10 ms; when told to, the next so many requests take longer, wherever
/// they go.
struct Servers {
    slow: Arc<AtomicU64>,
}

impl Servers {
    fn new(sim: &Sim, answer: impl Fn() -> Answer + Clone + Send + Sync + 'static) -> Self {
        let slow = Arc::new(AtomicU64::new(0));
        for server in SERVERS {
            let (slow, answer) = (slow.clone(), answer.clone());
            sim.server(server).handler(move |_| {
                let take = |left: u64| left.checked_sub(1);
                let is_slow = slow.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take).is_ok();
                answer().latency(if is_slow { ms(1_000) } else { ms(10) })
            });
        }
        Self { slow }
    }

    fn slow_down(&self, requests: u64) {
        self.slow.store(requests, Ordering::SeqCst);
    }
}

fn requests(sim: &Sim) -> usize {
    SERVERS.iter().map(|server| sim.server(server).requests()).sum()
}

/// So many calls that teach it what is usual, and pay for the first hedges.
async fn warm_up(dependency: &Dependency) {
    for _ in 0..100 {
        dependency.call(fetch).await.unwrap();
    }
}

/// E2: the loser is dropped before the call returns, and counts for nothing.
#[test]
fn a_slow_attempt_is_hedged_elsewhere_and_the_first_answer_wins() {
    for (policy, takes, sent) in [(hedged(), 20..22, 2), (Policy::new(), 1_000..1_001, 1)] {
        let sim = Sim::new(1);
        let servers = Servers::new(&sim, || Answer::ok("ok"));
        let a = dependency(&sim, policy);
        sim.run(async {
            warm_up(&a).await;
            let before = (sim.elapsed(), requests(&sim));
            servers.slow_down(1);
            assert_eq!(a.call(fetch).await.unwrap(), 200);
            let took = (sim.elapsed() - before.0).as_millis();
            assert!(takes.contains(&took), "{took}");
            assert_eq!(requests(&sim) - before.1, sent);
        });
        let snapshot = a.snapshot();
        assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0), "all is given back");
        assert_eq!((snapshot.calls, snapshot.attempts), (0, 0));
    }
}

/// E2: the loser is dropped before the call returns, and counts for nothing.
#[test]
fn the_report_tells_of_both_and_the_loser_is_cancelled() {
    let sim = Sim::new(1);
    let servers = Servers::new(&sim, || Answer::ok("ok"));
    let a = dependency(&sim, hedged());
    let report = sim.run(async {
        warm_up(&a).await;
        servers.slow_down(1);
        a.call(fetch).report().await
    });
    let of = |number| report.attempts.iter().find(|attempt| attempt.number == number).unwrap();
    let (first, hedge) = (of(1), of(2));
    assert_eq!((first.class, hedge.class), (Class::Cancelled, Class::Success));
    assert_ne!(first.netloc, hedge.netloc);
    assert_eq!(hedge.cause, Some(WaitCause::Hedge));
    assert_eq!(hedge.waited, hedge.started, "it waited for the first one");
    assert!(hedge.started > ms(10) && hedge.started < ms(12), "{:?}", hedge.started);
    let mut decisions = report.decisions.iter();
    let hedged = decisions.find(|event| matches!(event.what, What::Hedged { .. })).unwrap();
    assert_eq!((hedged.attempt(), hedged.netloc()), (Some(2), Some(&hedge.netloc)));
    let total = a.snapshot().totals;
    assert_eq!((total.hedges, total.retries, total.succeeded), (1, 0, 101));
}

#[test]
fn the_first_attempt_may_still_win_and_then_the_call_deposits() {
    let sim = Sim::new(1);
    for server in SERVERS {
        sim.server(server).latency(ms(10));
    }
    let a = dependency(&sim, hedged().budget(Budget::new().banked(2)));
    sim.run(async {
        warm_up(&a).await;
        // A hedge begins at 10.5 ms; the first one ends at 15 ms, the hedge would at 25 ms.
        for server in SERVERS {
            sim.server(server).latency(ms(15));
        }
        let report = a.call(fetch).report().await;
        assert_eq!(report.attempts.len(), 2);
        assert_eq!((report.attempts[0].number, report.attempts[0].class), (1, Class::Success));
        assert_eq!((report.attempts[1].number, report.attempts[1].class), (2, Class::Cancelled));
    });
    assert_eq!(a.snapshot().budget_thousandths, 1_000 + 200, "a token for the hedge, a deposit");
}

/// E3: nothing unsafe is hedged, and hedges are paid for like retries.
#[test]
fn a_hedge_that_wins_gives_its_retry_token_back() {
    let sim = Sim::new(1);
    let servers = Servers::new(&sim, || Answer::ok("ok"));
    let a = dependency(&sim, hedged().budget(Budget::new().banked(2)));
    sim.run(async {
        warm_up(&a).await;
        servers.slow_down(1);
        a.call(fetch).await.unwrap();
    });
    assert_eq!(a.snapshot().budget_thousandths, 2_000);
}

#[test]
fn of_two_that_fail_the_last_one_is_retried_and_a_failure_waits_for_the_other() {
    let sim = Sim::new(1);
    for server in SERVERS {
        sim.server(server).latency(ms(10));
    }
    let a = dependency(&sim, hedged());
    sim.run(async {
        warm_up(&a).await;
        for server in SERVERS {
            sim.server(server).latency(ms(20)).answers(.., 503);
        }
        let report = a.call(fetch).report().await;
        // The first and its hedge, then two retries, one after the other: `retry_attempts` binds all.
        assert_eq!(report.attempts.len(), 4);
        assert!(report.attempts.iter().all(|attempt| attempt.class == Class::Transient));
        assert!(matches!(report.result, Err(dace::Error::RetriesExhausted { attempts: 4, .. })));
        let starts: Vec<_> = report.attempts.iter().map(|a| a.started.as_millis()).collect();
        assert_eq!(starts, [0, 10, 30, 50]);
    });
}

#[test]
fn an_answer_that_no_other_would_better_ends_the_race() {
    let sim = Sim::new(1);
    let status = Arc::new(AtomicU16::new(200));
    let shown = status.clone();
    let servers = Servers::new(&sim, move || Answer::status(shown.load(Ordering::SeqCst)));
    let a = dependency(&sim, hedged());
    sim.run(async {
        warm_up(&a).await;
        status.store(404, Ordering::SeqCst);
        servers.slow_down(1);
        let before = sim.elapsed();
        let report = a.call(fetch).report().await;
        assert!(matches!(report.result, Err(dace::Error::RetriesExhausted { attempts: 2, .. })));
        assert!(sim.elapsed() - before < ms(30));
        let classes: Vec<_> = report.attempts.iter().map(|attempt| attempt.class).collect();
        assert_eq!(classes, [Class::CallerFault, Class::Cancelled]);
    });
}

/// E3: nothing unsafe is hedged, and hedges are paid for like retries.
#[test]
fn a_request_that_must_not_happen_twice_is_sent_once() {
    let sim = Sim::new(1);
    for server in SERVERS {
        sim.server(server).handler(|request| {
            let quick = request.url.to_string().ends_with("/quick");
            let slow = if request.method == Method::POST { ms(300) } else { ms(20) };
            Answer::ok("ok").latency(if quick { ms(5) } else { slow })
        });
    }
    let a = dependency(&sim, hedged());
    let look_then_write = |call: Call| async move {
        call.http().get("/").send().await?.bytes().await?;
        let response = call.http().post("/").body("x").send().await?.error_for_status()?;
        response.bytes().await.map(drop)
    };
    let posts = || {
        let arrivals = SERVERS.iter().flat_map(|server| sim.server(server).arrivals());
        arrivals.filter(|arrival| arrival.method == Method::POST).count()
    };
    let quick = |call: Call| async move { call.http().get("/quick").send().await?.bytes().await };
    sim.run(async {
        for calls in 1..=200 {
            // What is usual is quick; then nearly every call is hedged while it looks.
            for _ in 0..30 {
                a.call(quick).await.unwrap();
            }
            a.call(look_then_write).await.unwrap();
            assert_eq!(posts(), calls);
        }
    });
    assert!(a.snapshot().totals.hedges > 150, "{}", a.snapshot().totals.hedges);
}

#[test]
fn a_failed_write_of_one_is_not_repeated_because_the_other_may_be() {
    let sim = Sim::new(1);
    for server in SERVERS {
        sim.server(server).handler(|request| match request.method {
            Method::POST => Answer::status(503).latency(ms(5)),
            _ => Answer::ok("ok").latency(ms(20)),
        });
    }
    let a = dependency(&sim, hedged().retry_on_timeout(true).attempt_timeout(ms(100)));
    sim.run(async {
        for _ in 0..100 {
            let quick = |_: Call| async {
                sim.sleep(ms(2)).await;
                Ok::<_, HttpError>(())
            };
            a.call(quick).await.unwrap();
        }
        let write = |call: Call| async move {
            call.http().get("/").send().await?.bytes().await?;
            call.http().post("/").body("x").send().await?.error_for_status().map(drop)
        };
        let before = sim.elapsed();
        let error = a.call(write).await.unwrap_err();
        // The other one could have sent nothing more: nobody waits for it, and its error is not the call's.
        assert_eq!(sim.elapsed() - before, ms(25));
        assert_eq!(error.why(), Some(dace::Why::NotReplaySafe), "{error}");
        let source = error.into_source().unwrap();
        assert!(source.to_string().contains("503"), "{source}");
    });
    let posts = SERVERS.iter().flat_map(|server| sim.server(server).arrivals());
    assert_eq!(posts.filter(|arrival| arrival.method == Method::POST).count(), 1);
    assert_eq!(a.snapshot().totals.hedges, 1);
}

/// E3: nothing unsafe is hedged, and hedges are paid for like retries.
#[test]
fn a_write_that_reached_nobody_is_retried_though_the_call_was_hedged() {
    let sim = Sim::new(1);
    let attempts = Arc::new(AtomicU64::new(0));
    for server in SERVERS {
        sim.server(server).handler(|request| match request.method {
            Method::POST => Answer::ok("ok").latency(ms(5)),
            _ => Answer::ok("ok").latency(ms(20)),
        });
    }
    let a = dependency(&sim, hedged());
    sim.run(async {
        for _ in 0..100 {
            let quick = |_: Call| async {
                sim.sleep(ms(2)).await;
                Ok::<_, HttpError>(())
            };
            a.call(quick).await.unwrap();
        }
        let write = |call: Call| {
            let number = attempts.fetch_add(1, Ordering::SeqCst);
            async move {
                call.http().get("/").send().await?.bytes().await?;
                // At the first attempt nobody is there.
                let to = if number == 0 { "http://nobody:80/" } else { "/" };
                call.http().post(to).body("x").send().await?.error_for_status().map(drop)
            }
        };
        a.call(write).await.unwrap();
    });
    let posts = SERVERS.iter().flat_map(|server| sim.server(server).arrivals());
    assert_eq!(posts.filter(|arrival| arrival.method == Method::POST).count(), 1);
    assert_eq!((attempts.load(Ordering::SeqCst), a.snapshot().totals.hedges), (3, 1));
}

#[test]
fn nobody_who_waits_is_overtaken_by_a_hedge() {
    let sim = Sim::new(1);
    let servers = Servers::new(&sim, || Answer::ok("ok"));
    let a = dependency(&sim, hedged().max_open_per_netloc(1).queue(9));
    sim.run(async {
        warm_up(&a).await;
        servers.slow_down(3);
        let calls = futures_util::future::join_all((0..4).map(|_| a.call(fetch)));
        assert!(calls.await.iter().all(Result::is_ok));
    });
    assert_eq!(a.snapshot().totals.hedges, 0);
}

#[test]
fn what_must_not_run_twice_or_has_no_other_server_or_no_token_is_not_hedged() {
    let policies = [
        hedged().idempotent(false),
        hedged().retry_attempts(0),
        hedged().budget(Budget::new().banked(0)),
        hedged().timeout(ms(12)),
    ];
    for policy in policies {
        let sim = Sim::new(1);
        let servers = Servers::new(&sim, || Answer::ok("ok"));
        let a = dependency(&sim, policy);
        sim.run(async {
            warm_up(&a).await;
            servers.slow_down(1);
            let _ = a.call(fetch).await;
        });
        assert_eq!(a.snapshot().totals.hedges, 0);
    }
    // One server, and a function that names its servers itself.
    for targets in [&SERVERS[..1], &[]] {
        let sim = Sim::new(1);
        let servers = Servers::new(&sim, || Answer::ok("ok"));
        let mut builder = Dependency::builder("a").policy(hedged());
        if !targets.is_empty() {
            builder = builder.targets(targets.iter().copied());
        }
        let a = builder.build_with(sim.runtime(), sim.backend()).unwrap();
        let fetch = |call: Call| async move {
            call.http().get("http://a:80/").send().await?.bytes().await.map(drop)
        };
        sim.run(async {
            for _ in 0..100 {
                a.call(fetch).await.unwrap();
            }
            servers.slow_down(1);
            a.call(fetch).await.unwrap();
        });
        assert_eq!(a.snapshot().totals.hedges, 0);
    }
}

#[test]
fn a_call_that_is_dropped_gives_back_both_attempts() {
    let sim = Sim::new(1);
    let servers = Servers::new(&sim, || Answer::ok("ok"));
    let a = dependency(&sim, hedged());
    sim.run(async {
        warm_up(&a).await;
        for wait in [5, 11, 15] {
            servers.slow_down(2);
            let call = std::pin::pin!(a.call(fetch));
            let timer = std::pin::pin!(sim.sleep(ms(wait)));
            futures_util::future::select(call, timer).await;
            servers.slow_down(0);
        }
    });
    let snapshot = a.snapshot();
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0));
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.totals.dropped), (0, 0, 3));
}

/// E1, I1.
#[test]
fn the_deadline_and_a_panic_end_both_attempts() {
    let sim = Sim::new(1);
    let servers = Servers::new(&sim, || Answer::ok("ok"));
    let a = dependency(&sim, hedged().timeout(ms(300)));
    sim.run(async {
        warm_up(&a).await;
        servers.slow_down(2);
        let error = a.call(fetch).await.unwrap_err();
        assert!(matches!(error, dace::Error::Timeout { attempts: 2, .. }), "{error}");
        let panics = a.call(|call: Call| async move {
            let number = call.attempt();
            let answer = call.http().get("/").send().await?.bytes().await;
            assert!(number == 1, "the hedge panics");
            answer
        });
        servers.slow_down(1);
        let mut panics = std::pin::pin!(panics);
        let caught = std::future::poll_fn(|cx| {
            let poll = || panics.as_mut().poll(cx);
            match std::panic::catch_unwind(std::panic::AssertUnwindSafe(poll)) {
                Ok(polled) => polled.map(|_| false),
                Err(_) => std::task::Poll::Ready(true),
            }
        });
        assert!(caught.await);
    });
    let snapshot = a.snapshot();
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0));
    assert_eq!((snapshot.calls, snapshot.attempts), (0, 0));
}

#[test]
fn the_body_of_the_winner_stays_valid() {
    let sim = Sim::new(1);
    let servers = Servers::new(&sim, || Answer::ok("0123").piece(ms(50), "456789"));
    let a = dependency(&sim, hedged());
    sim.run(async {
        let head = |call: Call| async move { call.http().get("/").send().await };
        for round in 0..200 {
            servers.slow_down(u64::from(round % 30 == 29));
            let response = a.call(head).await.unwrap();
            assert_eq!(response.bytes().await.unwrap(), "0123456789");
        }
    });
    assert!(a.snapshot().totals.hedges > 3);
}

/// E1: an answer that stalls after its head ends in time, though both attempts have one.
#[test]
fn two_answers_that_both_stall_after_their_heads_end_with_the_call() {
    let sim = Sim::new(1);
    let servers = Servers::new(&sim, || Answer::ok("ok"));
    let a = dependency(&sim, hedged().timeout(ms(500)));
    sim.run(async {
        warm_up(&a).await;
        servers.slow_down(0);
        for server in SERVERS {
            let stalled = || Answer::ok("0123").piece(ms(60_000), "456789").latency(ms(12));
            sim.server(server).handler(move |_| stalled());
        }
        let before = sim.elapsed();
        let error = a.call(fetch).await.unwrap_err();
        assert!(matches!(error, dace::Error::Timeout { attempts: 2, .. }), "{error}");
        assert_eq!(sim.elapsed() - before, ms(500));
    });
    let snapshot = a.snapshot();
    assert!(snapshot.endpoints.iter().all(|at| at.open == 0 && at.connections == 0));
    assert_eq!((snapshot.calls, snapshot.attempts), (0, 0));
}

/// Requests, and the latency that 99 % of calls stay below, of 20,000 calls with a slow tail.
fn tail(
    policy: Policy,
    latency: impl Fn(&mut fastrand::Rng) -> Duration + Copy + Send + Sync + 'static,
) -> (usize, Duration) {
    let sim = Sim::new(7);
    for (seed, server) in SERVERS.into_iter().enumerate() {
        let rng = std::sync::Mutex::new(fastrand::Rng::with_seed(seed as u64));
        sim.server(server)
            .handler(move |_| Answer::ok("ok").latency(latency(&mut rng.lock().unwrap())));
    }
    let a = dependency(&sim, policy.max_open_per_netloc(1_000));
    let mut took = sim.run(async {
        let callers = (0..20).map(|_| async {
            let mut took = Vec::new();
            for _ in 0..1_000 {
                let start = sim.elapsed();
                a.call(fetch).await.unwrap();
                took.push(sim.elapsed() - start);
            }
            took
        });
        futures_util::future::join_all(callers).await.concat()
    });
    took.sort();
    (requests(&sim), took[took.len() * 99 / 100])
}

#[test]
fn a_slow_tail_is_cut_at_a_price_of_at_most_five_per_cent() {
    // A little more than 1 % are slow, so that the 99th percentile is one of them.
    let latency = |rng: &mut fastrand::Rng| match rng.f64() < 0.012 {
        true => ms(1_000),
        false => Duration::from_micros(rng.u64(8_000..12_000)),
    };
    let (plain, slow) = tail(Policy::new(), latency);
    let (with, fast) = tail(hedged(), latency);
    assert_eq!(plain, 20_000);
    assert!(fast * 5 <= slow, "{fast:?}, without {slow:?}");
    assert!(with <= plain * 105 / 100, "{with} requests");
    println!("p99 {slow:?} -> {fast:?}, requests {plain} -> {with}");
}

#[test]
fn the_share_says_when_a_hedge_begins_and_how_many_there_are() {
    for (share, most) in [(0.01, 1.011), (0.05, 1.051), (0.2, 1.201)] {
        let hedge = Hedge::new().max_extra(share);
        // A tail that is twice as thin where it is twice as long.
        let (requests, _) = tail(hedged().hedge(hedge), |rng| ms(10_000 / rng.u64(3..1_000)));
        let ratio = requests as f64 / 20_000.0;
        assert!(ratio <= most && ratio > 1.0 + share / 2.0, "{share}: {ratio}");
    }
}
