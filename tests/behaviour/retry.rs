//! Whether a failed attempt is followed by another one, and when.

use std::future::ready;
use std::time::Duration;

use dace::http::{HttpErrorKind, Method};
use dace::{Backoff, Budget, Class, HttpError, What, Why};
use dace_sim::{Answer, Ending, Sim};

use crate::support::{
    Call, Count, Error, Seen, assert_all_back, dependency, get, get_root, ms, secs,
};

async fn post(call: Call) -> Result<String, HttpError> {
    call.http().post("/").body("x").send().await?.error_for_status()?.text().await
}

#[test]
fn a_transient_failure_is_retried_until_the_attempts_are_used_up() {
    for (retries, attempts) in [(3, 4), (1, 2)] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.answers(.., 503);
        let a =
            dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(retries));
        let error = sim.run(get_root(&a)).unwrap_err();
        let Error::RetriesExhausted { attempts: made, why, source, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!((made, why, source.status()), (attempts, Why::NoAttempts, Some(503)));
        assert_eq!(server.requests() as u32, attempts);
    }
}

#[test]
fn a_first_attempt_that_is_not_repeated_is_an_operation_error_that_says_why() {
    for (status, why) in [(404, Why::Class), (501, Why::Class), (500, Why::NoAttempts)] {
        let sim = Sim::new(1);
        sim.server("http://a:80").answers(.., status);
        let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
        let error = sim.run(get_root(&a)).unwrap_err();
        assert!(matches!(error, Error::Operation { .. }), "{error:?}");
        assert_eq!(error.why(), Some(why));
    }
}

#[test]
fn a_later_attempt_that_succeeds_is_the_calls_value() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let count = Count::default();
    server.handler(move |_| if count.next() < 3 { Answer::status(502) } else { Answer::ok("ok") });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    assert_eq!(sim.run(get_root(&a)).unwrap(), "ok");
    assert_eq!(server.requests(), 3);
    assert_eq!(a.snapshot().budget_thousandths, 49_000, "one of two tokens is refunded");
}

/// D1: what must not happen twice is sent once.
#[test]
fn a_request_that_must_not_happen_twice_is_sent_once() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    for (what, trouble) in [("answers", 0), ("resets", 1)] {
        let before = server.requests();
        if trouble == 0 {
            server.answers(.., 503)
        } else {
            server.resets(..)
        };
        let error = sim.run(a.call(post)).unwrap_err();
        assert_eq!(error.why(), Some(Why::NotReplaySafe), "{what}");
        assert_eq!(server.requests() - before, 1, "{what}");
    }
}

#[test]
fn an_unsafe_request_is_repeated_if_its_user_answers_for_it() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(1));
    let marked = a.call(|call| async move {
        call.http().post("/").body("x").idempotent(true).send().await?.error_for_status()
    });
    sim.run(marked).unwrap_err();
    let keyed = a.call(|call| async move {
        call.http().post("/").header("Idempotency-Key", "7").send().await?.error_for_status()
    });
    sim.run(keyed).unwrap_err();
    assert_eq!(server.requests(), 4);
    let marked_unsafe = a.call(|call| async move {
        call.http().get("/").idempotent(false).send().await?.error_for_status()
    });
    sim.run(marked_unsafe).unwrap_err();
    assert_eq!(server.requests(), 5);
}

/// D3: a body that can be read once is sent once, and never half.
#[test]
fn a_body_that_can_be_sent_once_is_sent_once() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    let call = a.call(|call| async move {
        let pieces = futures_util::stream::iter([Ok(bytes::Bytes::from_static(b"x"))]);
        let body = dace::http::Body::stream(pieces, Some(1));
        call.http().put("/").body(body).idempotent(true).send().await?.error_for_status()
    });
    assert_eq!(sim.run(call).unwrap_err().why(), Some(Why::NotReplaySafe));
    assert_eq!(server.requests(), 1);
}

