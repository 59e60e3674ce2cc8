//! What an answer may look like, and what is left of it.

use dace_core::http::{Connect, FaultKind, Head, Method, Sent, Version};

use super::{assert_fault, default, failed};
use crate::client::{backend, next};
use crate::{Expected, Gate, Server, Step, get, keep_alive, ok, post, run, send};

pub(crate) async fn a_get_reads_head_and_body<B: Connect>(_: &Expected) {
    let answer = send("HTTP/1.1 200 OK\r\nX-One: 1\r\nx-one: 2\r\ncontent-length: 5\r\n\r\nhello");
    let server = Server::start([vec![Step::ReadRequest, answer, Step::AwaitClose]]);
    let backend: B = backend(default);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.head.status(), 200);
    assert_eq!(answer.head.version(), Version::Http11);
    assert_eq!(answer.head.get("X-ONE"), Some(&b"1"[..]));
    let ones = answer.head.iter().filter(|(name, _)| *name == "x-one");
    assert_eq!(ones.count(), 2);
    assert_eq!(answer.text(), "hello");
}

pub(crate) async fn answers_without_a_body_end_at_once<B: Connect>(_: &Expected) {
    let server = Server::start([vec![
        Step::ReadRequest,
        send("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        Step::ReadRequest,
        send("HTTP/1.1 204 No Content\r\n\r\n"),
        Step::ReadRequest,
        send("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        Step::ReadRequest,
        ok(""),
        Step::ReadRequest,
        ok("last"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(default);
    let mut head = get(&server.url("/"));
    head.method = Method::HEAD;
    assert_eq!(run(&backend, head).await.unwrap().text(), "");
    for (status, text) in [(204, ""), (304, ""), (200, ""), (200, "last")] {
        let answer = run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!((answer.head.status(), answer.text().as_str()), (status, text));
    }
    assert_eq!(server.connections(), 1);
}

pub(crate) async fn a_slow_body_arrives_piece_by_piece<B: Connect>(_: &Expected) {
    let (first, second) = (Gate::new(), Gate::new());
    let server = Server::start([vec![
        Step::ReadRequest,
        send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n"),
        Step::Wait(first.clone()),
        send("3\r\ntwo\r\n"),
        Step::Wait(second.clone()),
        send("0\r\nx-trailer: 1\r\n\r\n"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(default);
    let response = backend.send(get(&server.url("/"))).await.unwrap();
    let mut body = response.body;
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    first.open();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "two");
    second.open();
    assert!(next(&mut body).await.is_none());
}

/// Such an answer is malformed. Refusing it is the core's, so both headers have to reach it.
pub(crate) async fn contradicting_lengths_are_there_to_see<B: Connect>(_: &Expected) {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n";
    let answer = send(format!("{both}5\r\nhello\r\n0\r\n\r\n"));
    let server = Server::start([vec![Step::ReadRequest, answer, Step::AwaitClose]]);
    let backend: B = backend(default);
    let head = backend.send(get(&server.url("/"))).await.unwrap().head;
    assert!(head.get("content-length").is_some());
    assert!(head.get("transfer-encoding").is_some());
}

/// F5: informational answers are skipped, and end.
pub(crate) async fn informational_answers_are_skipped<B: Connect>(_: &Expected) {
    let server = Server::start([vec![
        Step::ReadRequest,
        send("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"),
        ok("final"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(default);
    let answer = run(&backend, post(&server.url("/"), "x")).await.unwrap();
    assert_eq!(answer.head.status(), 200);
    assert_eq!(answer.head.get("link"), None);
    assert_eq!(answer.text(), "final");
}

/// F5: informational answers are skipped, and end.
pub(crate) async fn endless_informational_answers_end<B: Connect>(_: &Expected) {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(40_000);
    let offer = Step::Offer(hints.into_bytes());
    let server = Server::start([vec![Step::ReadRequest, offer, Step::Offer(Vec::new())]]);
    let backend: B = backend(default);
    let failure = failed(&backend, get(&server.url("/"))).await;
    assert_fault(&failure, &[FaultKind::Malformed], Sent::MaybeSent);
}

pub(crate) async fn a_body_may_end_with_its_connection<B: Connect>(_: &Expected) {
    for (head, body) in [
        ("HTTP/1.1 200 OK\r\n", "hello"),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n", "hello"),
        ("HTTP/1.1 200 OK\r\nconnection: close\r\n", ""),
        ("HTTP/1.0 200 OK\r\n", ""),
    ] {
        let server = Server::start([vec![Step::ReadRequest, send(format!("{head}\r\n{body}"))]]);
        let backend: B = backend(default);
        let answer = run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!(answer.text(), body);
        drop(server);
    }
}

/// A body where there can be none is no part of the answer, and none of the next one.
/// G3: bytes that nobody asked for answer nobody.
pub(crate) async fn a_body_where_there_can_be_none_is_no_answer<B: Connect>(_: &Expected) {
    let length = "content-length: 5\r\n\r\nextra";
    for (method, head) in [
        (Method::HEAD, "HTTP/1.1 200 OK"),
        (Method::GET, "HTTP/1.1 204 No Content"),
        (Method::GET, "HTTP/1.1 304 Not Modified"),
    ] {
        let answer = send(format!("{head}\r\n{length}"));
        let server = Server::start([
            vec![Step::ReadRequest, answer, Step::AwaitClose],
            keep_alive(&["two"]),
        ]);
        let backend: B = backend(default);
        let mut request = get(&server.url("/"));
        request.method = method;
        assert_eq!(run(&backend, request).await.unwrap().text(), "", "{head}");
        let next = run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!(next.text(), "two", "{head}");
    }
}

pub(crate) async fn a_head_that_drips_is_read<B: Connect>(_: &Expected) {
    let head = "HTTP/1.1 200 OK\r\nx-one: 1\r\ncontent-length: 5\r\n\r\nhello";
    let mut script = vec![Step::ReadRequest];
    script.extend(head.bytes().map(|byte| send([byte])));
    script.push(Step::AwaitClose);
    let server = Server::start([script]);
    let backend: B = backend(default);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!((answer.head.get("x-one"), answer.text().as_str()), (Some(&b"1"[..]), "hello"));
}
