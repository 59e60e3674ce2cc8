//! The body of a request.

use core::fmt;
use core::pin::Pin;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use futures_core::Stream;

/// An error of any type, as streams of the user's report it.
pub type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// A body that arrives piece by piece.
pub type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, BoxError>> + Send>>;

/// The body of a request.
///
/// Bytes and factories can be sent again, so a retry or a redirect may do that; a one-shot stream
/// cannot, so a request with one is never replay-safe.
#[derive(Default)]
pub struct Body(pub(crate) Repr);

#[derive(Default)]
pub(crate) enum Repr {
    #[default]
    Empty,
    Bytes(Bytes),
    Factory(Factory),
    Stream {
        stream: BodyStream,
        length: Option<u64>,
    },
}

/// Makes the same body as often as it is asked.
#[derive(Clone)]
pub(crate) struct Factory {
    make: Arc<dyn Fn() -> BodyStream + Send + Sync>,
    length: Option<u64>,
}

/// What a backend sends.
#[non_exhaustive]
pub enum Payload {
    /// No body at all.
    Empty,
    /// All of it at once.
    Bytes(Bytes),
    /// Piece by piece; `length` if it is known, else the backend frames it in chunks.
    Stream {
        /// The pieces.
        stream: BodyStream,
        /// Their total length in bytes, if known.
        length: Option<u64>,
    },
}

impl Body {
    /// No body.
    pub const fn empty() -> Self {
        Self(Repr::Empty)
    }

    /// A body that can be sent once. Give the `length` in bytes if it is known: the stream must have just
    /// that, so its last piece is sent when the stream has ended, and more or less fails the exchange.
    pub fn stream<S>(stream: S, length: Option<u64>) -> Self
    where
        S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    {
        Self(Repr::Stream { stream: Box::pin(stream), length })
    }

    /// A body that `make` makes anew for every attempt. Give the `length` in bytes if it is known, as for
    /// [`stream`](Self::stream).
    pub fn factory<F, S>(make: F, length: Option<u64>) -> Self
    where
        F: Fn() -> S + Send + Sync + 'static,
        S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    {
        let make = Arc::new(move || -> BodyStream { Box::pin(make()) });
        Self(Repr::Factory(Factory { make, length }))
    }

    /// Whether it can be sent more than once.
    pub fn is_replayable(&self) -> bool {
        !matches!(self.0, Repr::Stream { .. })
    }

    /// All of it, if it is there.
    pub fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Bytes(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// Another copy, unless it is a one-shot stream.
    pub fn try_clone(&self) -> Option<Self> {
        Some(Self(match &self.0 {
            Repr::Empty => Repr::Empty,
            Repr::Bytes(bytes) => Repr::Bytes(bytes.clone()),
            Repr::Factory(factory) => Repr::Factory(factory.clone()),
            Repr::Stream { .. } => return None,
        }))
    }

    /// What to send.
    pub fn into_payload(self) -> Payload {
        match self.0 {
            Repr::Empty => Payload::Empty,
            Repr::Bytes(bytes) => Payload::Bytes(bytes),
            Repr::Factory(Factory { make, length }) => Payload::Stream { stream: make(), length },
            Repr::Stream { stream, length } => Payload::Stream { stream, length },
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self(Repr::Bytes(bytes))
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Bytes::from_static(bytes).into()
    }
}

/// Shows the kind and the length, never the content.
impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Empty => f.write_str("empty"),
            Repr::Bytes(bytes) => write!(f, "{} bytes", bytes.len()),
            Repr::Factory(Factory { length, .. }) => write!(f, "factory of {length:?}"),
            Repr::Stream { length, .. } => write!(f, "stream of {length:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_held_in_memory_is_sent_as_it_is() {
        for body in [Body::from("x"), Body::from(&b"x"[..])] {
            assert_eq!(body.as_bytes().map(|bytes| &bytes[..]), Some(&b"x"[..]));
        }
    }
}
