//! What servers say beside `Retry-After`: pauses that every call respects, and "do not try again".

use std::time::Duration;

use dace::sim::{Answer, Sim, SimBackend, SimRuntime};
use dace::{Breaker, CircuitState, DependencyBuilder, Error, Hints, HttpError, Reason, Why};

type Dependency = dace::Dependency<SimRuntime, SimBackend>;
type Builder = DependencyBuilder<SimRuntime, SimBackend>;
type Call = dace::Call<SimRuntime, SimBackend>;

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn dependency(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    let builder = Dependency::builder("test").targets(["http://a:80"]).timeout(secs(60));
    set(builder).build_with(sim.runtime(), sim.backend()).unwrap()
}

async fn get(call: Call) -> Result<String, HttpError> {
    call.http().get("/").send().await?.error_for_status()?.text().await
}

#[test]
fn a_reset_is_the_pause_of_a_throttle_if_it_is_asked_for() {
    for (status, hints, pauses) in [
        (429, Hints::new().rate_limit_reset(true), true),
        (403, Hints::new().rate_limit_reset(true), true),
        (429, Hints::new(), false),
        (403, Hints::new(), false),
    ] {
        let sim = Sim::new(1);
        sim.server("http://a:80").handler(move |_| {
            let answer = Answer::status(status).header("x-ratelimit-remaining", "0");
            answer.header("X-RateLimit-Reset", "20")
        });
        let a = dependency(&sim, |builder| builder.hints(hints).retry_attempts(0));
        let error = sim.run(a.call(get)).unwrap_err();
        assert_eq!(error.retry_after(), pauses.then(|| secs(20)), "{status}");
        let next = sim.run(a.call(get)).unwrap_err();
        match next {
            // Every call respects it, for at least so long.
            Error::RateLimited { retry_after: Some(left), .. } if pauses => {
                assert!(left >= secs(20) && left <= secs(25), "{left:?}");
                assert_eq!(a.snapshot().totals.rate_limited, 1);
            }
            Error::Operation { .. } => assert!(!pauses, "{status}"),
            other => panic!("{status}: {other}"),
        }
    }
}

#[test]
fn a_retry_waits_for_the_reset_and_then_succeeds() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let spent = std::sync::atomic::AtomicBool::new(false);
    server.handler(move |_| match spent.swap(true, std::sync::atomic::Ordering::Relaxed) {
        false => Answer::status(429).header("ratelimit", "\"default\";r=0;t=3"),
        true => Answer::ok("ok"),
    });
    let hints = Hints::new().rate_limit_reset(true);
    let a = dependency(&sim, |builder| builder.hints(hints));
    assert_eq!(sim.run(a.call(get)).unwrap(), "ok");
    assert!(sim.elapsed() >= secs(3) && sim.elapsed() <= secs(4), "{:?}", sim.elapsed());
}

/// What a function that speaks gRPC makes of an answer.
async fn unary(call: Call) -> Result<String, HttpError> {
    let mut answer = call.http().post("/").idempotent(true).send().await?;
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await? {
        body.extend_from_slice(&piece);
    }
    let of_trailers = answer.trailers().iter().find(|field| field.name() == "grpc-status");
    let status = of_trailers.map(|field| field.value().to_vec());
    match status.or_else(|| answer.header("grpc-status").map(<[u8]>::to_vec)).as_deref() {
        Some(b"0") => Ok(String::from_utf8_lossy(&body).into_owned()),
        _ => call.http().get("http://nobody:1/").send().await?.text().await,
    }
}

