//! Bodies, in both directions.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf as _, Bytes, BytesMut};
use dace_core::http::{BodyStream, BoxError, Payload};
use futures_core::Stream;
use futures_io::AsyncRead;
use isahc::AsyncBody;

use crate::IsahcError;
use crate::clients::Client;
use crate::fault::UploadFailure;

/// The body of a request as libcurl takes it: always a reader, since a reader cannot be rewound, and
/// so cannot be sent twice. `None` if there is nothing to send: libcurl would not ask a reader of
/// length 0 for anything, and so would not notice that it cannot be rewound.
pub(crate) fn upload(payload: Payload, failure: &UploadFailure) -> Option<AsyncBody> {
    let (source, length) = match payload {
        Payload::Bytes(bytes) if !bytes.is_empty() => {
            let length = bytes.len() as u64;
            (Source::Bytes(bytes), Some(length))
        }
        Payload::Stream {
            length: Some(0), ..
        } => return None,
        Payload::Stream { stream, length } => (
            Source::Stream {
                stream: Mutex::new(stream),
                piece: Bytes::new(),
                left: length,
            },
            length,
        ),
        _ => return None,
    };
    let reader = Upload {
        source,
        failure: failure.clone(),
    };
    Some(match length {
        Some(length) => AsyncBody::from_reader_sized(reader, length),
        None => AsyncBody::from_reader(reader),
    })
}

struct Upload {
    source: Source,
    failure: UploadFailure,
}

enum Source {
    Bytes(Bytes),
    Stream {
        /// Never locked: it lends a stream that is only `Send` the `Sync` that isahc asks for.
        stream: Mutex<BodyStream>,
        piece: Bytes,
        left: Option<u64>,
    },
}

/// The user's body was not as long as it said.
#[derive(Debug, thiserror::Error)]
#[error("the body's stream does not have the length that was announced")]
struct WrongLength;

impl Source {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<&mut Bytes, BoxError>> {
        match self {
            Self::Bytes(bytes) => Poll::Ready(Ok(bytes)),
            Self::Stream {
                stream,
                piece,
                left,
            } => {
                while piece.is_empty() && *left != Some(0) {
                    let stream = stream.get_mut().unwrap_or_else(PoisonError::into_inner);
                    let Some(next) = ready!(stream.as_mut().poll_next(cx)?) else {
                        if left.is_some() {
                            return Poll::Ready(Err(WrongLength.into()));
                        }
                        break;
                    };
                    if let Some(left) = left {
                        *left = left.checked_sub(next.len() as u64).ok_or(WrongLength)?;
                    }
                    *piece = next;
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
        match ready!(this.source.poll_piece(cx)) {
            Ok(piece) => {
                let count = piece.len().min(buf.len());
                piece.copy_to_slice(&mut buf[..count]);
                Poll::Ready(Ok(count))
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
    client: Arc<Client>,
    failure: UploadFailure,
}

impl IsahcBody {
    /// `ended` if there is no body.
    pub(crate) fn new(
        reader: AsyncBody,
        ended: bool,
        client: Arc<Client>,
        failure: UploadFailure,
    ) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            ended,
            client,
            failure,
        }
    }
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
                Poll::Ready(None)
            }
            Ok(count) => Poll::Ready(Some(Ok(this.buffer.split_to(count).freeze()))),
            Err(error) => {
                this.ended = true;
                Poll::Ready(Some(Err(IsahcError::in_body(error, &this.failure))))
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
        self.client.give_up();
    }
}

impl fmt::Debug for IsahcBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IsahcBody").finish_non_exhaustive()
    }
}
