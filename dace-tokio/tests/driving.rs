//! A connection of HTTP/1.1 moves only while somebody awaits its exchange or reads its answer, and that is
//! enough.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use dace_core::http::{Body, BoxError, Connect, HttpBackend, HttpSettings};
use dace_tokio::{HyperBackend, HyperBody};
use dace_wire::{Gate, PATIENCE, Server, Step, get, keep_alive, ok, post, race, read, run, send};
use futures_core::Stream;
use tokio::runtime::{Builder, Runtime};

/// A runtime of this thread alone: while the test blocks it, no task can do anything.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

fn backend() -> HyperBackend {
    HyperBackend::connect(HttpSettings::default()).expect("a backend")
}

#[test]
fn a_dropped_exchange_closes_its_socket_at_once() {
    // Of the second one a part is unsent, and the server reads none of it.
    for body in [Body::empty(), Body::from(vec![b'x'; 24 << 20])] {
        let (asked, dropped, closed) = (Gate::new(), Gate::new(), Gate::new());
        let server = Server::start([vec![
            Step::ReadHead,
            Step::Open(asked.clone()),
            Step::Wait(dropped.clone()),
            Step::Drain,
            Step::Open(closed.clone()),
        ]]);
        let (runtime, backend) = (runtime(), backend());
        let mut exchange = Box::pin(backend.send(post(&server.url("/"), body)));
        let begun = runtime.block_on(race(exchange.as_mut(), asked.opened()));
        assert!(begun.is_none());
        drop(exchange);
        dropped.open();
        closed.wait();
    }
}

#[test]
fn a_dropped_answer_closes_its_socket_at_once() {
    let closed = Gate::new();
    let server = Server::start([vec![
        Step::ReadRequest,
        send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst"),
        Step::AwaitClose,
        Step::Open(closed.clone()),
    ]]);
    let (runtime, backend) = (runtime(), backend());
    let answer = runtime.block_on(backend.send(get(&server.url("/")))).unwrap();
    drop(answer);
    closed.wait();
}

#[test]
fn a_dropped_backend_closes_its_sockets_at_once() {
    let closed = Gate::new();
    let mut script = keep_alive(&["one"]);
    script.push(Step::Open(closed.clone()));
    let server = Server::start([script]);
    let (runtime, backend) = (runtime(), backend());
    runtime.block_on(run(&backend, get(&server.url("/")))).unwrap();
    drop(backend);
    closed.wait();
}

/// Nobody looked at it while it lay there.
#[test]
fn an_idle_connection_that_ended_meanwhile_is_not_used() {
    for end in [Step::Finish, send("HTTP/1.1 408 Too Late\r\n\r\n")] {
        let (go, ended) = (Gate::new(), Gate::new());
        let first = vec![
            Step::ReadRequest,
            ok("one"),
            Step::Wait(go.clone()),
            end,
            Step::Open(ended.clone()),
            Step::Drain,
        ];
        let server = Server::start([first, keep_alive(&["two"])]);
        let (runtime, backend) = (runtime(), backend());
        runtime.block_on(run(&backend, get(&server.url("/")))).unwrap();
        go.open();
        ended.wait();
        // It must not arrive twice, and does not.
        let answer = runtime.block_on(async {
            // Where the runtime has nothing to do, it looks at its sockets.
            tokio::task::yield_now().await;
            run(&backend, post(&server.url("/"), "x")).await
        });
        assert_eq!(answer.unwrap().text(), "two");
    }
}

/// The pieces of an upload, each when its gate opens.
struct Gated(Vec<(Gate, &'static str)>);

impl Stream for Gated {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some((gate, piece)) = self.0.first().cloned() else {
            return Poll::Ready(None);
        };
        if pin!(gate.opened()).poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.0.remove(0);
        Poll::Ready(Some(Ok(Bytes::from_static(piece.as_bytes()))))
    }
}

#[test]
fn an_upload_goes_on_while_its_early_answer_is_read() {
    let more = Gate::new();
    let server = Server::start([vec![
        Step::ReadHead,
        send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\nread"),
        Step::Open(more.clone()),
        Step::ReadBytes("5\r\nwhole\r\n0\r\n\r\n".len()),
        send(" all"),
        Step::ReadRequest,
        ok("again"),
        Step::AwaitClose,
    ]]);
    let (runtime, backend) = (runtime(), backend());
    runtime.block_on(async {
        let upload = Body::stream(Gated(vec![(more.clone(), "whole")]), None);
        let answer = backend.send(post(&server.url("/"), upload)).await.unwrap();
        assert_eq!(read::<HyperBackend>(answer.body).await.unwrap(), b"read all");
        // All of it was sent, so the connection is good for another one.
        assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "again");
    });
    assert_eq!(server.connections(), 1);
}

