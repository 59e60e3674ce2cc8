//! Time, numbers, settings: no clock and no number panics, wedges or is taken and ignored.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use dace::sim::{Answer, Sim, SimRuntime, SimSleep};
use dace::{Backoff, Breaker, Budget, Error, HttpError, Instant, RateLimit, Runtime, What};
use futures_util::FutureExt;
use futures_util::future::join_all;

use crate::support::{
    Builder, Call, Dependency, Seen, assert_all_back, dependency, get, get_root, ms, secs, touchy,
};

const YEAR: u64 = 365 * 86_400;

/// A runtime whose wall clock is set as somebody pleases, while its own clock goes on.
#[derive(Clone)]
struct Wandering(SimRuntime, Arc<AtomicU64>);

impl Runtime for Wandering {
    type Lock<T: Send + 'static> = std::sync::Mutex<T>;
    type Sleep = SimSleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> SimSleep {
        self.0.sleep_until(deadline)
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }

    fn unix_time(&self) -> Option<Duration> {
        Some(secs(self.1.load(Ordering::Relaxed)))
    }
}

#[test]
fn c1_changes_of_the_wall_clock_change_nothing() {
    let story = |jumps: bool| {
        let sim = Sim::new(3);
        let server = sim.server("http://a:80");
        server.latency(ms(20)).failing(0.4, 503).hangs(secs(3)..secs(4));
        let (wall, seen) = (Arc::new(AtomicU64::new(1_700_000_000)), Seen::default());
        let builder = dace::Dependency::builder("a").targets(["http://a:80"]).breaker(touchy());
        let builder = builder.timeout(ms(900)).circuit_reset_timeout(ms(200)).queue(5);
        let builder = builder.max_open_per_netloc(2).observer(seen.clone());
        let a = builder.build_with(Wandering(sim.runtime(), wall.clone()), sim.backend()).unwrap();
        sim.run(async {
            for n in 0..400 {
                if jumps {
                    // An hour back, a day forth, the epoch itself.
                    wall.store([0, 1_699_996_400, 1_700_086_400][n % 3], Ordering::Relaxed);
                }
                let call = |call: dace::Call<_, _>| async move {
                    call.http().get("/").send().await?.error_for_status().map(drop)
                };
                let _ = a.call(call).await;
                sim.sleep(ms(50)).await;
            }
        });
        a.flush();
        assert!(a.snapshot().totals.opened > 5 && a.snapshot().totals.retries > 5);
        seen.log()
    };
    assert_eq!(story(true), story(false));
}

#[test]
fn c2_a_clock_that_goes_back_lets_nobody_in_early_and_panics_nowhere() {
    let sim = Sim::new(1);
    sim.advance(secs(1_000));
    let server = sim.server("http://a:80");
    server.answers(..secs(1_001), 500);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).breaker(touchy()).retry_attempts(0);
        builder.rate_limit(RateLimit::new(1, secs(1)).burst(2)).timeout(secs(5))
    });
    sim.run(get_root(&a)).unwrap_err();
    sim.turn_back(secs(900));
    assert!(matches!(sim.run(get_root(&a)), Err(Error::CircuitOpen { .. })));
    sim.advance(secs(900) + secs(9));
    assert!(matches!(sim.run(get_root(&a)), Err(Error::CircuitOpen { .. })), "after 9 of 10 s");
    sim.advance(secs(4));
    sim.run(get_root(&a)).unwrap();
    // Back and forth, whatever is under way.
    let mut rng = fastrand::Rng::with_seed(3);
    server.latency(ms(30)).failing(0.3, 503);
    for _ in 0..500 {
        let back = ms(rng.u64(0..3_000));
        let _ = sim.run(a.call(|call| {
            let sim = &sim;
            async move {
                sim.turn_back(back);
                get(call, "/").await
            }
        }));
        if rng.bool() { sim.turn_back(ms(rng.u64(0..3_000))) } else { sim.advance(secs(2)) }
    }
    assert_all_back(&a);
}

#[test]
fn c3_no_retry_number_makes_a_wait_overflow_vanish_or_exceed_its_cap() {
    for (base, cap) in [(ms(1), ms(200)), (Duration::from_nanos(1), secs(3_600)), (ms(25), secs(5))]
    {
        let (sim, seen) = (Sim::new(1), Seen::default());
        let a = dependency(&sim, |builder| {
            let builder = builder.retry_attempts(10_000).no_timeout().observer(seen.clone());
            let builder = builder.budget(Budget::new().unlimited());
            let builder = builder.backoff(Backoff::new().base(base).cap(cap));
            builder.circuit_reset_timeout(Duration::ZERO)
        });
        sim.run(a.call(|_| ready(Err::<(), _>(std::io::Error::other("no"))))).unwrap_err();
        let waits: Vec<_> = seen
            .events()
            .into_iter()
            .filter_map(|event| match event.what {
                What::RetryDecided { wait, .. } => Some(wait),
                _ => None,
            })
            .collect();
        assert_eq!(waits.len(), 10_000);
        assert!(waits.iter().all(|wait| *wait <= cap), "{base:?}");
        // The last thousand are at the cap: half of it in the mean, and hardly ever nearly nothing.
        let last = &waits[9_000..];
        let mean = last.iter().sum::<Duration>() / 1_000;
        assert!(mean > cap / 3 && last.iter().filter(|wait| **wait < cap / 100).count() < 50);
    }
}

