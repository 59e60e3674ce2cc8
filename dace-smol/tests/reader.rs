//! Readers as bodies.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use dace_core::http::{Connect, FaultKind, HttpSettings};
use dace_smol::{IsahcBackend, reader};
use dace_wire::{Server, Step, keep_alive, post, run};
use smol::io::{AsyncRead, Cursor};

#[test]
fn a_reader_is_sent_to_its_end() {
    smol::block_on(async {
        let server = Server::start([keep_alive(&["one", "two"])]);
        let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
        let content = "0123456789".repeat(10_000);
        for (length, text) in [(Some(100_000), "one"), (None, "two")] {
            let body = reader(Cursor::new(content.clone()), length);
            let answer = run(&backend, post(&server.url("/"), body)).await.unwrap();
            assert_eq!(answer.text(), text);
        }
        let arrivals = server.arrivals();
        assert_eq!(arrivals[0].header("content-length"), ["100000"]);
        assert_eq!(arrivals[0].body(), content.as_bytes());
        assert_eq!(arrivals[1].header("transfer-encoding"), ["chunked"]);
        let digits = arrivals[1].body().iter().filter(|byte| byte.is_ascii_digit()).count();
        assert!(digits >= content.len(), "{digits}");
    });
}

#[test]
fn a_reader_that_fails_says_why() {
    struct Broken;
    impl AsyncRead for Broken {
        fn poll_read(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::Error::other("the disk is gone")))
        }
    }
    smol::block_on(async {
        let server = Server::start([vec![Step::Drain]]);
        let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
        let request = post(&server.url("/"), reader(Broken, None));
        let failure = run(&backend, request).await.map(drop).unwrap_err();
        assert_eq!(failure.fault.kind, FaultKind::RequestBody, "{failure:?}");
        assert!(failure.chain.contains("the disk is gone"), "{failure:?}");
    });
}
