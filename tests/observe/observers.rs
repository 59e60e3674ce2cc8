//! Observers that panic, block, or call back: calls go on, nothing is lost, order is kept.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::thread;

use dace::{Control, Event, Observer, What};
use dace_sim::Sim;

use crate::support::{Dependency, Seen, dependency, get, ms, secs};

async fn call(dependency: &Dependency) -> Result<String, dace::Error<dace::HttpError>> {
    dependency.call(|call| get(call, "/")).await
}

#[test]
fn a_panic_reaches_the_call_that_delivered_and_nothing_is_lost_but_that_event() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1));
    let (seen, armed) = (Seen::default(), Arc::new(AtomicBool::new(true)));
    let trap = armed.clone();
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .max_open_per_netloc(1)
            .observer(move |_: &str, event: &Event| {
                let ends = matches!(event.what, What::AttemptEnded { .. });
                assert!(!(ends && trap.swap(false, Ordering::Relaxed)), "the observer's own");
            })
            .observer(seen.clone())
    });
    let panic = catch_unwind(AssertUnwindSafe(|| sim.run(call(&a)))).unwrap_err();
    let message = panic.downcast_ref::<&str>().unwrap();
    assert_eq!(*message, "the observer's own");
    assert!(!armed.load(Ordering::Relaxed));
    let snapshot = a.snapshot();
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.endpoints[1].open), (0, 0, 0));
    for _ in 0..5 {
        sim.run(call(&a)).unwrap();
    }
    a.flush();
    let events = seen.0.lock().unwrap().clone();
    // Six calls of four events, less the one that the other observer panicked at.
    assert_eq!(events.len(), 6 * 4 - 1);
    assert!(events.is_sorted_by_key(|event| event.at));
    assert_eq!(a.snapshot().totals.succeeded, 6);
}

/// Blocks at the first event, until it is told to go on.
struct Gate {
    shut: Mutex<Option<(SyncSender<()>, Receiver<()>)>>,
}

impl Observer for Gate {
    fn on_event(&self, _: &str, _: &Event) {
        let gate = self.shut.lock().unwrap().take();
        if let Some((reached, opened)) = gate {
            reached.send(()).unwrap();
            opened.recv().unwrap();
        }
    }
}

#[test]
fn while_an_observer_blocks_other_calls_go_on_and_its_events_stay_in_order() {
    let sim = Sim::new(1);
    let (reached, wait_reached) = sync_channel(0);
    let (open, opened) = sync_channel(0);
    let (seen, ran) = (Seen::default(), Arc::new(AtomicU64::new(0)));
    let shut = Mutex::new(Some((reached, opened)));
    let any = dependency(&sim, |builder| builder.observer(Gate { shut }).observer(seen.clone()));
    let blocked = any.clone();
    let first = thread::spawn(move || {
        let done = blocked.call(|_| async { Ok::<_, dace::HttpError>(()) });
        futures_util::FutureExt::now_or_never(done).unwrap().unwrap();
    });
    wait_reached.recv().unwrap();
    // The first call is inside of the observer now.
    for _ in 0..100 {
        let count = ran.clone();
        let done = any.call(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
            async { Ok::<_, dace::HttpError>(()) }
        });
        futures_util::FutureExt::now_or_never(done).unwrap().unwrap();
    }
    assert_eq!(ran.load(Ordering::Relaxed), 100);
    assert_eq!(any.snapshot().totals.succeeded, 100);
    assert!(seen.0.lock().unwrap().is_empty(), "one at a time, in order");
    open.send(()).unwrap();
    first.join().unwrap();
    any.flush();
    let events = seen.0.lock().unwrap().clone();
    assert_eq!(events.len(), 101 * 4);
    let starts = events.iter().filter(|event| event.what == What::CallStarted);
    let numbers: Vec<_> = starts.map(|event| event.call).collect();
    assert_eq!(numbers, (1..=101).collect::<Vec<_>>());
}