/// D2: what was not sent at all is retried, whatever it is.
#[test]
fn what_never_reached_a_server_is_always_retried() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.down(..);
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).idempotent(false).observer(seen.clone())
    });
    let error = sim.run(a.call(post)).unwrap_err();
    assert!(matches!(error, Error::RetriesExhausted { attempts: 4, .. }), "{error:?}");
    let classes: Vec<_> = seen
        .events()
        .into_iter()
        .filter_map(|event| match event.what {
            What::AttemptEnded { class, .. } => Some(class),
            _ => None,
        })
        .collect();
    assert_eq!(classes, [Class::Unsent; 4]);
}

#[test]
fn a_function_without_exchanges_is_repeated_unless_it_says_otherwise() {
    for (builder_says, call_says, runs) in
        [(true, None, 4), (false, None, 1), (true, Some(false), 1), (false, Some(true), 4)]
    {
        let sim = Sim::new(1);
        let a = dependency(&sim, |builder| builder.idempotent(builder_says));
        let count = Count::default();
        let counted = count.clone();
        let mut call = a.call(move |_| {
            counted.next();
            ready(Err::<(), _>(std::io::Error::other("no")))
        });
        if let Some(says) = call_says {
            call = call.idempotent(says);
        }
        sim.run(call).unwrap_err();
        assert_eq!(count.get(), runs);
    }
}

#[test]
fn a_retry_that_the_function_asks_for_leaves_the_circuit_alone() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).breaker(crate::support::touchy())
    });
    let call = a.call(|call| async move {
        call.http().post("/").send().await?.bytes().await?;
        call.retry(Box::<dyn std::error::Error>::from("not ready yet"))
    });
    let call = call.classify(|_: &Result<(), _>| Class::Failure);
    let error = sim.run(call).unwrap_err();
    assert!(
        matches!(error, dace::Error::RetryRequested { attempts: 4, why: Why::NoAttempts, .. }),
        "{error:?}"
    );
    assert_eq!(server.requests(), 4);
    let endpoint = &a.snapshot().endpoints[1];
    assert_eq!((endpoint.failures, endpoint.circuit), (0, dace::CircuitState::Closed));
}

#[test]
fn waits_grow_are_jittered_and_never_reach_beyond_the_cap() {
    let sim = Sim::new(7);
    sim.server("http://a:80").answers(.., 503);
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .circuit_reset_timeout(Duration::ZERO)
            .retry_attempts(12)
            .no_timeout()
            .backoff(Backoff::new().base(ms(25)).cap(ms(200)))
            .observer(seen.clone())
    });
    for _ in 0..3 {
        let _ = sim.run(get_root(&a));
    }
    let waits: Vec<Duration> = seen
        .events()
        .into_iter()
        .filter_map(|event| match event.what {
            What::RetryDecided { wait, .. } => Some(wait),
            _ => None,
        })
        .collect();
    assert_eq!(waits.len(), 36);
    for call in waits.chunks(12) {
        for (retry, wait) in call.iter().enumerate() {
            assert!(*wait <= (ms(25) * 2u32.pow(retry as u32)).min(ms(200)), "{retry}: {wait:?}");
        }
    }
    assert!(waits.iter().any(|wait| *wait > ms(100)), "{waits:?}");
    let distinct: std::collections::BTreeSet<_> = waits.iter().collect();
    assert!(distinct.len() > 30);
}

/// D9: no wait and no retry reaches beyond the deadline.
#[test]
fn no_retry_is_made_that_would_begin_within_five_milliseconds_of_the_deadline() {
    for (timeout, requests) in [(104, 1), (106, 2)] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.latency(ms(100)).answers(.., 503);
        let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).timeout(ms(timeout)));
        let error = sim.run(get_root(&a)).unwrap_err();
        assert_eq!(server.requests(), requests);
        if requests == 1 {
            assert_eq!(error.why(), Some(Why::Deadline), "the last real error, at once");
            assert_eq!(sim.elapsed(), ms(100));
        }
    }
}

