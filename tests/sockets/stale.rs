//! Connections that the server closes after it read the next request: nobody can tell whether that
//! request was processed, so what must not happen twice is not sent twice.

use std::any::TypeId;

use dace::http::{Body, FaultKind, HttpErrorKind, Sent};
use dace::{Adapter, Error, HttpError, Why};
use dace_wire::{Server, Step, keep_alive, ok, upload};

use crate::support::{arrived, assert_all_back, get_root, ms, on};

on_every_adapter! {
    a_post_on_a_stale_connection_arrives_once_and_the_error_says_so
    an_idempotent_post_on_a_stale_connection_is_sent_again
    a_get_on_a_stale_connection_is_sent_again_and_is_no_retry
    each_of_five_hundred_posts_on_stale_connections_arrives_once
    each_of_five_hundred_idempotent_posts_on_stale_connections_is_sent_again
    two_thousand_gets_from_a_server_that_closes_after_each_answer_lose_none
}

const POSTS: usize = 500;

/// A connection that answers one request, and closes once it has read another.
fn stale() -> Vec<Step> {
    vec![Step::ReadRequest, ok("first"), Step::ReadRequestIfAny]
}

/// G1: a connection that closed while it was idle costs no safe request, and doubles no other.
async fn a_post_on_a_stale_connection_arrives_once_and_the_error_says_so<A: Adapter>() {
    let bodies: [fn() -> Body; 5] = [
        || Body::from("x"),
        Body::empty,
        || Body::from(""),
        || upload(vec![Ok("x")], Some(1)),
        || upload(vec![Ok("x")], None),
    ];
    for body in bodies {
        // The second is for a backend that does not dare to use the first one for an empty body.
        let server = Server::start([stale(), vec![Step::ReadRequest]]);
        let one = on::<A>(&server, |builder| builder);
        assert_eq!(get_root(&one).await.unwrap(), "first");
        let error = one
            .call(|call| async move { call.http().post("/").body(body()).send().await.map(drop) })
            .await
            .unwrap_err();
        assert!(matches!(error, Error::Operation { .. }), "{error:?}");
        assert_eq!(error.why(), Some(Why::NotReplaySafe));
        let error: HttpError = error.into_source().unwrap();
        assert_eq!(*error.kind(), HttpErrorKind::Fault(FaultKind::Closed));
        assert_eq!(error.sent(), Sent::MaybeSent);
        assert!(error.to_string().contains("may have processed the request"), "{error}");
        assert_eq!(arrived(&server, "POST"), 1);
        assert_eq!(one.snapshot().totals.retries, 0);
        assert_all_back(&one);
    }
}

async fn an_idempotent_post_on_a_stale_connection_is_sent_again<A: Adapter>() {
    let server = Server::start([stale(), keep_alive(&["second"])]);
    let one = on::<A>(&server, |builder| builder);
    assert_eq!(get_root(&one).await.unwrap(), "first");
    let text = one
        .call(|call| async move {
            call.http().post("/").body("x").idempotent(true).send().await?.text().await
        })
        .await
        .unwrap();
    assert_eq!(text, "second");
    assert_eq!(arrived(&server, "POST"), 2);
    assert_all_back(&one);
}

/// D6: nobody below dace sends again and again: at most once more, on a connection that was reused.
async fn a_get_on_a_stale_connection_is_sent_again_and_is_no_retry<A: Adapter>() {
    let server = Server::start([stale(), keep_alive(&["second"])]);
    let one = on::<A>(&server, |builder| builder.retry_attempts(0));
    assert_eq!(get_root(&one).await.unwrap(), "first");
    assert_eq!(get_root(&one).await.unwrap(), "second");
    let totals = one.snapshot().totals;
    assert_eq!((totals.attempts, totals.retries), (2, 0), "{totals:?}");
    assert_eq!(arrived(&server, "GET"), 3);
    let snapshot = one.snapshot();
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.failures == 0), "{snapshot}");
    assert_all_back(&one);
}

/// D1: what must not happen twice is sent once.
async fn each_of_five_hundred_posts_on_stale_connections_arrives_once<A: Adapter + 'static>() {
    // Under libcurl a request without a body that must not arrive twice never goes out on a connection
    // in use.
    let on_hyper = TypeId::of::<A>() == TypeId::of::<dace::tokio::Tokio>();
    let server = Server::start(vec![stale(); POSTS]);
    // The breaker would rightly stop this.
    let one = on::<A>(&server, |builder| builder.circuit_reset_timeout(ms(0)));
    for id in 0..POSTS {
        assert_eq!(get_root(&one).await.unwrap(), "first");
        let error = one
            .call(|call| async move {
                let body = match id % if on_hyper { 4 } else { 3 } {
                    3 => Body::empty(),
                    0 => Body::from("x"),
                    1 => upload(vec![Ok("x")], Some(1)),
                    _ => upload(vec![Ok("x"), Ok("y")], None),
                };
                let post = call.http().post("/").header("x-id", id.to_string());
                post.body(body).send().await.map(drop)
            })
            .await
            .unwrap_err();
        assert_eq!(error.why(), Some(Why::NotReplaySafe), "{id}: {error:?}");
    }
    assert_eq!(server.connections(), POSTS, "every one went out on a connection in use");
    let mut ids: Vec<usize> = server
        .arrivals()
        .iter()
        .flat_map(|arrival| arrival.header("x-id"))
        .map(|id| id.parse().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, Vec::from_iter(0..POSTS));
    assert_all_back(&one);
}

async fn each_of_five_hundred_idempotent_posts_on_stale_connections_is_sent_again<A: Adapter>() {
    let server = Server::start(vec![stale(); 2 * POSTS]);
    let one = on::<A>(&server, |builder| builder.retry_attempts(0));
    for id in 0..POSTS {
        assert_eq!(get_root(&one).await.unwrap(), "first");
        let text = one
            .call(|call| async move {
                let post = call.http().post("/").header("x-id", id.to_string()).body("x");
                post.idempotent(true).send().await?.text().await
            })
            .await
            .unwrap();
        assert_eq!(text, "first");
    }
    let arrivals = server.arrivals();
    let ids = arrivals.iter().flat_map(|arrival| arrival.header("x-id"));
    assert_eq!(ids.count(), 2 * POSTS);
    assert_all_back(&one);
}

/// G1: a connection that closed while it was idle costs no safe request, and doubles no other.
async fn two_thousand_gets_from_a_server_that_closes_after_each_answer_lose_none<A: Adapter>() {
    const GETS: usize = 2000;
    // It answers as one that keeps the connection, and closes it all the same.
    let server = Server::start((0..GETS).map(|_| vec![Step::ReadRequest, ok("fine")]));
    let one = on::<A>(&server, |builder| builder);
    for _ in 0..GETS {
        assert_eq!(get_root(&one).await.unwrap(), "fine");
    }
    assert_eq!(server.arrivals().len(), GETS);
    assert_eq!(one.snapshot().totals.retries, 0);
    assert_all_back(&one);
}
