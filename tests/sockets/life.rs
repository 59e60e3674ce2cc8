//! Beginnings and ends: spawning, falling back, closing, and what outlives the last handle.

use std::task::Poll;

use dace::http::HttpBackend;
use dace::{Adapter, Error, Runtime};
use dace_wire::{Gate, Refusing, Server, Step, ok};
use futures_util::future::join;

use crate::crowd::Crowd;
use crate::support::{assert_all_back, dependency, get, get_root, ms, on, secs, timed};

on_every_adapter! {
    a_fallback_stands_in_for_a_server_that_refuses
    closing_waits_for_the_calls_under_way_and_takes_no_more
    closing_does_not_wait_longer_than_it_may
    no_connection_outlives_the_last_handle
}

async fn a_fallback_stands_in_for_a_server_that_refuses<A: Adapter>() {
    let refusing = Refusing::new();
    let one = dependency::<A>(|builder| builder);
    let url = refusing.url();
    let report = one
        .call(|call| get(call, &url))
        .fallback(async |error| {
            assert!(matches!(error, Error::RetriesExhausted { attempts: 4, .. }), "{error:?}");
            Ok(String::from("from the cache"))
        })
        .report()
        .await;
    assert_eq!(report.result.unwrap(), "from the cache");
    assert!(report.fallback_used);
    assert_eq!(report.attempts.len(), 4);
    assert_all_back(&one);
}

async fn closing_waits_for_the_calls_under_way_and_takes_no_more<A: Adapter>() {
    let (asked, go) = (Gate::new(), Gate::new());
    let server = Server::start([vec![
        Step::ReadRequestThen(asked.clone()),
        Step::Wait(go.clone()),
        ok("late"),
        Step::AwaitClose,
    ]]);
    let one = on::<A>(&server, |builder| builder);
    let closing = async {
        asked.opened().await;
        let mut close = Box::pin(one.close(dace_wire::PATIENCE));
        let ended = std::future::poll_fn(|cx| Poll::Ready(close.as_mut().poll(cx).is_ready()));
        assert!(!ended.await, "a call is under way");
        let error = get_root(&one).await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error:?}");
        go.open();
        close.await
    };
    let (result, left) = join(get_root(&one), closing).await;
    assert_eq!((result.unwrap().as_str(), left), ("late", 0));
    assert_eq!(server.arrivals().len(), 1);
    assert_all_back(&one);
}

async fn closing_does_not_wait_longer_than_it_may<A: Adapter>() {
    let (asked, go) = (Gate::new(), Gate::new());
    let server = Server::start([vec![
        Step::ReadRequestThen(asked.clone()),
        Step::Wait(go.clone()),
        ok("late"),
        Step::AwaitClose,
    ]]);
    let one = on::<A>(&server, |builder| builder);
    let closing = async {
        asked.opened().await;
        let (left, took) = timed::<A, _>(one.close(ms(100))).await;
        assert!(took >= ms(100) && took < ms(1100), "{took:?}");
        go.open();
        left
    };
    let (result, left) = join(get_root(&one), closing).await;
    assert_eq!((result.unwrap().as_str(), left), ("late", 1), "it is let finish all the same");
}

async fn no_connection_outlives_the_last_handle<A: Adapter>() {
    let server = Crowd::start(None);
    let one = dependency::<A>(|builder| builder.targets([server.url()]));
    let other = one.clone();
    let calls = futures_util::future::join_all((0..5).map(|_| get_root(&one)));
    assert!(calls.await.iter().all(Result::is_ok));
    let connections = server.connections();
    drop(one);
    assert_eq!(get_root(&other).await.unwrap(), "/");
    assert_eq!(server.connections(), connections, "clones share them");
    drop(other);
    // At once, and not because it lay idle for too long.
    let ((), took) = timed::<A, _>(async { server.all_closed() }).await;
    assert!(took < secs(2), "{took:?}");
}

/// A call on any runtime and backend, as a future that a task can be made of.
fn task<R: Runtime, B: HttpBackend>(
    dependency: &dace::Dependency<R, B>,
    path: String,
) -> impl Future<Output = Result<String, crate::support::Error>> + Send + 'static {
    dependency.call(move |call| {
        let path = path.clone();
        async move { get(call, &path).await }
    })
}

/// The same, of all the ways to adjust a call.
fn adjusted_task<R: Runtime, B: HttpBackend>(
    dependency: &dace::Dependency<R, B>,
) -> impl Future<Output = Result<String, crate::support::Error>> + Send + 'static {
    let dependency = dependency.clone();
    async move {
        let call = dependency.call(|call| get(call, "/adjusted")).timeout(ms(5_000));
        call.fallback(|error| async move { Err(error) }).report().await.result
    }
}

#[test]
fn a_generic_call_is_spawned_on_a_runtime_of_many_threads() {
    let server = Crowd::start(None);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let one = dependency::<dace::tokio::Tokio>(|builder| builder.targets([server.url()]));
    runtime.block_on(async {
        let spawned = tokio::spawn(task(&one, "/spawned".into()));
        assert_eq!(spawned.await.unwrap().unwrap(), "/spawned");
        assert_eq!(tokio::spawn(adjusted_task(&one)).await.unwrap().unwrap(), "/adjusted");
    });
    // smol's own executor runs on a thread of its own, and dace's smol adapter under tokio's too.
    let one = dependency::<dace::smol::Smol>(|builder| builder.targets([server.url()]));
    smol::block_on(async {
        assert_eq!(smol::spawn(task(&one, "/spawned".into())).await.unwrap(), "/spawned");
        assert_eq!(smol::spawn(adjusted_task(&one)).await.unwrap(), "/adjusted");
    });
    runtime.block_on(async {
        let spawned = tokio::spawn(task(&one, "/elsewhere".into()));
        assert_eq!(spawned.await.unwrap().unwrap(), "/elsewhere");
    });
}

#[test]
fn no_task_outlives_the_last_handle() {
    let server = Crowd::start(None);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let one = dependency::<dace::tokio::Tokio>(|builder| builder.targets([server.url()]));
        let (a, b) = join(get_root(&one), get_root(&one)).await;
        assert_eq!((a.unwrap(), b.unwrap()), ("/".into(), "/".into()));
        let alive = || runtime.metrics().num_alive_tasks();
        assert!(alive() > 0, "a task closes idle connections");
        drop(one);
        let deadline = dace::tokio::TokioRuntime.now().after(dace_wire::PATIENCE);
        while alive() > 0 {
            assert!(dace::tokio::TokioRuntime.now() < deadline, "{} tasks are left", alive());
            tokio::task::yield_now().await;
        }
    });
}
