//! Connections live no longer than they should: not after the backend, not after their runtime.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use dace_core::http::{Connect, FaultKind, HttpBackend, HttpSettings, Sent};
use dace_core::{Instant, Runtime as _};
use dace_tokio::{HyperBackend, TokioRuntime};
use dace_wire::{Gate, PATIENCE, Server, Step, get, keep_alive, ok, post, run, send};
use tokio::runtime::{Builder, Handle, Runtime};

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn backend(pool_size: usize) -> HyperBackend {
    let mut settings = HttpSettings::default();
    settings.pool_size = pool_size;
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

/// A9: no task outlives the last handle.
#[test]
fn no_task_outlives_the_last_handle() {
    runtime().block_on(async {
        let closed = Gate::new();
        let mut script = keep_alive(&["one"]);
        script.push(Step::Open(closed.clone()));
        let server = Server::start([script]);
        let backend = backend(10);
        run(&backend, get(&server.url("/"))).await.unwrap();
        // The one that closes idle connections: whoever has an exchange drives its connection.
        assert_eq!(Handle::current().metrics().num_alive_tasks(), 1);
        drop(backend);
        closed.wait();
        all_tasks_end().await;
    });
}

/// G6: connections are bounded, for each server and over all.
#[test]
fn no_more_connections_lie_idle_than_may() {
    runtime().block_on(async {
        let gates: Vec<Gate> = (0..3).map(|_| Gate::new()).collect();
        let (go, closed) = (Gate::new(), Gate::new());
        let script = |gate: &Gate| {
            vec![
                Step::ReadRequestThen(gate.clone()),
                Step::Wait(go.clone()),
                ok("done"),
                Step::AwaitClose,
                Step::Open(closed.clone()),
            ]
        };
        let server = Server::start(gates.iter().map(script));
        let backend = Arc::new(backend(2));
        let exchanges: Vec<_> = gates
            .iter()
            .map(|_| {
                let (backend, request) = (backend.clone(), get(&server.url("/")));
                tokio::spawn(async move { run(&*backend, request).await.map(drop) })
            })
            .collect();
        for gate in &gates {
            gate.opened().await;
        }
        go.open();
        for exchange in exchanges {
            exchange.await.unwrap().unwrap();
        }
        // One of the three is closed at once; the others lie there.
        closed.opened().await;
        assert_eq!(server.connections(), 3);
    });
}

/// G13: a runtime that is gone is an error, and the next call works.
#[test]
fn a_connection_whose_runtime_is_gone_is_replaced() {
    let server = Server::start([keep_alive(&["first"]), keep_alive(&["second"])]);
    let backend = backend(10);
    let first = runtime();
    let answer = first.block_on(run(&backend, get(&server.url("/"))));
    assert_eq!(answer.unwrap().text(), "first");
    drop(first);
    let answer = runtime().block_on(run(&backend, get(&server.url("/"))));
    assert_eq!(answer.unwrap().text(), "second");
}

/// G13: a runtime that is gone is an error, and the next call works.
#[test]
fn an_exchange_whose_runtime_goes_ends_in_an_error() {
    let asked = Gate::new();
    let server = Server::start([vec![
        Step::ReadRequest,
        ok("first"),
        Step::ReadRequestThen(asked.clone()),
        Step::Drain,
    ]]);
    let backend = backend(10);
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
    assert_eq!(failure.fault.kind, FaultKind::RuntimeGone, "{failure:?}");
    assert_eq!(failure.fault.sent, Sent::MaybeSent);
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let backend = backend(10);
    let mut exchange = Box::pin(backend.send(get("http://127.0.0.1:9/")));
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Err(error)) = Pin::new(&mut exchange).poll(&mut cx) else {
        panic!("an error at once");
    };
    let fault = HyperBackend::fault(&error);
    assert_eq!(fault.kind, FaultKind::RuntimeGone);
    assert_eq!(fault.sent, Sent::Unsent);
}

#[tokio::test(start_paused = true)]
async fn a_paused_clock_pauses_both_now_and_sleep() {
    let runtime = TokioRuntime;
    let start = runtime.now();
    let hour = Duration::from_secs(3600);
    runtime.sleep_until(start.after(hour)).await;
    let slept = runtime.now().since(start);
    assert!(slept >= hour && slept < hour + Duration::from_secs(1), "{slept:?}");
    drop(runtime.sleep_until(Instant::NEVER));
    assert_ne!(runtime.seed(), runtime.seed());
    assert!(runtime.unix_time().is_some());
}

/// Nobody reads the rest of the request, and nobody will: it goes with its connection.
#[test]
fn an_upload_that_nobody_reads_ends_with_its_answer() {
    runtime().block_on(async {
        let held = Gate::new();
        let answer = send("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\nno");
        let script = || vec![Step::ReadHead, answer.clone(), Step::Wait(held.clone())];
        let server = Server::start([script(), script()]);
        let backend = backend(10);
        for persistent in [true, false] {
            let mut request = post(&server.url("/"), vec![b'x'; 24 << 20]);
            request.options.persistent = persistent;
            let answer = run(&backend, request).await.unwrap();
            assert_eq!(answer.text(), "no");
            all_tasks_end().await;
        }
        held.open();
    });
}
