//! Seeing inside: snapshots, the list of what is alive, the texts of errors, spans.

use std::future::ready;
use std::sync::{Arc, Mutex};

use dace::{CircuitState, Event, Observer, Phase, Span, WaitCause, What, Why};
use dace_sim::{Answer, Sim, SimBackend, SimRuntime};

use crate::support::{Count, Dependency, Seen, dependency, get, get_root, ms, secs, touchy};

#[test]
fn a_snapshot_shows_circuit_queue_counts_latency_pause_budget_and_totals_at_one_instant() {
    let sim = Sim::new(1);
    let busy = sim.server("http://busy:80");
    busy.latency(ms(100));
    sim.server("http://broken:80").answers(.., 500);
    sim.server("http://shy:80").handler(|_| Answer::status(429).header("retry-after", "10"));
    let any = dependency(&sim, |builder| {
        let builder = builder.breaker(touchy()).retry_attempts(0).max_open_per_netloc(1).queue(5);
        builder.circuit_reset_timeout(secs(10))
    });
    sim.run(async {
        for url in ["http://broken/", "http://shy/"] {
            any.call(|call| get(call, url)).await.unwrap_err();
        }
        let calls: Vec<_> = (0..3)
            .map(|_| {
                let any = any.clone();
                sim.spawn(async move { any.call(|call| get(call, "http://busy/")).await })
            })
            .collect();
        sim.sleep(ms(50)).await;
        let snapshot = any.snapshot();
        assert_eq!(
            (snapshot.calls, snapshot.attempts, snapshot.queued, snapshot.budget_thousandths),
            (3, 3, 2, 50_000),
            "{snapshot}"
        );
        assert!(!snapshot.panic_mode && !snapshot.closed);
        let [own, broken, at_busy, shy] = &snapshot.endpoints[..] else {
            panic!("{snapshot}");
        };
        assert_eq!(own.netloc.as_str(), "test");
        assert_eq!((broken.netloc.as_str(), broken.circuit), ("broken:80", CircuitState::Open));
        assert!(broken.reopens_in.unwrap() >= secs(10) - ms(50));
        assert_eq!(
            (at_busy.netloc.as_str(), at_busy.open, at_busy.queued),
            ("busy:80", 1, 2),
            "{snapshot}"
        );
        assert!(shy.paused_for.unwrap() >= secs(10) - ms(50));
        assert_eq!((snapshot.totals.failed, snapshot.totals.attempts), (2, 2));
        for call in calls {
            call.await.unwrap();
        }
        any.close(secs(1)).await;
        let snapshot = any.snapshot();
        assert!(snapshot.closed);
        assert_eq!(snapshot.endpoints[2].successes, 3);
        assert!(snapshot.endpoints[2].latency.unwrap() >= ms(100));
        let table = snapshot.to_string();
        assert!(table.contains("calls so far: 3 succeeded, 2 failed, 0 timed out"), "{table}");
        assert!(table.contains("attempts so far: 3 success, 1 throttled, 1 transient"), "{table}");
        assert!(
            table.contains("\nprotections so far: 1 circuits opened; no retry for "),
            "{table}"
        );
        assert!(table.contains("busy:80"), "{table}");
    });
}

#[test]
fn all_lists_the_dependencies_that_are_alive_and_keeps_none_alive() {
    let ids = || -> Vec<String> {
        let all = dace::Dependency::<SimRuntime, SimBackend>::all();
        all.iter().map(|one| one.id().to_owned()).filter(|id| id.starts_with("all-")).collect()
    };
    let sim = Sim::new(1);
    let build = |id: &str| Dependency::builder(id).build_with(sim.runtime(), sim.backend());
    let first = build("all-1").unwrap();
    let second = build("all-2").unwrap();
    // Of another type: it is listed there.
    let other = dace::Dependency::builder("all-3").build_with(sim.runtime(), dace::NoHttp).unwrap();
    assert_eq!(ids(), ["all-1", "all-2"]);
    let others = dace::Dependency::<SimRuntime, dace::NoHttp>::all();
    assert!(others.iter().any(|one| one.id() == other.id()));
    drop(first);
    assert_eq!(ids(), ["all-2"]);
    let found = dace::Dependency::<SimRuntime, SimBackend>::all();
    drop(second);
    assert_eq!(ids(), ["all-2"], "who found it holds it");
    drop(found);
    assert_eq!(ids(), [""; 0]);
}

