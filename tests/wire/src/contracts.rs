//! What every backend does, on the wire.

use std::time::Duration;

use bytes::Bytes;
use dace_core::http::{
    Body, BoxError, Connect, FaultKind, Head, Header, HttpSettings, Method, Request, Sent, Version,
};

use crate::client::{backend, next};
use crate::{
    Arrival, Expected, Failure, Gate, Hanging, Refusing, Server, Step, get, keep_alive, ok, post,
    race, read, run, send, upload,
};

// ---- answers ----

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

// ---- requests, byte by byte ----

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

pub(crate) async fn a_post_of_bytes_has_one_length<B: Connect>(_: &Expected) {
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
        let arrival = arrival::<B>(method, Body::from("hello")).await;
        assert_framing(&arrival, Some("5"), false);
        assert_eq!(arrival.body(), b"hello");
    }
}

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
    for length in [3, 10] {
        let server = Server::start([vec![Step::Drain]]);
        let backend: B = backend(default);
        let body = upload(vec![Ok("hello")], Some(length));
        let failure = failed(&backend, post(&server.url("/"), body)).await;
        assert_eq!(failure.fault.kind, FaultKind::RequestBody, "{failure:?}");
        drop(server);
    }
}

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

// ---- connections ----

pub(crate) async fn two_requests_share_a_connection<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["one", "two", "three"])]);
    let backend: B = backend(default);
    for (text, body) in [("one", Body::from("x")), ("two", Body::from("y"))] {
        let request = post(&server.url("/"), body);
        assert_eq!(run(&backend, request).await.unwrap().text(), text);
    }
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "three");
    assert_eq!(server.connections(), 1);
}

pub(crate) async fn a_status_does_not_cost_the_connection<B: Connect>(_: &Expected) {
    let sick = send("HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start([vec![
        Step::ReadRequest,
        sick,
        Step::ReadRequest,
        ok("well"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(default);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.head.status(), 503);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "well");
    assert_eq!(server.connections(), 1);
}

pub(crate) async fn not_persistent_means_closed<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let mut once = keep_alive(&["one"]);
    once.push(Step::Open(closed.clone()));
    let server = Server::start([once, keep_alive(&["two"])]);
    let backend: B = backend(default);
    let mut request = get(&server.url("/"));
    request.options.persistent = false;
    assert_eq!(run(&backend, request).await.unwrap().text(), "one");
    closed.wait();
    assert_eq!(server.arrivals()[0].header("connection"), ["close"]);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "two");
}

pub(crate) async fn a_server_that_says_close_is_believed<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let server = Server::start([
        vec![
            Step::ReadRequest,
            send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\none"),
            Step::AwaitClose,
            Step::Open(closed.clone()),
        ],
        keep_alive(&["two"]),
    ]);
    let backend: B = backend(default);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "one");
    closed.wait();
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "two");
}

pub(crate) async fn a_dropped_body_closes_its_connection<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let server = Server::start([
        vec![
            Step::ReadRequest,
            send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst"),
            Step::AwaitClose,
            Step::Open(closed.clone()),
        ],
        keep_alive(&["next"]),
    ]);
    let backend: B = backend(one_connection);
    let response = backend.send(get(&server.url("/"))).await.unwrap();
    drop(response);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "next");
    closed.wait();
}

pub(crate) async fn a_dropped_exchange_closes_its_connection<B: Connect>(_: &Expected) {
    let (asked, closed) = (Gate::new(), Gate::new());
    let server = Server::start([
        vec![Step::ReadRequestThen(asked.clone()), Step::AwaitClose, Step::Open(closed.clone())],
        keep_alive(&["next"]),
    ]);
    let backend: B = backend(one_connection);
    let exchange = backend.send(get(&server.url("/")));
    assert!(race(exchange, asked.opened()).await.is_none());
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "next");
    closed.wait();
}

pub(crate) async fn idle_connections_close<B: Connect>(expected: &Expected) {
    let closed = Gate::new();
    let mut script = keep_alive(&["one"]);
    script.push(Step::Open(closed.clone()));
    let server = Server::start([script]);
    let backend: B = backend(|settings| settings.idle_timeout = Duration::from_millis(50));
    run(&backend, get(&server.url("/"))).await.unwrap();
    if expected.watches_idle {
        closed.wait();
        drop(backend);
    } else {
        drop(backend);
        closed.wait();
    }
    drop(server);
}

