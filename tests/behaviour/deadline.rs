//! The deadline: one for the whole call, compared before anything is polled.

use std::future::{pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use dace::{Event, Instant, Runtime, What};
use dace_sim::{Answer, Sim, SimRuntime};

use crate::support::{Count, Error, assert_all_back, dependency, get, get_root, ms, secs};

#[test]
fn a_call_ends_exactly_at_its_timeout() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).timeout(ms(700)));
    let error = sim.run(get_root(&a)).unwrap_err();
    assert!(
        matches!(error, Error::Timeout { after, attempts: 1, last: None, .. } if after == ms(700)),
        "{error:?}"
    );
    assert_eq!(sim.elapsed(), ms(700));
    assert_all_back(&a);
}

/// A clock that is ahead by what this says.
struct Ahead<F>(SimRuntime, F);

impl<F: Fn() -> Duration + Send + Sync + 'static> Runtime for Ahead<F> {
    type Lock<T: Send + 'static> = <SimRuntime as Runtime>::Lock<T>;
    type Sleep = <SimRuntime as Runtime>::Sleep;

    fn now(&self) -> Instant {
        self.0.now().after(self.1())
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        self.0.sleep_until(deadline)
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }
}

/// A clock that goes on while a call is polled, as real ones do: a microsecond at each look.
fn creeping(sim: &Sim) -> impl Runtime {
    let looks = AtomicU64::new(0);
    Ahead(sim.runtime(), move || Duration::from_micros(looks.fetch_add(1, Ordering::Relaxed)))
}

/// Not as an exchange that was cut off by itself, which would be an error of the function's.
#[test]
fn a_call_whose_deadline_passes_while_it_is_polled_ends_as_a_timeout() {
    for micros in 1..50 {
        let sim = Sim::new(1);
        sim.server("http://a:80").hangs(..);
        let builder = dace::Dependency::builder("a").timeout(Duration::from_micros(micros));
        let a = builder.targets(["http://a:80"]).build_with(creeping(&sim), sim.backend()).unwrap();
        let call = a.call(|call| async move { call.http().get("/").send().await?.text().await });
        let error: Error = sim.run(call).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{micros} µs: {error:?}");
    }
}

/// Between its permit and the request there is whoever hears of the permit.
#[test]
fn no_request_goes_out_where_an_observer_has_used_up_its_time() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(10));
    let skipped = Arc::new(AtomicU64::new(0));
    let skip = skipped.clone();
    let any = dace::Dependency::builder("any")
        .max_open_per_netloc(1)
        .queue(1)
        .timeout(secs(1))
        .observer(move |_: &str, event: &Event| {
            if let What::Dequeued { .. } = event.what {
                skip.store(10, Ordering::Relaxed);
            }
        })
        .build_with(
            Ahead(sim.runtime(), move || secs(skipped.load(Ordering::Relaxed))),
            sim.backend(),
        )
        .unwrap();
    let call =
        || any.call(|call| async move { call.http().get("http://a/").send().await?.text().await });
    let (first, second) = sim.run(futures_util::future::join(call(), call()));
    assert_eq!(first.unwrap(), "ok");
    let second: Error = second.unwrap_err();
    assert!(matches!(second, Error::Timeout { .. }), "{second:?}");
    assert_eq!(server.requests(), 1);
}

/// Likewise where there is always another piece of a body to read.
#[test]
fn a_call_whose_deadline_passes_while_it_reads_ends_as_a_timeout() {
    for micros in 1..200 {
        let sim = Sim::new(1);
        sim.server("http://a:80").handler(|_| {
            (0..400).fold(Answer::ok("x"), |answer, _| answer.piece(Duration::ZERO, "x"))
        });
        let builder = dace::Dependency::builder("a").timeout(Duration::from_micros(micros));
        let a = builder.targets(["http://a:80"]).build_with(creeping(&sim), sim.backend()).unwrap();
        let call = a.call(|call| async move { call.http().get("/").send().await?.text().await });
        let error: Error = sim.run(call).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{micros} µs: {error:?}");
    }
}

