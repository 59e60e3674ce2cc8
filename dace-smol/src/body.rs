//! Bodies, in both directions.

use std::fmt;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use dace_core::Instant;
use dace_core::http::{BodyStream, BoxError, Head as _, Header, Payload, Version};
use futures_core::Stream;
use futures_io::AsyncRead;
use isahc::{AsyncBody, Trailer};

use crate::clients::Client;
use crate::fault::UploadFailure;
use crate::meaning::Way;
use crate::{IsahcError, IsahcHead};

/// The body of a request as libcurl takes it: always a reader, since a reader cannot be rewound, and
/// so cannot be sent twice. `None` if there is nothing to send: libcurl would not ask a reader of
/// length 0 for anything, and so would not notice that it cannot be rewound.
pub(crate) fn upload(payload: Payload, failure: &UploadFailure) -> Option<AsyncBody> {
    let (source, length) = match payload {
        Payload::Bytes(bytes) if !bytes.is_empty() => {
            let length = bytes.len() as u64;
            (Source::Bytes(bytes), Some(length))
        }
        Payload::Stream { length: Some(0), .. } => return None,
        Payload::Stream { stream, length } => (
            Source::Stream {
                stream: Mutex::new(stream),
                piece: Bytes::new(),
                left: length,
                last: None,
                over: false,
            },
            length,
        ),
        _ => return None,
    };
    let reader = Upload { source, ended: false, failure: failure.clone() };
    Some(match length {
        Some(length) => AsyncBody::from_reader_sized(reader, length),
        None => AsyncBody::from_reader(reader),
    })
}

/// A body of no bytes that cannot be rewound either, for HTTP/2: there its length need not be
/// announced, so libcurl has to ask for it.
pub(crate) fn nothing(failure: &UploadFailure) -> AsyncBody {
    let source = Source::Bytes(Bytes::new());
    AsyncBody::from_reader(Upload { source, ended: false, failure: failure.clone() })
}

struct Upload {
    source: Source,
    ended: bool,
    failure: UploadFailure,
}

enum Source {
    Bytes(Bytes),
    Stream {
        /// Never locked: it lends a stream that is only `Send` the `Sync` that isahc asks for.
        stream: Mutex<BodyStream>,
        piece: Bytes,
        left: Option<u64>,
        /// What completes the length, until it is known that nothing follows: with it the request
        /// would be whole.
        last: Option<Bytes>,
        /// Whether the stream has ended.
        over: bool,
    },
}

/// The user's body was not as long as it said.
#[derive(Debug, thiserror::Error)]
#[error("the body's stream does not have the length that was announced")]
struct WrongLength;

/// The user's stream runs on libcurl's thread, which must survive it: the thread serves others too.
#[derive(Debug, thiserror::Error)]
#[error("the body's stream panicked")]
struct Panicked;

/// libcurl asks for the end of a body once. Where a server wants HTTP/1.1 in place of HTTP/2 it begins
/// again without a rewind, and asks before it sends anything of the second request.
#[derive(Debug, thiserror::Error)]
#[error("the server refused HTTP/2, and the request must not be sent again")]
pub(crate) struct SentAgain;

fn poll_guarded(
    stream: &mut BodyStream,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Bytes, BoxError>>> {
    catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx)))
        .unwrap_or_else(|_| Poll::Ready(Some(Err(Panicked.into()))))
}

impl Source {
    /// Whether all of an announced length was handed over.
    fn is_sent(&self) -> bool {
        match self {
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Stream { piece, left, over, .. } => piece.is_empty() && left.is_some() && *over,
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut Bytes, BoxError>> {
        match self {
            Self::Bytes(bytes) => Poll::Ready(Ok(bytes)),
            Self::Stream { stream, piece, left, last, over } => {
                while piece.is_empty() && !*over {
                    let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                    let Some(next) = ready!(poll_guarded(stream, cx)?) else {
                        if left.is_some_and(|left| left > 0) {
                            return Poll::Ready(Err(WrongLength.into()));
                        }
                        *over = true;
                        *piece = last.take().unwrap_or_default();
                        break;
                    };
                    if let Some(left) = left {
                        *left = left.checked_sub(next.len() as u64).ok_or(WrongLength)?;
                    }
                    match left {
                        Some(0) => {
                            last.get_or_insert(next);
                        }
                        _ => *piece = next,
                    }
                }
                Poll::Ready(Ok(piece))
            }
        }
    }
}

impl AsyncRead for Upload {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(Err(io::Error::other(SentAgain)));
        }
        match ready!(this.source.poll_piece(cx)) {
            Ok(piece) if !piece.is_empty() => {
                let count = piece.len().min(buf.len());
                piece.copy_to_slice(&mut buf[..count]);
                // libcurl does not ask for the end where it knows the length.
                this.ended = this.source.is_sent();
                Poll::Ready(Ok(count))
            }
            Ok(_) => {
                this.ended = true;
                Poll::Ready(Ok(0))
            }
            Err(error) => {
                *this.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Poll::Ready(Err(io::Error::other("the request's own body failed")))
            }
        }
    }
}

