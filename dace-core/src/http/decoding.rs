//! Content codings: what is asked for, and what is undone.
//!
//! Without the feature `gzip` nothing is.

use bytes::Bytes;

use super::{FaultKind, Head};

#[cfg(feature = "gzip")]
use super::gzip::{Gunzip, GzipError};

/// What `Accept-Encoding` says, if anything can be decoded.
pub(crate) const ACCEPTED: Option<&str> = if cfg!(feature = "gzip") { Some("gzip") } else { None };

/// Undoes the coding of one body.
pub(crate) enum Decoding {
    /// The body is handed on as it is.
    None,
    #[cfg(feature = "gzip")]
    Gzip(Gunzip),
}

/// What a body that cannot be decoded means, and why.
#[cfg(feature = "gzip")]
pub(crate) type Undecodable = (FaultKind, GzipError);
#[cfg(not(feature = "gzip"))]
pub(crate) type Undecodable = (FaultKind, core::convert::Infallible);

impl Decoding {
    /// For the body of an answer with this `head`, whose coding dace asked for.
    pub(crate) fn of(head: &impl Head) -> Self {
        #[cfg(feature = "gzip")]
        if let Some(coding) = head.get("content-encoding").map(<[u8]>::trim_ascii) {
            let gzip: [&[u8]; 2] = [b"gzip", b"x-gzip"];
            if gzip.iter().any(|name| coding.eq_ignore_ascii_case(name)) {
                return Self::Gzip(Gunzip::new());
            }
        }
        let _ = head;
        Self::None
    }

    /// The next decoded piece of what was pushed.
    pub(crate) fn pull(&mut self) -> Result<Option<Bytes>, Undecodable> {
        match self {
            Self::None => Ok(None),
            #[cfg(feature = "gzip")]
            Self::Gzip(gunzip) => gunzip.pull().map_err(meaning),
        }
    }

    /// What arrived: `Some` if it needs no decoding.
    pub(crate) fn push(&mut self, piece: Bytes) -> Option<Bytes> {
        match self {
            Self::None => Some(piece),
            #[cfg(feature = "gzip")]
            Self::Gzip(gunzip) => {
                gunzip.push(piece);
                None
            }
        }
    }

    /// Nothing more arrives.
    pub(crate) fn finish(&self) -> Result<(), Undecodable> {
        match self {
            Self::None => Ok(()),
            #[cfg(feature = "gzip")]
            Self::Gzip(gunzip) => gunzip.finish().map_err(meaning),
        }
    }
}

#[cfg(feature = "gzip")]
fn meaning(error: GzipError) -> Undecodable {
    let kind = match error {
        GzipError::Truncated => FaultKind::Truncated,
        GzipError::Malformed | GzipError::Checksum => FaultKind::Malformed,
    };
    (kind, error)
}
