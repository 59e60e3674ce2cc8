//! Requests and answers, retried or not.

use dace::http::{FaultKind, HttpErrorKind};
use dace::{Adapter, Class, HttpError, RoundRobin, What, Why};
use dace_wire::{Refusing, Server, Step, keep_alive, ok, send};

use crate::support::{Seen, arrived, assert_all_back, dependency, get, get_root, on, secs};

on_every_adapter! {
    a_get_has_status_headers_and_body_and_the_next_reuses_its_connection
    a_503_is_retried
    a_refusing_target_costs_no_call_and_gets_five_attempts
    a_balancer_leaves_a_refusing_target_alone
    five_failures_open_the_circuit_and_the_sixth_call_does_not_arrive
    a_truncated_body_is_retried
    a_truncated_body_is_never_a_body
    an_absolute_url_is_charged_to_its_netloc
    contradicting_lengths_are_malformed
    given_addresses_reach_the_backend
    a_head_limit_binds_or_is_refused
}

fn status(code: u16) -> Step {
    send(format!("HTTP/1.1 {code} Some Reason\r\ncontent-length: 0\r\n\r\n"))
}

async fn a_get_has_status_headers_and_body_and_the_next_reuses_its_connection<A: Adapter>() {
    let answer = "HTTP/1.1 201 Created\r\nX-Trace: 7\r\ncontent-length: 5\r\n\r\nhello";
    let server = Server::start([vec![
        Step::ReadRequest,
        send(answer),
        Step::ReadRequest,
        ok("again"),
        Step::AwaitClose,
    ]]);
    let one = on::<A>(&server, |builder| builder);
    let text = one
        .call(|call| async move {
            let response = call.http().get("/path?x=y").header("x-own", "mine").send().await?;
            assert_eq!((response.status(), response.url().path()), (201, "/path"));
            assert_eq!(response.header("x-trace"), Some(&b"7"[..]));
            response.text().await
        })
        .await
        .unwrap();
    assert_eq!(text, "hello");
    assert_eq!(get_root(&one).await.unwrap(), "again");
    assert_eq!(server.connections(), 1);
    let arrivals = server.arrivals();
    assert_eq!(arrivals[0].line(), "GET /path?x=y HTTP/1.1");
    assert_eq!(arrivals[0].header("host"), [server.address().to_string()]);
    assert_eq!(arrivals[0].header("x-own"), ["mine"]);
    assert_all_back(&one);
}

async fn a_503_is_retried<A: Adapter>() {
    let server = Server::start([vec![
        Step::ReadRequest,
        status(503),
        Step::ReadRequest,
        ok("second"),
        Step::AwaitClose,
    ]]);
    let one = on::<A>(&server, |builder| builder);
    assert_eq!(get_root(&one).await.unwrap(), "second");
    assert_eq!(server.arrivals().len(), 2);
    assert_eq!(one.snapshot().totals.retries, 1);
    assert_all_back(&one);
}

/// D14: the circuit hears every attempt, and retries mind the circuit that they opened.
async fn a_refusing_target_costs_no_call_and_gets_five_attempts<A: Adapter>() {
    let refusing = Refusing::new();
    let server = Server::start([keep_alive(&["good"; 40])]);
    let targets = [refusing.url(), server.url("/")].map(|url| url.trim_end_matches('/').to_owned());
    let seen = Seen::default();
    let both = dependency::<A>(|builder| {
        builder.load_balancer(RoundRobin::new(targets)).observer(seen.clone())
    });
    for _ in 0..40 {
        assert_eq!(get_root(&both).await.unwrap(), "good");
    }
    let netloc = server.address().to_string();
    let elsewhere = seen.count(|event| {
        matches!(&event.what, What::AttemptStarted { netloc: to, .. } if to.as_str() != netloc)
    });
    assert_eq!(elsewhere, 5, "then its circuit is open");
    let totals = both.snapshot().totals;
    assert_eq!((totals.retries, totals.opened), (5, 1), "{totals:?}");
    assert_eq!(server.connections(), 1);
    assert_all_back(&both);
}

async fn a_balancer_leaves_a_refusing_target_alone<A: Adapter>() {
    let refusing = Refusing::new();
    let server = Server::start([keep_alive(&["good"; 40])]);
    let targets = [refusing.url(), server.url("/")].map(|url| url.trim_end_matches('/').to_owned());
    let both = dependency::<A>(|builder| builder.targets(targets));
    for _ in 0..40 {
        assert_eq!(get_root(&both).await.unwrap(), "good");
    }
    let retries = both.snapshot().totals.retries;
    assert!(retries <= 2, "{retries} calls went to the one that refuses");
}

