//! Shared connections: made once, and gone when they should be.
#![cfg(feature = "http2")]

use std::sync::Arc;
use std::task::{Context, Poll};

use dace_core::http::{
    Body, BoxError, Connect, FaultKind, HttpBackend, HttpSettings, Protocol, Sent,
};
use dace_tokio::HyperBackend;
use dace_wire::{Gate, PATIENCE, Server, Step, frames, get, post, run, send, streams};
use tokio::runtime::{Builder, Handle, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn backend() -> HyperBackend {
    let mut settings = HttpSettings::default();
    settings.protocol = Protocol::Http2;
    HyperBackend::connect(settings).expect("a backend")
}

async fn all_tasks_end() {
    let end = async {
        while Handle::current().metrics().num_alive_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, end).await.expect("tasks are left");
}

#[test]
fn no_http2_task_outlives_the_last_handle() {
    runtime().block_on(async {
        let closed = Gate::new();
        let mut script = streams(&["one"]);
        script.push(Step::Open(closed.clone()));
        let server = Server::start([script]);
        let backend = backend();
        run(&backend, get(&server.url("/"))).await.unwrap();
        assert!(Handle::current().metrics().num_alive_tasks() > 0);
        drop(backend);
        closed.wait();
        all_tasks_end().await;
    });
}

#[test]
fn a_body_outlives_the_last_handle_and_its_connection_does_not() {
    runtime().block_on(async {
        let (go, closed) = (Gate::new(), Gate::new());
        let begin = frames::fields(1, &[(":status", "200")], false);
        let server = Server::start([vec![
            Step::Http2(Vec::new()),
            Step::ReadStream,
            send(begin),
            Step::Wait(go.clone()),
            send(frames::data(1, b"late", true)),
            Step::AwaitClose,
            Step::Open(closed.clone()),
        ]]);
        let backend = backend();
        let body = backend.send(get(&server.url("/"))).await.unwrap().body;
        drop(backend);
        go.open();
        assert_eq!(dace_wire::read::<HyperBackend>(body).await.unwrap(), b"late");
        closed.wait();
        all_tasks_end().await;
    });
}

/// The server answers and neither reads on nor resets; nobody waits for the rest.
#[test]
fn an_upload_ends_with_its_answer() {
    struct Silent(#[expect(dead_code, reason = "dropped with the upload")] Arc<()>);

    impl futures_core::Stream for Silent {
        type Item = Result<bytes::Bytes, BoxError>;

        fn poll_next(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Self::Item>> {
            std::task::Poll::Pending
        }
    }

    runtime().block_on(async {
        let server = Server::start([vec![
            Step::Http2(Vec::new()),
            Step::ReadStreamHead,
            send(frames::answer(1, "enough")),
            Step::Drain,
        ]]);
        let (backend, held) = (backend(), Arc::new(()));
        let body = Body::stream(Silent(held.clone()), None);
        let answer = run(&backend, post(&server.url("/"), body)).await.unwrap();
        assert_eq!(answer.text(), "enough");
        let dropped = async {
            while Arc::strong_count(&held) > 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, dropped).await.expect("the upload goes on");
        drop(backend);
        all_tasks_end().await;
    });
}

#[test]
fn exchanges_that_begin_together_make_one_connection() {
    runtime().block_on(async {
        let server = Server::start([streams(&["done"; 16])]);
        let backend = Arc::new(backend());
        let exchanges: Vec<_> = (0..16)
            .map(|_| {
                let (backend, request) = (backend.clone(), get(&server.url("/")));
                tokio::spawn(async move { run(&*backend, request).await.map(drop) })
            })
            .collect();
        for exchange in exchanges {
            exchange.await.unwrap().unwrap();
        }
        assert_eq!((server.connections(), server.arrivals().len()), (1, 16));
    });
}

/// Whoever makes the connection may be dropped; the next in turn makes it then.
#[test]
fn a_dropped_dial_hands_its_turn_on() {
    runtime().block_on(async {
        let hanging = dace_wire::Hanging::new();
        let backend = Arc::new(backend());
        let begin = |timeout: std::time::Duration| {
            let (backend, mut request) = (backend.clone(), get(&hanging.url()));
            request.options.connect_timeout = timeout;
            tokio::spawn(async move { run(&*backend, request).await.map(drop) })
        };
        let first = begin(PATIENCE);
        let second = begin(std::time::Duration::from_millis(200));
        // It waits for the first one's connection, and no longer than its own time.
        let failure = second.await.unwrap().unwrap_err();
        assert_eq!(failure.fault.kind, FaultKind::ConnectTimeout);
        assert_eq!(failure.fault.sent, Sent::Unsent);
        first.abort();
        assert!(first.await.is_err());
        let third = begin(std::time::Duration::from_millis(200));
        let failure = third.await.unwrap().unwrap_err();
        assert!(failure.chain.contains("connect to"), "{failure:?}");
    });
}

#[test]
fn a_shared_connection_whose_runtime_is_gone_is_replaced() {
    let server = Server::start([streams(&["first"]), streams(&["second"])]);
    let backend = backend();
    let first = runtime();
    let answer = first.block_on(run(&backend, get(&server.url("/"))));
    assert_eq!(answer.unwrap().text(), "first");
    drop(first);
    let answer = runtime().block_on(run(&backend, get(&server.url("/"))));
    assert_eq!(answer.unwrap().text(), "second");
}

#[test]
fn an_http2_exchange_whose_runtime_goes_ends_in_an_error() {
    let asked = Gate::new();
    let mut script = streams(&["first"]);
    script.pop();
    script.extend([Step::ReadStream, Step::Open(asked.clone()), Step::Drain]);
    let server = Server::start([script]);
    let backend = backend();
    let (first, second) = (runtime(), runtime());
    first.block_on(run(&backend, get(&server.url("/")))).unwrap();
    let request = get(&server.url("/"));
    // Begun on the one, since a connection is used on its own runtime alone, and awaited on the other.
    let mut exchange = Box::pin(run(&backend, request));
    let begun = |cx: &mut Context<'_>| Poll::Ready(exchange.as_mut().poll(cx).is_pending());
    assert!(first.block_on(std::future::poll_fn(begun)));
    asked.wait();
    drop(first);
    let failure = second.block_on(exchange).map(drop).unwrap_err();
    let kinds = [FaultKind::RuntimeGone, FaultKind::Closed];
    assert!(kinds.contains(&failure.fault.kind), "{failure:?}");
    assert_eq!(failure.fault.sent, Sent::MaybeSent);
}
