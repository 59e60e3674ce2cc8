//! Ids and netlocs that mean harm: whole, valid lines, and so many series and no more.

use std::collections::BTreeSet;

use dace::{HttpError, Logs, Metrics, Statsd, StatsdExt as _};
use dace_sim::Sim;

use crate::support::{Dependency, Lines, recorded};

fn hostile() -> Vec<String> {
    let long = "x".repeat(300);
    ["a\nb", "a|b", "a:b", "a#b", "a\u{1b}[31mb", "a b", "ü", "a\"b\\", "a\0b", &long]
        .map(str::to_owned)
        .to_vec()
}

/// Name, value, type, and nothing else.
#[track_caller]
fn assert_valid(line: &str) {
    let plain = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
    };
    let (name, rest) = line.split_once(':').unwrap_or_default();
    let (value, rest) = rest.split_once('|').unwrap_or_default();
    let (kind, tags) = rest.split_once("|#netloc:").unwrap_or((rest, "none"));
    let valid = plain(name) && value.parse::<f64>().is_ok() && plain(tags);
    assert!(valid && ["c", "g", "ms"].contains(&kind) && line.len() < 700, "{line:?}");
}

/// K10: no id breaks a log line or a metric.
#[test]
fn hostile_ids_and_netlocs_make_whole_and_valid_lines() {
    let sim = Sim::new(1);
    let lines = Lines::default();
    let statsd = Statsd::sink(lines.clone()).tags(true);
    let (page, log) = recorded(|page| {
        for id in hostile() {
            let any = Dependency::builder(id.clone())
                .observer(Logs::new())
                .observer(Metrics::new())
                .statsd(statsd.clone())
                .build_with(sim.runtime(), sim.backend())
                .unwrap();
            for host in hostile() {
                // Most are refused as URLs, with an error that shows them to the logs.
                let url = format!("http://{host}/?{host}");
                let call = any.call(|call| {
                    let url = url.clone();
                    async move { call.http().get(&url).send().await.map(|_| ()) }
                });
                let _ = sim.run(call);
                let told = host.clone();
                let call = any.call(|_| std::future::ready(Err::<(), _>(told.clone())));
                let _ = sim.run(call.classify(|_| dace::Class::Failure));
            }
            any.flush();
        }
        page.render()
    });
    let lines = lines.all();
    assert!(lines.len() > 400, "{}", lines.len());
    lines.iter().for_each(|line| assert_valid(line));
    for line in &log {
        assert!(line.contains(" dace: "), "one line, one event: {line:?}");
        assert!(!line.chars().any(char::is_control), "{line:?}");
    }
    for line in page.lines().filter(|line| !line.is_empty()) {
        let whole =
            line.starts_with('#') || line.rsplit_once(' ').unwrap().1.parse::<f64>().is_ok();
        assert!(whole && !line.chars().any(char::is_control), "{line:?}");
    }
}

/// J1: strange servers without end take bounded room, and what is known of bad ones stays.
#[test]
fn a_hundred_thousand_netlocs_make_a_thousand_series_and_one() {
    let sim = Sim::new(1);
    let lines = Lines::default();
    let (page, _) =
        tracing::subscriber::with_default(tracing::subscriber::NoSubscriber::default(), || {
            let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
            let page = recorder.handle();
            metrics::with_local_recorder(&recorder, || {
                let any = Dependency::builder("any")
                    .retry_attempts(0)
                    .observer(Metrics::new())
                    .statsd(Statsd::sink(lines.clone()).tags(true).queue(1 << 20))
                    .build_with(sim.runtime(), sim.backend())
                    .unwrap();
                for number in 0..100_000 {
                    let call = any.call(move |call| async move {
                        call.http().get(&format!("http://h{number}/")).send().await?;
                        Ok::<_, HttpError>(())
                    });
                    sim.run(call).unwrap_err();
                }
                any.flush();
                (page.render(), ())
            })
        });
    let tag = |line: &str| line.split_once("netloc:").map(|(_, netloc)| netloc.to_owned());
    let tags: BTreeSet<_> = lines.all().iter().filter_map(|line| tag(line)).collect();
    assert_eq!(tags.len(), 1_001);
    assert!(tags.contains("other") && tags.contains("h7_80"));
    let label = |line: &str| {
        let (_, rest) = line.split_once("netloc=\"")?;
        rest.split_once('"').map(|(netloc, _)| netloc.to_owned())
    };
    let labels: BTreeSet<_> = page.lines().filter_map(label).collect();
    assert_eq!(labels.len(), 1_001);
    assert!(labels.contains("other") && labels.contains("h7:80"));
}
