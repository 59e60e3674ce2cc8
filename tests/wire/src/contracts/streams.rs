//! HTTP/2 connections: when they are left, and what that means for the streams on them.

use std::time::Duration;

use dace_core::Instant;
use dace_core::http::{Connect, FaultKind, Head, Sent};

use super::{assert_fault, failed, limits_heads, prior_knowledge};
use crate::client::backend;
use crate::frames::{self, CANCEL, INTERNAL_ERROR, NO_ERROR};
use crate::{Expected, Gate, Server, Step, get, post, race, run, send, streams};

/// The server says up to where it has read, so the rest is known to be unread.
pub(crate) async fn a_stream_above_the_last_is_unsent<B: Connect>(expected: &Expected) {
    let server = Server::start([
        vec![
            Step::Http2(Vec::new()),
            Step::ReadStream,
            send(frames::answer(1, "one")),
            Step::ReadStream,
            send(frames::goaway(1, NO_ERROR)),
            Step::AwaitClose,
        ],
        streams(&["two"]),
    ]);
    let backend: B = backend(prior_knowledge);
    run(&backend, get(&server.url("/"))).await.unwrap();
    let failure = failed(&backend, post(&server.url("/"), "x")).await;
    if expected.tells_refused_streams {
        assert_fault(&failure, &[FaultKind::StreamRefused], Sent::Unsent);
    }
    assert_eq!((server.connections(), server.arrivals().len()), (1, 2));
    assert_eq!(on_the_next_connection(&backend, &server).await, "two");
    assert_eq!((server.connections(), server.arrivals().len()), (2, 3));
}

pub(crate) async fn a_stream_up_to_the_last_may_have_been_sent<B: Connect>(_: &Expected) {
    let end = [send(frames::goaway(1, NO_ERROR)), Step::Finish];
    let begin = [Step::Http2(Vec::new()), Step::ReadStream];
    let server = Server::start([begin.into_iter().chain(end).collect::<Vec<_>>()]);
    let backend: B = backend(prior_knowledge);
    let failure = failed(&backend, post(&server.url("/"), "x")).await;
    assert_fault(&failure, &[FaultKind::Closed], Sent::MaybeSent);
    assert_eq!(server.arrivals().len(), 1);
}

/// An exchange that broke with its connection says so to the next one: that must not find out again,
/// and lose an attempt.
pub(crate) async fn a_broken_http2_connection_is_left_at_once<B: Connect>(expected: &Expected) {
    let broken = vec![Step::Http2(Vec::new()), Step::ReadStream, Step::Reset];
    for _ in 0..20 {
        let server = Server::start([broken.clone(), streams(&["next"])]);
        let backend: B = backend(prior_knowledge);
        let failure = failed(&backend, post(&server.url("/"), "x")).await;
        assert_ne!(failure.fault.sent, Sent::Unsent, "{failure:?}");
        let answer = run(&backend, post(&server.url("/"), "x")).await;
        if expected.leaves_broken {
            assert_eq!(answer.unwrap().text(), "next");
        }
        drop(backend);
    }
}

/// What a server adds to its reason may be anything, a part of a request too.
pub(crate) async fn a_goaway_is_not_quoted<B: Connect>(expected: &Expected) {
    for (last, code) in [(0, NO_ERROR), (0, INTERNAL_ERROR), (1, INTERNAL_ERROR)] {
        let end = send(frames::goaway_saying(last, code, b"s3cret"));
        let server =
            Server::start([vec![Step::Http2(Vec::new()), Step::ReadStream, end, Step::Finish]]);
        let backend: B = backend(prior_knowledge);
        let failure = failed(&backend, post(&server.url("/"), "x")).await;
        // hyper's list of bytes, in text, would be a trace too.
        let shown = format!("{} {}", failure.chain, failure.debug);
        assert!(!shown.contains("s3cret") && !shown.contains("115, 51"), "{shown}");
        if last == 0 && expected.tells_refused_streams {
            assert_fault(&failure, &[FaultKind::StreamRefused], Sent::Unsent);
        }
        drop(server);
    }
}

pub(crate) async fn a_server_that_leaves_finishes_its_streams<B: Connect>(_: &Expected) {
    let server = Server::start([
        vec![
            Step::Http2(Vec::new()),
            Step::ReadStream,
            send(frames::goaway(1, NO_ERROR)),
            send(frames::answer(1, "finished")),
            Step::AwaitClose,
        ],
        streams(&["next"]),
    ]);
    let backend: B = backend(prior_knowledge);
    let answer = run(&backend, post(&server.url("/"), "x")).await.unwrap();
    assert_eq!(answer.text(), "finished");
    assert_eq!(on_the_next_connection(&backend, &server).await, "next");
    assert_eq!((server.connections(), server.arrivals().len()), (2, 2));
}

