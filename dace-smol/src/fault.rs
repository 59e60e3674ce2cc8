//! What went wrong, read off libcurl's errors.
//!
//! isahc folds libcurl's codes into fewer kinds, so where a kind is not enough the code is read from
//! the message of the source, which begins with it in brackets (`[56] …`).

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use dace_core::http::{BoxError, Fault, FaultKind, Sent};
use isahc::error::ErrorKind;

use crate::body::SentAgain;

/// An error of an exchange over isahc. [`source`](Error::source) has isahc's or the user's own.
pub struct IsahcError {
    pub(crate) fault: Fault,
    what: &'static str,
    source: Option<BoxError>,
}

/// Why the user's body failed: told by the reader, which libcurl's thread drives.
pub(crate) type UploadFailure = Arc<Mutex<Option<BoxError>>>;

impl IsahcError {
    fn new(kind: FaultKind, sent: Sent, source: impl Into<BoxError>) -> Self {
        Self { fault: Fault::new(kind, sent), what: kind.describe(), source: Some(source.into()) }
    }

    /// An error before anything was sent, with its own words.
    pub(crate) fn unsent(kind: FaultKind, what: &'static str) -> Self {
        Self { fault: Fault::new(kind, Sent::Unsent), what, source: None }
    }

    /// An exchange that ended before the head of its answer was handed over.
    pub(crate) fn in_exchange(error: isahc::Error, upload: &UploadFailure) -> Self {
        if let Some(failure) = taken(upload) {
            return Self::new(FaultKind::RequestBody, Sent::MaybeSent, failure);
        }
        let (kind, sent) = meaning(&error);
        let mut this = Self::new(kind, sent, error);
        // libcurl asks for a rewind only where it would have sent the request again.
        this.fault.reused = code(&this) == Some(65);
        this
    }

    /// An answer whose head ended before it said where its body ends.
    pub(crate) fn cut_off() -> Self {
        Self {
            fault: Fault::new(FaultKind::Truncated, Sent::Sent),
            what: "the head of the answer was cut off",
            source: None,
        }
    }

    /// A body that ended in an error.
    pub(crate) fn in_body(error: io::Error, upload: &UploadFailure) -> Self {
        if let Some(failure) = taken(upload) {
            return Self::new(FaultKind::RequestBody, Sent::Sent, failure);
        }
        let inner = error.get_ref().and_then(|error| error.downcast_ref::<isahc::Error>());
        let kind = match inner.map(meaning) {
            Some((FaultKind::Closed | FaultKind::Other, _)) | None => FaultKind::Truncated,
            Some((kind, _)) => kind,
        };
        Self::new(kind, Sent::Sent, error)
    }
}

fn taken(upload: &UploadFailure) -> Option<BoxError> {
    upload.lock().unwrap_or_else(PoisonError::into_inner).take()
}

fn meaning(error: &isahc::Error) -> (FaultKind, Sent) {
    let code = code(error);
    // libcurl's own words are in there. Of what peers say it repeats nothing.
    let words = error.to_string();
    let says = |words_of_libcurl: &str| words.contains(words_of_libcurl);
    if error.kind() == ErrorKind::Timeout {
        return (FaultKind::ConnectTimeout, Sent::Unsent);
    }
    if code == Some(97) || TUNNEL.into_iter().any(says) {
        return (FaultKind::Proxy, Sent::Unsent);
    }
    match error.kind() {
        ErrorKind::NameResolution => (FaultKind::Dns, Sent::Unsent),
        // A handshake that failed, or a name that no certificate can have.
        ErrorKind::ConnectionFailed if code == Some(35) || says("rustls") => {
            (FaultKind::Tls, Sent::Unsent)
        }
        ErrorKind::ConnectionFailed if says("refused") => {
            (FaultKind::ConnectionRefused, Sent::Unsent)
        }
        ErrorKind::ConnectionFailed => (FaultKind::Connect, Sent::Unsent),
        ErrorKind::BadServerCertificate
        | ErrorKind::BadClientCertificate
        | ErrorKind::InvalidTlsConfiguration
        | ErrorKind::TlsEngine => (FaultKind::Tls, Sent::Unsent),
        ErrorKind::InvalidRequest | ErrorKind::ClientInitialization => {
            (FaultKind::Unsupported, Sent::Unsent)
        }
        ErrorKind::Io if is_sent_again(error) => (FaultKind::Reset, Sent::MaybeSent),
        // In TLS 1.3 the client is done before the server has looked at its certificate.
        _ if REJECTED.into_iter().any(says) => (FaultKind::Tls, Sent::Unsent),
        _ if says("received fatal alert") => (FaultKind::Tls, Sent::MaybeSent),
        _ if says("without first closing TLS connection") => (FaultKind::Closed, Sent::MaybeSent),
        _ if says("nghttp2") => (FaultKind::Malformed, Sent::MaybeSent),
        _ => by_code(code),
    }
}

/// What libcurl says of a tunnel that was not opened.
const TUNNEL: [&str; 5] = [
    "CONNECT tunnel failed",
    "Proxy CONNECT aborted",
    "CONNECT response too large",
    "Failed sending CONNECT to proxy",
    "Unsupported Content-Length value",
];

/// The alerts by which a server rejects a client's certificate (RFC 8446, 6.2). None of them can come
/// after it has begun to read the request.
const REJECTED: [&str; 8] = [
    "alert: CertificateRequired",
    "alert: BadCertificate",
    "alert: UnsupportedCertificate",
    "alert: CertificateRevoked",
    "alert: CertificateExpired",
    "alert: CertificateUnknown",
    "alert: UnknownCA",
    "alert: AccessDenied",
];

/// The codes that isahc folds into `Io`, `ProtocolViolation` and `Unknown`.
fn by_code(code: Option<u32>) -> (FaultKind, Sent) {
    match code {
        // HTTP/2 ended; got nothing; a rewind for a request that was to be sent again.
        Some(16 | 52 | 65) => (FaultKind::Closed, Sent::MaybeSent),
        // Send and receive errors; a stream that was reset.
        Some(55 | 56 | 92) => (FaultKind::Reset, Sent::MaybeSent),
        // A partial file: the head was there.
        Some(18) => (FaultKind::Truncated, Sent::Sent),
        // HTTP/0.9, weird server reply, no memory for such a head, bad encoding, too large.
        Some(1 | 8 | 27 | 61 | 100) => (FaultKind::Malformed, Sent::MaybeSent),
        _ => (FaultKind::Other, Sent::MaybeSent),
    }
}

fn is_sent_again(error: &isahc::Error) -> bool {
    sources(error)
        .filter_map(|error| error.downcast_ref::<io::Error>()?.get_ref())
        .any(|inner| inner.is::<SentAgain>())
}

/// libcurl's code, from the first message in the chain that begins with it.
fn code(error: &(dyn Error + 'static)) -> Option<u32> {
    sources(error).find_map(|error| {
        let text = error.to_string();
        text.strip_prefix('[')?.split(']').next()?.parse().ok()
    })
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| error.source())
}

impl fmt::Display for IsahcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.what)
    }
}

impl fmt::Debug for IsahcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsahcError")
            .field("fault", &self.fault)
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
