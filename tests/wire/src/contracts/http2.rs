//! HTTP/2 with prior knowledge: messages, streams that share a connection, and how streams end.

use dace_core::http::{Body, BoxError, Connect, FaultKind, Head, Method, Sent, Version};

use super::{Silent, assert_fault, failed, prior_knowledge};
use crate::client::{backend, failure, next};
use crate::frames::{self, CANCEL, INTERNAL_ERROR, REFUSED_STREAM};
use crate::{
    Expected, Failure, Gate, Server, Step, get, post, race, read, run, send, streams, upload,
};

pub(crate) async fn a_get_over_http2<B: Connect>(_: &Expected) {
    let answer = [
        frames::fields(1, &[(":status", "200"), ("x-one", "1"), ("x-one", "2")], false),
        frames::data(1, b"hello", true),
    ];
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        send(answer.concat()),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(prior_knowledge);
    let url = format!("http://user:secret@{}/a%20b?c=d&e", server.address());
    let answer = run(&backend, get(&url)).await.unwrap();
    assert_eq!((answer.head.status(), answer.head.version()), (200, Version::Http2));
    assert_eq!(answer.head.iter().filter(|(name, _)| *name == "x-one").count(), 2);
    assert_eq!(answer.text(), "hello");

    let arrivals = server.arrivals();
    assert_eq!(arrivals.len(), 1, "{arrivals:?}");
    assert_eq!(arrivals[0].line(), "GET /a%20b?c=d&e HTTP/2");
    assert_eq!(arrivals[0].header(":authority"), [server.address().to_string()]);
    assert_eq!(arrivals[0].header(":scheme"), ["http"]);
    for absent in ["host", "authorization", "connection", "transfer-encoding", "content-length"] {
        assert!(arrivals[0].header(absent).is_empty(), "{absent}");
    }
    assert!(!arrivals[0].text().contains("secret"));
}

pub(crate) async fn bodies_over_http2<B: Connect>(_: &Expected) {
    let large = "x".repeat(300_000);
    let cases: [(Body, &str, Option<&str>); 4] = [
        (Body::from("hello"), "hello", Some("5")),
        (upload(vec![Ok("hel"), Ok("lo")], Some(5)), "hello", Some("5")),
        (upload(vec![Ok("hel"), Ok("lo")], None), "hello", None),
        (Body::from(large.clone()), &large, Some("300000")),
    ];
    let server = Server::start([streams(&["done"; 4])]);
    let backend: B = backend(prior_knowledge);
    for (at, (body, sent, length)) in cases.into_iter().enumerate() {
        let mut request = post(&server.url("/"), body);
        request.options.replay_safe = true;
        assert_eq!(run(&backend, request).await.unwrap().text(), "done");
        let arrival = server.arrivals().remove(at);
        assert_eq!(arrival.body(), sent.as_bytes());
        assert!(arrival.header("transfer-encoding").is_empty());
        assert!(arrival.header("expect").is_empty());
        assert_eq!(arrival.header("content-length").first().map(String::as_str), length);
    }
    let arrivals = server.arrivals();
    let ids: Vec<_> = arrivals.iter().map(|arrival| (arrival.connection, arrival.stream)).collect();
    assert_eq!(ids, [(0, 1), (0, 3), (0, 5), (0, 7)]);
}

pub(crate) async fn an_http2_answer_arrives_piece_by_piece<B: Connect>(_: &Expected) {
    let (first, second) = (Gate::new(), Gate::new());
    let begin = [frames::fields(1, &[(":status", "200")], false), frames::data(1, b"one", false)];
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        send(begin.concat()),
        Step::Wait(first.clone()),
        send(frames::data(1, b"two", false)),
        Step::Wait(second.clone()),
        send(frames::fields(1, &[("x-sum", "6"), ("x-end", "yes")], true)),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(prior_knowledge);
    let mut body = backend.send(get(&server.url("/"))).await.unwrap().body;
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "one");
    first.open();
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "two");
    assert!(B::trailers(&body).is_empty());
    second.open();
    assert!(next(&mut body).await.is_none());
    let trailers: Vec<_> = B::trailers(&body).iter().map(|t| (t.name(), &t.value()[..])).collect();
    assert_eq!(trailers, [("x-sum", &b"6"[..]), ("x-end", &b"yes"[..])]);
}

