//! What went wrong with an exchange, for the core and for people.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use dace_core::http::{BoxError, Fault, FaultKind, Sent};

use crate::meaning::{Way, code};

/// An error of an exchange over isahc. [`source`](Error::source) has isahc's or the user's own.
pub struct IsahcError {
    pub(crate) fault: Fault,
    what: &'static str,
    /// Where it was on its way to: a proxy or a server.
    place: Option<String>,
    source: Option<BoxError>,
}

/// Why the user's body failed: told by the reader, which libcurl's thread drives.
pub(crate) type UploadFailure = Arc<Mutex<Option<BoxError>>>;

impl IsahcError {
    fn new(kind: FaultKind, sent: Sent, source: impl Into<BoxError>) -> Self {
        let fault = Fault::new(kind, sent);
        Self { fault, what: kind.describe(), place: None, source: Some(source.into()) }
    }

    /// An error before anything was sent, with its own words.
    pub(crate) fn unsent(kind: FaultKind, what: &'static str) -> Self {
        Self { fault: Fault::new(kind, Sent::Unsent), what, place: None, source: None }
    }

    /// No client came about.
    pub(crate) fn without_client(error: isahc::Error) -> Self {
        Self::new(FaultKind::Unsupported, Sent::Unsent, error)
    }

    /// An exchange that ended before the head of its answer was handed over.
    pub(crate) fn in_exchange(error: isahc::Error, way: &Way, upload: &UploadFailure) -> Self {
        if let Some(failure) = taken(upload) {
            return Self::new(FaultKind::RequestBody, Sent::MaybeSent, failure);
        }
        let (kind, sent, place) = way.meaning(&error);
        let mut this = Self { place, ..Self::new(kind, sent, error) };
        match code(&this) {
            Some(7) if is_beyond_select() => this.what = BEYOND_SELECT,
            // libcurl asks for a rewind only where it would have sent the request again.
            Some(65) => this.fault.reused = true,
            _ => {}
        }
        this
    }

    /// An answer that ended before its head said where, or before it got there.
    pub(crate) fn cut_off() -> Self {
        Self {
            fault: Fault::new(FaultKind::Truncated, Sent::Sent),
            what: "the answer was cut off",
            place: None,
            source: None,
        }
    }

    /// A body that ended in an error.
    pub(crate) fn in_body(error: io::Error, way: &Way, upload: &UploadFailure) -> Self {
        if let Some(failure) = taken(upload) {
            return Self::new(FaultKind::RequestBody, Sent::Sent, failure);
        }
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<isahc::Error>());
        let kind = match inner.map(|error| way.meaning(error).0) {
            Some(FaultKind::Closed | FaultKind::Other) | None => FaultKind::Truncated,
            Some(kind) => kind,
        };
        Self::new(kind, Sent::Sent, error)
    }
}

/// Whether that is why cannot be known: libcurl has one code for all failed connects.
const BEYOND_SELECT: &str = "connecting failed; perhaps because this process has more than 1,024 descriptors: libcurl as \
    curl-sys builds it can use none above that, unless CFLAGS has -DHAVE_POLL when it is built";

/// Whether the process has a descriptor that `select` has no place for (`FD_SETSIZE`). The one that could not connect
/// is closed by now, and a lower one may have become free since.
#[cfg(unix)]
fn is_beyond_select() -> bool {
    let beyond = |entry: io::Result<std::fs::DirEntry>| {
        let name = entry.ok().and_then(|entry| entry.file_name().into_string().ok());
        name.and_then(|name| name.parse::<u32>().ok()).is_some_and(|descriptor| descriptor >= 1024)
    };
    std::fs::read_dir("/dev/fd").is_ok_and(|mut descriptors| descriptors.any(beyond))
}

#[cfg(not(unix))]
fn is_beyond_select() -> bool {
    false
}

fn taken(upload: &UploadFailure) -> Option<BoxError> {
    upload.lock().unwrap_or_else(PoisonError::into_inner).take()
}

impl fmt::Display for IsahcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "connect to {place}: {}", self.what),
            None => f.write_str(self.what),
        }
    }
}

impl fmt::Debug for IsahcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsahcError")
            .field("fault", &self.fault)
            .field("place", &self.place)
            .field("source", &self.source)
            .finish()
    }
}

impl Error for IsahcError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}
