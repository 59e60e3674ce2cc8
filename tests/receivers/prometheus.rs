//! A page of a Prometheus exporter, and the alert rules, as `promtool` sees them.

use std::io::Write as _;
use std::process::{Command, Stdio};

use dace::Metrics;
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::process::INSTALL;
use crate::script::{COUNTERS, TIMERS, on_smol, on_tokio};

/// Runs promtool, with this input; whether it was content, and what it said.
fn promtool(arguments: &[&str], input: &str) -> (bool, String) {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("promtool {INSTALL} ({error})"));
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&said).into_owned())
}

/// The sum of all series of a name that have all these labels.
fn sum(page: &str, name: &str, labels: &[(&str, &str)]) -> u64 {
    let all = |line: &&str| {
        let is = |(label, value): &(&str, &str)| line.contains(&format!("{label}=\"{value}\""));
        line.split(['{', ' ']).next() == Some(name) && labels.iter().all(is)
    };
    let value = |line: &str| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap();
    page.lines().filter(all).map(value).sum::<f64>() as u64
}

#[test]
fn a_prometheus_page_holds_exact_numbers_of_a_run_on_both_adapters_and_promtool_likes_it() {
    let recorder = PrometheusBuilder::new()
        .set_buckets(&[0.001, 0.01, 0.1, 1.0, 10.0])
        .unwrap()
        .build_recorder();
    let page = recorder.handle();
    metrics::with_local_recorder(&recorder, || {
        on_tokio(|builder| builder.observer(Metrics::new()));
        on_smol(|builder| builder.observer(Metrics::new()));
    });
    let page = page.render();
    let (content, said) = promtool(&["check", "metrics"], &page);
    assert!(content && said.is_empty(), "{said}\n{page}");
    let of = |name: &str| {
        COUNTERS.iter().chain(TIMERS).find(|(known, _)| *known == name).map_or(0, |(_, n)| *n)
    };
    for id in ["tokio", "smol"] {
        let sum = |name: &str, label: (&str, &str)| sum(&page, name, &[("dependency", id), label]);
        let none = ("dependency", id);
        for class in ["success", "transient", "caller_fault", "unsent", "failure", "timeout"] {
            let count = sum("dace_attempts_total", ("class", class));
            assert_eq!(count, of(&format!("attempt.{class}")), "{class}");
        }
        assert_eq!(sum("dace_calls_total", ("outcome", "value")), of("call.success"));
        let failed = sum("dace_calls_total", ("outcome", "error"));
        let refused = sum("dace_calls_total", ("outcome", "refused"));
        assert_eq!(failed + refused, of("call.error"));
        assert_eq!(refused, 3);
        assert_eq!(sum("dace_fallbacks_total", none), of("call.fallback"));
        assert_eq!(sum("dace_retries_total", none), of("retry"));
        let rejected = sum("dace_rejected_total", ("reason", "circuit_open"));
        assert_eq!(rejected, of("rejected.circuit_open"));
        assert_eq!(sum("dace_circuit_changes_total", ("to", "forced_open")), 1);
        assert_eq!(sum("dace_circuit_changes_total", ("to", "closed")), of("circuit.closed"));
        assert_eq!(sum("dace_call_duration_seconds_count", none), of("call"));
        assert_eq!(sum("dace_attempt_duration_seconds_count", none), of("attempt"));
        assert_eq!(sum("dace_open_attempts", none), 0);
    }
}

#[test]
fn promtool_can_find_fault() {
    let (content, said) = promtool(&["check", "metrics"], "# TYPE a_count counter\na_count 1\n");
    assert!(!content && said.contains("a_count"), "{said}");
}

#[test]
fn the_alert_rules_are_valid_and_fire_when_they_should() {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.yml");
    let (content, said) = promtool(&["check", "rules", rules], "");
    assert!(content, "{said}");
    let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/receivers/alerts.yml");
    let (content, said) = promtool(&["test", "rules", tests], "");
    assert!(content, "{said}");
}
