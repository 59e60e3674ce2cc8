//! How a stream of HTTP/2 ended, read off h2's errors.

use std::io;

use dace_core::http::{BoxError, FaultKind};
use h2::Reason;

use crate::fault::find;

/// How HTTP/2 ended a stream or a connection. h2's own error quotes what the server said beside it.
#[derive(Debug, thiserror::Error)]
#[error("HTTP/2, ended by the {}: {reason}", if *.remote { "server" } else { "client" })]
struct Ended {
    reason: Reason,
    remote: bool,
}

/// `error`, or what may be told of it.
pub(crate) fn unquoted(error: hyper::Error) -> BoxError {
    let ended = find::<h2::Error>(&error)
        .and_then(|error| Some(Ended { reason: error.reason()?, remote: error.is_remote() }));
    match ended {
        Some(ended) => ended.into(),
        None => error.into(),
    }
}

/// Whether the whole connection ended, and not one stream of it.
pub(crate) fn is_of_connection(error: &hyper::Error) -> bool {
    !find::<h2::Error>(error).is_some_and(h2::Error::is_reset)
}

/// What happened, if h2 says so.
pub(crate) fn kind_of(error: &hyper::Error) -> Option<FaultKind> {
    if error.is_timeout() {
        // A ping had no answer: the connection is as good as closed.
        return Some(FaultKind::Truncated);
    }
    let in_h2 = find::<h2::Error>(error);
    let broken = find::<io::Error>(error).or_else(|| in_h2?.get_io());
    if let Some(broken) = broken {
        return Some(match broken.kind() {
            // The first is h2's word for a connection that was closed.
            io::ErrorKind::BrokenPipe | io::ErrorKind::UnexpectedEof => FaultKind::Truncated,
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => FaultKind::Reset,
            io::ErrorKind::InvalidData => FaultKind::Malformed,
            _ => FaultKind::Other,
        });
    }
    let error = in_h2?;
    if !error.is_remote() {
        // This side ended it, for what the other one sent.
        return Some(match error.reason() {
            Some(Reason::NO_ERROR | Reason::CANCEL | Reason::INTERNAL_ERROR) | None => {
                FaultKind::Other
            }
            Some(_) => FaultKind::Malformed,
        });
    }
    if error.is_go_away() {
        // It reaches only the streams above the last one that the server has looked at.
        return Some(FaultKind::StreamRefused);
    }
    Some(match error.reason() {
        Some(Reason::REFUSED_STREAM) => FaultKind::StreamRefused,
        _ => FaultKind::Reset,
    })
}