pub(crate) async fn bytes_on_an_idle_connection_are_no_answer<B: Connect>(expected: &Expected) {
    let (go, sent, closed) = (Gate::new(), Gate::new(), Gate::new());
    let server = Server::start([
        vec![
            Step::ReadRequest,
            ok("one"),
            Step::Wait(go.clone()),
            ok("unasked"),
            Step::Open(sent.clone()),
            Step::AwaitClose,
            Step::Open(closed.clone()),
        ],
        keep_alive(&["two"]),
    ]);
    let backend: B = backend(default);
    run(&backend, get(&server.url("/"))).await.unwrap();
    go.open();
    sent.wait();
    if expected.watches_idle {
        closed.wait();
    }
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "two");
}

pub(crate) async fn a_second_answer_is_no_answer<B: Connect>(_: &Expected) {
    let one = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
    let server = Server::start([
        vec![
            Step::ReadRequest,
            send(format!("{one}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nextra")),
            Step::AwaitClose,
        ],
        keep_alive(&["two"]),
    ]);
    let backend: B = backend(default);
    for text in ["one", "two"] {
        let answer = run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!(answer.text(), text);
    }
}

pub(crate) async fn given_addresses_are_used<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["here"])]);
    let address = server.address();
    let given = (String::from("service.invalid"), vec![address]);
    let backend: B = backend(|settings| settings.resolve.push(given));
    let url = format!("http://service.invalid:{}/", address.port());
    assert_eq!(run(&backend, get(&url)).await.unwrap().text(), "here");
    let host = format!("service.invalid:{}", address.port());
    assert_eq!(server.arrivals()[0].header("host"), [host]);
}

// ---- nothing was sent ----

pub(crate) async fn refused_is_unsent<B: Connect>(expected: &Expected) {
    let backend: B = backend(default);
    let refusing = Refusing::new();
    let failure = failed(&backend, post(&refusing.url(), "x")).await;
    let kind = match expected.tells_refused {
        true => FaultKind::ConnectionRefused,
        false => FaultKind::Connect,
    };
    assert_fault(&failure, &[kind], Sent::Unsent);
}

pub(crate) async fn an_unknown_name_is_unsent<B: Connect>(_: &Expected) {
    let backend: B = backend(default);
    let mut request = post("http://nonexistent.invalid/", "x");
    request.options.connect_timeout = crate::PATIENCE;
    let failure = failed(&backend, request).await;
    assert_fault(&failure, &[FaultKind::Dns], Sent::Unsent);
}

pub(crate) async fn a_hanging_connect_times_out_unsent<B: Connect>(_: &Expected) {
    let hanging = Hanging::new();
    let backend: B = backend(default);
    let mut request = post(&hanging.url(), "x");
    request.options.connect_timeout = Duration::from_millis(100);
    let failure = failed(&backend, request).await;
    assert_fault(&failure, &[FaultKind::ConnectTimeout], Sent::Unsent);
}

pub(crate) async fn https_without_tls_is_unsupported<B: Connect>(_: &Expected) {
    let server = Server::start([]);
    let backend: B = backend(default);
    let url = format!("https://{}/", server.address());
    let failure = failed(&backend, get(&url)).await;
    assert_fault(&failure, &[FaultKind::Unsupported], Sent::Unsent);
    assert!(failure.chain.contains("`rustls`"), "{failure:?}");
    assert_eq!(server.connections(), 0);
}

// ---- something may have been sent ----

pub(crate) async fn a_close_before_the_answer_may_have_been_sent<B: Connect>(_: &Expected) {
    for body in [Body::empty(), Body::from("x")] {
        let failure = failure_of::<B>(body, vec![Step::ReadRequest]).await;
        assert_fault(&failure, &[FaultKind::Closed], Sent::MaybeSent);
        assert!(!failure.fault.reused);
    }
}

pub(crate) async fn a_reset_before_the_answer_may_have_been_sent<B: Connect>(_: &Expected) {
    let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, Step::Reset]).await;
    assert_fault(&failure, &[FaultKind::Reset], Sent::MaybeSent);
}

