//! What every backend does, on the wire: a file for every subject, and here what they share.

pub(crate) mod alpn;
pub(crate) mod answers;
pub(crate) mod bounds;
pub(crate) mod connections;
pub(crate) mod faults;
pub(crate) mod http2;
pub(crate) mod proxies;
pub(crate) mod requests;
pub(crate) mod socks;
pub(crate) mod stale;
pub(crate) mod streams;
pub(crate) mod tls;
pub(crate) mod tunnels;

use std::sync::Arc;

use bytes::Bytes;
use dace_core::http::{
    Body, BoxError, Connect, FaultKind, HttpSettings, Method, Protocol, Proxy, Request, Sent,
};

use crate::client::backend;
use crate::{
    Arrival, Authority, Expected, Failure, Server, ServerTls, Step, keep_alive, post, read, run,
};

fn default<Tls>(_: &mut HttpSettings<Tls>) {}

/// A name that no name server has; [`trusting`] says where it is.
const NAME: &str = "service.invalid";

/// Trusts this authority alone, and knows where [`NAME`] is.
fn trusting<Tls>(server: &Server, authority: &Authority) -> impl Fn(&mut HttpSettings<Tls>) {
    let (given, root) = ((NAME.to_owned(), vec![server.address()]), authority.certificate());
    move |settings| {
        settings.resolve.push(given.clone());
        settings.roots.push(root.clone());
    }
}

/// A script that is played over TLS.
fn secure(tls: &ServerTls, script: Vec<Step>) -> Vec<Step> {
    std::iter::once(Step::Tls(tls.clone())).chain(script).collect()
}

/// HTTP/2 without asking first.
fn prior_knowledge<Tls>(settings: &mut HttpSettings<Tls>) {
    settings.protocol = Protocol::Http2;
}

/// The proxy that `server` plays, under this scheme, with credentials or without.
fn proxy(scheme: &str, server: &Server) -> Arc<Proxy> {
    proxy_at(scheme, &server.address().to_string())
}

fn proxy_at(scheme: &str, address: &str) -> Arc<Proxy> {
    Arc::new(Proxy::parse(&format!("{scheme}{address}")).expect("a proxy"))
}

/// Heads of 1 KiB at most: whether the backend can be told so.
fn limits_heads<B: Connect>(expected: &Expected) -> bool {
    if !expected.limits_heads {
        let mut settings = HttpSettings::default();
        settings.head_limit = 1024;
        let error = B::connect(settings).err().expect("it was taken");
        assert_eq!(error.setting(), "head_limit", "{error}");
    }
    expected.limits_heads
}

fn one_connection<Tls>(settings: &mut HttpSettings<Tls>) {
    settings.pool_size = 1;
}

/// A body of which nothing ever comes.
struct Silent;

impl futures_core::Stream for Silent {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        std::task::Poll::Pending
    }
}

/// A body whose making panics.
struct Panicking;

impl futures_core::Stream for Panicking {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        panic!("as it should: the stream of a test")
    }
}

/// What arrives for one request.
async fn arrival<B: Connect>(method: Method, body: Body) -> Arrival {
    let server = Server::start([keep_alive(&["done"])]);
    let backend: B = backend(default);
    let mut request = post(&server.url("/"), body);
    request.method = method;
    run(&backend, request).await.unwrap();
    let mut arrivals = server.arrivals();
    assert_eq!(arrivals.len(), 1, "{arrivals:?}");
    arrivals.remove(0)
}

/// How a POST fails on a fresh connection with this script.
async fn failure_of<B: Connect>(body: Body, script: Vec<Step>) -> Failure {
    let server = Server::start([script]);
    let backend: B = backend(default);
    let failure = failed(&backend, post(&server.url("/"), body)).await;
    assert_eq!(server.connections(), 1);
    assert_eq!(server.arrivals().len(), 1);
    failure
}

async fn failed<B: Connect>(backend: &B, request: Request) -> Failure {
    match backend.send(request).await {
        Ok(response) => match read::<B>(response.body).await {
            Ok(body) => panic!("an answer of {} bytes instead of a failure", body.len()),
            Err(failure) => failure,
        },
        Err(error) => crate::client::failure::<B>(&error, false),
    }
}

fn assert_fault(failure: &Failure, kinds: &[FaultKind], sent: Sent) {
    assert!(kinds.contains(&failure.fault.kind), "{failure:?}");
    assert_eq!(failure.fault.sent, sent, "{failure:?}");
}

/// One framing header at most, the right one, and no `Expect`.
fn assert_framing(arrival: &Arrival, length: Option<&str>, chunked: bool) {
    let lengths: Vec<String> = length.map(String::from).into_iter().collect();
    assert_eq!(arrival.header("content-length"), lengths, "{}", arrival.text());
    let encodings: &[&str] = if chunked { &["chunked"] } else { &[] };
    assert_eq!(arrival.header("transfer-encoding"), encodings);
    assert!(arrival.header("expect").is_empty());
    assert_eq!(arrival.header("host").len(), 1);
}

fn unchunked(mut framed: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    loop {
        let end = framed.windows(2).position(|w| w == b"\r\n").expect("a size");
        let size = std::str::from_utf8(&framed[..end]).expect("an ASCII size");
        let size = usize::from_str_radix(size, 16).expect("a size in hex");
        framed = &framed[end + 2..];
        if size == 0 {
            return body;
        }
        body.extend_from_slice(&framed[..size]);
        framed = &framed[size + 2..];
    }
}
