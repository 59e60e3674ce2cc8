//! One run, seen five ways: logs, statsd, metrics, reports and snapshot agree number for number.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use dace::{
    Breaker, Cache, CachePolicy, Event, Group, Hedge, HttpError, Logs, Metrics, RateLimit,
    SharedLimit, Snapshot, Statsd, StatsdExt as _, Throttle, What,
};
use dace_sim::{Sim, SimRuntime};

use crate::support::{Lines, Seen, dependency, get, ms, recorded, secs, values};

struct Run {
    snapshot: Snapshot,
    lines: Lines,
    page: String,
    log: Vec<String>,
    /// Everything that was decided.
    events: Vec<Event>,
    /// What the reports say was decided, of all calls but those that were dropped.
    reports: Vec<Vec<Event>>,
}

/// Waits until it ends, or panics.
async fn caught(call: impl Future) {
    let mut call = pin!(call);
    poll_fn(|cx| {
        let poll = AssertUnwindSafe(|| call.as_mut().poll(cx).map(drop));
        catch_unwind(poll).unwrap_or(Poll::Ready(()))
    })
    .await;
}

/// Half a minute of calls to three servers that fail, hang, ask for pauses and go away; a short queue,
/// limits of every kind, a small budget, hedges, a fallback for every second call, a cache and equal calls, callers that
/// give up, and a function that panics.
fn run() -> Run {
    let sim = Sim::new(6);
    for (target, share) in [("http://a:80", 0.1), ("http://b:80", 0.4), ("http://c:80", 0.0)] {
        sim.server(target).latency(ms(20)).jitter(ms(20)).failing(share, 503);
    }
    sim.server("http://c:80").down(secs(3)..secs(15)).hangs(secs(20)..secs(22));
    let (lines, seen) = (Lines::default(), Seen::default());
    let kept = CachePolicy::new().ttl(ms(250)).stale_if_error(secs(5));
    let (cache, group) = (Cache::new(kept).unwrap(), Group::new());
    let together = SharedLimit::on::<SimRuntime>().rate(RateLimit::new(95, secs(1)).burst(5));
    let ((snapshot, reports, page), log) = recorded(|page| {
        let all = dependency(&sim, |builder| {
            builder
                .targets(["http://a:80", "http://b:80", "http://c:80"])
                .max_open_per_netloc(3)
                .queue(4)
                .attempt_timeout(ms(300))
                .timeout(secs(1))
                .breaker(Breaker::new().consecutive_failures(3))
                .circuit_reset_timeout(secs(1))
                .budget(dace::Budget::new().banked(20))
                .hedge(Hedge::new().max_extra(0.5))
                .throttle(Throttle::new())
                .rate_limit(RateLimit::new(40, secs(1)).burst(2))
                .shared_limit(&together)
                .observer(seen.clone())
                .observer(Logs::new())
                .observer(Metrics::new())
                .statsd(Statsd::sink(lines.clone()).queue(1 << 16))
        });
        let reports = sim.run(async {
            let mut calls = Vec::new();
            for number in 0..3_000u32 {
                let (all, cache, group) = (all.clone(), cache.clone(), group.clone());
                if number % 500 == 0 {
                    sim.server("http://b:80").stale(dace::http::Sent::Unsent);
                }
                calls.push(sim.spawn(async move {
                    match number % 10 {
                        // Too short for anybody.
                        0 => {
                            let call = all.call(|call| get(call, "/")).timeout(ms(10)).report();
                            Some(call.await.decisions)
                        }
                        // Given up at its first wait.
                        1 => {
                            let call = all.call(|call| get(call, "/")).report();
                            let report = futures_util::FutureExt::now_or_never(call);
                            report.map(|report| report.decisions)
                        }
                        7 => {
                            let call = || all.call(|call| get(call, "/")).shared(&group, 7);
                            let (one, two) = (call().cached(&cache, 7), call().cached(&cache, 7));
                            let _ = futures_util::future::join(one, two).await;
                            None
                        }
                        9 if number % 1_000 == 999 => {
                            let call =
                                all.call(|_| async { panic!("its own") as Result<(), HttpError> });
                            caught(call).await;
                            None
                        }
                        // At a certain server, whose circuit may be open.
                        3 if number % 100 == 3 => {
                            let call = all.call(|call| get(call, "http://c:80/")).report();
                            Some(call.await.decisions)
                        }
                        n if n % 2 == 0 => {
                            let call = all.call(|call| get(call, "/"));
                            let call = call.fallback(|_| async { Ok(String::from("x")) });
                            Some(call.report().await.decisions)
                        }
                        _ => Some(all.call(|call| get(call, "/")).report().await.decisions),
                    }
                }));
                sim.sleep(ms(10)).await;
            }
            let reports: Vec<_> = futures_util::future::join_all(calls).await;
            assert_eq!(all.close(secs(10)).await, 0);
            reports.into_iter().flatten().collect()
        });
        (all.snapshot(), reports, page.render())
    });
    let events = seen.0.lock().unwrap().clone();
    Run { snapshot, lines, page, log, events, reports }
}

