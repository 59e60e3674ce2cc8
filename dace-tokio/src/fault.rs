//! What went wrong, read off hyper's and the system's errors.

use std::error::Error;
use std::fmt;
use std::io;

use dace_core::http::{BoxError, Fault, FaultKind, Sent};

use crate::body::UploadError;

/// An error of an exchange over hyper. [`source`](Error::source) has hyper's or the system's own.
pub struct HyperError {
    pub(crate) fault: Fault,
    what: &'static str,
    source: Option<BoxError>,
}

impl HyperError {
    pub(crate) fn new(fault: Fault, source: impl Into<BoxError>) -> Self {
        Self { fault, what: fault.kind.describe(), source: Some(source.into()) }
    }

    /// An error before anything was sent, with its own words.
    pub(crate) fn unsent(kind: FaultKind, what: &'static str) -> Self {
        Self { fault: Fault::new(kind, Sent::Unsent), what, source: None }
    }

    /// A request that hyper gave back: not a byte of it was written.
    pub(crate) fn given_back(reused: bool, error: hyper::Error) -> Self {
        let fault = Fault { kind: FaultKind::Closed, sent: Sent::Unsent, reused };
        Self::new(fault, error)
    }

    /// An exchange that ended before the head of its answer was complete; `answered` says whether a
    /// byte of it had come.
    pub(crate) fn before_head(reused: bool, answered: bool, error: hyper::Error) -> Self {
        let kind = match kind_of(&error) {
            FaultKind::Truncated | FaultKind::Closed | FaultKind::Reset if answered => {
                FaultKind::Truncated
            }
            FaultKind::Truncated => FaultKind::Closed,
            kind => kind,
        };
        let fault = Fault { kind, sent: Sent::MaybeSent, reused };
        Self::new(fault, error)
    }

    /// A body that ended in an error.
    pub(crate) fn in_body(reused: bool, error: hyper::Error) -> Self {
        let kind = match kind_of(&error) {
            FaultKind::Closed => FaultKind::Truncated,
            kind => kind,
        };
        let fault = Fault { kind, sent: Sent::Sent, reused };
        Self::new(fault, error)
    }
}

fn kind_of(error: &hyper::Error) -> FaultKind {
    if find::<UploadError>(error).is_some() || error.is_body_write_aborted() {
        return FaultKind::RequestBody;
    }
    if error.is_parse() {
        return FaultKind::Malformed;
    }
    if error.is_user() {
        // The only user error left: the task that drove the connection was dropped with its runtime.
        return FaultKind::RuntimeGone;
    }
    match find::<io::Error>(error).map(io::Error::kind) {
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
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
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
        f.write_str(self.what)
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
