//! HTTP/2 with prior knowledge: what libcurl would do by itself, and is kept from.

mod server;

use std::time::Duration;

use dace_core::http::{
    Body, Connect, FaultKind, Head, HttpBackend, HttpSettings, Method, Protocol, Sent, Version,
};
use dace_core::{Instant, Runtime as _};
use dace_smol::{IsahcBackend, SmolRuntime};
use dace_wire::{Gate, get, post, race, run, upload};

use server::{Act, HTTP_1_1, INTERNAL, REFUSED, Server};

fn backend() -> IsahcBackend {
    let mut settings = HttpSettings::default();
    settings.protocol = Protocol::Http2;
    IsahcBackend::connect(settings).unwrap()
}

const ONE: Act = Act::Answer("one", &[]);

#[test]
fn exchanges_share_a_connection() {
    smol::block_on(async {
        let server = Server::start([ONE]);
        let backend = backend();
        for body in [Body::empty(), "x".into(), upload(vec![Ok("y"), Ok("z")], None)] {
            let answer = run(&backend, post(&server.url("/"), body)).await.unwrap();
            assert_eq!(answer.head.version(), Version::Http2);
            assert_eq!(answer.text(), "one");
        }
        assert_eq!(server.requests(), [0, 0, 0]);
        assert_eq!(server.data(), b"xyz");
    });
}

#[test]
fn what_is_not_to_persist_has_a_connection_of_its_own() {
    smol::block_on(async {
        let asked = Gate::new();
        let server = Server::start([Act::Silence(asked.clone()), ONE]);
        let backend = backend();
        let once = || {
            let mut request = get(&server.url("/"));
            request.options.persistent = false;
            request
        };
        let first = backend.send(once());
        let second = async {
            asked.opened().await;
            run(&backend, once()).await.unwrap()
        };
        assert_eq!(race(first, second).await.map(drop), None);
        assert_eq!(server.requests(), [0, 1]);
    });
}

/// Every kind of request that must not arrive twice.
fn unsafe_requests(url: &str) -> Vec<dace_core::http::Request> {
    let mut unmarked = get(url);
    unmarked.options.replay_safe = false;
    vec![
        post(url, Body::empty()),
        post(url, "x"),
        post(url, upload(vec![Ok("x")], Some(1))),
        post(url, upload(vec![Ok("x")], None)),
        unmarked,
    ]
}

async fn arrives_once(act: Act, kinds: &[FaultKind]) {
    for reused in [false, true] {
        for index in 0..unsafe_requests("http://x/").len() {
            let before = reused.then_some(ONE);
            let server = Server::start(before.clone().into_iter().chain([act.clone()]));
            let backend = backend();
            if reused {
                run(&backend, get(&server.url("/"))).await.unwrap();
            }
            let request = unsafe_requests(&server.url("/")).swap_remove(index);
            let failure = run(&backend, request).await.map(|answer| answer.text()).unwrap_err();
            let case = format!("{act:?}, {index}, reused: {reused}, {failure:?}");
            assert!(kinds.contains(&failure.fault.kind), "{case}");
            assert_eq!(failure.fault.sent, Sent::MaybeSent, "{case}");
            assert_eq!(server.requests().len(), 1 + usize::from(reused), "{case}");
            assert_eq!(server.strangers(), 0, "{case}");
        }
    }
}

#[test]
fn a_refused_stream_arrives_once() {
    smol::block_on(arrives_once(Act::Reset(REFUSED), &[FaultKind::Closed]));
}

#[test]
fn a_stream_after_the_last_arrives_once() {
    smol::block_on(arrives_once(Act::GoAway(0), &[FaultKind::Closed]));
}

#[test]
fn a_stream_for_which_http_1_is_wanted_arrives_once() {
    let kinds = [FaultKind::Reset, FaultKind::Closed];
    smol::block_on(arrives_once(Act::Reset(HTTP_1_1), &kinds));
}

#[test]
fn a_stream_that_was_reset_arrives_once() {
    smol::block_on(arrives_once(Act::Reset(INTERNAL), &[FaultKind::Reset]));
}

