//! What can go wrong with HTTP, the same on every backend.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use alloc::boxed::Box;

use super::{Fault, FaultKind, RedirectError, Sent, UrlError};
use crate::{Class, Netloc, Refusal};

/// An error of the HTTP client that a call carries.
///
/// It names the netloc and what happened, never a header, a query or a password. The backend's own
/// error is its [`source`](Error::source), if there is one.
pub struct HttpError(Box<Inner>);

struct Inner {
    kind: HttpErrorKind,
    sent: Sent,
    netloc: Option<Netloc>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpErrorKind {
    /// The URL cannot be used. Nothing was sent.
    Url(UrlError),
    /// The request is wrong in itself, and how. Nothing was sent.
    Request(&'static str),
    /// dace refused the exchange. Nothing was sent.
    Refused(Box<Refusal>),
    /// The attempt that this call handle belongs to is over. [`sent`](HttpError::sent) says whether that
    /// was before anything was sent, or while the answer was awaited.
    AttemptOver,
    /// The exchange would wait for a connection place that its own attempt holds: `http_pool_size`
    /// is too small for so many exchanges at once. Nothing was sent.
    OwnPlace,
    /// The exchange failed in the backend.
    Fault(FaultKind),
    /// The server answered with this status, and
    /// [`error_for_status`](crate::Response::error_for_status) was asked.
    Status {
        /// The status code.
        status: u16,
        /// What the answer asked the client to wait.
        retry_after: Option<Duration>,
    },
    /// Head and body were not there within the request's own `timeout`.
    Timeout(Duration),
    /// No byte of the body came for this long while it was being read.
    Stalled(Duration),
    /// The body is larger than this many bytes.
    TooLarge(usize),
    /// The body is not UTF-8.
    NotText,
    /// The body is not JSON, or not of the type that was asked for. The source says where, and nothing of
    /// what it holds.
    NotJson,
    /// The server answered with a redirect that was not followed.
    Redirect(RedirectError),
}

impl HttpError {
    pub(crate) fn new(kind: HttpErrorKind, sent: Sent, netloc: Option<Netloc>) -> Self {
        Self(Box::new(Inner { kind, sent, netloc, source: None }))
    }

    /// An error found before anything was sent.
    pub(crate) fn unsent(kind: HttpErrorKind) -> Self {
        Self::new(kind, Sent::Unsent, None)
    }

    pub(crate) fn fault<E>(fault: Fault, netloc: Netloc, source: E) -> Self
    where
        E: Error + Send + Sync + 'static,
    {
        Self::new(HttpErrorKind::Fault(fault.kind), fault.sent, Some(netloc)).because(source)
    }

    /// The same, because of `source`.
    pub(crate) fn because<E: Error + Send + Sync + 'static>(mut self, source: E) -> Self {
        self.0.source = Some(Box::new(source));
        self
    }

    /// What happened.
    pub fn kind(&self) -> &HttpErrorKind {
        &self.0.kind
    }

    /// Whether the server may have seen the request.
    pub fn sent(&self) -> Sent {
        self.0.sent
    }

    /// The server that it happened with, if it got that far.
    pub fn netloc(&self) -> Option<&Netloc> {
        self.0.netloc.as_ref()
    }

    /// The status code, if the error is one.
    pub fn status(&self) -> Option<u16> {
        match self.0.kind {
            HttpErrorKind::Status { status, .. } => Some(status),
            _ => None,
        }
    }

    /// When it may be worth while to try again, if somebody said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match &self.0.kind {
            HttpErrorKind::Status { retry_after, .. } => *retry_after,
            HttpErrorKind::Refused(refusal) => refusal.retry_after(),
            _ => None,
        }
    }

    /// What the error means to circuit, balancer and retry.
    pub fn class(&self) -> Class {
        match &self.0.kind {
            HttpErrorKind::Url(_) | HttpErrorKind::Request(_) | HttpErrorKind::AttemptOver => {
                Class::Ignored
            }
            HttpErrorKind::OwnPlace | HttpErrorKind::Refused(_) => Class::Rejected,
            HttpErrorKind::Fault(kind) => class_of_fault(*kind, self.0.sent),
            HttpErrorKind::Status { status: 403 | 503, retry_after: hint @ Some(_) } => {
                Class::Throttled(*hint)
            }
            HttpErrorKind::Status { status: 429, retry_after } => Class::Throttled(*retry_after),
            HttpErrorKind::Status { status, .. } => Class::of_status(*status),
            // It never got a place: that was dace's doing, not the server's.
            HttpErrorKind::Timeout(_) if self.0.sent == Sent::Unsent => Class::Rejected,
            HttpErrorKind::Timeout(_) | HttpErrorKind::Stalled(_) => Class::Timeout,
            HttpErrorKind::TooLarge(_) => Class::Failure,
            HttpErrorKind::NotText | HttpErrorKind::NotJson => Class::Failure,
            HttpErrorKind::Redirect(RedirectError::Body) => Class::Ignored,
            HttpErrorKind::Redirect(_) => Class::Failure,
        }
    }
}