#[test]
fn a_pushback_is_the_wait_or_forbids_the_retry_in_headers_and_in_trailers() {
    let pushed = |trailers: bool, value: &'static str, hints: Hints| {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.handler(move |_| {
            if trailers {
                let answer = Answer::ok("half").trailer("grpc-status", "14");
                answer.trailer("grpc-retry-pushback-ms", value)
            } else {
                let answer = Answer::status(200).header("grpc-status", "14");
                answer.header("grpc-retry-pushback-ms", value)
            }
        });
        let a = dependency(&sim, |builder| builder.hints(hints).retry_attempts(1));
        let error = sim.run(a.call(unary)).unwrap_err();
        (server.requests(), error.why().unwrap(), error.retry_after(), sim.elapsed())
    };
    let off = || Hints::new().grpc_pushback(false);
    for trailers in [false, true] {
        let hints = Hints::new;
        let (requests, why, retry_after, elapsed) = pushed(trailers, "2000", hints());
        assert_eq!((requests, why, retry_after), (2, Why::NoAttempts, Some(secs(2))));
        assert!(elapsed >= secs(2) && elapsed < secs(3), "{elapsed:?}");
        for value in ["-1", "later"] {
            let (requests, why, ..) = pushed(trailers, value, hints());
            assert_eq!((requests, why), (1, Why::Server), "{trailers} {value}");
        }
        let (requests, why, retry_after, elapsed) = pushed(trailers, "2000", off());
        assert_eq!((requests, why, retry_after), (2, Why::NoAttempts, None), "not wanted");
        assert!(elapsed < secs(1));
        let (requests, why, ..) = pushed(trailers, "-1", off());
        assert_eq!((requests, why), (2, Why::NoAttempts), "not wanted");
        // Longer than the longest pause: the call does not wait.
        let (requests, why, ..) = pushed(trailers, "99999999999999999", hints());
        assert_eq!((requests, why), (1, Why::Hint));
    }
}

#[test]
fn an_answer_that_says_do_not_try_again_ends_the_call_and_the_circuit_hears_the_same() {
    for asked in [true, false] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.handler(|_| Answer::status(503).header("X-Should-Retry", "False"));
        let a = dependency(&sim, |builder| {
            let hints = Hints::new().no_retry("x-should-retry", "false");
            let builder = builder.hints(if asked { hints } else { Hints::new() });
            builder.breaker(Breaker::new().consecutive_failures(4))
        });
        let report = sim.run(a.call(get).report());
        let (requests, why) = if asked { (1, Why::Server) } else { (4, Why::NoAttempts) };
        assert_eq!((server.requests(), report.why()), (requests, Some(why)));
        assert_eq!(report.to_string().contains("not retried: the server said not to"), asked);
        while server.requests() < 4 {
            sim.run(a.call(get)).unwrap_err();
        }
        assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::Open);
        assert_eq!(a.snapshot().totals.suppressed.of(Why::Server), if asked { 4 } else { 0 });
        let refused = sim.run(a.call(get).report());
        let of_circuit = |event: &dace::Event| match &event.what {
            dace::What::Refused { refusal } => refusal.reason() == Reason::CircuitOpen,
            _ => false,
        };
        assert!(refused.decisions.iter().any(of_circuit));
    }
}

#[test]
fn a_function_that_asks_for_another_attempt_gets_it_whatever_the_server_says() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|_| Answer::status(202).header("x-should-retry", "false"));
    let hints = Hints::new().no_retry("x-should-retry", "false");
    let a = dependency(&sim, |builder| builder.hints(hints));
    let poll = |call: Call| async move {
        call.http().get("/").send().await?;
        call.retry(call.http().get("http://nobody:1/").send().await.unwrap_err())
    };
    let error: Error<HttpError> = sim.run(a.call(poll)).map(|_: String| ()).unwrap_err();
    assert_eq!((server.requests(), error.why()), (4, Some(Why::NoAttempts)));
}

#[test]
fn a_hint_that_no_answer_could_have_is_refused() {
    for (name, value) in [("", "false"), ("a b", "false"), ("x", ""), ("x", "a\nb")] {
        let sim = Sim::new(1);
        let hints = Hints::new().no_retry(name, value);
        let error = Dependency::builder("test")
            .hints(hints)
            .build_with(sim.runtime(), sim.backend())
            .unwrap_err();
        assert_eq!(error.setting(), "hints.no_retry", "{name:?} {value:?}");
    }
}