/// D11: an empty budget makes no retry, and ends no attempt.
#[test]
fn an_empty_budget_makes_no_retries_and_kills_no_attempt() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .circuit_reset_timeout(Duration::ZERO)
            .budget(Budget::new().banked(5))
    });
    let errors: Vec<_> = (0..4).map(|_| sim.run(get_root(&a)).unwrap_err()).collect();
    let whys: Vec<_> = errors.iter().filter_map(Error::why).collect();
    assert_eq!(whys, [Why::NoAttempts, Why::Budget, Why::Budget, Why::Budget]);
    assert_eq!(server.requests(), 4 + 5);
}

/// D12: a total outage gets no more retries than were paid for.
#[test]
fn in_a_total_outage_retries_are_what_successes_paid_for_and_no_more() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).circuit_reset_timeout(Duration::ZERO)
    });
    for _ in 0..5000 {
        sim.run(get_root(&a)).unwrap_err();
    }
    assert_eq!(server.requests(), 5050, "1.01 requests a call");
}

#[test]
fn independent_failures_get_nearly_all_that_retries_can_give() {
    let sim = Sim::new(3);
    let server = sim.server("http://a:80");
    server.failing(0.2, 503);
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).circuit_reset_timeout(Duration::ZERO)
    });
    let good = (0..20_000).filter(|_| sim.run(get_root(&a)).is_ok()).count();
    assert!(good >= 19_940, "{good} of 20,000 at a failure rate of 0.2");
    assert!(server.requests() < 25_400);
}

/// D10: a retry is paid for when it is decided, not when it is sent.
#[test]
fn a_token_is_refunded_if_its_retry_is_cancelled_before_it_is_sent() {
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(.., 503);
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).backoff(Backoff::new().base(secs(1)).cap(secs(1)))
    });
    sim.run(async {
        let call = Box::pin(get_root(&a));
        let wait = Box::pin(sim.sleep(Duration::from_nanos(1)));
        let dropped = futures_util::future::select(call, wait).await;
        assert_eq!(a.snapshot().budget_thousandths, 49_000);
        drop(dropped);
    });
    assert_eq!(a.snapshot().budget_thousandths, 50_000);
    assert_all_back(&a);
}

#[test]
fn a_server_that_asks_for_a_pause_gets_it_from_every_call() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|_| Answer::status(429).header("Retry-After", "2"));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).timeout(secs(20)).retry_attempts(1)
    });
    sim.run(async {
        let first = sim.spawn({
            let a = a.clone();
            async move { get_root(&a).await }
        });
        sim.sleep(ms(1)).await;
        let error = get_root(&a).await.unwrap_err();
        let Error::RateLimited { retry_after: Some(after), .. } = error else {
            panic!("{error:?}")
        };
        assert!(after > ms(1900) && after <= ms(2500), "{after:?}");
        first.await.unwrap_err();
    });
    let waited = server.arrivals()[1].at;
    assert!(waited >= secs(2) && waited <= ms(2500), "2 s and up to a quarter more: {waited:?}");
}

#[test]
fn a_pause_at_one_endpoint_sends_the_retry_to_another_after_the_ordinary_wait() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.handler(|_| Answer::status(503).header("retry-after", "10"));
    let both = dependency(&sim, |builder| builder.targets(["http://a:80", "http://b:80"]));
    for _ in 0..20 {
        assert_eq!(sim.run(get_root(&both)).unwrap(), "ok");
    }
    assert_eq!((a.requests(), b.requests()), (1, 20));
    assert_eq!(sim.elapsed(), Duration::ZERO);
}

/// D7: every form of `Retry-After` is read or ignored, and none makes a call wait too long.
#[test]
fn a_hint_beyond_the_deadline_ends_the_call_at_once_and_is_passed_on() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::status(429).header("retry-after", "25"));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).timeout(secs(5)));
    let error = sim.run(get_root(&a)).unwrap_err();
    assert_eq!((error.why(), error.retry_after()), (Some(Why::Hint), Some(secs(25))));
    assert_eq!(sim.elapsed(), Duration::ZERO);
}

