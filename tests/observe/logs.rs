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

/// Says so when it is dropped.
struct Held;

impl Drop for Held {
    fn drop(&mut self) {
        tracing::info!("dropped");
    }
}

#[test]
fn whatever_runs_of_the_users_code_is_in_the_span_of_its_call() {
    let sim = Sim::new(1);
    let ((), log) = recorded(|_| {
        let any = dependency(&sim, |builder| builder.observer(Logs::new()).retry_attempts(0));
        let world = sim.clone();
        let call = any.call(|_| {
            tracing::info!("called");
            let (held, sim) = (Held, world.clone());
            async move {
                let _held = held;
                sim.sleep(secs(60)).await;
                Ok::<(), dace::HttpError>(())
            }
        });
        let call = call.timeout(secs(1)).fallback(|_| {
            tracing::info!("begins");
            async {
                tracing::info!("falls back");
                Ok(())
            }
        });
        sim.run(call).unwrap();
        any.circuit("test").unwrap().force_open();
        let refused = any.call(|_| ready(Ok::<(), dace::HttpError>(())));
        let refused = refused.fallback(|_| async {
            tracing::info!("refused");
            Ok(())
        });
        sim.run(refused).unwrap();
    });
    for (number, text) in
        [(1, "called"), (1, "dropped"), (1, "begins"), (1, "falls back"), (2, "refused")]
    {
        let line =
            format!(" INFO call{{dependency_id=\"test\" call={number}}}: observe::logs: {text}");
        assert!(log.contains(&line), "{line} is not in {log:#?}");
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
        for url in ["http://user:s3cret@a/p?token=s3cret", "http://a/x?email=a@b.com&t=s3cret"] {
            let load = || Load { url, source: std::io::Error::other("disk full") };
            sim.run(any.call(|_| ready(Err::<(), _>(load())))).unwrap_err();
        }
        let call = any.call(|call| get(call, "http://user:s3cret@a/?s3cret"));
        sim.run(call).unwrap_err();
    });
    let text = log.join("\n");
    assert!(text.contains("error=\"could not load http://…@a/p?…: disk full\""), "{text}");
    assert!(text.contains("error=\"could not load http://a/x?…: disk full\""), "{text}");
    let reset = "a:80: connection reset; the server may have processed the request: simulated";
    assert!(text.contains(reset), "{text}");
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_server_that_fails_all_the_time_does_not_hide_that_another_one_fails() {
    let sim = Sim::new(1);
    for host in ["http://a:80", "http://b:80"] {
        sim.server(host).answers(.., 404);
    }
    let ((), log) = recorded(|_| {
        let any = dependency(&sim, |builder| builder.observer(Logs::new()));
        sim.run(async {
            for _ in 0..100 {
                any.call(|call| get(call, "http://a/")).await.unwrap_err();
            }
            any.call(|call| get(call, "http://b/")).await.unwrap_err();
            any.flush();
        });
    });
    let failed = |netloc: &str| {
        let of = format!("netloc=\"{netloc}\"");
        log.iter().filter(|line| line.contains("call failed") && line.contains(&of)).count()
    };
    assert_eq!((failed("a:80"), failed("b:80")), (5, 1));
}

#[test]
fn so_many_lines_of_a_kind_are_written_however_many_servers_fail() {
    let sim = Sim::new(1);
    let ((), log) = recorded(|_| {
        let any = dependency(&sim, |builder| builder.observer(Logs::new()).retry_attempts(0));
        sim.run(async {
            for host in 0..200 {
                let url = format!("http://h{host}/");
                any.call(|call| get_url(call, url.clone())).await.unwrap_err();
            }
        });
    });
    assert_eq!(log.iter().filter(|line| line.contains("call failed")).count(), 50);
}

async fn get_url(call: crate::support::Call, url: String) -> Result<String, dace::HttpError> {
    get(call, &url).await
}

#[test]
fn what_is_done_by_hand_is_always_told_and_what_is_left_out_as_loudly_as_it_would_have_been() {
    let sim = Sim::new(1);
    let ((), log) = recorded(|_| {
        let any = dependency(&sim, |builder| builder.observer(Logs::new()));
        let circuit = any.circuit("test").unwrap();
        for _ in 0..20 {
            circuit.force_open();
            circuit.force_closed();
        }
        any.flush();
    });
    let count = |text: &str| log.iter().filter(|line| line.contains(text)).count();
    assert_eq!(count("circuit worked by hand"), 40);
    assert_eq!(
        count(" INFO dace: lines left out dependency_id=\"test\" kind=\"circuits that c"),
        1
    );
    assert_eq!(
        count(" WARN dace: lines left out dependency_id=\"test\" kind=\"circuits that o"),
        1
    );
}

/// Counts how often it is shown.
#[derive(Debug)]
struct Shown(std::rc::Rc<std::cell::Cell<u32>>);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.set(self.0.get() + 1);
        f.write_str("no")
    }
}

impl std::error::Error for Shown {}
impl dace::Classify for Shown {}

#[test]
fn no_error_is_made_text_that_no_subscriber_would_see() {
    let sim = Sim::new(1);
    let any = dependency(&sim, |builder| builder.observer(Logs::new()).retry_attempts(0));
    let count = std::rc::Rc::new(std::cell::Cell::new(0));
    let fail = || {
        let _ = sim.run(any.call(|_| ready(Err::<(), _>(Shown(count.clone())))));
    };
    let quiet = tracing_subscriber::fmt().with_max_level(tracing::Level::ERROR).finish();
    tracing::subscriber::with_default(quiet, fail);
    assert_eq!(count.get(), 0);
    recorded(|_| fail());
    assert_eq!(count.get(), 1);
}
