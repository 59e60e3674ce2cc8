//! A short run as every sink tells it, word for word: `tests/observe/story.txt`.
//!
//! `DACE_BLESS=1 cargo test --all-features --test observe story` writes it anew.

use std::fmt::Write as _;

use dace::{Breaker, Logs, Metrics, Statsd, StatsdExt as _};
use dace_sim::{Answer, Sim};

use crate::support::{Lines, dependency, get, ms, recorded, secs};

#[test]
fn a_short_run_is_told_word_for_word() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(5)).handler(|request| match request.url.path() {
        "/busy" => Answer::status(429).header("retry-after", "1"),
        "/broken" => Answer::status(500),
        "/wrong" => Answer::status(404),
        _ => Answer::ok("ok"),
    });
    let lines = Lines::default();
    let mut story = String::new();
    let (page, log) = recorded(|page| {
        let a = dependency(&sim, |builder| {
            builder
                .targets(["http://a:80"])
                .retry_attempts(1)
                .breaker(Breaker::new().consecutive_failures(2).successes(1))
                .circuit_reset_timeout(secs(1))
                .timeout(secs(3))
                .observer(Logs::new())
                .observer(Metrics::new())
                .statsd(Statsd::sink(lines.clone()).tags(true))
        });
        sim.run(async {
            for path in ["/", "/wrong", "/broken", "/", "later", "/busy"] {
                if path == "later" {
                    sim.sleep(secs(2)).await;
                }
                let report = a.call(move |call| get(call, path)).report().await;
                writeln!(story, "GET {path}\n{report}").unwrap();
                if let Err(error) = report.result {
                    writeln!(story, "  says: {error}").unwrap();
                }
                story.push('\n');
            }
            let error = a.call(|call| get(call, "/")).await.unwrap_err();
            writeln!(story, "{error}\n").unwrap();
            a.circuit("a:80").unwrap().drain();
            a.circuit("a:80").unwrap().automatic();
            let call = a.call(|call| get(call, "/broken"));
            call.fallback(|_| async { Ok(String::from("somebody")) }).await.unwrap();
            writeln!(story, "{}", a.snapshot()).unwrap();
            a.close(secs(1)).await;
        });
        page.render()
    });
    writeln!(story, "Logs\n{}\n", log.join("\n")).unwrap();
    writeln!(story, "statsd\n{}\n", lines.all().join("\n")).unwrap();
    let mut page: Vec<_> = page.lines().filter(|line| !line.is_empty()).collect();
    page.sort_by_key(|line| line.trim_start_matches("# HELP ").trim_start_matches("# TYPE "));
    writeln!(story, "Prometheus\n{}", page.join("\n")).unwrap();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/observe/story.txt");
    if std::env::var_os("DACE_BLESS").is_some() {
        std::fs::write(path, &story).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == story, "it is told differently now; if rightly, bless it:\n{story}");
}