pub(crate) async fn half_a_head_is_no_answer<B: Connect>(expected: &Expected) {
    let ends = ["", "con", "content-length: 10\r\nx-a"];
    let hidden = expected.tells_cut_heads.then_some("content-length: 0\r\nx-a");
    for end in ends.into_iter().chain(hidden) {
        let half = send(format!("HTTP/1.1 200 OK\r\n{end}"));
        let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, half]).await;
        assert_eq!(failure.fault.kind, FaultKind::Truncated, "{failure:?}");
        assert_ne!(failure.fault.sent, Sent::Unsent);
    }
}

pub(crate) async fn garbage_is_malformed<B: Connect>(_: &Expected) {
    let garbage = send("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, garbage]).await;
    assert_fault(&failure, &[FaultKind::Malformed], Sent::MaybeSent);
}

pub(crate) async fn a_body_shorter_than_its_length_is_an_error<B: Connect>(_: &Expected) {
    for body in ["hello", ""] {
        let short = send(format!("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{body}"));
        let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, short]).await;
        assert_fault(&failure, &[FaultKind::Truncated], Sent::Sent);
    }
}

pub(crate) async fn chunks_without_an_end_are_an_error<B: Connect>(_: &Expected) {
    for chunks in ["5\r\nhello\r\n", "5\r\nhe", ""] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let script = vec![Step::ReadRequest, send(format!("{head}{chunks}"))];
        let failure = failure_of::<B>(Body::from("x"), script).await;
        assert_fault(&failure, &[FaultKind::Truncated], Sent::Sent);
    }
}

pub(crate) async fn a_bad_chunk_size_is_malformed<B: Connect>(expected: &Expected) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let bad = send(format!("{head}5\r\nhello\r\nzz\r\n"));
    let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, bad]).await;
    let kind = match expected.tells_bad_chunks {
        true => FaultKind::Malformed,
        false => FaultKind::Reset,
    };
    assert_fault(&failure, &[kind], Sent::Sent);
}

pub(crate) async fn a_post_cut_at_any_byte_arrives_once<B: Connect>(_: &Expected) {
    let whole = arrival::<B>(Method::POST, Body::from("hello")).await.bytes.len();
    for cut in [1, 10, whole - 6, whole - 5, whole - 1, whole] {
        let server = Server::start([vec![Step::ReadBytes(cut)]]);
        let backend: B = backend(default);
        let failure = failed(&backend, post(&server.url("/"), "hello")).await;
        let kinds = [FaultKind::Closed, FaultKind::Reset];
        assert_fault(&failure, &kinds, Sent::MaybeSent);
        assert_eq!(server.arrivals().len(), 1, "cut at {cut}");
        drop(server);
    }
}

// ---- stale connections ----

pub(crate) async fn a_stale_connection_gets_bytes_once<B: Connect>(_: &Expected) {
    stale::<B>(Body::from("x"), true).await;
}

pub(crate) async fn a_stale_connection_gets_an_empty_post_once<B: Connect>(expected: &Expected) {
    for body in [Body::empty(), Body::from(""), upload(vec![], Some(0))] {
        stale::<B>(body, expected.reuses_for_bodiless).await;
    }
}

pub(crate) async fn a_stale_connection_gets_a_stream_once<B: Connect>(_: &Expected) {
    stale::<B>(upload(vec![Ok("x")], Some(1)), true).await;
    stale::<B>(upload(vec![Ok("x")], None), true).await;
}

/// A request that died on a connection that was used before is as sent as on any other; whether the
/// core may send it again is the core's to say. libcurl says it itself, for this one kind of request.
pub(crate) async fn a_stale_connection_and_a_safe_request<B: Connect>(expected: &Expected) {
    let server = Server::start([
        vec![Step::ReadRequest, ok("one"), Step::ReadRequest],
        keep_alive(&["two"]),
    ]);
    let backend: B = backend(default);
    run(&backend, get(&server.url("/"))).await.unwrap();
    let second = run(&backend, get(&server.url("/"))).await;
    if expected.resends_safe {
        assert_eq!(second.unwrap().text(), "two");
        assert_eq!(server.arrivals().len(), 3);
    } else {
        let failure = second.err().expect("nobody answered");
        assert_fault(&failure, &[FaultKind::Closed], Sent::MaybeSent);
        assert!(failure.fault.reused);
        assert_eq!(server.arrivals().len(), 2);
    }
}