async fn five_failures_open_the_circuit_and_the_sixth_call_does_not_arrive<A: Adapter>() {
    let mut script: Vec<Step> = (0..5).flat_map(|_| [Step::ReadRequest, status(500)]).collect();
    script.push(Step::AwaitClose);
    let server = Server::start([script]);
    let one = on::<A>(&server, |builder| builder.retry_attempts(0));
    for _ in 0..5 {
        let error = get_root(&one).await.unwrap_err();
        assert_eq!(error.into_source().and_then(|error| error.status()), Some(500));
    }
    let error = get_root(&one).await.unwrap_err();
    assert!(matches!(error, dace::Error::CircuitOpen { .. }), "{error:?}");
    assert!(error.is_rejected());
    // 10 s, and at most a fifth more.
    let retry_after = error.retry_after().unwrap();
    assert!(retry_after > secs(5) && retry_after <= secs(12), "{retry_after:?}");
    assert_eq!(server.arrivals().len(), 5);
}

const SHORT: [&str; 3] = [
    "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello",
];

async fn a_truncated_body_is_retried<A: Adapter>() {
    for short in SHORT {
        let server = Server::start([vec![Step::ReadRequest, send(short)], keep_alive(&["whole"])]);
        let one = on::<A>(&server, |builder| builder);
        assert_eq!(get_root(&one).await.unwrap(), "whole");
        assert_eq!(server.arrivals().len(), 2);
        assert_eq!(one.snapshot().totals.retries, 1);
        assert_all_back(&one);
    }
}

/// F2: a body that is cut short is never a body.
async fn a_truncated_body_is_never_a_body<A: Adapter>() {
    for short in SHORT {
        let server = Server::start(vec![vec![Step::ReadRequest, send(short)]; 4]);
        let one = on::<A>(&server, |builder| builder);
        let error = get_root(&one).await.unwrap_err();
        assert_eq!(error.why(), Some(Why::NoAttempts));
        let error = error.into_source().unwrap();
        assert_eq!(*error.kind(), HttpErrorKind::Fault(FaultKind::Truncated), "{error:?}");
        assert_eq!(server.arrivals().len(), 4);
        assert_all_back(&one);
    }
}

async fn an_absolute_url_is_charged_to_its_netloc<A: Adapter>() {
    let (a, b) = (Server::start([keep_alive(&["a"])]), Server::start([keep_alive(&["b"])]));
    let none = dependency::<A>(|builder| builder);
    for (server, text) in [(&a, "a"), (&b, "b")] {
        let url = server.url("/");
        assert_eq!(none.call(|call| get(call, &url)).await.unwrap(), text);
    }
    let snapshot = none.snapshot();
    let own = &snapshot.endpoints[0];
    assert_eq!((own.netloc.as_str(), own.successes, own.failures), ("test", 0, 0));
    for server in [&a, &b] {
        let netloc = server.address().to_string();
        let endpoint = snapshot.endpoints.iter().find(|one| one.netloc.as_str() == netloc);
        assert_eq!(endpoint.map(|one| (one.successes, one.failures)), Some((1, 0)), "{snapshot}");
    }
    assert_all_back(&none);
}

async fn contradicting_lengths_are_malformed<A: Adapter>() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = send(format!("{both}5\r\nhello\r\n0\r\n\r\n"));
    let server = Server::start([vec![Step::ReadRequest, answer, Step::AwaitClose]]);
    let one = on::<A>(&server, |builder| builder);
    let error = one
        .call(|call| async move { call.http().get("/").send().await.map(drop) })
        .await
        .unwrap_err();
    let error: HttpError = error.into_source().unwrap();
    assert_eq!(*error.kind(), HttpErrorKind::Fault(FaultKind::Malformed));
    assert_eq!(error.class(), Class::Failure);
    assert_eq!(arrived(&server, "GET"), 1, "it is not retried");
    assert_all_back(&one);
}

async fn given_addresses_reach_the_backend<A: Adapter>() {
    let server = Server::start([keep_alive(&["named"])]);
    let url = format!("http://named.example:{}", server.address().port());
    let named = dependency::<A>(|builder| {
        builder.targets([url]).resolve("named.example", [server.address()])
    });
    assert_eq!(get_root(&named).await.unwrap(), "named");
}

/// hyper takes the limit. libcurl has one of its own, so there the setting is an error: none is
/// accepted and ignored.
async fn a_head_limit_binds_or_is_refused<A: Adapter>() {
    let long = format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "x".repeat(20_000));
    let server = Server::start([vec![Step::ReadRequest, Step::Offer(long.into_bytes())]]);
    let built = dace::Dependency::<A::Runtime, A::Backend>::builder("limited")
        .targets([server.url("")])
        .head_limit(10_000)
        .retry_attempts(0)
        .build();
    match built {
        Ok(limited) => {
            let error = get_root(&limited).await.unwrap_err().into_source().unwrap();
            assert_eq!(error.kind(), &HttpErrorKind::Fault(FaultKind::Malformed));
        }
        Err(error) => {
            assert_eq!(error.setting(), "head_limit");
            assert!(std::any::type_name::<A>().contains("smol"), "{error}");
        }
    }
}
