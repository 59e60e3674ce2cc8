//! What went wrong with an exchange, in the words that every backend shares.

use core::fmt;

/// Whether the server may have seen the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Sent {
    /// Not a byte of it reached the server.
    Unsent,
    /// Nobody can tell. A backend that does not know says this.
    MaybeSent,
    /// The server answered, so it has seen at least the beginning.
    Sent,
}

/// What a backend reports about one of its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What happened.
    pub kind: FaultKind,
    /// Whether the server may have seen the request.
    pub sent: Sent,
    /// Whether the connection had carried an answered exchange before this one. With
    /// [`FaultKind::Closed`] it tells a stale connection from a server that closes on a request.
    pub reused: bool,
}

impl Fault {
    /// A fault on a fresh connection.
    pub const fn new(kind: FaultKind, sent: Sent) -> Self {
        Self { kind, sent, reused: false }
    }
}

/// What happened to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The name did not resolve.
    Dns,
    /// The connection was refused.
    ConnectionRefused,
    /// No connection within `connect_timeout` (resolution, TCP, TLS and tunnel together).
    ConnectTimeout,
    /// Connecting failed in another way.
    Connect,
    /// The TLS handshake failed, or a certificate was not accepted.
    Tls,
    /// The proxy did not open the tunnel.
    Proxy,
    /// The server refused the stream without beginning with it.
    StreamRefused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the first byte of the answer.
    Closed,
    /// The answer ended before it was complete.
    Truncated,
    /// What came back is not HTTP, or exceeds what HTTP heads may be.
    Malformed,
    /// The request's own body failed while it was being sent.
    RequestBody,
    /// The backend cannot do this (no `https` without a TLS feature, for one).
    Unsupported,
    /// The runtime that the connection lived on is gone.
    RuntimeGone,
    /// Anything else.
    Other,
}

impl FaultKind {
    /// A few words for an error message.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Dns => "name resolution failed",
            Self::ConnectionRefused => "connection refused",
            Self::ConnectTimeout => "no connection in time",
            Self::Connect => "connecting failed",
            Self::Tls => "TLS handshake failed",
            Self::Proxy => "the proxy opened no tunnel",
            Self::StreamRefused => "the server refused the stream",
            Self::Reset => "connection reset",
            Self::Closed => "connection closed before the answer began",
            Self::Truncated => "the answer ended before it was complete",
            Self::Malformed => "malformed answer",
            Self::RequestBody => "the request body failed",
            Self::Unsupported => "not supported by this backend",
            Self::RuntimeGone => "the runtime of the connection is gone",
            Self::Other => "the exchange failed",
        }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.describe())
    }
}