/// Reads the texts of errors.
#[derive(Clone, Default)]
struct Reader(Seen);

impl Observer for Reader {
    fn on_event(&self, id: &str, event: &Event) {
        self.0.on_event(id, event);
    }

    fn wants_errors(&self) -> bool {
        true
    }
}

#[derive(Clone, Debug)]
struct Loud(Count);

impl std::fmt::Display for Loud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.next();
        f.write_str("at http://user:s3cret@a/?token=s3cret\nno")
    }
}

impl std::error::Error for Loud {}
impl dace::Classify for Loud {}

#[test]
fn an_error_is_rendered_once_an_attempt_without_secrets_and_only_if_somebody_reads_it() {
    let sim = Sim::new(1);
    let count = Count::default();
    let fail = |_| ready(Err::<(), _>(Loud(count.clone())));
    let unread = dependency(&sim, |builder| {
        builder.circuit_reset_timeout(std::time::Duration::ZERO).observer(Seen::default())
    });
    sim.run(unread.call(fail)).unwrap_err();
    assert_eq!(count.get(), 0);
    let reader = Reader::default();
    let read =
        dependency(&sim, |builder| builder.observer(reader.clone()).observer(reader.clone()));
    sim.run(read.call(fail)).unwrap_err();
    assert_eq!(count.get(), 4, "four attempts");
    let errors: Vec<_> =
        reader.0.events().iter().filter_map(|event| event.error().map(str::to_owned)).collect();
    assert_eq!(errors.len(), 2 * 5, "four attempts and a call, seen twice");
    assert!(errors.iter().all(|error| error == "at http://…@a/?… no"), "{errors:?}");
    let report = sim.run(unread.call(fail).report());
    assert_eq!(report.attempts[3].error.as_deref(), Some("at http://…@a/?… no"));
}

#[test]
fn an_event_says_why_a_call_ended() {
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(.., 500);
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).retry_attempts(1);
        builder.circuit_reset_timeout(std::time::Duration::ZERO).observer(seen.clone())
    });
    sim.run(get_root(&a)).unwrap_err();
    let events = seen.events();
    assert_eq!(events.last().unwrap().why(), Some(Why::NoAttempts));
    assert_eq!(events[events.len() - 2].what, What::RetrySuppressed { why: Why::NoAttempts });
}

#[test]
fn a_report_says_how_far_each_attempt_came_what_it_waited_for_and_what_was_decided() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let count = Count::default();
    server.latency(ms(10)).handler(move |_| match count.next() {
        1 => Answer::status(429).header("retry-after", "1"),
        2 => Answer::status(500),
        _ => Answer::ok("ok"),
    });
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).breaker(touchy()).max_open_per_netloc(1);
        builder.circuit_reset_timeout(secs(1)).queue(1).timeout(secs(10))
    });
    let report = sim.run(a.call(|call| get(call, "/")).report());
    assert_eq!(report.result.as_deref().unwrap(), "ok");
    let told: Vec<_> = report
        .attempts
        .iter()
        .map(|attempt| (attempt.class.name(), attempt.phase, attempt.cause))
        .collect();
    assert_eq!(
        told,
        [
            ("throttled", Phase::Answer, None),
            ("transient", Phase::Answer, Some(WaitCause::Pause)),
            ("success", Phase::Answer, Some(WaitCause::Circuit)),
        ]
    );
    assert!(report.attempts[1].waited >= secs(1) && report.attempts[2].waited >= secs(1));
    let names: Vec<String> = report
        .decisions
        .iter()
        .map(|event| format!("{:?}", event.what).split([' ', '{']).next().unwrap().to_owned())
        .collect();
    assert_eq!(
        names,
        [
            "CallStarted",
            "AttemptStarted",
            "AttemptEnded",
            "Paused",
            "RetryDecided",
            "AttemptStarted",
            "AttemptEnded",
            "CircuitChanged",
            "Ejected",
            "RetryDecided",
            "CircuitChanged",
            "AttemptStarted",
            "AttemptEnded",
            "CircuitChanged",
            "Readmitted",
            "CallEnded",
        ]
    );
    assert!(report.to_string().contains("for a circuit to let somebody try"), "{report}");
}

