//! Answers without an end: each ends in a typed error, and takes no memory to speak of.
//!
//! A test of its own process, since what it measures is the whole process: the peak of its resident
//! memory, as Linux tells it.
#![cfg(target_os = "linux")]

use std::fs;
use std::future::Future;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use dace::http::{FaultKind, HttpErrorKind};
use dace::{Adapter, Dependency, HttpError};

/// What one flood may take.
const GROWTH: usize = 32 << 20;

/// The most that is read into memory at once.
const LIMIT: usize = 4 << 20;

/// A server that answers one connection with `head`, and then with `piece` for ever, or `times`.
fn flood(head: &[u8], piece: Vec<u8>, times: usize) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("it is bound");
    let head = head.to_vec();
    let thread = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a connection");
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(&head);
        for _ in 0..times {
            if socket.write_all(&piece).is_err() {
                return;
            }
        }
        let _ = socket.shutdown(std::net::Shutdown::Write);
        // Until the client has what it wants.
        let _ = socket.read(&mut [0; 1]);
    });
    (address, thread)
}

/// Many zeros in few bytes: a member of a gzip stream.
fn bomb(zeros: usize) -> Vec<u8> {
    let data = vec![0; zeros];
    let mut all = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    all.extend(miniz_oxide::deflate::compress_to_vec(&data, 6));
    all.extend(crc32fast::hash(&data).to_le_bytes());
    all.extend((data.len() as u32).to_le_bytes());
    all
}

/// A number of `/proc/self/status`, in bytes.
fn status(name: &str) -> usize {
    let text = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("it is there");
    line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<usize>().expect("a number") << 10
}

/// What `work` answers, and by how much the process grew at most meanwhile.
async fn growth<T>(work: impl Future<Output = T>) -> (T, usize) {
    fs::write("/proc/self/clear_refs", "5").expect("the peak can be reset");
    let before = status("VmRSS");
    let output = work.await;
    (output, status("VmHWM").saturating_sub(before))
}

/// `no_head` is what a head without an end is called: libcurl has one code for that and a reset.
async fn floods<A: Adapter>(no_head: FaultKind) {
    let dependency = Dependency::<A::Runtime, A::Backend>::builder("flooded")
        .body_limit(LIMIT)
        .retry_attempts(0)
        .timeout(Duration::from_secs(60))
        .build()
        .expect("the settings are good");
    let too_large = HttpErrorKind::TooLarge(LIMIT);
    let no_head = HttpErrorKind::Fault(no_head);
    let malformed = HttpErrorKind::Fault(FaultKind::Malformed);
    let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
    let header = format!("x-more: {}\r\n", "x".repeat(8000)).into_bytes();
    let gzip = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\nconnection: close\r\n\r\n";
    let plain = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n";
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let forever = usize::MAX;
    type Case<'a> = (&'a str, &'a [u8], Vec<u8>, usize, &'a HttpErrorKind);
    let cases: [Case<'_>; 6] = [
        ("a body without an end", plain, vec![b'x'; 1 << 16], forever, &too_large),
        ("chunks without an end", chunked, chunk, forever, &too_large),
        ("a bomb", gzip, bomb(1 << 28), 1, &too_large),
        ("a head without an end", b"HTTP/1.1 200 OK\r\n", header, forever, &no_head),
        (
            "a header without an end",
            b"HTTP/1.1 200 OK\r\nx: ",
            vec![b'x'; 1 << 16],
            forever,
            &malformed,
        ),
        (
            "informational answers without an end",
            b"",
            b"HTTP/1.1 102 Wait\r\n\r\n".repeat(100),
            forever,
            &no_head,
        ),
    ];
    for (what, head, piece, times, expected) in cases {
        let (address, thread) = flood(head, piece, times);
        let call = dependency.call(|call| async move {
            call.http().get(&format!("http://{address}/")).send().await?.bytes().await
        });
        let (result, grown) = growth(call).await;
        let error = result.expect_err(what).into_source().expect(what);
        assert_eq!(error.kind(), expected, "{what}: {error:?}");
        assert!(grown < GROWTH, "{what}: {grown} bytes");
        thread.join().expect("the server's thread");
    }
    let (address, thread) = flood(gzip, bomb(1 << 28), 1);
    let call = dependency.call(|call| async move {
        let mut response = call.http().get(&format!("http://{address}/")).send().await?;
        let mut length = 0_usize;
        while let Some(piece) = response.chunk().await? {
            length += piece.len();
        }
        Ok::<_, HttpError>(length)
    });
    let (length, grown) = growth(call).await;
    assert_eq!(length.expect("a bomb can be read piece by piece"), 1 << 28);
    assert!(grown < GROWTH, "{grown} bytes");
    thread.join().expect("the server's thread");
}

/// F6, K11.
#[test]
fn every_flood_ends_in_a_typed_error_and_takes_no_memory_on_either_adapter() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(floods::<dace::tokio::Tokio>(FaultKind::Malformed));
    drop(runtime);
    smol::block_on(floods::<dace::smol::Smol>(FaultKind::Reset));
}
