//! What errors and reports say: enough for one line of a log to tell the story.

use std::future::ready;
use std::time::Duration;

use dace::{Backoff, Class, Error, HttpError, Reason, What, Why};
use dace_sim::{Answer, Sim};

use crate::support::{Seen, dependency, get, get_root, ms, secs, touchy};

#[test]
fn a_timeout_says_in_which_attempt_it_came_and_why_there_was_no_other() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).attempt_timeout(ms(10)).retry_attempts(1)
    });
    let error = sim.run(a.call(|call| get(call, "/")).timeout(Duration::ZERO)).unwrap_err();
    assert_eq!(error.to_string(), "the call timed out after 0ns before its first attempt");
    assert_eq!(error.why(), None);
    let error = sim.run(get_root(&a)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the call timed out after 10ms in attempt 1, timeout at a:80, in 10ms (this kind of error is not \
         retried)"
    );
    assert_eq!(error.why(), Some(Why::Class));
}

#[test]
fn a_refusal_says_whether_it_was_full_or_paused_until_when_and_what_went_before() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|request| match request.url.path() {
        "/busy" => Answer::status(429).header("retry-after", "1"),
        _ => Answer::status(500),
    });
    sim.server("http://b:80").hangs(..);
    let any = dependency(&sim, |builder| builder.max_open_per_netloc(1).retry_attempts(0));
    sim.run(async {
        any.call(|call| get(call, "http://a/busy")).await.unwrap_err();
        let error = any.call(|call| get(call, "http://a/")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("a:80 asked for a pause, again in 1."), "{text}");
        assert!(text.ends_with("s, the last attempt rejected at test, in 0ns"), "{text}");
        assert!(matches!(error, Error::RateLimited { reason: Reason::Paused, .. }));
        assert_eq!(error.trail().unwrap().class, Class::Rejected);

        let mut hangs = Box::pin(any.call(|call| get(call, "http://b/")));
        assert!(futures_util::FutureExt::now_or_never(hangs.as_mut()).is_none());
        let error = any.call(|call| get(call, "http://b/")).await.unwrap_err();
        assert!(error.to_string().starts_with("b:80 has no free place, the last"), "{error}");
        assert!(matches!(error, Error::RateLimited { reason: Reason::Full, .. }));

        let report = any.call(|call| get(call, "http://a/")).report().await;
        let text = report.to_string();
        assert!(text.contains("refused: a:80 asked for a pause, again in 1."), "{text}");
    });
}

#[test]
fn a_report_has_the_waits_that_led_nowhere_and_those_within_an_attempt() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(30));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(9)
    });
    let any = dependency(&sim, |builder| builder.max_open_per_netloc(1).queue(9));
    sim.run(async {
        for _ in 0..2 {
            let a = a.clone();
            sim.spawn(async move { get_root(&a).await });
        }
        sim.sleep(ms(1)).await;
        let report = a.call(|call| get(call, "/")).timeout(ms(20)).report().await;
        let text = report.to_string();
        assert!(text.contains("\n  15ms: waited 15ms in the queue\n  15ms: refused"), "{text}");

        let world = any.clone();
        sim.spawn(async move { world.call(|call| get(call, "http://a/")).await });
        sim.sleep(ms(1)).await;
        let text = any.call(|call| get(call, "http://a/")).report().await.to_string();
        assert!(text.contains("\n  29ms: waited 29ms in the queue for a:80\n"), "{text}");
    });
}

#[test]
fn a_report_has_so_many_decisions_and_says_how_many_more_there_were() {
    let sim = Sim::new(1);
    let any = dependency(&sim, |builder| {
        let builder = builder.retry_attempts(2_000).budget(dace::Budget::new().banked(3_000));
        builder.circuit_reset_timeout(Duration::ZERO)
    });
    let fail = || ready(Err::<(), _>(std::io::Error::other("no")));
    let report = sim.run(any.call(|_| fail()).report());
    assert_eq!(report.decisions.len(), 1_024 + 1);
    // Two of each attempt, a retry after each but the last, and three of the call and its end.
    assert_eq!(report.omitted, 2 * 2_001 + 2_000 + 3 - 1_025);
    assert_eq!(report.why(), Some(Why::NoAttempts));
    let text = report.to_string();
    assert!(text.contains(&format!("\n  … {} more\n", report.omitted)), "{text}");
}

