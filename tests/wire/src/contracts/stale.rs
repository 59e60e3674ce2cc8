//! Connections that die just as a request is sent on them.

use dace_core::http::{Body, Connect, FaultKind, Sent};

use super::{assert_fault, default, failed};
use crate::client::backend;
use crate::{Expected, Server, Step, get, keep_alive, ok, post, run, upload};

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
