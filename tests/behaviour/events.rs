//! Events: what happened, in the order of the decisions.

use std::sync::{Arc, Mutex};

use dace::{Event, Outcome, What};
use dace_sim::{Answer, Sim};

use crate::support::{Count, Dependency, Seen, dependency, get, get_root, ms, secs};

fn storm(seed: u64) -> String {
    let sim = Sim::new(seed);
    for (target, share) in [("http://a:80", 0.1), ("http://b:80", 0.4), ("http://c:80", 0.0)] {
        sim.server(target).latency(ms(4)).jitter(ms(4)).failing(share, 503);
    }
    sim.server("http://c:80").down(ms(300)..ms(900));
    let seen = Seen::default();
    let all = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80", "http://b:80", "http://c:80"])
            .backoff(dace::Backoff::new())
            .max_open_per_netloc(4)
            .queue(5)
            .circuit_reset_timeout(ms(200))
            .timeout(ms(100))
            .observer(seen.clone())
    });
    sim.run(async {
        let mut tasks = Vec::new();
        for _ in 0..500 {
            let all = all.clone();
            tasks.push(sim.spawn(async move { get_root(&all).await }));
            sim.sleep(ms(2)).await;
        }
        futures_util::future::join_all(tasks).await;
    });
    all.flush();
    seen.log()
}

#[test]
fn the_same_seed_gives_the_same_history_byte_for_byte_and_another_seed_another_one() {
    let first = storm(7);
    assert!(first.lines().count() > 2000, "{}", first.lines().count());
    assert!(first.contains("CircuitChanged") && first.contains("RetryDecided"));
    assert_eq!(first, storm(7));
    assert_ne!(first, storm(8));
}

#[test]
fn a_retried_call_tells_its_story_in_order() {
    let sim = Sim::new(1);
    let count = Count::default();
    sim.server("http://a:80")
        .latency(ms(5))
        .handler(move |_| if count.next() == 1 { Answer::status(503) } else { Answer::ok("ok") });
    let seen = Seen::default();
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).observer(seen.clone()));
    sim.run(get_root(&a)).unwrap();
    let story: Vec<String> = seen
        .events()
        .iter()
        .map(|event| {
            let what = format!("{:?}", event.what);
            let name = what.split([' ', '{']).next().unwrap_or_default().to_owned();
            format!("{:?} {} {name}", event.at, event.call)
        })
        .collect();
    assert_eq!(
        story,
        [
            "0ns 1 CallStarted",
            "0ns 1 AttemptStarted",
            "5ms 1 AttemptEnded",
            "5ms 1 RetryDecided",
            "5ms 1 AttemptStarted",
            "10ms 1 AttemptEnded",
            "10ms 1 CallEnded",
        ]
    );
    let last = seen.events().pop().unwrap();
    assert_eq!(
        last.what,
        What::CallEnded {
            outcome: Outcome::Value,
            took: ms(10),
            attempts: 2,
            why: None,
            reason: None,
            netloc: None,
            error: None
        }
    );
}

#[test]
fn an_observer_may_call_back_into_its_dependency() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let handle: Arc<Mutex<Option<Dependency>>> = Arc::default();
    let inside = handle.clone();
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .observer(move |_: &str, event: &Event| {
                let dependency = inside.lock().unwrap().clone();
                if let (Some(dependency), What::CallStarted) = (dependency, &event.what) {
                    assert_eq!(dependency.snapshot().dependency_id, "test");
                    dependency.set_targets(["http://a:80"]).unwrap();
                    dependency.flush();
                }
            })
            .observer(seen.clone())
    });
    *handle.lock().unwrap() = Some(a.clone());
    for _ in 0..10 {
        sim.run(get_root(&a)).unwrap();
    }
    a.flush();
    let replaced = |event: &&Event| matches!(event.what, What::TargetsReplaced { count: 1 });
    assert_eq!(seen.events().iter().filter(replaced).count(), 10);
    let times: Vec<_> = seen.events().iter().map(|event| event.at).collect();
    assert!(times.is_sorted());
}

#[test]
fn nothing_is_delivered_from_a_drop_and_a_full_ring_drops_the_newest_and_counts() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .max_open_per_netloc(2000)
            .http_pool_size(2000)
            .observer(seen.clone())
    });
    sim.run(async {
        let calls: Vec<_> = (0..1500).map(|_| Box::pin(a.call(|call| get(call, "/")))).collect();
        let all = Box::pin(futures_util::future::join_all(calls));
        let both = futures_util::future::select(all, Box::pin(sim.sleep(secs(1)))).await;
        a.flush();
        let before = seen.events().len();
        drop(both);
        assert_eq!(seen.events().len(), before, "1,500 drops delivered nothing");
        let snapshot = a.snapshot();
        assert_eq!(snapshot.events_dropped, 3000 - 1024);
    });
}

#[test]
fn an_observer_that_cannot_be_made_is_a_config_error() {
    let sim = Sim::new(1);
    let wrong = Err::<Seen, _>(dace::ConfigError::new("sink", "must be there"));
    let built = Dependency::builder("test").try_observer(wrong).observer(Seen::default());
    let error = built.build_with(sim.runtime(), sim.backend()).unwrap_err();
    assert_eq!(error.to_string(), "`sink` must be there");
    let seen = Seen::default();
    let a = dependency(&sim, |builder| builder.try_observer(Ok(seen.clone())));
    sim.run(a.call(|_| std::future::ready(Ok::<_, dace::HttpError>(())))).unwrap();
    assert_eq!(seen.events().len(), 4);
}
