//! Retries: never what must not happen twice, never too many, never too late.

use std::future::ready;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dace::http::{Body, Sent};
use dace::sim::{Answer, Sim};
use dace::{Backoff, Budget, Error, HttpError, What, Why};
use futures_util::future::{join, join_all, select};
use futures_util::stream;

use crate::support::{Call, Seen, assert_all_back, dependency, get, get_root, ms, secs, touchy};

async fn post(call: Call) -> Result<(), HttpError> {
    call.http().post("/").body("pay 7").send().await?.error_for_status().map(drop)
}

#[test]
fn d1_what_must_not_happen_twice_is_sent_once() {
    for trouble in ["answers 503", "reads it and closes", "hangs", "closed while it was idle"] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        match trouble {
            "answers 503" => server.answers(.., 503),
            "hangs" => server.hangs(..),
            "reads it and closes" => server.resets(..),
            _ => server.stale(Sent::MaybeSent),
        };
        let a = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]).attempt_timeout(ms(100));
            builder.retry_on_timeout(true).retry_attempts(5)
        });
        let error = sim.run(a.call(post)).unwrap_err();
        assert_eq!(error.why(), Some(Why::NotReplaySafe), "{trouble}: {error}");
        // On the stale connection it may have arrived: the script does not say.
        assert_eq!(server.requests(), usize::from(!trouble.contains("idle")), "{trouble}");
        assert_eq!(a.snapshot().totals.retries, 0, "{trouble}");
    }
}

#[test]
fn d2_what_was_not_sent_at_all_is_tried_again_whatever_it_is() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).backoff(Backoff::new().base(ms(100)).cap(ms(100)))
    });
    sim.run(async {
        server.stale(Sent::Unsent);
        a.call(post).await.unwrap();
        assert_eq!(server.requests(), 1);
        // Down for less than three waits.
        server.down(sim.elapsed()..sim.elapsed() + Duration::from_nanos(1));
        a.call(post).await.unwrap();
        assert_eq!(server.requests(), 2);
    });
}

#[test]
fn d3_a_body_is_sent_again_whole_or_not_at_all() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    let pieces = || stream::iter([Ok(Bytes::from("half ")), Ok(Bytes::from("half"))]);
    let send = |body: Body| {
        let body = std::cell::RefCell::new(Some(body));
        a.call(move |call: Call| {
            let body = body.borrow_mut().take().unwrap_or_default();
            async move {
                let put = call.http().put("/").body(body).idempotent(true);
                put.send().await?.error_for_status().map(drop)
            }
        })
    };
    server.answers(.., 503);
    // A stream can be read once: the first error is the call's, and says why there is no second try.
    let error = sim.run(send(Body::stream(pieces(), Some(9)))).unwrap_err();
    assert_eq!((error.why(), server.requests()), (Some(Why::NotReplaySafe), 1));
    assert_eq!(error.into_source().unwrap().status(), Some(503));
    // Bytes can be sent again, and are the same ones.
    let call = a.call(|call| async move {
        call.http().put("/").body("the whole").send().await?.error_for_status().map(drop)
    });
    sim.run(call).unwrap_err();
    let bodies: Vec<_> = server.arrivals()[1..].iter().map(|a| a.body.clone().unwrap()).collect();
    assert_eq!(bodies, ["the whole"; 4]);
}

#[test]
fn d5_no_piece_of_a_body_is_lost_where_the_next_one_is_waited_for() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| {
        Answer::ok("one ").piece(ms(5), "two ").piece(Duration::ZERO, "three ").piece(ms(5), "four")
    });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    assert_eq!(sim.run(get_root(&a)).unwrap(), "one two three four");
}

#[test]
fn d6_a_request_goes_out_once_more_at_the_most_and_that_is_counted() {
    let (sim, seen) = (Sim::new(1), Seen::default());
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).retry_attempts(0).observer(seen.clone())
    });
    // Of five idle connections that were closed, two are found out: the second one is an error.
    for _ in 0..5 {
        server.stale(Sent::Unsent);
    }
    sim.run(get_root(&a)).unwrap_err();
    assert_eq!((server.requests(), a.snapshot().totals.resent), (0, 1));
    let error = sim.run(get_root(&a)).unwrap_err().into_source().unwrap();
    assert_eq!((error.sent(), a.snapshot().totals.resent), (Sent::Unsent, 2));
    // The fifth one costs nothing but that.
    let report = sim.run(a.call(|call| get(call, "/")).report());
    assert!(report.result.is_ok() && report.attempts.len() == 1, "{report}");
    assert!(report.to_string().contains("sent once more to a:80"), "{report}");
    let totals = a.snapshot().totals;
    assert_eq!((server.requests(), totals.resent, totals.retries, totals.attempts), (1, 3, 0, 3));
    // A new connection that is closed has no such excuse.
    server.resets(..);
    sim.run(get_root(&a)).unwrap_err();
    assert_eq!((server.requests(), a.snapshot().totals.resent), (2, 3));
    let resent = |event: &&dace::Event| matches!(event.what, What::Resent { .. });
    assert_eq!(seen.events().iter().filter(resent).count(), 3);
}