/// D9: no wait and no retry reaches beyond the deadline.
#[test]
fn the_deadline_spans_attempts_waits_and_bodies() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(300)).answers(.., 503);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).timeout(ms(1000)));
    let error = sim.run(get_root(&a)).unwrap_err();
    assert!(matches!(error, Error::Timeout { attempts: 4, last: Some(_), .. }), "{error:?}");
    assert_eq!(sim.elapsed(), ms(1000));
}

#[test]
fn the_earlier_of_timeout_and_what_is_left_of_a_callers_deadline_holds() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).timeout(secs(5)));
    for (within, ends) in [(ms(200), ms(200)), (secs(60), secs(5))] {
        let before = sim.elapsed();
        let call = a.call(|call| get(call, "/")).within(within);
        sim.run(call).unwrap_err();
        assert_eq!(sim.elapsed() - before, ends);
    }
}

#[test]
fn remaining_is_what_is_left_of_the_attempt() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder.timeout(secs(5)));
    let left = sim.run(async {
        let sim = &sim;
        a.call(|call| async move {
            sim.sleep(secs(2)).await;
            Ok::<_, std::io::Error>(call.remaining())
        })
        .await
    });
    assert_eq!(left.unwrap(), secs(3));
    let never = dependency(&sim, |builder| builder.no_timeout());
    let left = sim.run(never.call(|call| ready(Ok::<_, std::io::Error>(call.remaining()))));
    assert_eq!(left.unwrap(), Duration::MAX);
}

#[test]
fn a_deadline_that_has_passed_runs_nothing() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder);
    let runs = Count::default();
    let counted = runs.clone();
    let call = a
        .call(move |_| {
            counted.next();
            ready(Ok::<_, std::io::Error>(()))
        })
        .within(Duration::ZERO);
    assert!(matches!(sim.run(call), Err(dace::Error::Timeout { attempts: 0, .. })));
    assert_eq!(runs.get(), 0);
    assert_all_back(&a);
}

#[test]
fn a_function_that_is_always_woken_still_ends_at_its_deadline() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder.timeout(ms(100)));
    let busy = sim.clone();
    let call = a.call(move |_| {
        let sim = busy.clone();
        std::future::poll_fn(move |cx| {
            sim.advance(ms(1));
            cx.waker().wake_by_ref();
            Poll::<Result<(), std::io::Error>>::Pending
        })
    });
    assert!(matches!(sim.run(call), Err(dace::Error::Timeout { .. })));
    assert_eq!(sim.elapsed(), ms(100));
}

#[test]
fn without_a_timeout_a_call_waits_for_ever() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(secs(100_000));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).no_timeout());
    assert_eq!(sim.run(get_root(&a)).unwrap(), "ok");
    assert_eq!(sim.elapsed(), secs(100_000));
}

#[test]
fn an_attempt_timeout_ends_one_attempt_and_is_retried_only_if_asked() {
    for (retry, attempts) in [(false, 1), (true, 4)] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.hangs(..);
        let a = dependency(&sim, |builder| {
            builder.targets(["http://a:80"]).attempt_timeout(ms(100)).retry_on_timeout(retry)
        });
        let error = sim.run(get_root(&a)).unwrap_err();
        assert!(
            matches!(error, Error::Timeout { after, attempts: n, .. } if after == ms(100) && n == attempts),
            "{error:?}"
        );
        assert_eq!(server.requests() as u32, attempts);
        assert_eq!(sim.elapsed(), ms(100) * attempts);
    }
}

#[test]
fn a_clock_that_goes_back_ends_no_call_early_and_panics_nowhere() {
    let sim = Sim::new(1);
    sim.advance(secs(1000));
    let a = dependency(&sim, |builder| builder.timeout(secs(5)));
    let world = sim.clone();
    let value = sim.run(a.call(move |_| {
        let sim = world.clone();
        async move {
            sim.sleep(secs(1)).await;
            sim.turn_back(secs(900));
            sim.sleep(secs(2)).await;
            Ok::<_, std::io::Error>(7)
        }
    }));
    assert_eq!(value.unwrap(), 7);
    assert_all_back(&a);
}

#[test]
fn nothing_runnable_and_no_timer_is_reported_with_who_waits() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).no_timeout());
    sim.spawn(pending::<()>());
    let stuck = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| sim.run(get_root(&a))));
    let message = *stuck.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("GET http://a/ is never answered"), "{message}");
    assert!(message.contains("deadline.rs"), "{message}");
}