/// L3, L4.
#[test]
fn logs_statsd_metrics_reports_and_snapshot_agree_number_for_number() {
    let Run { snapshot, lines, page, log, events, reports } = run();
    assert_eq!(snapshot.events_dropped, 0);
    let totals = snapshot.totals;
    // By the names of statsd.
    let mut truth = BTreeMap::new();
    let mut tell = |name: String, count: u64| {
        if count > 0 {
            truth.insert(name, count);
        }
    };
    tell("call.success".into(), totals.succeeded);
    let failed = totals.failed + totals.timed_out + totals.refused + totals.panicked;
    tell("call.error".into(), failed);
    tell("call.dropped".into(), totals.dropped);
    tell("call.fallback".into(), totals.fallbacks);
    for (class, count) in totals.classes.iter() {
        tell(format!("attempt.{class}"), count);
    }
    tell("retry".into(), totals.retries);
    tell("resent".into(), totals.resent);
    tell("hedge".into(), totals.hedges);
    for (why, count) in totals.suppressed.iter() {
        tell(format!("retry.suppressed.{why}"), count);
    }
    tell("rejected.rate_limited".into(), totals.rate_limited);
    tell("rejected.circuit_open".into(), totals.circuit_open);
    tell("rejected.throttle".into(), totals.throttled);
    tell("rejected.shared_limit".into(), totals.shared_limited);
    tell("rejected.no_endpoint".into(), totals.no_endpoint);
    tell("answer.cached".into(), totals.cached);
    tell("answer.stale".into(), totals.stale);
    tell("answer.shared".into(), totals.shared);
    tell("circuit.opened".into(), totals.opened);
    tell("circuit.half_open".into(), totals.half_opened);
    tell("circuit.closed".into(), totals.closed);
    for name in [
        "call.dropped",
        "call.fallback",
        "hedge",
        "resent",
        "retry",
        "rejected.rate_limited",
        "rejected.circuit_open",
        "rejected.throttle",
        "rejected.shared_limit",
        "answer.cached",
        "answer.stale",
        "answer.shared",
        "circuit.opened",
        "circuit.half_open",
        "circuit.closed",
    ] {
        assert!(truth.contains_key(name), "the run shows no {name}: {truth:#?}");
    }
    assert!(totals.panicked > 0);
    assert_eq!(totals.attempts, totals.classes.iter().map(|(_, count)| count).sum::<u64>());

    // statsd
    let mut sums = lines.sums();
    let mut told = |name: &str| sums.remove(&format!("dace.test.{name}")).unwrap_or(0.0) as u64;
    for (name, count) in &truth {
        assert_eq!(told(name), *count, "statsd: {name}");
    }
    let calls = totals.succeeded + failed + totals.dropped;
    assert_eq!((told("call"), told("attempt")), (calls, totals.attempts));
    let queued = told("queue");
    assert!(queued > 0 && told("open") > 0);
    assert!(sums.is_empty(), "statsd knows more: {sums:?}");
    assert_eq!(
        lines.all().iter().rfind(|line| line.ends_with("|g")).unwrap(),
        "dace.test.open:0|g"
    );

    // metrics
    let by = |label| values(&page, label);
    let outcomes = by("outcome");
    for (outcome, count) in [
        ("value", totals.succeeded),
        ("error", totals.failed),
        ("timeout", totals.timed_out),
        ("refused", totals.refused),
        ("dropped", totals.dropped),
        ("panicked", totals.panicked),
    ] {
        let key = format!("dace_calls_total {outcome}");
        assert_eq!(outcomes.get(&key).copied().unwrap_or(0.0) as u64, count, "metrics: {key}");
    }
    let classes = by("class");
    for (class, count) in totals.classes.iter() {
        let key = format!("dace_attempts_total {class}");
        assert_eq!(classes.get(&key).copied().unwrap_or(0.0) as u64, count, "metrics: {key}");
    }
    let whys = by("why");
    for (why, count) in totals.suppressed.iter() {
        let key = format!("dace_retries_suppressed_total {why}");
        assert_eq!(whys.get(&key).copied().unwrap_or(0.0) as u64, count, "metrics: {key}");
    }
    let (reasons, states, answers) = (by("reason"), by("to"), by("from"));
    let of_limits = ["full", "paused", "rate_limit", "shed"];
    let of_limits =
        of_limits.map(|reason| reasons[&format!("dace_rejected_total {reason}")] as u64);
    assert_eq!(of_limits.iter().sum::<u64>(), totals.rate_limited);
    assert!(of_limits[0] > 0 && of_limits[2] > 0, "{of_limits:?}");
    for (key, values, count) in [
        ("dace_rejected_total circuit_open", &reasons, totals.circuit_open),
        ("dace_rejected_total throttle", &reasons, totals.throttled),
        ("dace_rejected_total shared_limit", &reasons, totals.shared_limited),
        ("dace_rejected_total no_endpoint", &reasons, totals.no_endpoint),
        ("dace_answers_total cache", &answers, totals.cached),
        ("dace_answers_total stale", &answers, totals.stale),
        ("dace_answers_total shared", &answers, totals.shared),
        ("dace_resent_total", &states, totals.resent),
        ("dace_hedges_total", &states, totals.hedges),
        ("dace_circuit_changes_total open", &states, totals.opened),
        ("dace_circuit_changes_total half_open", &states, totals.half_opened),
        ("dace_circuit_changes_total closed", &states, totals.closed),
        ("dace_fallbacks_total", &states, totals.fallbacks),
        ("dace_retries_total", &states, totals.retries),
        ("dace_call_duration_seconds_count", &states, calls),
        ("dace_attempt_duration_seconds_count", &states, totals.attempts),
        ("dace_queue_duration_seconds_count", &states, queued),
        ("dace_open_attempts", &states, 0),
    ] {
        assert_eq!(values.get(key).copied().unwrap_or(0.0) as u64, count, "metrics: {key}");
    }

    // logs
    let lines_with = |text: &str| log.iter().filter(|line| line.contains(text)).count() as u64;
    let left_out = |kind: &str| -> u64 {
        let of = log.iter().filter(|line| line.contains(kind) && line.contains("left_out="));
        of.map(|line| {
            let (_, number) = line.split_once("left_out=").unwrap();
            number.split(' ').next().unwrap().parse::<u64>().unwrap()
        })
        .sum()
    };
    assert_eq!(lines_with("dace: call succeeded"), totals.succeeded);
    assert_eq!(lines_with("dace: call dropped"), totals.dropped);
    assert_eq!(lines_with("dace: call failed") + left_out("\"failed calls\""), failed);
    assert!(lines_with("dace: call failed") <= 4 * 5 * 4, "a flood");
    let made_up = lines_with("dace: fallback used") + lines_with("dace: stale answer used");
    assert_eq!(made_up + left_out("\"fallbacks\""), totals.fallbacks + totals.stale);
    assert_eq!(lines_with("dace: answer from cache"), totals.cached);
    assert_eq!(lines_with("dace: answer shared"), totals.shared);
    assert_eq!(lines_with("dace: sent once more "), totals.resent);
    assert_eq!(lines_with("dace: hedge "), totals.hedges);
    for (class, count) in totals.classes.iter() {
        let ended = log.iter().filter(|line| line.contains("dace: attempt ended"));
        let of = ended.filter(|line| line.contains(&format!(" class=\"{class}\"")));
        assert_eq!(of.count() as u64, count, "logs: {class}");
    }
    assert_eq!(lines_with("dace: retry "), totals.retries);
    assert_eq!(
        lines_with("dace: no retry "),
        totals.suppressed.iter().map(|(_, n)| n).sum::<u64>()
    );
    let by_limits = totals.rate_limited + totals.throttled + totals.shared_limited;
    let refused = by_limits + totals.circuit_open + totals.no_endpoint;
    assert_eq!(lines_with("dace: refused "), refused);
    let opened = lines_with("circuit changed") - lines_with("to=\"closed\"");
    assert_eq!(opened + left_out("\"circuits that opened\""), totals.opened + totals.half_opened);
    assert_eq!(lines_with("to=\"closed\"") + left_out("\"circuits that closed\""), totals.closed);

    // Reports: each is what observers saw of its call, but for the fallback, which comes after it.
    let mut stories = BTreeMap::<u64, Vec<&Event>>::new();
    for event in events.iter().filter(|event| event.what != What::FallbackUsed) {
        stories.entry(event.call).or_default().push(event);
    }
    // Of all but every tenth task and those that panicked, unless it was dropped.
    assert_eq!(reports.len() as u64, 3_000 - 300 - 3 - totals.dropped);
    for report in &reports {
        assert_eq!(report.iter().collect::<Vec<_>>(), stories[&report[0].call]);
    }
}

#[test]
fn the_run_is_the_same_every_time() {
    let (first, second) = (run(), run());
    assert_eq!(first.snapshot, second.snapshot);
    assert_eq!(first.log, second.log);
    assert_eq!((first.events, first.reports), (second.events, second.reports));
    assert_eq!(first.lines.sums().len(), second.lines.sums().len());
}