#[test]
fn d7_no_form_of_retry_after_makes_a_call_wait_too_long_or_hammer() {
    // What it says, and how long the call took at least and at most: its timeout is 10 s.
    let usual = (ms(1), ms(100));
    let cases = [
        ("2", (secs(2), ms(2_500))),
        ("0", usual),
        ("-3", usual),
        ("soon", usual),
        ("1e3", usual),
        ("Sun, 06 Nov 1994 08:49:37 GMT", usual),
        ("Sun, 06 Nov 1994 09:49:39 GMT", (secs(2), ms(2_500))),
        // Nobody waits for these: the error says when.
        ("99999999999999999999", (ms(0), ms(0))),
        ("3600", (ms(0), ms(0))),
        ("Sat, 06 Nov 2094 08:49:37 GMT", (ms(0), ms(0))),
    ];
    for (said, (least, most)) in cases {
        let sim = Sim::new(1);
        sim.server("http://a:80").handler(move |_| {
            let answer = Answer::status(503).header("date", "Sun, 06 Nov 1994 09:49:37 GMT");
            answer.header("retry-after", said)
        });
        let a = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]).timeout(secs(10)).retry_attempts(1);
            builder.backoff(Backoff::new().base(ms(100)).cap(ms(100)))
        });
        let error = sim.run(get_root(&a)).unwrap_err();
        let took = sim.elapsed();
        assert!(took >= least && took <= most, "{said}: {took:?}");
        if most.is_zero() {
            assert!(error.why() == Some(Why::Hint) && error.retry_after() > Some(secs(10)));
        }
    }
}

#[test]
fn d8_the_budget_is_used_and_refilled() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| {
        let builder = builder.budget(Budget::new().banked(10).deposit(0.5)).retry_attempts(1);
        builder.circuit_reset_timeout(Duration::ZERO)
    });
    let retries = |calls| {
        let before = a.snapshot().totals.retries;
        for _ in 0..calls {
            sim.run(a.call(|_| ready(Err::<(), _>(std::io::Error::other("no"))))).unwrap_err();
        }
        a.snapshot().totals.retries - before
    };
    assert_eq!((retries(100), retries(100)), (10, 0));
    for _ in 0..8 {
        sim.run(a.call(|_| ready(Ok::<_, HttpError>(())))).unwrap();
    }
    assert_eq!((retries(100), retries(100)), (4, 0));
}

#[test]
fn d9_no_schedule_of_attempts_and_waits_reaches_beyond_the_deadline() {
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..300 {
        let sim = Sim::new(rng.u64(..));
        let (timeout, base) = (ms(rng.u64(1..2_000)), ms(rng.u64(0..500)));
        let server = sim.server("http://a:80");
        server.latency(ms(rng.u64(0..300))).jitter(ms(rng.u64(0..300))).failing(0.9, 503);
        let a = dependency(&sim, |builder| {
            let backoff = Backoff::new().base(base).cap(base * rng.u32(1..9));
            let builder = builder.targets(["http://a:80"]).backoff(backoff).timeout(timeout);
            builder.retry_attempts(rng.u32(0..9)).budget(Budget::new().unlimited())
        });
        let report = sim.run(a.call(|call| get(call, "/")).report());
        assert!(sim.elapsed() <= timeout, "{:?} of {timeout:?}", sim.elapsed());
        // Nobody waits for a deadline when there is an answer: only what was cut off times out.
        let last = report.attempts.last().expect("there is time for one");
        let timed_out = matches!(report.result, Err(Error::Timeout { .. }));
        assert_eq!(last.started + last.took, sim.elapsed(), "{report}");
        assert_eq!(timed_out, sim.elapsed() == timeout, "{report}");
    }
}