#[derive(Debug, thiserror::Error)]
#[error("outer")]
struct Outer(#[source] std::io::Error);

#[test]
fn a_classified_error_is_told_with_its_sources_if_that_is_asked_for() {
    let sim = Sim::new(1);
    let any = dependency(&sim, |builder| builder);
    let fail = || ready(Err::<(), _>(Outer(std::io::Error::other("the cause"))));
    let call = any.call(|_| fail()).classify(|_| Class::Failure);
    assert_eq!(sim.run(call.report()).attempts[0].error.as_deref(), Some("outer"));
    let call = any.call(|_| fail()).classify(|_| Class::Failure).sources();
    let report = sim.run(call.report());
    assert_eq!(report.attempts[0].error.as_deref(), Some("outer: the cause"));
    assert_eq!(report.attempts[0].class, Class::Failure, "as the closure said");
}

#[test]
fn an_error_knows_where_it_failed_though_that_server_was_forgotten_since() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    sim.server("http://b:80");
    let any = dependency(&sim, |builder| {
        builder.max_netlocs(1).backoff(Backoff::new().base(secs(1))).hint_max(secs(1))
    });
    let world = any.clone();
    let error = sim.run(async {
        let polling = sim.spawn(async move {
            let call = world.call(|call| async move {
                get(call.clone(), "http://a/").await?;
                call.retry(std::io::Error::other("not ready yet").into())
            });
            call.await.map(|_: ()| ())
        });
        while any.snapshot().totals.retries == 0 {
            sim.sleep(ms(1)).await;
        }
        any.call(|call| get(call, "http://b/")).await.unwrap();
        assert!(any.circuit("a:80").is_none(), "it was forgotten");
        any.circuit("test").unwrap().force_open();
        polling.await.unwrap_err()
    });
    let error: Error<Polling> = error;
    assert_eq!(error.netloc().unwrap().as_str(), "a:80");
}

/// Whatever went wrong.
#[derive(Debug, thiserror::Error)]
enum Polling {
    #[error("http")]
    Http(#[from] HttpError),
    #[error("not ready")]
    NotReady(#[from] std::io::Error),
}

impl dace::Classify for Polling {}

#[test]
fn an_attempt_ends_before_what_comes_of_it_and_a_pause_is_told_if_it_is_longer_than_the_last() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(5)).handler(|request| {
        let wait = request.url.path().trim_start_matches('/').to_owned();
        Answer::status(429).header("retry-after", &wait)
    });
    let seen = Seen::default();
    let any = dependency(&sim, |builder| builder.retry_attempts(0).observer(seen.clone()));
    sim.run(async {
        let calls = ["/10", "/5", "/20"].map(|path| {
            let url = format!("http://a{path}");
            any.call(move |call| {
                let url = url.clone();
                async move { get(call, &url).await }
            })
        });
        futures_util::future::join_all(calls).await;
    });
    let pauses = seen.events().iter().filter(|e| matches!(e.what, What::Paused { .. })).count();
    assert_eq!(pauses, 2);

    sim.server("http://b:80").answers(.., 500);
    let seen = Seen::default();
    let b = dependency(&sim, |builder| {
        let builder = builder.targets(["http://b:80"]).retry_attempts(0).observer(seen.clone());
        builder.breaker(touchy())
    });
    sim.run(get_root(&b)).unwrap_err();
    let place = |is: fn(&What) -> bool| seen.events().iter().position(|e| is(&e.what)).unwrap();
    let ended = place(|what| matches!(what, What::AttemptEnded { .. }));
    assert!(ended < place(|what| matches!(what, What::CircuitChanged { .. })));
}