#[test]
fn a_report_tells_phases_of_what_never_answered() {
    let sim = Sim::new(1);
    sim.server("http://hangs:80").hangs(..);
    sim.server("http://resets:80").resets(..);
    let any = dependency(&sim, |builder| {
        builder.retry_attempts(0).timeout(ms(100)).max_open_per_netloc(1).queue(9)
    });
    let phase = |url: &'static str| {
        sim.run(any.call(move |call| get(call, url)).report()).attempts[0].phase
    };
    assert_eq!(phase("http://hangs/"), Phase::Exchange);
    assert_eq!(phase("http://resets/"), Phase::Exchange);
    assert_eq!(phase("http://nowhere/"), Phase::Connecting);
    assert_eq!(phase("not a url"), Phase::Function);
    // The place is taken: its exchange waits to its end.
    sim.run(async {
        let holder = any.clone();
        let held = sim.spawn(async move {
            let _ = holder.call(|call| get(call, "http://hangs/")).timeout(ms(500)).await;
        });
        sim.sleep(ms(1)).await;
        let report = any.call(|call| get(call, "http://hangs/")).report().await;
        assert_eq!(report.attempts[0].phase, Phase::Queued, "{report}");
        held.await;
    });
}

/// Keeps a diary of its spans.
#[derive(Clone, Default)]
struct Diary(Arc<Mutex<Vec<String>>>);

struct Page(Diary, u64);

impl Observer for Diary {
    fn on_event(&self, _: &str, _: &Event) {}

    fn span(&self, id: &str, call: u64) -> Option<Box<dyn Span>> {
        self.0.lock().unwrap().push(format!("{id} {call}"));
        Some(Box::new(Page(self.clone(), call)))
    }
}

impl Span for Page {
    fn within(&self, poll: &mut dyn FnMut()) {
        self.0.0.lock().unwrap().push(format!("in {}", self.1));
        poll();
        self.0.0.lock().unwrap().push(format!("out {}", self.1));
    }
}

#[test]
fn spans_are_around_every_poll_of_the_wrapped_function_and_there_is_one_a_call() {
    let sim = Sim::new(1);
    let diary = Diary::default();
    let a = dependency(&sim, |builder| {
        builder.retry_attempts(1).observer(diary.clone()).observer(Seen::default())
    });
    let (world, pages) = (sim.clone(), diary.clone());
    let call = a.call(move |_| {
        let (world, pages) = (world.clone(), pages.clone());
        async move {
            pages.0.lock().unwrap().push(String::from("works"));
            world.sleep(ms(1)).await;
            Err::<(), _>(std::io::Error::other("no"))
        }
    });
    sim.run(call).unwrap_err();
    // It is called, polled twice, and dropped.
    let attempt = ["in 1", "out 1", "in 1", "works", "out 1", "in 1", "out 1", "in 1", "out 1"];
    let mut expected = vec!["test 1"];
    expected.extend(attempt.iter().chain(&attempt));
    assert_eq!(*diary.0.lock().unwrap(), expected);
}