/// How much is asked of libcurl at a time.
const PIECE: usize = 16 * 1024;

/// How many pieces a dropped body looks for its end in.
const LAST_LOOK: usize = 4;

/// The body of an answer. Dropping it before its end closes the connection.
pub struct IsahcBody {
    reader: AsyncBody,
    buffer: BytesMut,
    ended: bool,
    /// Whether nothing tells an empty body from a head that was cut off.
    ambiguous: bool,
    /// What is still to come of an announced length: where a head is cut off after it, libcurl does
    /// not count.
    left: u64,
    trailer: Trailer,
    trailers: Vec<Header>,
    origin: Origin,
}

/// Where the body of an answer comes from.
pub(crate) struct Origin {
    pub(crate) client: Arc<Client>,
    pub(crate) way: Way,
    /// When the exchange is over by its own timeout.
    pub(crate) ends: Instant,
    pub(crate) failure: UploadFailure,
}

impl IsahcBody {
    /// The body of an answer with this head.
    pub(crate) fn new(
        reader: AsyncBody,
        trailer: Trailer,
        head: &IsahcHead,
        to_head: bool,
        origin: Origin,
    ) -> Self {
        let bodiless = to_head || matches!(head.status(), 204 | 304);
        Self {
            ended: bodiless || reader.len() == Some(0),
            ambiguous: !bodiless && !is_delimited(head),
            left: reader.len().filter(|_| !bodiless && !is_chunked(head)).unwrap_or(0),
            reader,
            buffer: BytesMut::new(),
            trailer,
            trailers: Vec::new(),
            origin,
        }
    }

    /// The fields that came after the body, once it has ended.
    pub(crate) fn trailers(&self) -> &[Header] {
        &self.trailers
    }

    /// libcurl has handed them over before it ends the body.
    fn take_trailers(&mut self) {
        let fields = self.trailer.try_get().into_iter().flatten();
        self.trailers = fields
            .filter_map(|(name, value)| {
                Header::new(name.as_str(), Bytes::copy_from_slice(value.as_bytes()))
            })
            .collect();
    }
}

/// Whether the head says where the body ends: libcurl takes a head that ends in the middle for a whole
/// one, and then this is missing. Only the close of the connection may say it, if it was announced
/// (RFC 9112, 6.3 and 9.6).
fn is_delimited(head: &IsahcHead) -> bool {
    let closes = |value: &[u8]| value.eq_ignore_ascii_case(b"close");
    head.get("content-length").is_some()
        || is_chunked(head)
        || head.get("connection").is_some_and(closes)
        || head.version() == Version::Http10
}

fn is_chunked(head: &IsahcHead) -> bool {
    head.get("transfer-encoding").is_some()
}

impl Stream for IsahcBody {
    type Item = Result<Bytes, IsahcError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        if this.buffer.len() < PIECE {
            // Takes the old allocation again once all that was split off is gone.
            this.buffer.resize(PIECE, 0);
        }
        match ready!(Pin::new(&mut this.reader).poll_read(cx, &mut this.buffer)) {
            Ok(0) => {
                this.ended = true;
                this.take_trailers();
                let is_cut_off = this.ambiguous || this.left > 0;
                Poll::Ready(is_cut_off.then(|| Err(IsahcError::cut_off())))
            }
            Ok(count) => {
                this.ambiguous = false;
                this.left = this.left.saturating_sub(count as u64);
                Poll::Ready(Some(Ok(this.buffer.split_to(count).freeze())))
            }
            Err(error) => {
                this.ended = true;
                Poll::Ready(Some(Err(IsahcError::in_body(
                    error,
                    &this.origin.way,
                    &this.origin.failure,
                ))))
            }
        }
    }
}

impl Drop for IsahcBody {
    /// A reader that knows the length may stop before it is told of the end; so one last look.
    fn drop(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..LAST_LOOK {
            match Pin::new(&mut *self).poll_next(&mut cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(_) => return,
                Poll::Pending => break,
            }
        }
        let Origin { client, way, ends, .. } = &self.origin;
        client.give_up(&way.netloc, true, *ends);
    }
}

impl fmt::Debug for IsahcBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsahcBody").finish_non_exhaustive()
    }
}
