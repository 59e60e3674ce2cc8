//! What went wrong, read off hyper's and the system's errors.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::io;

use dace_core::http::{BoxError, Fault, FaultKind, Sent};

use crate::Net;
use crate::upload::UploadError;

/// An error of an exchange over hyper. [`source`](Error::source) has hyper's or the system's own, but for
/// what a server of HTTP/2 says beside its reason: that may be anything.
pub struct HyperError {
    pub(crate) fault: Fault,
    what: Cow<'static, str>,
    source: Option<BoxError>,
}

impl HyperError {
    pub(crate) fn new(fault: Fault, source: impl Into<BoxError>) -> Self {
        Self { fault, what: fault.kind.describe().into(), source: Some(source.into()) }
    }

    fn of_hyper(fault: Fault, error: hyper::Error) -> Self {
        #[cfg(feature = "http2")]
        let error = crate::streams::unquoted(error);
        Self::new(fault, error)
    }

    /// An error before anything was sent, with its own words.
    pub(crate) fn unsent(kind: FaultKind, what: impl Into<Cow<'static, str>>) -> Self {
        Self { fault: Fault::new(kind, Sent::Unsent), what: what.into(), source: None }
    }

    /// The same, with what is behind it.
    pub(crate) fn before(
        kind: FaultKind,
        what: impl Into<Cow<'static, str>>,
        source: impl Into<BoxError>,
    ) -> Self {
        Self { source: Some(source.into()), ..Self::unsent(kind, what) }
    }

    /// A request that hyper gave back: not a byte of it was written.
    pub(crate) fn given_back(reused: bool, error: hyper::Error) -> Self {
        let fault = Fault { kind: FaultKind::Closed, sent: Sent::Unsent, reused };
        Self::of_hyper(fault, error)
    }

    /// An exchange that ended before the head of its answer was complete; `answered` says whether a
    /// byte of it had come.
    pub(crate) fn before_head<N: Net>(reused: bool, answered: bool, error: hyper::Error) -> Self {
        let kind = match kind_of::<N>(&error) {
            FaultKind::Truncated | FaultKind::Closed | FaultKind::Reset if answered => {
                FaultKind::Truncated
            }
            FaultKind::Truncated => FaultKind::Closed,
            kind => kind,
        };
        let fault = Fault { kind, sent: Sent::MaybeSent, reused };
        Self::of_hyper(fault, error)
    }

    /// The request's own body failed.
    pub(crate) fn of_upload(reused: bool, failure: UploadError) -> Self {
        Self::new(Fault { kind: FaultKind::RequestBody, sent: Sent::MaybeSent, reused }, failure)
    }

    /// A stream of HTTP/2 that ended before the head of its answer.
    #[cfg(feature = "http2")]
    pub(crate) fn of_stream<N: Net>(reused: bool, error: hyper::Error) -> Self {
        let (kind, sent) =
            match crate::streams::kind_of(&error).unwrap_or_else(|| kind_of::<N>(&error)) {
                FaultKind::StreamRefused => (FaultKind::StreamRefused, Sent::Unsent),
                FaultKind::Truncated => (FaultKind::Closed, Sent::MaybeSent),
                kind => (kind, Sent::MaybeSent),
            };
        Self::of_hyper(Fault { kind, sent, reused }, error)
    }

    /// The same, where the server ended the TLS session with an alert. That is how it refuses this
    /// side's certificate once TLS 1.3's handshake is done.
    pub(crate) fn after_alert(mut self, refused: bool) -> Self {
        if refused && self.fault.kind != FaultKind::RequestBody {
            self.fault.kind = FaultKind::Tls;
            self.what = "the server refused the TLS session; it may want a client certificate \
                         (`identity`)"
                .into();
        }
        self
    }

    /// Says more about where it happened.
    pub(crate) fn within(mut self, place: impl FnOnce(&str) -> String) -> Self {
        self.what = place(&self.what).into();
        self
    }

    /// A body that ended in an error.
    pub(crate) fn in_body<N: Net>(reused: bool, over_http2: bool, error: hyper::Error) -> Self {
        let kind = match over_http2 {
            #[cfg(feature = "http2")]
            true => crate::streams::kind_of(&error).unwrap_or_else(|| kind_of::<N>(&error)),
            _ => kind_of::<N>(&error),
        };
        let kind = match kind {
            FaultKind::Closed => FaultKind::Truncated,
            // After its head it was not refused, whatever the server calls it.
            FaultKind::StreamRefused => FaultKind::Reset,
            kind => kind,
        };
        let fault = Fault { kind, sent: Sent::Sent, reused };
        Self::of_hyper(fault, error)
    }
}

fn kind_of<N: Net>(error: &hyper::Error) -> FaultKind {
    if find::<UploadError>(error).is_some() || error.is_body_write_aborted() {
        return FaultKind::RequestBody;
    }
    if error.is_parse() {
        return FaultKind::Malformed;
    }
    if error.is_user() {
        // The only user error left: the task that drove an HTTP/2 connection was dropped with its runtime.
        return FaultKind::RuntimeGone;
    }
    let broken = find::<io::Error>(error);
    if broken.is_some_and(N::is_gone) {
        return FaultKind::RuntimeGone;
    }
    match broken.map(io::Error::kind) {
        Some(io::ErrorKind::UnexpectedEof) => FaultKind::Truncated,
        Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => FaultKind::Malformed,
        Some(
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe,
        ) => FaultKind::Reset,
        Some(_) => FaultKind::Other,
        None if error.is_incomplete_message() => FaultKind::Truncated,
        None if error.is_canceled() || error.is_closed() => FaultKind::Closed,
        None => FaultKind::Other,
    }
}

/// The first error of this type in the chain.
pub(crate) fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        link = error.source();
    }
    None
}

impl fmt::Display for HyperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl fmt::Debug for HyperError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperError")
            .field("fault", &self.fault)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for HyperError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}
