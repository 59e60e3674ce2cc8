//! Who waits, who goes first, and who makes room.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::sim::{Answer, Sim, SimBackend, SimRuntime};
use dace::{Backoff, Budget, DependencyBuilder, Error, Event, HttpError, Priority, Reason, What};

type Dependency = dace::Dependency<SimRuntime, SimBackend>;
type Builder = DependencyBuilder<SimRuntime, SimBackend>;
type Call = dace::Call<SimRuntime, SimBackend>;

use Priority::{High, Low, Normal};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn dependency(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    let builder = Dependency::builder("test")
        .targets(["http://a:80"])
        .backoff(Backoff::new().base(Duration::ZERO))
        .circuit_reset_timeout(Duration::ZERO);
    set(builder).build_with(sim.runtime(), sim.backend()).unwrap()
}

async fn get(call: Call, path: &str) -> Result<String, HttpError> {
    call.http().get(path).send().await?.error_for_status()?.text().await
}

fn paths(server: &dace::sim::Server) -> String {
    server.arrivals().iter().map(|arrival| arrival.path[1..].to_owned()).collect()
}

/// Calls that arrive one after the other, a millisecond apart, while the only place is taken.
fn in_order(
    set: impl FnOnce(Builder) -> Builder,
    relative: bool,
    calls: &[(&'static str, Option<Priority>)],
) -> (String, Vec<Option<Reason>>, Dependency) {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(100));
    let a = dependency(&sim, |builder| {
        let builder = builder.max_open_per_netloc(1).retry_attempts(0);
        if relative {
            set(builder)
        } else {
            set(Dependency::builder("test").max_open_per_netloc(1))
        }
    });
    let reasons = Arc::new(Mutex::new(vec![None; calls.len()]));
    sim.run(async {
        let mut tasks = Vec::new();
        for (index, (name, priority)) in calls.iter().enumerate() {
            let url = if relative { format!("/{name}") } else { format!("http://a:80/{name}") };
            let call = a.call(move |call| {
                let url = url.clone();
                async move { get(call, &url).await }
            });
            let call = match priority {
                Some(priority) => call.priority(*priority),
                None => call,
            };
            let reasons = reasons.clone();
            tasks.push(sim.spawn(async move {
                let report = call.report().await;
                let refused = report.decisions.iter().find_map(|event| match &event.what {
                    What::Refused { refusal } => Some(refusal.reason()),
                    _ => None,
                });
                if refused.is_some() {
                    assert!(matches!(report.result, Err(Error::RateLimited { .. })));
                    assert!(report.took < ms(100), "at once: {report}");
                }
                reasons.lock().unwrap()[index] = refused;
            }));
            sim.sleep(ms(1)).await;
        }
        futures_util::future::join_all(tasks).await;
    });
    let reasons = reasons.lock().unwrap().clone();
    (paths(&server), reasons, a)
}

#[test]
fn the_higher_class_goes_first_and_a7_in_a_class_who_came_first() {
    let calls = [
        ("0", None),
        ("a", Some(Low)),
        ("b", None),
        ("c", Some(High)),
        ("d", Some(Normal)),
        ("e", Some(Low)),
        ("f", Some(High)),
        ("g", None),
    ];
    let (order, reasons, _) = in_order(|builder| builder.queue(100), true, &calls);
    assert_eq!(order, "0cfbdgae");
    assert!(reasons.iter().all(Option::is_none));
}

#[test]
fn calls_that_say_nothing_wait_in_order_of_arrival() {
    let calls = ["0", "a", "b", "c", "d"].map(|name| (name, None));
    let (order, reasons, _) = in_order(|builder| builder.queue(3), true, &calls);
    assert_eq!(order, "0abc");
    assert_eq!(reasons[4], Some(Reason::Full));
}

#[test]
fn when_the_queue_is_full_the_youngest_of_the_lowest_class_makes_room() {
    let calls = [
        ("0", None),
        ("a", Some(Low)),
        ("b", Some(Low)),
        ("c", Some(Normal)),
        ("d", Some(Normal)),
        ("e", Some(High)),
        ("f", Some(Low)),
        ("g", Some(High)),
        ("h", Some(High)),
        ("i", Some(High)),
    ];
    for relative in [true, false] {
        let (order, reasons, a) = in_order(|builder| builder.queue(3), relative, &calls);
        // d sheds b, e sheds a, f finds nobody lower, g sheds d, h sheds c, i is an equal of all.
        assert_eq!(order, "0egh", "{relative}");
        let expected = [
            None,
            Some(Reason::Shed),
            Some(Reason::Shed),
            Some(Reason::Shed),
            Some(Reason::Shed),
            None,
            Some(Reason::Full),
            None,
            None,
            Some(Reason::Full),
        ];
        assert_eq!(reasons, expected, "{relative}");
        let snapshot = a.snapshot();
        assert_eq!((snapshot.calls, snapshot.queued, snapshot.totals.rate_limited), (0, 0, 6));
        assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0));
    }
}