/// I3, I4.
#[test]
fn an_observer_may_do_anything_to_its_own_dependency() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1));
    let handle: Arc<Mutex<Option<Dependency>>> = Arc::default();
    let (inside, seen) = (handle.clone(), Seen::default());
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .observer(move |_: &str, event: &Event| {
                let dependency = inside.lock().unwrap().clone();
                let Some(dependency) = dependency.filter(|_| event.what == What::CallStarted)
                else {
                    return;
                };
                let circuit = dependency.circuit("a:80").unwrap();
                assert!(circuit.metrics_only() && circuit.automatic());
                dependency.set_targets(["http://a:80"]).unwrap();
                assert_eq!(dependency.snapshot().dependency_id, "test");
                dependency.flush();
                // A call, too: it makes events of its own, which come later.
                if event.call == 1 {
                    let call = dependency.call(|_| async { Ok::<_, dace::HttpError>(()) });
                    futures_util::FutureExt::now_or_never(call).unwrap().unwrap();
                }
                drop(dependency.call(|call| get(call, "/")));
            })
            .observer(seen.clone())
    });
    *handle.lock().unwrap() = Some(a.clone());
    for _ in 0..10 {
        sim.run(call(&a)).unwrap();
    }
    sim.run(a.close(secs(1)));
    let events = seen.0.lock().unwrap().clone();
    let by_hand = |event: &&Event| {
        matches!(event.what, What::Controlled { control: Control::MetricsOnly, .. })
    };
    assert_eq!(events.iter().filter(by_hand).count(), 11);
    assert!(events.is_sorted_by_key(|event| event.at));
    let snapshot = a.snapshot();
    assert_eq!((snapshot.calls, snapshot.events_dropped, snapshot.totals.succeeded), (0, 0, 11));
    *handle.lock().unwrap() = None;
}

#[test]
fn every_event_can_be_seen() {
    let sim = Sim::new(3);
    sim.server("http://a:80").latency(ms(20)).answers(secs(1)..secs(2), 500);
    let b = sim.server("http://b:80");
    b.latency(ms(20)).resets(secs(1)..secs(3));
    b.handler(|_| dace_sim::Answer::status(429).header("retry-after", "1"));
    let seen = Seen::default();
    let all = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80", "http://b:80", "http://c:80"])
            .max_open_per_netloc(1)
            .queue(2)
            .breaker(dace::Breaker::new().consecutive_failures(1).successes(1))
            .circuit_reset_timeout(secs(1))
            .observer(seen.clone())
    });
    let plain = dependency(&sim, |builder| builder.observer(seen.clone()));
    sim.run(async {
        let mut calls = Vec::new();
        for _ in 0..400 {
            let all = all.clone();
            calls.push(sim.spawn(async move {
                let call = all.call(|call| get(call, "/"));
                call.fallback(|_| async { Ok(String::new()) }).await
            }));
            sim.sleep(ms(10)).await;
        }
        futures_util::future::join_all(calls).await;
        let policy = dace::CachePolicy::new().ttl(ms(1)).stale_if_error(secs(9));
        let (cache, group) = (dace::Cache::new(policy).unwrap(), dace::Group::new());
        let call = || plain.call(|call| get(call, "http://a:80/"));
        let shared = || call().shared(&group, 1).cached(&cache, 1);
        let (led, followed) = futures_util::future::join(shared(), shared()).await;
        assert!(led.is_ok() && followed.is_ok());
        shared().await.unwrap();
        sim.sleep(ms(2)).await;
        call().timeout(ms(0)).cached(&cache, 1).await.unwrap();
        sim.server("http://a:80").stale(dace::http::Sent::Unsent);
        call().await.unwrap();
        plain.flush();
        let two = ["http://d:80", "http://e:80"];
        let hedged = dependency(&sim, |builder| {
            let builder = builder.targets(two).hedge(dace::Hedge::new().max_extra(1.0));
            builder.observer(seen.clone())
        });
        for latency in [5, 90] {
            for server in two {
                sim.server(server).latency(ms(latency));
            }
            for _ in 0..60 {
                hedged.call(|call| get(call, "/")).await.unwrap();
            }
        }
        all.circuit("a:80").unwrap().drain();
        all.set_targets(["http://a:80"]).unwrap();
        all.reload(all.policy()).unwrap();
        let b = "http://b:80".parse().unwrap();
        all.add_target("http://b:80").unwrap();
        assert!(all.set_weight(&b, 2).unwrap() && all.remove_target(&b).unwrap());
        all.close(secs(1)).await;
    });
    let mut names: Vec<_> = seen.0.lock().unwrap().iter().map(|event| name(&event.what)).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names,
        [
            "AnswerShared",
            "AttemptEnded",
            "AttemptStarted",
            "CacheHit",
            "CallEnded",
            "CallStarted",
            "CircuitChanged",
            "Closed",
            "Controlled",
            "Dequeued",
            "Ejected",
            "FallbackUsed",
            "Hedged",
            "PanicMode",
            "Paused",
            "Queued",
            "Readmitted",
            "Refused",
            "Reloaded",
            "Removed",
            "Resent",
            "RetryDecided",
            "RetrySuppressed",
            "StaleUsed",
            "TargetAdded",
            "TargetRemoved",
            "TargetWeighed",
            "TargetsReplaced",
        ]
    );
}

fn name(what: &What) -> String {
    let shown = format!("{what:?}");
    shown.split([' ', '{']).next().unwrap_or_default().to_owned()
}