#[test]
fn a_connection_that_closes_was_sent_to_once() {
    smol::block_on(arrives_once(Act::Close, &[FaultKind::Closed, FaultKind::Reset]));
}

#[test]
fn a_refused_stream_that_may_arrive_twice_is_sent_again() {
    smol::block_on(async {
        let server = Server::start([Act::Reset(REFUSED), ONE]);
        let answer = run(&backend(), get(&server.url("/"))).await.unwrap();
        assert_eq!(answer.text(), "one");
        assert_eq!(server.requests(), [0, 1]);

        let server = Server::start([Act::Reset(REFUSED)]);
        let failure = run(&backend(), get(&server.url("/"))).await.map(drop).unwrap_err();
        assert_eq!(failure.fault.kind, FaultKind::Reset, "{failure:?}");
        assert_eq!(server.requests().len(), 6, "libcurl gives up at some time");
    });
}

#[test]
fn a_head_that_must_not_arrive_twice_is_not_sent() {
    smol::block_on(async {
        let server = Server::start([ONE]);
        let mut request = get(&server.url("/"));
        request.method = Method::HEAD;
        request.options.replay_safe = false;
        let failure = run(&backend(), request).await.map(drop).unwrap_err();
        let fault = failure.fault;
        assert_eq!((fault.kind, fault.sent), (FaultKind::Unsupported, Sent::Unsent));
        assert_eq!(server.connections(), 0);
    });
}

#[test]
fn trailers_come_with_the_end_of_the_body() {
    smol::block_on(async {
        let server = Server::start([Act::Answer("one", &[("x-sum", "1"), ("x-sum", "2")])]);
        let response = backend().send(get(&server.url("/"))).await.unwrap();
        let mut body = response.body;
        assert!(IsahcBackend::trailers(&body).is_empty());
        while let Some(piece) = smol::stream::StreamExt::next(&mut body).await {
            assert_eq!(piece.unwrap(), "one");
        }
        let trailers = IsahcBackend::trailers(&body).iter();
        let fields: Vec<_> = trailers.map(|field| (field.name(), &field.value()[..])).collect();
        assert_eq!(fields, [("x-sum", &b"1"[..]), ("x-sum", &b"2"[..])]);
    });
}

/// Drops an exchange once it has arrived: at its deadline, or before it.
async fn give_up(backend: &IsahcBackend, server: &Server, arrived: &Gate, deadline: Instant) {
    let mut request = get(&server.url("/"));
    request.options.deadline = deadline;
    let until = async {
        arrived.opened().await;
        if !deadline.is_never() {
            SmolRuntime.sleep_until(deadline).await;
        }
    };
    assert!(race(backend.send(request), until).await.is_none());
}

fn soon() -> Instant {
    SmolRuntime.now().after(Duration::from_millis(20))
}

#[test]
fn a_connection_on_which_three_in_a_row_time_out_is_replaced() {
    smol::block_on(async {
        let gates: Vec<Gate> = (0..7).map(|_| Gate::new()).collect();
        let silent = |index: usize| Act::Silence(gates[index].clone());
        let server = Server::start([
            ONE,
            silent(0),
            silent(1),
            ONE,
            silent(2),
            silent(3),
            silent(4),
            silent(5),
            ONE,
        ]);
        let backend = backend();
        run(&backend, get(&server.url("/"))).await.unwrap();
        give_up(&backend, &server, &gates[0], soon()).await;
        give_up(&backend, &server, &gates[1], soon()).await;
        // An answer ends the row, and what ends before its deadline does not count.
        run(&backend, get(&server.url("/"))).await.unwrap();
        give_up(&backend, &server, &gates[2], soon()).await;
        give_up(&backend, &server, &gates[3], Instant::NEVER).await;
        give_up(&backend, &server, &gates[4], soon()).await;
        give_up(&backend, &server, &gates[5], soon()).await;
        assert_eq!(server.connections(), 1);
        run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!(server.requests(), [0, 0, 0, 0, 0, 0, 0, 0, 1]);
    });
}