#[test]
fn in_a_class_retries_go_before_new_work_if_the_call_said_its_class() {
    // The place goes to `a` as the retry is decided; then it is the retry's turn, or `b`'s.
    for (said, expected) in [(Some(Normal), "0rarb"), (None, "0rabr")] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        let failed = AtomicU32::new(0);
        server.latency(ms(100)).handler(move |request| {
            let fails =
                request.url.path_and_query() == "/r" && failed.fetch_add(1, Ordering::Relaxed) == 0;
            if fails { Answer::status(500) } else { Answer::ok("ok") }
        });
        let a = dependency(&sim, |builder| builder.max_open_per_netloc(1).queue(100));
        sim.run(async {
            let mut tasks = Vec::new();
            for name in ["0", "r", "a", "b"] {
                let call = a.call(move |call| async move { get(call, &format!("/{name}")).await });
                let call = match said {
                    Some(priority) => call.priority(priority),
                    None => call,
                };
                tasks.push(sim.spawn(call));
                sim.sleep(ms(1)).await;
            }
            for task in tasks {
                task.await.unwrap();
            }
        });
        assert_eq!(paths(&server), expected, "{said:?}");
    }
}

#[test]
fn one_that_was_shed_and_is_never_polled_again_holds_up_nobody() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(100));
    let a = dependency(&sim, |builder| builder.max_open_per_netloc(1).queue(1));
    sim.run(async {
        let first = sim.spawn(a.call(|call| get(call, "/0")));
        sim.sleep(ms(1)).await;
        let mut shed = Box::pin(a.call(|call| get(call, "/low")).priority(Low));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(shed.as_mut().poll(&mut cx).is_pending());
        let high = sim.spawn(a.call(|call| get(call, "/1")).priority(High));
        assert!(first.await.is_ok() && high.await.is_ok());
        assert_eq!(a.snapshot().queued, 0);
        let std::task::Poll::Ready(Err(Error::RateLimited { netloc, .. })) =
            shed.as_mut().poll(&mut cx)
        else {
            panic!("it was shed");
        };
        assert_eq!(netloc.as_str(), "test", "any of the balancer's would have done");
        // And one that is dropped before it knows.
        let first = sim.spawn(a.call(|call| get(call, "/2")));
        sim.sleep(ms(1)).await;
        let mut shed = Box::pin(a.call(|call| get(call, "/low")).priority(Low));
        assert!(shed.as_mut().poll(&mut cx).is_pending());
        let high = sim.spawn(a.call(|call| get(call, "/3")).priority(High));
        sim.sleep(ms(1)).await;
        drop(shed);
        assert!(first.await.is_ok() && high.await.is_ok());
    });
    let snapshot = a.snapshot();
    assert_eq!((snapshot.calls, snapshot.queued, paths(&server).as_str()), (0, 0, "0123"));
}

/// Calls, and how many of them ended well, by class.
#[derive(Default)]
struct Tally([(AtomicU32, AtomicU32); 3]);

impl Tally {
    fn share(&self, class: Priority) -> f64 {
        let (all, well) = &self.0[class as usize];
        f64::from(well.load(Ordering::Relaxed)) / f64::from(all.load(Ordering::Relaxed))
    }
}

/// A server that can do 100 calls a second gets 200: 50 important ones, 75 ordinary ones and 75 that can be
/// left out, at random times. The shares that end well, high to low.
fn overload(seed: u64, said: bool) -> [f64; 3] {
    let sim = Sim::new(seed);
    let server = sim.server("http://a:80");
    server.latency(ms(100));
    let starts = Arc::new(AtomicU32::new(0));
    let counted = starts.clone();
    let a = dependency(&sim, |builder| {
        builder
            .max_open_per_netloc(10)
            .queue(20)
            .timeout(Duration::from_secs(1))
            .budget(Budget::new().banked(0))
            .observer(move |_: &str, event: &Event| {
                if matches!(event.what, What::AttemptStarted { .. }) {
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
    });
    let tally = Arc::new(Tally::default());
    let mut state = seed;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / f64::from(1u32 << 31)
    };
    const CALLS: u32 = 40_000;
    sim.run(async {
        let mut tasks = Vec::new();
        for _ in 0..CALLS {
            let class = match random() {
                share if share < 0.25 => High,
                share if share < 0.625 => Normal,
                _ => Low,
            };
            let call = a.call(|call| get(call, "/"));
            let call = if said { call.priority(class) } else { call };
            let tally = tally.clone();
            tasks.push(sim.spawn(async move {
                let well = call.await.is_ok();
                let (all, good) = &tally.0[class as usize];
                all.fetch_add(1, Ordering::Relaxed);
                good.fetch_add(u32::from(well), Ordering::Relaxed);
            }));
            // 200 a second, as independent callers come.
            let wait = -(1.0 - random()).ln() * 5_000_000.0;
            sim.sleep(Duration::from_nanos(wait as u64)).await;
        }
        futures_util::future::join_all(tasks).await;
    });
    assert_eq!(server.peak(), 10);
    // All of the capacity is used: 100 a second.
    let capacity = sim.elapsed().as_secs_f64() * 100.0;
    let used = f64::from(starts.load(Ordering::Relaxed)) / capacity;
    assert!(used > 0.97, "{used}");
    [High, Normal, Low].map(|class| tally.share(class))
}

#[test]
fn the_highest_class_keeps_999_of_1000_at_twice_the_capacity() {
    for seed in 1..=3 {
        let [high, normal, low] = overload(seed, true);
        println!("seed {seed}: high {high:.4}, normal {normal:.4}, low {low:.4}");
        assert!(high >= 0.999, "{high}");
        assert!(normal > 0.6 && low < 0.1, "{normal} {low}");
        let [high, normal, low] = overload(seed, false);
        println!("seed {seed}, without: high {high:.4}, normal {normal:.4}, low {low:.4}");
        assert!([high, normal, low].iter().all(|share| (share - 0.5).abs() < 0.05), "{high}");
    }
}
