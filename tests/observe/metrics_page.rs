//! Metrics: gauges that tell how things are, and counters that say what they lack.

use dace::{Breaker, HttpError, Logs, Metrics, Statsd, StatsdExt as _};
use dace_sim::Sim;

use crate::support::{Lines, dependency, get, recorded, secs, values};

#[test]
fn a_target_that_is_taken_away_has_no_open_circuit_and_one_that_comes_back_has_it_again() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    sim.server("http://b:80").down(..);
    recorded(|page| {
        let all = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80", "http://b:80"]).observer(Metrics::new());
            builder.breaker(Breaker::new().consecutive_failures(1))
        });
        let open = || {
            let open = values(&page.render(), "netloc");
            open.get("dace_circuit_open b:80").copied()
        };
        for _ in 0..10 {
            sim.run(all.call(|call| get(call, "/"))).unwrap();
        }
        assert_eq!(open(), Some(1.0));
        all.set_targets(["http://a:80"]).unwrap();
        assert_eq!(open(), Some(0.0));
        all.set_targets(["http://a:80", "http://b:80"]).unwrap();
        assert_eq!(open(), Some(1.0));
    });
}

#[test]
fn of_the_netlocs_that_are_told_apart_no_more_the_open_circuits_are_counted() {
    let sim = Sim::new(1);
    let up = sim.server("http://h1001:80");
    up.down(..secs(1));
    recorded(|page| {
        let any = dependency(&sim, |builder| {
            let builder = builder.retry_attempts(0).observer(Metrics::new());
            builder.breaker(Breaker::new().consecutive_failures(1).successes(1))
        });
        let ask = |host: u32| {
            let call = any.call(move |call| async move {
                call.http().get(&format!("http://h{host}/")).send().await?;
                Ok::<_, HttpError>(())
            });
            sim.run(call).is_ok()
        };
        // The dependency itself has no event of its own: the first thousand are told apart.
        for host in 1..=1_003 {
            assert!(!ask(host));
        }
        let open = || values(&page.render(), "netloc")["dace_circuit_open other"];
        assert_eq!(open(), 3.0);
        sim.run(sim.sleep(secs(60)));
        assert!(ask(1_001));
        assert_eq!(open(), 2.0, "one closed, two are as they were");
    });
}

#[test]
fn events_that_were_lost_are_told_by_every_sink() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let (lines, sampled) = (Lines::default(), Lines::default());
    let ((lost, page), log) = recorded(|page| {
        let a = dependency(&sim, |builder| {
            builder
                .targets(["http://a:80"])
                .max_open_per_netloc(2_000)
                .http_pool_size(2_000)
                .observer(Logs::new())
                .observer(Metrics::new())
                .statsd(Statsd::sink(lines.clone()))
                .statsd(Statsd::sink(sampled.clone()).sample_rate(1e-9))
        });
        sim.run(async {
            let calls: Vec<_> =
                (0..1_500).map(|_| Box::pin(a.call(|call| get(call, "/")))).collect();
            let all = Box::pin(futures_util::future::join_all(calls));
            drop(futures_util::future::select(all, Box::pin(sim.sleep(secs(1)))).await);
            assert_eq!(a.close(secs(1)).await, 0);
        });
        (a.snapshot().events_dropped, page.render())
    });
    assert!(lost > 1_000, "{lost}");
    assert_eq!(values(&page, "none")["dace_events_dropped_total"], lost as f64);
    assert_eq!(lines.sums()["dace.test.events.dropped"], lost as f64);
    let whole = format!("dace.test.events.dropped:{lost}|c");
    assert!(sampled.all().contains(&whole), "it is not sampled: {:#?}", sampled.all());
    // What said that so many fewer are open was lost.
    assert_eq!(values(&page, "none")["dace_open_attempts"], 0.0);
    for lines in [lines, sampled] {
        let lines = lines.all();
        let open = lines.iter().rfind(|line| line.starts_with("dace.test.open:"));
        assert_eq!(open.unwrap(), "dace.test.open:0|g");
    }
    let told = format!(" WARN dace: events dropped dependency_id=\"test\" count={lost}");
    assert!(log.contains(&told), "{log:#?}");
}

#[test]
fn what_is_counted_by_a_name_is_there_from_the_first_event_on() {
    let sim = Sim::new(1);
    recorded(|page| {
        let any = dependency(&sim, |builder| builder.observer(Metrics::new()));
        let call = any.call(|_| std::future::ready(Ok::<_, HttpError>(())));
        sim.run(call).unwrap();
        let page = page.render();
        for (name, label, of) in [
            ("dace_calls_total", "outcome", &dace::Outcome::NAMES[..]),
            ("dace_retries_suppressed_total", "why", &dace::Why::NAMES[..]),
            ("dace_rejected_total", "reason", &dace::Reason::NAMES[..]),
            ("dace_answers_total", "from", &["cache", "stale", "shared"][..]),
        ] {
            let values = values(&page, label);
            for value in of.iter().filter(|value| **value != "value") {
                assert_eq!(values.get(&format!("{name} {value}")), Some(&0.0), "{name} {value}");
            }
        }
    });
}