#[test]
fn c5_what_happens_at_the_first_moment_or_before_it_does_not_underflow() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.failing(0.3, 500);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).breaker(Breaker::new().min_calls(80));
        builder.rate_limit(RateLimit::new(1_000, secs(1))).circuit_reset_timeout(ms(10))
    });
    sim.run(async {
        for _ in 0..50 {
            // At 0, then at 5 ms, and then at 0 again.
            let _ = get_root(&a).await;
            sim.advance(ms(5));
            let _ = get_root(&a).await;
            sim.turn_back(ms(5));
        }
    });
    assert_all_back(&a);
    assert!(server.requests() > 20);
}

#[test]
fn c6_the_longest_duration_means_never_wherever_it_is_set() {
    type Set = fn(Builder) -> Builder;
    let sets: [Set; 9] = [
        |builder| builder.timeout(Duration::MAX),
        |builder| builder.attempt_timeout(Duration::MAX),
        |builder| builder.connect_timeout(Duration::MAX),
        |builder| builder.stall_timeout(Duration::MAX),
        |builder| builder.hang_after(Duration::MAX),
        |builder| builder.expected_in(Duration::MAX),
        |builder| builder.hint_max(Duration::MAX),
        |builder| builder.circuit_reset_timeout(Duration::MAX),
        |builder| builder.backoff(Backoff::new().base(Duration::MAX).cap(Duration::MAX)),
    ];
    for set in sets {
        let sim = Sim::new(1);
        sim.server("http://a:80").latency(ms(1)).failing(0.5, 503);
        let a = dependency(&sim, |builder| {
            set(builder.targets(["http://a:80"]).breaker(touchy()).timeout(secs(1)))
        });
        for _ in 0..20 {
            let _ = sim.run(get_root(&a));
            let _ = sim.run(a.call(|call| get(call, "/")).within(Duration::MAX));
        }
        assert_all_back(&a);
    }
}

#[test]
fn c7_a_period_of_zero_is_an_error() {
    type Set = fn(Builder) -> Builder;
    let cases: [(&str, Set); 7] = [
        ("timeout", |builder| builder.timeout(Duration::ZERO)),
        ("attempt_timeout", |builder| builder.attempt_timeout(Duration::ZERO)),
        ("stall_timeout", |builder| builder.stall_timeout(Duration::ZERO)),
        ("connect_timeout", |builder| builder.connect_timeout(Duration::ZERO)),
        ("rate_limit.per", |builder| builder.rate_limit(RateLimit::new(1, Duration::ZERO))),
        ("throttle.window", |b| b.throttle(dace::Throttle::new().window(Duration::ZERO))),
        ("breaker.max_open", |builder| builder.breaker(Breaker::new().max_open(Duration::ZERO))),
    ];
    for (setting, set) in cases {
        let sim = Sim::new(1);
        let built = set(Dependency::builder("a")).build_with(sim.runtime(), sim.backend());
        assert_eq!(built.unwrap_err().setting(), setting);
    }
}

#[test]
fn c8_sixty_days_or_three_hundred_years_of_idleness_wedge_nothing() {
    for idle in [secs(60 * 86_400), secs(60 * YEAR), secs(300 * YEAR)] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.latency(ms(1)).answers(..secs(1), 500);
        let a = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]).retry_attempts(0).breaker(touchy());
            builder.rate_limit(RateLimit::new(1, secs(1)).burst(3)).throttle(dace::Throttle::new())
        });
        sim.run(async {
            get_root(&a).await.unwrap_err();
            assert!(matches!(get_root(&a).await, Err(Error::CircuitOpen { .. })));
            sim.sleep(idle).await;
            for _ in 0..3 {
                get_root(&a).await.unwrap();
            }
            let error = get_root(&a).await.unwrap_err();
            assert!(error.retry_after().is_some_and(|after| after <= secs(1)), "{error}");
            sim.sleep(secs(1)).await;
            get_root(&a).await.unwrap();
        });
    }
}

#[test]
fn c9_who_is_refused_owes_nothing_and_the_last_of_fifty_waits_its_part() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let limited = |queue| {
        dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]).retry_attempts(0).queue(queue);
            let builder = builder.max_open_per_netloc(1_000).no_timeout();
            builder.rate_limit(RateLimit::new(10, secs(1)).burst(1))
        })
    };
    let (refusing, queueing) = (limited(0), limited(50));
    sim.run(async {
        get_root(&refusing).await.unwrap();
        for _ in 0..10_000 {
            assert_eq!(get_root(&refusing).await.unwrap_err().retry_after(), Some(ms(100)));
        }
        sim.sleep(ms(100)).await;
        get_root(&refusing).await.unwrap();
        let began = sim.elapsed();
        let ends = join_all((0..50).map(|_| async {
            get_root(&queueing).await.unwrap();
            sim.elapsed() - began
        }));
        let expected: Vec<_> = (0..50).map(|n| ms(100 * n)).collect();
        assert_eq!(ends.await, expected);
    });
}

