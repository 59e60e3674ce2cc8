//! Logs: spans around what the function logs, no flood, no secrets.

use std::future::ready;

use dace::Logs;
use dace_sim::Sim;

use crate::support::{dependency, get, ms, recorded, secs};

#[test]
fn what_the_function_logs_falls_into_the_span_of_its_call_at_every_poll() {
    let sim = Sim::new(1);
    let ((), log) = recorded(|_| {
        let any = dependency(&sim, |builder| builder.observer(Logs::new()));
        let call = |name: &'static str| {
            let (sim, world) = (sim.clone(), any.clone());
            async move {
                let call = world.call(|_| {
                    let sim = sim.clone();
                    async move {
                        tracing::info!("{name} begins");
                        sim.sleep(ms(1)).await;
                        tracing::info!("{name} ends");
                        Ok::<_, dace::HttpError>(())
                    }
                });
                call.await.unwrap();
                tracing::info!("{name} is outside");
            }
        };
        // Two at a time, so that their polls take turns.
        sim.run(futures_util::future::join(call("one"), call("two")));
    });
    let own: Vec<_> = log.iter().filter(|line| line.starts_with(" INFO")).collect();
    let span = |number| format!("call{{dependency_id=\"test\" call={number}}}");
    for (name, number) in [("one", 1), ("two", 2)] {
        for line in ["begins", "ends"] {
            let line = format!(" INFO {}: observe::logs: {name} {line}", span(number));
            assert!(own.contains(&&line), "{line} is not in {own:#?}");
        }
        assert!(own.contains(&&format!(" INFO observe::logs: {name} is outside")), "{own:#?}");
    }
}

#[test]
fn a_dependency_that_fails_for_a_minute_logs_some_lines_and_numbers() {
    let sim = Sim::new(1);
    let ((), log) = recorded(|_| {
        let any = dependency(&sim, |builder| {
            builder.observer(Logs::new()).retry_attempts(0).circuit_reset_timeout(secs(60))
        });
        sim.run(async {
            for _ in 0..6_000 {
                let failed = any.call(|_| ready(Err::<(), _>(std::io::Error::other("no"))));
                failed.await.unwrap_err();
                sim.sleep(ms(10)).await;
            }
            any.flush();
        });
    });
    let loud: Vec<_> =
        log.iter().filter(|line| line.starts_with(" WARN") || line.starts_with(" INFO")).collect();
    assert!(loud.len() < 50, "{}", loud.len());
    let failed = loud.iter().filter(|line| line.contains("call failed")).count();
    let left_out: usize = loud
        .iter()
        .filter_map(|line| line.split_once("kind=\"failed calls\" left_out="))
        .map(|(_, number)| number.parse::<usize>().unwrap())
        .sum();
    assert_eq!(failed + left_out, 6_000);
    assert!(loud[0].contains("call failed") && loud[0].contains("error=\"no\""), "{}", loud[0]);
    let opened =
        " WARN dace: circuit changed dependency_id=\"test\" netloc=\"test\" from=\"closed\"";
    assert!(loud.iter().any(|line| line.starts_with(opened)), "{loud:#?}");
}

#[derive(Debug, thiserror::Error)]
#[error("could not load {url}")]
struct Load {
    url: &'static str,
    source: std::io::Error,
}

impl dace::Classify for Load {}

#[test]
fn an_error_is_logged_with_all_its_sources_and_without_secrets() {
    let sim = Sim::new(1);
    sim.server("http://a:80").resets(..);
    let ((), log) = recorded(|_| {
        let any = dependency(&sim, |builder| builder.observer(Logs::new()).retry_attempts(0));
        let load = || Load {
            url: "http://user:s3cret@a/p?token=s3cret",
            source: std::io::Error::other("disk full"),
        };
        sim.run(any.call(|_| ready(Err::<(), _>(load())))).unwrap_err();
        let call = any.call(|call| get(call, "http://user:s3cret@a/?s3cret"));
        sim.run(call).unwrap_err();
    });
    let text = log.join("\n");
    assert!(text.contains("error=\"could not load http://…@a/p?…: disk full\""), "{text}");
    let reset = "a:80: connection reset; the server may have processed the request: simulated";
    assert!(text.contains(reset), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}