pub(crate) async fn two_exchanges_share_an_http2_connection<B: Connect>(_: &Expected) {
    let asked = Gate::new();
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        send(frames::answer(1, "opened")),
        Step::ReadStream,
        Step::Open(asked.clone()),
        Step::ReadStream,
        // In the other order: neither waits for the other.
        send(frames::answer(5, "second")),
        send(frames::answer(3, "first")),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(prior_knowledge);
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "opened");
    let mut first = Box::pin(run(&backend, get(&server.url("/first"))));
    assert!(race(&mut first, asked.opened()).await.is_none());
    let second = run(&backend, get(&server.url("/second"))).await.unwrap();
    assert_eq!(second.text(), "second");
    assert_eq!(first.await.unwrap().text(), "first");
    let lines: Vec<_> = server.arrivals().iter().map(crate::Arrival::line).collect();
    assert_eq!(lines, ["GET / HTTP/2", "GET /first HTTP/2", "GET /second HTTP/2"]);
    assert_eq!(server.connections(), 1);
}

/// A server that takes one stream at a time gets one at a time, on the one connection or on two.
pub(crate) async fn a_limit_of_streams_is_kept<B: Connect>(expected: &Expected) {
    let asked = Gate::new();
    let (go, settings) = (Gate::new(), vec![(frames::MAX_CONCURRENT_STREAMS, 1)]);
    let mut script = vec![
        Step::Http2(settings),
        Step::ReadStream,
        send(frames::answer(1, "opened")),
        Step::ReadStream,
        Step::Open(asked.clone()),
        Step::Wait(go.clone()),
        send(frames::answer(3, "first")),
    ];
    if expected.waits_for_streams {
        script.extend([Step::ReadStream, send(frames::answer(5, "second"))]);
    }
    script.push(Step::AwaitClose);
    let beside = Gate::new();
    let other = vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        Step::Open(beside.clone()),
        Step::Wait(go.clone()),
        send(frames::answer(1, "second")),
        Step::AwaitClose,
    ];
    let server = Server::start([script, other]);
    let backend: B = backend(prior_knowledge);
    run(&backend, get(&server.url("/"))).await.unwrap();
    let mut first = Box::pin(run(&backend, get(&server.url("/first"))));
    assert!(race(&mut first, asked.opened()).await.is_none());
    // Whether or not it is asked for already, it comes second.
    let mut second = Box::pin(run(&backend, get(&server.url("/second"))));
    match expected.waits_for_streams {
        true => assert!(race(&mut second, std::future::ready(())).await.is_none()),
        false => assert!(race(&mut second, beside.opened()).await.is_none()),
    }
    go.open();
    assert_eq!(first.await.unwrap().text(), "first");
    assert_eq!(second.await.unwrap().text(), "second");
    assert_eq!(server.connections(), if expected.waits_for_streams { 1 } else { 2 });
}

/// D2: what was not sent at all is retried, whatever it is.
pub(crate) async fn a_refused_stream_is_unsent<B: Connect>(expected: &Expected) {
    let begin =
        vec![Step::Http2(Vec::new()), Step::ReadStream, send(frames::reset(1, REFUSED_STREAM))];
    let taken = vec![Step::ReadStream, send(frames::answer(3, "taken")), Step::AwaitClose];
    // libcurl leaves a connection on which a stream was refused.
    let server = match expected.tells_refused_streams {
        true => Server::start([[begin, taken].concat()]),
        false => Server::start([[begin, vec![Step::AwaitClose]].concat(), streams(&["taken"])]),
    };
    let backend: B = backend(prior_knowledge);
    let failure = failed(&backend, post(&server.url("/"), "x")).await;
    if expected.tells_refused_streams {
        assert_fault(&failure, &[FaultKind::StreamRefused], Sent::Unsent);
    }
    // Sending it again is for the core to decide.
    assert_eq!(server.arrivals().len(), 1);
    assert_eq!(run(&backend, post(&server.url("/"), "x")).await.unwrap().text(), "taken");
    let posts = server.arrivals();
    assert!(posts.iter().all(|arrival| arrival.line().starts_with("POST ")), "{posts:?}");
    let connections = if expected.tells_refused_streams { 1 } else { 2 };
    assert_eq!((posts.len(), server.connections()), (2, connections));
}

pub(crate) async fn a_reset_stream_may_have_been_sent<B: Connect>(_: &Expected) {
    let failure = failure_of::<B>(vec![send(frames::reset(1, INTERNAL_ERROR))]).await;
    assert_eq!(failure.fault.sent, Sent::MaybeSent, "{failure:?}");
    assert_eq!(failure.fault.kind, FaultKind::Reset, "{failure:?}");
}

pub(crate) async fn a_stream_reset_in_its_body_is_an_error<B: Connect>(_: &Expected) {
    let begin = [frames::fields(1, &[(":status", "200")], false), frames::data(1, b"he", false)];
    let script = vec![send(begin.concat()), send(frames::reset(1, CANCEL))];
    let failure = failure_of::<B>(script).await;
    assert_eq!(failure.fault.kind, FaultKind::Reset, "{failure:?}");
    // Whether the head was handed over before is a matter of timing.
    assert_ne!(failure.fault.sent, Sent::Unsent, "{failure:?}");
}