/// What was given up ends alone; what is beside it on the connection goes on.
pub(crate) async fn a_dropped_stream_harms_no_other<B: Connect>(expected: &Expected) {
    let (first, second) = (Gate::new(), Gate::new());
    let mut script = vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        send(frames::answer(1, "opened")),
        Step::ReadStream,
        Step::Open(first.clone()),
        Step::ReadStream,
        Step::Open(second.clone()),
    ];
    let dropped = Gate::new();
    script.push(match expected.resets_at_once {
        true => Step::ReadReset(3, CANCEL),
        false => Step::Wait(dropped.clone()),
    });
    script.extend([send(frames::answer(5, "second")), Step::AwaitClose]);
    let server = Server::start([script]);
    let backend: B = backend(prior_knowledge);
    run(&backend, get(&server.url("/"))).await.unwrap();
    let mut given_up = Box::pin(run(&backend, get(&server.url("/first"))));
    assert!(race(&mut given_up, first.opened()).await.is_none());
    let mut other = Box::pin(run(&backend, get(&server.url("/second"))));
    assert!(race(&mut other, second.opened()).await.is_none());
    drop(given_up);
    dropped.open();
    assert_eq!(other.await.unwrap().text(), "second");
    assert_eq!(server.connections(), 1);
}

pub(crate) async fn a_dropped_http2_body_resets_its_stream<B: Connect>(expected: &Expected) {
    let begin = [frames::fields(1, &[(":status", "200")], false), frames::data(1, b"he", false)];
    let (dropped, reset) = (Gate::new(), Gate::new());
    // libcurl says a code of its own, which no standard has.
    let code = if expected.resets_at_once { CANCEL } else { 0xffff_fc7a };
    let mut script = vec![Step::Http2(Vec::new()), Step::ReadStream, send(begin.concat())];
    if !expected.resets_at_once {
        script.extend([Step::Wait(dropped.clone()), send(frames::data(1, b"llo", false))]);
    }
    script.extend([
        Step::ReadReset(1, code),
        Step::Open(reset.clone()),
        Step::ReadStream,
        send(frames::answer(3, "next")),
        Step::AwaitClose,
    ]);
    let server = Server::start([script]);
    let backend: B = backend(prior_knowledge);
    drop(backend.send(get(&server.url("/"))).await.unwrap());
    dropped.open();
    reset.wait();
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "next");
    assert_eq!(server.connections(), 1);
}

/// A black hole: the connection is open, and nothing ever comes back. Three exchanges in a row that
/// are given up without a byte from the server are enough.
/// G8: an HTTP/2 connection that went silent is replaced.
pub(crate) async fn a_silent_http2_connection_is_replaced<B: Connect>(_: &Expected) {
    let asked: Vec<Gate> = (0..3).map(|_| Gate::new()).collect();
    let done = Gate::new();
    let mut script =
        vec![Step::Http2(Vec::new()), Step::ReadStream, send(frames::answer(1, "alive"))];
    for gate in &asked {
        script.extend([Step::ReadStream, Step::Open(gate.clone())]);
    }
    script.push(Step::Wait(done.clone()));
    let server = Server::start([script, streams(&["replaced", "stays"])]);
    let backend: B = backend(prior_knowledge);
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "alive");
    for gate in &asked {
        let mut request = get(&server.url("/"));
        // It is past when the exchange is dropped: that was a timeout.
        request.options.deadline = Instant::EPOCH;
        assert!(race(backend.send(request), gate.opened()).await.is_none());
    }
    for text in ["replaced", "stays"] {
        assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), text);
    }
    assert_eq!(server.connections(), 2);
    done.open();
}

pub(crate) async fn not_persistent_is_alone_on_its_http2_connection<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let mut once = streams(&["once"]);
    once.push(Step::Open(closed.clone()));
    let server = Server::start([streams(&["one", "two"]), once]);
    let backend: B = backend(prior_knowledge);
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "one");
    let mut request = get(&server.url("/"));
    request.options.persistent = false;
    assert_eq!(run(&backend, request).await.unwrap().text(), "once");
    closed.wait();
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "two");
    assert_eq!(server.connections(), 2);
}

