//! Requests, byte by byte.

use bytes::Bytes;
use dace_core::http::{Body, BoxError, Connect, FaultKind, Head, Header, Method};

use super::{Panicking, Silent, arrival, assert_framing, default, failed, unchunked};
use crate::client::backend;
use crate::{Expected, Gate, Server, Step, get, keep_alive, post, run, send, upload};

pub(crate) async fn a_request_is_origin_form_with_one_host<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["a", "b"])]);
    let backend: B = backend(default);
    let url = format!("http://user:secret@{}/a%20b?c=d&e", server.address());
    let mut request = get(&url);
    request.headers.extend(Header::new("x-own", "kept"));
    run(&backend, request).await.unwrap();
    let mut request = get(&server.url("/"));
    request.headers.extend(Header::new("host", "elsewhere.test"));
    run(&backend, request).await.unwrap();

    let arrivals = server.arrivals();
    assert_eq!(arrivals[0].line(), "GET /a%20b?c=d&e HTTP/1.1");
    assert_eq!(arrivals[0].header("host"), [server.address().to_string()]);
    assert_eq!(arrivals[0].header("x-own"), ["kept"]);
    // Credentials become a header in the core, or not at all.
    assert!(arrivals[0].header("authorization").is_empty());
    assert!(!arrivals[0].text().contains("secret"));
    assert_framing(&arrivals[0], None, false);
    assert_eq!(arrivals[1].header("host"), ["elsewhere.test"]);
}

/// K2: one framing, and it is dace's.
pub(crate) async fn a_post_of_bytes_has_one_length<B: Connect>(_: &Expected) {
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let arrival = arrival::<B>(method, Body::from("hello")).await;
        assert_framing(&arrival, Some("5"), false);
        assert_eq!(arrival.body(), b"hello");
    }
}

/// F8: no `Expect`, and an empty POST has length zero.
pub(crate) async fn a_post_without_a_body_has_length_zero<B: Connect>(_: &Expected) {
    for method in [Method::POST, Method::PUT, Method::PATCH] {
        for body in [Body::empty(), Body::from(""), upload(vec![], Some(0))] {
            let arrival = arrival::<B>(method.clone(), body).await;
            assert_framing(&arrival, Some("0"), false);
        }
    }
    let arrival = arrival::<B>(Method::DELETE, Body::empty()).await;
    assert_framing(&arrival, None, false);
}

pub(crate) async fn a_stream_of_known_length_has_that_length<B: Connect>(_: &Expected) {
    let body = upload(vec![Ok("hel"), Ok(""), Ok("lo")], Some(5));
    let arrival = arrival::<B>(Method::POST, body).await;
    assert_framing(&arrival, Some("5"), false);
    assert_eq!(arrival.body(), b"hello");
}

pub(crate) async fn a_stream_of_unknown_length_is_chunked<B: Connect>(_: &Expected) {
    for method in [Method::POST, Method::PUT] {
        let body = upload(vec![Ok("hel"), Ok("lo")], None);
        let arrival = arrival::<B>(method, body).await;
        assert_framing(&arrival, None, true);
        assert_eq!(unchunked(&arrival.body()), b"hello");
    }
}

/// F8: no `Expect`, and an empty POST has length zero.
pub(crate) async fn a_large_post_expects_nothing<B: Connect>(_: &Expected) {
    let body = Bytes::from(vec![b'x'; 3 << 20]);
    let arrival = arrival::<B>(Method::POST, Body::from(body.clone())).await;
    assert_framing(&arrival, Some("3145728"), false);
    assert_eq!(arrival.body(), body);
}

pub(crate) async fn a_failing_stream_is_the_users_fault<B: Connect>(_: &Expected) {
    for length in [Some(10), None] {
        let server = Server::start([vec![Step::Drain]]);
        let backend: B = backend(default);
        let pieces = vec![Ok("hel"), Err(BoxError::from("disk gone"))];
        let request = post(&server.url("/"), upload(pieces, length));
        let failure = failed(&backend, request).await;
        assert_eq!(failure.fault.kind, FaultKind::RequestBody, "{failure:?}");
        assert!(failure.chain.contains("disk gone"), "{failure:?}");
        drop(server);
    }
}

pub(crate) async fn a_panicking_stream_harms_no_other<B: Connect>(_: &Expected) {
    let server = Server::start([vec![Step::Drain], keep_alive(&["other"])]);
    let backend: B = backend(default);
    let request = post(&server.url("/"), Body::stream(Panicking, None));
    let failure = failed(&backend, request).await;
    assert_eq!(failure.fault.kind, FaultKind::RequestBody, "{failure:?}");
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "other");
}

pub(crate) async fn a_stream_of_the_wrong_length_is_the_users_fault<B: Connect>(_: &Expected) {
    // The last ones end a piece exactly where the body should end, and then there is more.
    for (pieces, length) in [
        (&["hello"][..], 3),
        (&["hello"], 10),
        (&["hello", "more"], 5),
        (&["hel", "lo", "", "more"], 5),
    ] {
        let server = Server::start([vec![Step::Drain]]);
        let backend: B = backend(default);
        let body = upload(pieces.iter().map(|piece| Ok(*piece)).collect(), Some(length));
        let failure = failed(&backend, post(&server.url("/"), body)).await;
        assert_eq!(failure.fault.kind, FaultKind::RequestBody, "{failure:?}");
        drop(server);
    }
}

/// D4, G2.
pub(crate) async fn an_early_answer_is_an_answer<B: Connect>(_: &Expected) {
    let held = Gate::new();
    let answer = send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
    let server = Server::start([
        vec![Step::ReadHead, answer, Step::Wait(held.clone())],
        keep_alive(&["next"]),
    ]);
    let backend: B = backend(default);
    let silent = Body::stream(Silent, None);
    let answer = run(&backend, post(&server.url("/"), silent)).await.unwrap();
    assert_eq!((answer.head.status(), answer.text().as_str()), (413, "no"));
    // Its request never ended, so nothing may follow it on that connection.
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "next");
    held.open();
}

/// The server reads the head, says no, and reads no further; what is under way is more than fits. (D4)
pub(crate) async fn an_early_answer_does_not_wait_for_a_large_post<B: Connect>(_: &Expected) {
    for (length, text) in [(2, "no"), (0, "")] {
        let head = format!("HTTP/1.1 413 Too Large\r\ncontent-length: {length}\r\n\r\n");
        let held = Gate::new();
        let early = vec![Step::ReadHead, send(head + text), Step::Wait(held.clone())];
        let server = Server::start([early, keep_alive(&["next"])]);
        let backend: B = backend(default);
        let large = Body::from(Bytes::from(vec![b'x'; 24 << 20]));
        let answer = run(&backend, post(&server.url("/"), large)).await.unwrap();
        assert_eq!((answer.head.status(), answer.text().as_str()), (413, text));
        let answer = run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!(answer.text(), "next");
        held.open();
    }
}