/// A POST on a connection that has carried an answered request, and that the server then closes.
async fn stale<B: Connect>(body: Body, reused: bool) {
    let server = Server::start([
        vec![Step::ReadRequest, ok("one"), Step::ReadRequestIfAny],
        // Only for a backend that did not dare to use the first one again.
        vec![Step::ReadRequest],
    ]);
    let backend: B = backend(default);
    run(&backend, get(&server.url("/"))).await.unwrap();
    let failure = failed(&backend, post(&server.url("/"), body)).await;
    assert_fault(&failure, &[FaultKind::Closed], Sent::MaybeSent);
    assert_eq!(failure.fault.reused, reused, "{failure:?}");
    assert_eq!(server.connections(), if reused { 1 } else { 2 });
    let arrivals = server.arrivals();
    let posts = arrivals.iter().filter(|arrival| arrival.line().starts_with("POST"));
    assert_eq!(posts.count(), 1, "{arrivals:?}");
}

// ---- shared ----

fn default<Tls>(_: &mut HttpSettings<Tls>) {}

fn one_connection<Tls>(settings: &mut HttpSettings<Tls>) {
    settings.pool_size = 1;
}

/// A body of which nothing ever comes.
struct Silent;

impl futures_core::Stream for Silent {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

/// A body whose making panics.
struct Panicking;

impl futures_core::Stream for Panicking {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        panic!("as it should: the stream of a test")
    }
}

/// What arrives for one request.
async fn arrival<B: Connect>(method: Method, body: Body) -> Arrival {
    let server = Server::start([keep_alive(&["done"])]);
    let backend: B = backend(default);
    let mut request = post(&server.url("/"), body);
    request.method = method;
    run(&backend, request).await.unwrap();
    let mut arrivals = server.arrivals();
    assert_eq!(arrivals.len(), 1, "{arrivals:?}");
    arrivals.remove(0)
}

/// How a POST fails on a fresh connection with this script.
async fn failure_of<B: Connect>(body: Body, script: Vec<Step>) -> Failure {
    let server = Server::start([script]);
    let backend: B = backend(default);
    let failure = failed(&backend, post(&server.url("/"), body)).await;
    assert_eq!(server.connections(), 1);
    assert_eq!(server.arrivals().len(), 1);
    failure
}

async fn failed<B: Connect>(backend: &B, request: Request) -> Failure {
    match backend.send(request).await {
        Ok(response) => match read::<B>(response.body).await {
            Ok(body) => panic!("an answer of {} bytes instead of a failure", body.len()),
            Err(failure) => failure,
        },
        Err(error) => crate::client::failure::<B>(&error, false),
    }
}

fn assert_fault(failure: &Failure, kinds: &[FaultKind], sent: Sent) {
    assert!(kinds.contains(&failure.fault.kind), "{failure:?}");
    assert_eq!(failure.fault.sent, sent, "{failure:?}");
}

/// One framing header at most, the right one, and no `Expect`.
fn assert_framing(arrival: &Arrival, length: Option<&str>, chunked: bool) {
    let lengths: Vec<String> = length.map(String::from).into_iter().collect();
    assert_eq!(arrival.header("content-length"), lengths, "{}", arrival.text());
    let encodings: &[&str] = if chunked { &["chunked"] } else { &[] };
    assert_eq!(arrival.header("transfer-encoding"), encodings);
    assert!(arrival.header("expect").is_empty());
    assert_eq!(arrival.header("host").len(), 1);
}

fn unchunked(mut framed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = framed.windows(2).position(|w| w == b"\r\n").expect("a size");
        let size = std::str::from_utf8(&framed[..end]).expect("an ASCII size");
        let size = usize::from_str_radix(size, 16).expect("a size in hex");
        framed = &framed[end + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&framed[..size]);
        framed = &framed[size + 2..];
    }
}