#[test]
fn d10_a_retry_is_paid_for_when_it_is_decided_and_not_when_it_is_sent() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).budget(Budget::new().banked(3));
        let builder = builder.backoff(Backoff::new().base(secs(10)).cap(secs(10)));
        let builder = builder.circuit_reset_timeout(Duration::ZERO).no_timeout();
        builder.max_open_per_netloc(100).retry_attempts(1)
    });
    sim.run(async {
        let calls = Box::pin(join_all((0..20).map(|_| get_root(&a))));
        let wait = Box::pin(sim.sleep(Duration::from_nanos(1)));
        // Three wait for their retries, though none was sent; one that is dropped pays back.
        let under_way = select(calls, wait).await;
        assert_eq!((server.requests(), a.snapshot().budget_thousandths), (20, 0));
        assert_eq!(a.snapshot().totals.suppressed.of(Why::Budget), 17);
        drop(under_way);
        assert_eq!(a.snapshot().budget_thousandths, 3_000);
    });
    assert_all_back(&a);
}

#[test]
fn d11_an_empty_budget_makes_no_retry_and_ends_no_attempt() {
    let sim = Sim::new(1);
    let firsts = AtomicU32::new(0);
    sim.server("http://a:80").handler(move |request| match request.url.path() {
        "/paid" if firsts.fetch_add(1, Ordering::Relaxed) > 0 => {
            Answer::ok("late").latency(secs(1))
        }
        _ => Answer::status(503),
    });
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).budget(Budget::new().banked(1));
        builder.circuit_reset_timeout(Duration::ZERO)
    });
    sim.run(async {
        let others = async {
            sim.sleep(ms(1)).await;
            for _ in 0..10 {
                assert_eq!(get_root(&a).await.unwrap_err().why(), Some(Why::Budget));
            }
        };
        let (paid, ()) = join(a.call(|call| get(call, "/paid")), others).await;
        assert_eq!(paid.unwrap(), "late", "its retry was under way");
    });
}

#[test]
fn d12_layers_that_all_retry_do_not_multiply_the_load() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let layer = || dependency(&sim, |builder| builder.circuit_reset_timeout(Duration::ZERO));
    let (top, middle, bottom) = (layer(), layer(), layer());
    sim.run(async {
        for _ in 0..2_000 {
            let leaf = |call| get(call, "http://a/");
            top.call(|_| middle.call(|_| bottom.call(leaf))).await.unwrap_err();
        }
    });
    assert!(server.requests() <= 2_000 + 3 * 50 * 4, "{} for 2,000 calls", server.requests());
}

#[test]
fn d13_retries_do_not_keep_an_overload_alive() {
    // A server that does 100 requests a second, 80 calls a second with 1 s of patience, and two seconds
    // in which it does a quarter, so that they pile up.
    let recovered = |funded: bool| {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.latency(ms(10)).capacity(1);
        let a = dependency(&sim, |builder| {
            let budget = if funded { Budget::new() } else { Budget::new().unlimited() };
            let builder = builder.targets(["http://a:80"]).budget(budget).timeout(secs(1));
            let builder = builder.attempt_timeout(ms(300)).retry_on_timeout(true);
            let builder = builder.max_open_per_netloc(10_000).http_pool_size(10_000);
            builder.circuit_reset_timeout(Duration::ZERO)
        });
        sim.run(async {
            let mut late = Vec::new();
            for n in 0..80 * 90 {
                if n == 80 * 10 {
                    server.latency(ms(40));
                } else if n == 80 * 12 {
                    server.latency(ms(10));
                }
                let a = a.clone();
                let call = sim.spawn(async move { get_root(&a).await.is_ok() });
                if n >= 80 * 80 {
                    late.push(call);
                }
                sim.sleep(Duration::from_micros(12_500)).await;
            }
            let good = join_all(late).await.into_iter().filter(|good| *good).count();
            good as f64 / 800.0
        })
    };
    let (with, naive) = (recovered(true), recovered(false));
    assert!(with > 0.99, "a minute after the trigger is gone: {with}");
    assert!(naive < 0.5, "retries that nobody pays for keep it down: {naive}");
}

#[test]
fn d14_the_circuit_hears_every_attempt_and_the_retries_mind_what_it_did() {
    let (sim, seen) = (Sim::new(1), Seen::default());
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let a = dependency(&sim, |builder| {
        let breaker = touchy().consecutive_failures(3);
        let builder = builder.targets(["http://a:80"]).breaker(breaker).retry_attempts(9);
        builder.observer(seen.clone()).timeout(secs(5))
    });
    let error = sim.run(get_root(&a)).unwrap_err();
    // One call, three attempts, and the circuit is open: no fourth, and no wait for ten seconds.
    assert_eq!((server.requests(), a.snapshot().totals.opened), (3, 1), "{error}");
    let opened = |event: &&dace::Event| matches!(event.what, What::CircuitChanged { .. });
    assert_eq!(seen.events().iter().filter(opened).count(), 1);
    assert!(sim.elapsed() < secs(1), "{:?}", sim.elapsed());
    assert!(matches!(sim.run(get_root(&a)), Err(Error::CircuitOpen { .. })));
}