/// The class of a fault. Whatever failed before a byte was sent is `Unsent`.
pub(crate) fn class_of_fault(kind: FaultKind, sent: Sent) -> Class {
    match kind {
        FaultKind::StreamRefused => Class::Refused,
        FaultKind::Unsupported | FaultKind::RequestBody => Class::Ignored,
        _ if sent == Sent::Unsent => Class::Unsent,
        FaultKind::Malformed => Class::Failure,
        _ => Class::Transient,
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(netloc) = &self.0.netloc {
            write!(f, "{netloc}: ")?;
        }
        match &self.0.kind {
            HttpErrorKind::Url(error) => write!(f, "{error}"),
            HttpErrorKind::Request(what) => f.write_str(what),
            HttpErrorKind::Refused(refusal) => write!(f, "{refusal}"),
            HttpErrorKind::AttemptOver if self.0.sent == Sent::Unsent => {
                f.write_str("the attempt of this call handle is over")
            }
            HttpErrorKind::AttemptOver => f.write_str(
                "the attempt of this call handle ended; the server may have processed the request",
            ),
            HttpErrorKind::OwnPlace => f.write_str(
                "all connection places are held by this attempt's own exchanges; \
                 read or drop their bodies first, or raise `http_pool_size`",
            ),
            HttpErrorKind::Fault(kind) => {
                write!(f, "{kind}")?;
                match self.0.sent {
                    Sent::Unsent => Ok(()),
                    Sent::MaybeSent => f.write_str("; the server may have processed the request"),
                    Sent::Sent => f.write_str("; the server has seen the request"),
                }
            }
            HttpErrorKind::Status { status, .. } => write!(f, "the server answered {status}"),
            HttpErrorKind::Timeout(after) => write!(f, "no complete answer within {after:?}"),
            HttpErrorKind::Stalled(after) => write!(f, "the body stalled for {after:?}"),
            HttpErrorKind::TooLarge(limit) => write!(f, "the body exceeds {limit} bytes"),
            HttpErrorKind::NotText => f.write_str("the body is not UTF-8"),
            HttpErrorKind::NotJson => f.write_str("the body is not the JSON that was asked for"),
            HttpErrorKind::Redirect(error) => write!(f, "{error}"),
        }
    }
}

impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpError")
            .field("kind", &self.0.kind)
            .field("sent", &self.0.sent)
            .field("netloc", &self.0.netloc)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source = self.0.source.as_deref()?;
        Some(source)
    }
}

/// Where a body stops being the JSON that was asked for. serde's own words quote the body.
#[cfg(feature = "json")]
#[derive(Debug, thiserror::Error)]
#[error("{what}, at line {line} column {column}")]
pub(crate) struct JsonError {
    what: &'static str,
    line: usize,
    column: usize,
}

#[cfg(feature = "json")]
impl From<serde_json::Error> for JsonError {
    fn from(error: serde_json::Error) -> Self {
        use serde_json::error::Category;
        let what = match error.classify() {
            Category::Data => "a value is missing or of another type",
            Category::Eof => "the JSON ends before its end",
            Category::Syntax | Category::Io => "this is not JSON",
        };
        Self { what, line: error.line(), column: error.column() }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;

    use super::*;
    use crate::refusal::Reason;

    #[test]
    fn a_refusal_inside_of_it_says_when_to_try_again() {
        let netloc = Netloc::of_dependency(&Arc::from("servers"));
        let retry_after = Some(Duration::from_secs(7));
        let refusal = Refusal { reason: Reason::Paused, netloc, retry_after };
        let error = HttpError::new(HttpErrorKind::Refused(refusal.into()), Sent::Unsent, None);
        assert_eq!(error.retry_after(), retry_after);
    }
}
