//! Timeouts: of the call, of an attempt, of a request, of connecting, of a body that stalls.

use std::time::Duration;

use dace::http::{FaultKind, HttpErrorKind, Sent};
use dace::{Adapter, Class, Error, HttpError, RoundRobin, Why};
use dace_wire::{Gate, Hanging, Server, Step, keep_alive, send};

use crate::support::{assert_all_back, dependency, get, get_root, ms, on, secs, timed};

on_every_adapter! {
    a_call_ends_at_its_timeout_and_leaves_nothing_behind
    an_attempt_that_hangs_is_retried_on_another_target
    an_attempt_that_hangs_is_not_retried_unasked
    a_connect_that_hangs_ends_in_time_and_nothing_was_sent
    a_call_has_a_connect_timeout_of_its_own
    a_request_has_a_timeout_of_its_own_for_head_and_body
    a_body_that_stalls_is_an_error
}

/// Not before its time, and not long after.
#[track_caller]
fn assert_in_time(took: Duration, timeout: Duration) {
    assert!(took >= timeout && took < timeout + secs(1), "{took:?} for {timeout:?}");
}

async fn a_call_ends_at_its_timeout_and_leaves_nothing_behind<A: Adapter>() {
    let closed = Gate::new();
    let server = Server::start([
        vec![Step::ReadRequest, Step::AwaitClose, Step::Open(closed.clone())],
        keep_alive(&["next"]),
    ]);
    // One connection: the next call needs the place, and the backend has to let the old one go.
    let one = on::<A>(&server, |builder| builder.timeout(ms(200)).http_pool_size(1));
    let (result, took) = timed::<A, _>(get_root(&one)).await;
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Timeout { attempts: 1, .. }), "{error:?}");
    assert_in_time(took, ms(200));
    assert_all_back(&one);
    assert_eq!(one.call(|call| get(call, "/")).timeout(secs(5)).await.unwrap(), "next");
    closed.opened().await;
    assert_eq!(one.snapshot().totals.timed_out, 1);
    assert_all_back(&one);
}

async fn an_attempt_that_hangs_is_retried_on_another_target<A: Adapter>() {
    let hung = Server::start(vec![vec![Step::ReadRequest, Step::AwaitClose]; 2]);
    let good = Server::start([keep_alive(&["good", "good"])]);
    let both = dependency::<A>(|builder| {
        builder
            .load_balancer(RoundRobin::new([hung.url(""), good.url("")]))
            .attempt_timeout(ms(150))
            .retry_on_timeout(true)
    });
    // One of the two at least meets the one that hangs.
    for _ in 0..2 {
        assert_eq!(get_root(&both).await.unwrap(), "good");
    }
    let (arrived, retries) = (hung.arrivals().len() as u64, both.snapshot().totals.retries);
    assert!(arrived >= 1 && arrived == retries, "{arrived} arrived, {retries} retries");
    assert_eq!(good.arrivals().len(), 2);
    assert_all_back(&both);
    drop(both);
}

async fn an_attempt_that_hangs_is_not_retried_unasked<A: Adapter>() {
    let server = Server::start([vec![Step::ReadRequest, Step::AwaitClose]]);
    let one = on::<A>(&server, |builder| builder.attempt_timeout(ms(150)));
    let (result, took) = timed::<A, _>(get_root(&one)).await;
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Timeout { attempts: 1, .. }), "{error:?}");
    assert_in_time(took, ms(150));
    assert_eq!(server.arrivals().len(), 1);
    assert_all_back(&one);
}

async fn a_connect_that_hangs_ends_in_time_and_nothing_was_sent<A: Adapter>() {
    let hanging = Hanging::new();
    let one = dependency::<A>(|builder| builder.connect_timeout(ms(150)).retry_attempts(1));
    let url = hanging.url();
    let post = one.call(|call| {
        let url = &url;
        async move { call.http().post(url).body("x").send().await.map(drop) }
    });
    let (report, took) = timed::<A, _>(post.report()).await;
    let classes: Vec<Class> = report.attempts.iter().map(|attempt| attempt.class).collect();
    assert_eq!(classes, [Class::Unsent, Class::Unsent], "what was not sent may always be retried");
    assert_in_time(took, ms(300));
    let error = report.result.unwrap_err();
    assert_eq!(error.why(), Some(Why::NoAttempts));
    assert_connect_timed_out(error);
    assert_all_back(&one);
}

async fn a_call_has_a_connect_timeout_of_its_own<A: Adapter>() {
    let hanging = Hanging::new();
    let one = dependency::<A>(|builder| builder.connect_timeout(secs(4)).retry_attempts(0));
    let url = hanging.url();
    let call = one.call(|call| get(call, &url)).connect_timeout(ms(150));
    let (result, took) = timed::<A, _>(call).await;
    assert_in_time(took, ms(150));
    assert_connect_timed_out(result.unwrap_err());
    assert_all_back(&one);
}

#[track_caller]
fn assert_connect_timed_out(error: Error<HttpError>) {
    let error = error.into_source().unwrap();
    assert_eq!(*error.kind(), HttpErrorKind::Fault(FaultKind::ConnectTimeout), "{error:?}");
    assert_eq!((error.sent(), error.class()), (Sent::Unsent, Class::Unsent));
}

/// A connection that sends half an answer, or none, and no more until the client closes.
fn halves() -> [Vec<Step>; 2] {
    let half = send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
    [vec![Step::ReadRequest, Step::AwaitClose], vec![Step::ReadRequest, half, Step::AwaitClose]]
}

/// E1, F1.
async fn a_request_has_a_timeout_of_its_own_for_head_and_body<A: Adapter>() {
    for script in halves() {
        let server = Server::start([script]);
        let one = on::<A>(&server, |builder| builder);
        let call = one.call(|call| async move {
            call.http().get("/").timeout(ms(150)).send().await?.text().await
        });
        let (result, took) = timed::<A, _>(call).await;
        assert_in_time(took, ms(150));
        let error = result.unwrap_err();
        assert_eq!(error.why(), Some(Why::Class), "it is not retried unasked: {error:?}");
        let error = error.into_source().unwrap();
        assert_eq!(*error.kind(), HttpErrorKind::Timeout(ms(150)));
        assert_eq!(error.class(), Class::Timeout);
        assert_eq!(server.arrivals().len(), 1);
        assert_all_back(&one);
        // The backend may be told with the end of its last handle only.
        drop(one);
    }
}

async fn a_body_that_stalls_is_an_error<A: Adapter>() {
    let [_, half] = halves();
    let server = Server::start([half]);
    let one = on::<A>(&server, |builder| builder.stall_timeout(ms(150)));
    let (result, took) = timed::<A, _>(get_root(&one)).await;
    assert_in_time(took, ms(150));
    let error = result.unwrap_err().into_source().unwrap();
    assert_eq!(*error.kind(), HttpErrorKind::Stalled(ms(150)));
    assert_eq!((error.sent(), error.class()), (Sent::Sent, Class::Timeout));
    assert_eq!(server.arrivals().len(), 1);
    assert_all_back(&one);
    drop(one);
}
