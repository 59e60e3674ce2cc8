//! The seam to whatever speaks HTTP: one request, one response, nothing else.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use futures_core::Stream;

use super::{Certificate, Fault, Header, Identity, Protocol, Request};
use crate::ConfigError;

/// Does one exchange at a time, and nothing that was not asked for: no retry, no redirect, no
/// cookie, no proxy from the environment, no timeout but `connect_timeout`.
///
/// The core asks for an exchange only when it holds a permit and a connection place at the netloc,
/// so a backend needs no limit and no queue of its own. Dropping the future of [`send`](Self::send)
/// or a body closes (or drains) the connection that it used: a half-read connection is never reused.
pub trait HttpBackend: Send + Sync + 'static {
    /// The TLS configuration of the backend's own TLS library. `core::convert::Infallible` where
    /// there is none.
    type Tls: Send + Sync + 'static;
    /// Status, version and headers of an answer, as the backend holds them.
    type Head: Head;
    /// The body of an answer. An end before the announced length is an error, never a quiet end.
    type Body: Stream<Item = Result<Bytes, Self::Error>> + Send + Unpin + 'static;
    /// What can go wrong.
    type Error: core::error::Error + Send + Sync + 'static;

    /// Sends `request` and waits for the head of the answer. Informational answers (1xx) are skipped.
    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<Self::Head, Self::Body>, Self::Error>> + Send;

    /// What `error` means, and whether the server may have seen the request.
    fn fault(error: &Self::Error) -> Fault;

    /// The fields that came after the body (RFC 9110, 6.5), once it has ended. None by default.
    fn trailers(body: &Self::Body) -> &[Header] {
        let _ = body;
        &[]
    }
}

/// The head and the body of an answer, as a backend hands them over.
#[derive(Debug)]
pub struct Response<H, B> {
    /// Status, version and headers.
    pub head: H,
    /// The body.
    pub body: B,
}

/// Status, version and headers of an answer.
///
/// It stays the backend's own type, so that no header is copied.
pub trait Head: Send + Sync + 'static {
    /// The status code.
    fn status(&self) -> u16;
    /// The version of HTTP that the answer came in.
    fn version(&self) -> Version;
    /// The first value of a header. Names compare without regard to case.
    fn get(&self, name: &str) -> Option<&[u8]>;
    /// All headers, in order of arrival as far as the backend keeps it.
    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])>;
}

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Version {
    /// HTTP/0.9 or HTTP/1.0.
    Http10,
    /// HTTP/1.1.
    Http11,
    /// HTTP/2.
    Http2,
    /// HTTP/3.
    Http3,
}

/// A backend that can be made from settings, so that [`build`](crate::DependencyBuilder::build)
/// works without a ready one.
pub trait Connect: HttpBackend + Sized {
    /// A backend with these settings. Nothing is connected yet.
    ///
    /// # Errors
    /// The setting that cannot be honoured, and why.
    fn connect(settings: HttpSettings<Self::Tls>) -> Result<Self, ConfigError>;
}

/// The settings that concern the backend alone.
#[derive(Debug)]
#[non_exhaustive]
pub struct HttpSettings<Tls> {
    /// The most connections per netloc that may lie idle (`http_pool_size`).
    pub pool_size: usize,
    /// How long a connection may lie idle. Below the keep-alive of common servers, of which Node's
    /// 5 s is the shortest.
    pub idle_timeout: Duration,
    /// How old a connection may be when an exchange begins on it: so that a change of a name's
    /// addresses is seen.
    pub max_age: Duration,
    /// Which version of HTTP is spoken.
    pub protocol: Protocol,
    /// The most bytes that the heads of one answer may have, informational ones included.
    pub head_limit: usize,
    /// The adapter's own TLS configuration, if the user gave one: then it stands alone, and
    /// `roots`, `identity` and `accept_any_certificate` are not set.
    pub tls: Option<Tls>,
    /// Authorities to trust in place of the platform's. None: the platform's.
    pub roots: Vec<Certificate>,
    /// How this side shows who it is.
    pub identity: Option<Identity>,
    /// Whether certificates are not verified at all.
    pub accept_any_certificate: bool,
    /// Names that are not looked up: their addresses are given.
    pub resolve: Vec<(String, Vec<SocketAddr>)>,
}

impl<Tls> Default for HttpSettings<Tls> {
    /// 10 connections per netloc, idle for at most 4 s, 5 minutes old at most, heads of at most
    /// 64 KiB, the platform's roots.
    fn default() -> Self {
        Self {
            pool_size: 10,
            idle_timeout: Duration::from_secs(4),
            max_age: Duration::from_secs(300),
            protocol: Protocol::Negotiated,
            head_limit: 64 * 1024,
            tls: None,
            roots: Vec::new(),
            identity: None,
            accept_any_certificate: false,
            resolve: Vec::new(),
        }
    }
}