pub(crate) async fn an_http2_close_before_the_answer_may_have_been_sent<B: Connect>(_: &Expected) {
    let failure = failure_of::<B>(vec![Step::Finish]).await;
    // A system resets what is closed with something unread, and what was sent after the request may be.
    assert_fault(&failure, &[FaultKind::Closed, FaultKind::Reset], Sent::MaybeSent);
}

pub(crate) async fn an_http2_body_cut_short_is_an_error<B: Connect>(_: &Expected) {
    let begin = [frames::fields(1, &[(":status", "200")], false), frames::data(1, b"he", false)];
    let (got, go) = (Gate::new(), Gate::new());
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        send(begin.concat()),
        Step::Open(got.clone()),
        Step::Wait(go.clone()),
        Step::Finish,
    ]]);
    let backend: B = backend(prior_knowledge);
    let mut body = backend.send(post(&server.url("/"), "x")).await.unwrap().body;
    assert_eq!(next(&mut body).await.unwrap().unwrap(), "he");
    go.open();
    let failure = read::<B>(body).await.expect_err("half a body");
    assert_eq!(failure.fault.sent, Sent::Sent, "{failure:?}");
    assert_eq!(failure.fault.kind, FaultKind::Truncated, "{failure:?}");
}

pub(crate) async fn an_http2_body_of_the_wrong_length_is_an_error<B: Connect>(_: &Expected) {
    let head = frames::fields(1, &[(":status", "200"), ("content-length", "10")], false);
    let short = [head, frames::data(1, b"hello", true)].concat();
    let failure = failure_of::<B>(vec![send(short)]).await;
    let kinds = [FaultKind::Malformed, FaultKind::Truncated, FaultKind::Reset];
    assert!(kinds.contains(&failure.fault.kind), "{failure:?}");
    assert_ne!(failure.fault.sent, Sent::Unsent);
}

pub(crate) async fn a_failing_http2_stream_is_the_users_fault<B: Connect>(_: &Expected) {
    for length in [Some(10), None] {
        let server = Server::start([vec![Step::Http2(Vec::new()), Step::Drain]]);
        let backend: B = backend(prior_knowledge);
        let pieces = vec![Ok("hel"), Err(BoxError::from("disk gone"))];
        let failure = failed(&backend, post(&server.url("/"), upload(pieces, length))).await;
        assert_eq!(failure.fault.kind, FaultKind::RequestBody, "{failure:?}");
        assert!(failure.chain.contains("disk gone"), "{failure:?}");
        drop(server);
    }
}

/// D4: an answer that comes before the request has ended is the answer.
pub(crate) async fn an_early_http2_answer_is_an_answer<B: Connect>(_: &Expected) {
    let head = frames::fields(1, &[(":status", "413"), ("content-length", "2")], false);
    let early = [head, frames::data(1, b"no", true), frames::reset(1, frames::NO_ERROR)].concat();
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStreamHead,
        send(early),
        Step::ReadStream,
        send(frames::answer(3, "next")),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(prior_knowledge);
    let answer = run(&backend, post(&server.url("/"), Body::stream(Silent, None))).await.unwrap();
    assert_eq!((answer.head.status(), answer.text().as_str()), (413, "no"));
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "next");
}

pub(crate) async fn a_head_without_a_body_ends_an_http2_stream<B: Connect>(_: &Expected) {
    let server = Server::start([vec![
        Step::Http2(Vec::new()),
        Step::ReadStream,
        send(frames::fields(1, &[(":status", "200"), ("content-length", "5")], true)),
        Step::ReadStream,
        send(frames::fields(3, &[(":status", "204")], true)),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(prior_knowledge);
    let mut head = get(&server.url("/"));
    head.method = Method::HEAD;
    assert_eq!(run(&backend, head).await.unwrap().text(), "");
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().head.status(), 204);
}

/// How a POST fails whose stream was read whole.
async fn failure_of<B: Connect>(script: Vec<Step>) -> Failure {
    let begin = [Step::Http2(Vec::new()), Step::ReadStream];
    let server = Server::start([begin.into_iter().chain(script).collect()]);
    let backend: B = backend(prior_knowledge);
    let failure = match backend.send(post(&server.url("/"), "x")).await {
        Ok(response) => read::<B>(response.body).await.expect_err("an answer"),
        Err(error) => failure::<B>(&error, false),
    };
    assert_eq!((server.connections(), server.arrivals().len()), (1, 1));
    failure
}