pub(crate) async fn idle_http2_connections_close<B: Connect>(expected: &Expected) {
    let closed = Gate::new();
    let mut script = streams(&["one"]);
    script.push(Step::Open(closed.clone()));
    let server = Server::start([script]);
    let backend: B = backend(|settings| {
        prior_knowledge(settings);
        settings.idle_timeout = Duration::from_millis(50);
    });
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

/// G9: connections have an end, so that changed addresses are seen.
pub(crate) async fn an_old_http2_connection_is_replaced<B: Connect>(_: &Expected) {
    let server = Server::start([streams(&["one"]), streams(&["two"])]);
    let backend: B = backend(|settings| {
        prior_knowledge(settings);
        settings.max_age = Duration::from_nanos(1);
    });
    for text in ["one", "two"] {
        assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), text);
    }
    assert_eq!(server.connections(), 2);
}

pub(crate) async fn an_over_long_http2_head_is_malformed<B: Connect>(expected: &Expected) {
    if !limits_heads::<B>(expected) {
        return;
    }
    let long = "x".repeat(8 * 1024);
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        send(frames::fields(1, &[(":status", "200"), ("x-long", &long)], true)),
        Step::Drain,
    ]]);
    let backend: B = backend(|settings| {
        prior_knowledge(settings);
        settings.head_limit = 1024;
    });
    let failure = failed(&backend, post(&server.url("/"), "x")).await;
    assert_ne!(failure.fault.sent, Sent::Unsent, "{failure:?}");
    assert_eq!(failure.fault.kind, FaultKind::Malformed, "{failure:?}");
    assert_eq!(server.arrivals().len(), 1);
}

pub(crate) async fn endless_informational_http2_answers_end<B: Connect>(expected: &Expected) {
    let hint = frames::fields(1, &[(":status", "103"), ("link", "</a>")], false);
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        Step::Offer(hint.repeat(40_000)),
        Step::Drain,
    ]]);
    let backend: B = backend(prior_knowledge);
    let failure = failed(&backend, post(&server.url("/"), "x")).await;
    assert_eq!(failure.fault.sent, Sent::MaybeSent, "{failure:?}");
    // libcurl has one code for its own limit and for a close.
    if expected.limits_heads {
        assert_eq!(failure.fault.kind, FaultKind::Malformed, "{failure:?}");
    }
}

/// A few are skipped, and what one exchange was told does not count for the next.
/// F5: informational answers are skipped, and end.
pub(crate) async fn informational_http2_answers_are_skipped<B: Connect>(expected: &Expected) {
    let mut script = vec![Step::Http2(Vec::new())];
    for stream in [1, 3, 5] {
        let link = "x".repeat(600);
        let hint = frames::fields(stream, &[(":status", "103"), ("link", &link)], false);
        script.extend([Step::ReadStream, send(hint), send(frames::answer(stream, "final"))]);
    }
    script.push(Step::AwaitClose);
    let server = Server::start([script]);
    let backend: B = backend(|settings| {
        prior_knowledge(settings);
        if expected.limits_heads {
            settings.head_limit = 1024;
        }
    });
    for _ in 0..3 {
        let answer = run(&backend, post(&server.url("/"), "x")).await.unwrap();
        assert_eq!((answer.head.status(), answer.text().as_str()), (200, "final"));
        assert_eq!(answer.head.get("link"), None);
    }
    assert_eq!(server.connections(), 1);
}

pub(crate) async fn a_server_without_http2_is_found_out<B: Connect>(_: &Expected) {
    let answer = send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start([vec![Step::ReadBytes(24), answer, Step::Drain]]);
    let backend: B = backend(prior_knowledge);
    let failure = failed(&backend, post(&server.url("/"), "x")).await;
    let kinds = [FaultKind::Malformed, FaultKind::Closed, FaultKind::Reset];
    assert!(kinds.contains(&failure.fault.kind), "{failure:?}");
    drop(server);
}

/// The answer to a POST after the server said that it leaves. The backend may not have noticed yet;
/// then nothing was sent, and it says so.
async fn on_the_next_connection<B: Connect>(backend: &B, server: &Server) -> String {
    for _ in 0..1_000 {
        match run(backend, post(&server.url("/"), "x")).await {
            Ok(answer) => return answer.text(),
            Err(failure) => assert_eq!(failure.fault.sent, Sent::Unsent, "{failure:?}"),
        }
    }
    panic!("the backend stays with a server that leaves")
}
