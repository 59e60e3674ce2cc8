//! An `AsyncRead` as the body of a request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use dace_core::http::{Body, BoxError};
use futures_core::Stream;
use futures_io::AsyncRead;

/// How much is asked of the reader at a time.
const PIECE: usize = 16 * 1024;

/// What `reader` gives, as the body of a request: a file, a pipe, a decoder. It can be sent once, so a
/// request with it is never sent again. Give the `length` in bytes if it is known, else the body is
/// sent in chunks. A reader that has fewer or more bytes fails the exchange, so the last of them wait for
/// its end: of one that stays open, a socket for one, `take` the length.
///
/// ```
/// let body = dace_smol::reader(smol::io::Cursor::new("hello"), Some(5));
/// assert!(!body.is_replayable());
/// ```
pub fn reader<R>(reader: R, length: Option<u64>) -> Body
where
    R: AsyncRead + Send + 'static,
{
    let pieces = Pieces { reader: Box::pin(reader), buffer: BytesMut::new() };
    Body::stream(pieces, length)
}

struct Pieces {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    buffer: BytesMut,
}

impl Stream for Pieces {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Self { reader, buffer } = self.get_mut();
        if buffer.len() < PIECE {
            // Takes the old allocation again once all that was split off is gone.
            buffer.resize(PIECE, 0);
        }
        Poll::Ready(match ready!(reader.as_mut().poll_read(cx, buffer)) {
            Ok(0) => None,
            Ok(count) => Some(Ok(buffer.split_to(count).freeze())),
            Err(error) => Some(Err(error.into())),
        })
    }
}