/// D7: every form of `Retry-After` is read or ignored, and none makes a call wait too long.
#[test]
fn a_hint_above_hint_max_pauses_for_hint_max_and_the_call_does_not_wait() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::status(429).header("retry-after", "3600"));
    let a =
        dependency(&sim, |builder| builder.targets(["http://a:80"]).no_timeout().hint_max(secs(4)));
    let error = sim.run(get_root(&a)).unwrap_err();
    assert_eq!((error.why(), error.retry_after()), (Some(Why::Hint), Some(secs(3600))));
    let paused = a.snapshot().endpoints[1].paused_for.unwrap();
    assert!(paused >= secs(4) && paused <= secs(5), "{paused:?}");
}

#[test]
fn a_hint_of_zero_is_no_hint_to_hammer_and_a_malformed_one_is_none() {
    for hint in ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "-3", "soon"] {
        let sim = Sim::new(1);
        sim.server("http://a:80").handler(move |_| {
            Answer::status(503)
                .header("retry-after", hint)
                .header("date", "Sun, 06 Nov 1994 09:49:37 GMT")
        });
        let a = dependency(&sim, |builder| {
            builder
                .targets(["http://a:80"])
                .retry_attempts(1)
                .backoff(Backoff::new().base(ms(100)).cap(ms(100)))
        });
        sim.run(get_root(&a)).unwrap_err();
        assert!(sim.elapsed() > ms(1), "{hint}: the ordinary wait");
        assert_eq!(a.snapshot().endpoints[1].paused_for, None, "{hint}");
    }
}

#[test]
fn a_body_that_breaks_off_is_a_failure_of_the_attempt_and_retried() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let count = Count::default();
    server.handler(move |_| {
        if count.next() == 1 {
            Answer::ok("half").ending(Ending::Truncated)
        } else {
            Answer::ok("whole")
        }
    });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    assert_eq!(sim.run(get_root(&a)).unwrap(), "whole");
    assert_eq!(a.snapshot().endpoints[1].failures, 1);
}

#[test]
fn a_stalled_body_and_a_requests_own_timeout_are_timeouts() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|_| Answer::ok("half").ending(Ending::Stalled));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).no_timeout().stall_timeout(secs(2))
    });
    let error = sim.run(get_root(&a)).unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Stalled(secs(2)));
    assert_eq!(sim.elapsed(), secs(2));
    let short = a.call(|call| async move {
        call.http().request(Method::GET, "/").timeout(secs(1)).send().await?.text().await
    });
    let error = sim.run(short).unwrap_err();
    assert_eq!(error.why(), Some(Why::Class), "`retry_on_timeout` is off");
    assert_eq!(error.into_source().unwrap().kind(), &HttpErrorKind::Timeout(secs(1)));
    assert_eq!((sim.elapsed(), server.requests()), (secs(3), 2));
}

#[test]
fn a_reader_who_dawdles_between_pieces_is_no_stall() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::ok("one").piece(Duration::ZERO, "two"));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).no_timeout().stall_timeout(secs(2))
    });
    let world = sim.clone();
    let call = a.call(|call| {
        let sim = world.clone();
        async move {
            let mut response = call.http().get("/").send().await?;
            let mut length = 0;
            while let Some(piece) = response.chunk().await? {
                length += piece.len();
                sim.sleep(secs(20)).await;
            }
            Ok::<_, HttpError>(length)
        }
    });
    assert_eq!(sim.run(call).unwrap(), 6);
}

#[test]
fn a_retry_goes_to_an_endpoint_that_the_call_has_not_tried() {
    let sim = Sim::new(5);
    let servers: Vec<_> =
        ["http://a:80", "http://b:80", "http://c:80"].map(|target| sim.server(target)).into();
    for server in &servers {
        server.answers(.., 503);
    }
    let all = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80", "http://b:80", "http://c:80"])
            .retry_attempts(2)
            .circuit_reset_timeout(Duration::ZERO)
    });
    for round in 1..=10 {
        sim.run(all.call(|call| get(call, "/"))).unwrap_err();
        for server in &servers {
            assert_eq!(server.requests(), round);
        }
    }
}