/// A task may do only so much before others have their turn: whatever is left of that, nothing is lost.
#[test]
fn exchanges_get_on_with_what_is_left_of_a_tasks_budget() {
    const BUDGET: usize = 128;
    let text = "x".repeat(100_000);
    runtime().block_on(async {
        for used in (0..BUDGET).rev().take(8) {
            let server = Server::start([keep_alive(&["one", &text, "three"])]);
            let backend = backend();
            let exchanges = async {
                for length in ["one".len(), text.len(), "three".len()] {
                    let answer = run(&backend, post(&server.url("/"), "body")).await.unwrap();
                    assert_eq!(answer.body.len(), length);
                }
            };
            let mut exchanges = pin!(exchanges);
            let begrudged = poll_fn(|cx| {
                for _ in 0..used {
                    let _ = pin!(tokio::task::consume_budget()).poll(cx);
                }
                exchanges.as_mut().poll(cx)
            });
            let ended = tokio::time::timeout(PATIENCE, begrudged).await;
            ended.unwrap_or_else(|_| panic!("it hangs where {used} are used"));
        }
    });
}

/// Whoever is woken when the socket moves has no need to wake itself.
#[test]
fn an_exchange_is_polled_no_oftener_than_something_happens() {
    let (begun, go) = (Gate::new(), Gate::new());
    let server = Server::start([vec![
        Step::ReadRequest,
        ok("one"),
        Step::ReadRequest,
        Step::Wait(go.clone()),
        ok("two"),
        Step::AwaitClose,
    ]]);
    let backend = backend();
    let mut polls = 0;
    runtime().block_on(async {
        run(&backend, get(&server.url("/"))).await.unwrap();
        let mut exchange = pin!(run(&backend, get(&server.url("/"))));
        let first = begun.clone();
        let counted = poll_fn(|cx| {
            polls += 1;
            let poll = exchange.as_mut().poll(cx);
            first.open();
            poll
        });
        let (begun, go) = (begun.clone(), go.clone());
        let answering = async move {
            begun.opened().await;
            // Every wake but the one by the answer has been acted on by then.
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            go.open();
        };
        let answering = tokio::spawn(answering);
        counted.await.unwrap();
        answering.await.unwrap();
    });
    assert_eq!(polls, 2);
}

/// Each piece is waited for by one task and read by another, on whatever thread.
#[test]
fn a_body_that_goes_from_task_to_task_is_read_to_its_end() {
    const EXCHANGES: usize = 16;
    const PIECES: usize = 64;
    let piece = "x".repeat(512);
    let length = piece.len() * PIECES;
    let mut script = vec![
        Step::ReadRequest,
        send(format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n")),
    ];
    script.extend((0..PIECES).map(|_| send(&piece)));
    script.push(Step::AwaitClose);
    let server = Server::start(vec![script; EXCHANGES]);
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build();
    let backend = backend();
    let next = |body: &mut HyperBody, cx: &mut Context<'_>| Pin::new(body).poll_next(cx);
    let exchange = |url: String| {
        let backend = backend.clone();
        async move {
            let mut body = backend.send(get(&url)).await.unwrap().body;
            let mut read = 0;
            loop {
                let polled = poll_fn(|cx| Poll::Ready(next(&mut body, cx))).await;
                let piece = match polled {
                    Poll::Ready(piece) => piece,
                    Poll::Pending => {
                        let other = tokio::spawn(async move {
                            let piece = poll_fn(|cx| next(&mut body, cx)).await;
                            (piece, body)
                        });
                        let (piece, back) = other.await.unwrap();
                        body = back;
                        piece
                    }
                };
                match piece {
                    Some(piece) => read += piece.unwrap().len(),
                    None => return read,
                }
            }
        }
    };
    runtime.expect("a runtime").block_on(async {
        let exchanges: Vec<_> =
            (0..EXCHANGES).map(|_| tokio::spawn(exchange(server.url("/")))).collect();
        for exchange in exchanges {
            let ended = tokio::time::timeout(PATIENCE, exchange).await;
            assert_eq!(ended.expect("nobody misses a wake").unwrap(), length);
        }
    });
}

/// Answers may be lent to other threads, so their bodies can be too.
#[test]
fn a_body_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<HyperBody>();
}
