//! A reader as a body, on the wire.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use dace_core::http::{Connect, FaultKind, HttpSettings};
use dace_tokio::{HyperBackend, reader};
use dace_wire::{Arrival, Failure, Server, Step, keep_alive, post, run};
use tokio::io::{AsyncRead, ReadBuf};

/// Three bytes at a time, each after a turn of waiting; then an end, or a failure.
struct Slow {
    rest: &'static [u8],
    ready: bool,
    fails: bool,
}

impl AsyncRead for Slow {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.ready = !self.ready;
        if self.ready {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.rest.is_empty() && self.fails {
            return Poll::Ready(Err(io::Error::other("disk gone")));
        }
        let (piece, rest) = self.rest.split_at(self.rest.len().min(3));
        self.rest = rest;
        buf.put_slice(piece);
        Poll::Ready(Ok(()))
    }
}

fn slow(fails: bool) -> Slow {
    Slow { rest: b"hello, reader", ready: false, fails }
}

fn backend() -> HyperBackend {
    HyperBackend::connect(HttpSettings::default()).expect("a backend")
}

async fn arrival(body: dace_core::http::Body) -> Arrival {
    let server = Server::start([keep_alive(&["done"])]);
    run(&backend(), post(&server.url("/"), body)).await.unwrap();
    server.arrivals().remove(0)
}

async fn failure(body: dace_core::http::Body) -> Failure {
    let server = Server::start([vec![Step::Drain]]);
    run(&backend(), post(&server.url("/"), body)).await.map(drop).expect_err("half a body")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_known_length_is_framed_by_it() {
    let arrival = arrival(reader(slow(false), Some(13))).await;
    assert_eq!(arrival.header("content-length"), ["13"]);
    assert_eq!(arrival.body(), b"hello, reader");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_of_unknown_length_is_chunked() {
    let arrival = arrival(reader(slow(false), None)).await;
    assert_eq!(arrival.header("transfer-encoding"), ["chunked"]);
    assert_eq!(
        arrival.body(),
        b"3\r\nhel\r\n3\r\nlo,\r\n3\r\n re\r\n3\r\nade\r\n1\r\nr\r\n0\r\n\r\n"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_reader_is_read_in_pieces() {
    let content: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    let arrival = arrival(reader(io::Cursor::new(content.clone()), Some(200_000))).await;
    assert_eq!(arrival.body(), content);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_fails_or_lies_fails_the_exchange() {
    for (body, says) in [
        (reader(slow(true), None), "disk gone"),
        (reader(slow(true), Some(20)), "disk gone"),
        (reader(slow(false), Some(20)), "length"),
        (reader(slow(false), Some(5)), "length"),
    ] {
        let failure = failure(body).await;
        assert_eq!(failure.fault.kind, FaultKind::RequestBody, "{failure:?}");
        assert!(failure.chain.contains(says), "{failure:?}");
    }
}

#[test]
fn a_reader_can_be_sent_once() {
    assert!(!reader(slow(false), None).is_replayable());
}