#[test]
fn c10_shares_are_exact_and_what_is_no_number_is_refused() {
    // A deposit of so many thousandths for each of a thousand calls pays for exactly so many retries.
    for thousandths in [1u32, 6, 100, 600, 999] {
        let sim = Sim::new(1);
        let a = dependency(&sim, |builder| {
            let budget = Budget::new().banked(2_000).deposit(f64::from(thousandths) / 1_000.0);
            builder.budget(budget).circuit_reset_timeout(Duration::ZERO).retry_attempts(1)
        });
        sim.run(async {
            let call = |good: bool| a.call(move |_| ready(if good { Ok(()) } else { Err("no") }));
            // What was banked is spent first.
            for _ in 0..2_000 {
                call(false).classify(|_| dace::Class::Transient).await.unwrap_err();
            }
            for _ in 0..1_000 {
                call(true).classify(|_| dace::Class::Success).await.unwrap();
            }
            let before = a.snapshot().totals.retries;
            assert_eq!(
                (before, a.snapshot().budget_thousandths),
                (2_000, 1_000 * u64::from(thousandths))
            );
            for _ in 0..2_000 {
                call(false).classify(|_| dace::Class::Transient).await.unwrap_err();
            }
            assert_eq!(a.snapshot().totals.retries - before, u64::from(thousandths));
        });
    }
    for wrong in [f64::NAN, f64::INFINITY, -0.1] {
        let sim = Sim::new(1);
        let sets: [Builder; 2] = [
            Dependency::builder("a").budget(Budget::new().deposit(wrong)),
            Dependency::builder("a").breaker(Breaker::new().failure_rate(wrong)),
        ];
        for builder in sets {
            builder.build_with(sim.runtime(), sim.backend()).unwrap_err();
        }
    }
}

#[test]
fn c11_no_count_is_lost_between_threads() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| {
        let builder = builder.max_open_per_netloc(1_000).retry_attempts(1);
        builder
            .budget(Budget::new().banked(1_000).deposit(0.0))
            .circuit_reset_timeout(Duration::ZERO)
    });
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let a = a.clone();
            thread::spawn(move || {
                for n in 0..1_000 {
                    let answer = if n % 2 == 0 { Ok(()) } else { Err(std::io::Error::other("no")) };
                    let mut answer = Some(answer);
                    let call = a.call(|_: Call| {
                        let other = || Err(std::io::Error::other("no"));
                        ready(answer.take().unwrap_or_else(other))
                    });
                    let _ = call.now_or_never();
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let snapshot = a.snapshot();
    let totals = snapshot.totals;
    // The wait before a retry may be nothing: then it is made, and fails too.
    assert_eq!(totals.succeeded + totals.failed + totals.dropped, 8_000, "{snapshot}");
    assert_eq!(totals.succeeded, 4_000);
    assert_eq!((totals.retries, snapshot.budget_thousandths), (1_000, 0), "{snapshot}");
    assert_all_back(&a);
}

#[test]
fn c13_a_body_that_is_always_ready_still_ends_with_the_deadline() {
    let sim = Sim::new(1);
    let pieces = |answer: Answer, _| answer.piece(Duration::ZERO, "x");
    sim.server("http://a:80").handler(move |_| (0..10_000).fold(Answer::status(200), pieces));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).timeout(ms(100)).retry_attempts(0)
    });
    let call = a.call(|call| {
        let sim = &sim;
        async move {
            let mut response = call.http().get("/").send().await?;
            while response.chunk().await?.is_some() {
                // Each piece costs a millisecond of work, and the function is never pending.
                sim.advance(ms(1));
            }
            Ok::<_, HttpError>(())
        }
    });
    sim.run(call).unwrap_err();
    assert!(sim.elapsed() <= ms(101), "{:?}", sim.elapsed());
    assert_all_back(&a);
}

/// Whatever wakes itself for ever is polled for ever, unless somebody looks at the clock first.
#[test]
fn c13_a_function_that_always_wakes_itself_still_ends_with_the_deadline() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder.timeout(ms(100)));
    let busy = a.call(|_| {
        let sim = &sim;
        std::future::poll_fn(move |cx| {
            sim.advance(ms(1));
            cx.waker().wake_by_ref();
            std::task::Poll::<Result<(), HttpError>>::Pending
        })
    });
    let end: Result<(), Error<HttpError>> = sim.run(busy);
    assert!(matches!(end, Err(Error::Timeout { .. })), "{end:?}");
    assert_eq!(sim.elapsed(), ms(100));
}
