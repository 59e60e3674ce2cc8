//! How old, how long, how far: what bounds connections and answers.

use std::time::Duration;

use dace_core::http::{Connect, FaultKind, Header, Sent};

use super::{NAME, assert_fault, default, failed, limits_heads};
use crate::client::{backend, next};
use crate::{Expected, Gate, Refusing, Server, Step, get, keep_alive, post, run, send};

/// G9: connections have an end, so that changed addresses are seen.
pub(crate) async fn an_old_connection_is_replaced<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let mut old = keep_alive(&["one"]);
    old.push(Step::Open(closed.clone()));
    let server = Server::start([old, keep_alive(&["two"])]);
    let backend: B = backend(|settings| settings.max_age = Duration::from_nanos(1));
    for text in ["one", "two"] {
        assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), text);
    }
    closed.wait();
    assert_eq!(server.connections(), 2);
}

/// One that is young enough stays, whatever `Duration::MAX` adds up to.
pub(crate) async fn a_connection_may_grow_old<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["one", "two"])]);
    let backend: B = backend(|settings| settings.max_age = Duration::MAX);
    for text in ["one", "two"] {
        assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), text);
    }
    assert_eq!(server.connections(), 1);
}

pub(crate) async fn trailers_come_after_the_end<B: Connect>(_: &Expected) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n";
    let server = Server::start([vec![
        Step::ReadRequest,
        send(format!("{head}3\r\none\r\n0\r\nX-Sum: 6\r\nx-end: yes\r\n\r\n")),
        Step::ReadRequest,
        crate::ok("next"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(default);
    let mut body = backend.send(get(&server.url("/"))).await.unwrap().body;
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    assert!(next(&mut body).await.is_none());
    let trailers: Vec<_> = B::trailers(&body).iter().map(|t| (t.name(), &t.value()[..])).collect();
    assert_eq!(trailers, [("x-sum", &b"6"[..]), ("x-end", &b"yes"[..])]);
    drop(body);
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "next");
    assert_eq!(server.connections(), 1);
}

/// F6: endless heads and chunks end in an error and take no memory.
pub(crate) async fn an_over_long_head_is_malformed<B: Connect>(expected: &Expected) {
    if !limits_heads::<B>(expected) {
        return;
    }
    let long = format!("x-long: {}\r\n", "x".repeat(8 * 1024));
    let many = "x-many: x\r\n".repeat(1024);
    for headers in [long, many] {
        let head = format!("HTTP/1.1 200 OK\r\n{headers}content-length: 0\r\n\r\n");
        let server =
            Server::start([vec![Step::ReadRequest, Step::Offer(head.into_bytes()), Step::Drain]]);
        let backend: B = backend(|settings| settings.head_limit = 1024);
        let failure = failed(&backend, post(&server.url("/"), "x")).await;
        assert_fault(&failure, &[FaultKind::Malformed], Sent::MaybeSent);
        assert_eq!(server.arrivals().len(), 1);
        drop(server);
    }
}

/// A body is not counted with the head.
pub(crate) async fn a_long_body_after_a_short_head_is_read<B: Connect>(expected: &Expected) {
    if !limits_heads::<B>(expected) {
        return;
    }
    let body = "x".repeat(256 * 1024);
    let server = Server::start([keep_alive(&[&body])]);
    let backend: B = backend(|settings| settings.head_limit = 1024);
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), body);
}

/// No answer, part of a head, part of a body: never a whole answer, and never sent again.
/// F2: a body that is cut short is never a body.
pub(crate) async fn an_answer_cut_at_any_byte_is_an_error<B: Connect>(expected: &Expected) {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nx-one: 1\r\n\r\nhello";
    let head = answer.find("\r\n\r\n").expect("a head") + 4;
    for cut in 0..answer.len() {
        let server = Server::start([vec![Step::ReadRequest, send(&answer[..cut])]]);
        let backend: B = backend(default);
        let failure = failed(&backend, post(&server.url("/"), "x")).await;
        let (kind, sent) = match cut {
            0 => (FaultKind::Closed, Sent::MaybeSent),
            _ if cut < head => (FaultKind::Truncated, Sent::MaybeSent),
            _ => (FaultKind::Truncated, Sent::Sent),
        };
        if expected.tells_cut_heads {
            assert_eq!(failure.fault.kind, kind, "cut at {cut}: {failure:?}");
            assert_eq!(failure.fault.sent, sent, "cut at {cut}: {failure:?}");
        }
        assert_ne!(failure.fault.sent, Sent::Unsent, "cut at {cut}: {failure:?}");
        assert_eq!((server.connections(), server.arrivals().len()), (1, 1), "cut at {cut}");
        drop(server);
    }
}

/// Every byte of a POST, after one that was answered on the same connection. (D1)
pub(crate) async fn a_post_cut_at_every_byte_is_sent_once<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["ok"])]);
    let first: B = backend(default);
    run(&first, post(&server.url("/"), "hello")).await.unwrap();
    let whole = server.arrivals()[0].bytes.len();
    drop(server);
    for cut in 1..=whole {
        let begin = [Step::ReadRequest, crate::ok("one")];
        let server =
            Server::start([begin.into_iter().chain([Step::ReadBytes(cut)]).collect::<Vec<_>>()]);
        let backend: B = backend(default);
        run(&backend, post(&server.url("/"), "first")).await.unwrap();
        let failure = failed(&backend, post(&server.url("/"), "hello")).await;
        assert_ne!(failure.fault.sent, Sent::Unsent, "cut at {cut}: {failure:?}");
        let kinds = [FaultKind::Closed, FaultKind::Reset];
        assert!(kinds.contains(&failure.fault.kind), "cut at {cut}: {failure:?}");
        assert_eq!((server.connections(), server.arrivals().len()), (1, 2), "cut at {cut}");
        drop(server);
    }
}

/// Whoever reads the error knows where it went, and no more than that.
pub(crate) async fn a_failed_connect_says_where_and_no_secret<B: Connect>(_: &Expected) {
    let refusing = Refusing::new();
    let address = refusing.url().replace("http://", "");
    let address = address.trim_end_matches('/');
    let backend: B = backend(default);
    let direct = format!("http://me:secret@{address}/secret?secret=secret");
    let named = format!("http://me:secret@{NAME}/?secret");
    let proxied = [None, Some("http://me:secret@"), Some("socks5h://me:secret@")];
    for (url, scheme) in proxied.into_iter().map(|scheme| (&direct, scheme)).chain([(&named, None)])
    {
        let mut request = post(url, "secret");
        request.headers.extend(Header::new("authorization", "secret"));
        request.proxy = scheme.map(|scheme| super::proxy_at(scheme, address));
        request.options.connect_timeout = crate::PATIENCE;
        let failure = failed(&backend, request).await;
        assert_eq!(failure.fault.sent, Sent::Unsent);
        assert!(!failure.chain.contains("secret"), "{}", failure.chain);
        assert!(!failure.debug.contains("secret"), "{}", failure.debug);
        let place = if *url == named { NAME } else { address };
        assert!(failure.chain.contains(place), "{}", failure.chain);
    }
}
