//! An [`AsyncRead`] as the body of a request.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use dace_core::http::{Body, BoxError};
use futures_core::Stream;
use tokio::io::{AsyncRead, ReadBuf};

/// How much is read at a time.
const PIECE: usize = 16 * 1024;

/// A body that is read from `read`, a file for one, until its end. It can be sent once, so a request
/// with it is neither retried nor sent on by a redirect that keeps the body;
/// [`Body::factory`](dace_core::http::Body::factory) makes one that can.
///
/// Give the `length` in bytes if it is known: the request then says so, and a reader that has fewer or
/// more bytes fails the exchange. So the last of them wait for the reader's end: of one that stays open,
/// a socket for one, [`take`](tokio::io::AsyncReadExt::take) the length. Without it, HTTP/1.1 sends the body in chunks. 0 means that there is
/// no body, and nothing is read.
pub fn reader<R>(read: R, length: Option<u64>) -> Body
where
    R: AsyncRead + Send + 'static,
{
    Body::stream(Pieces { read: Some(Box::pin(read)), buffer: BytesMut::new() }, length)
}

struct Pieces<R> {
    /// Gone once it has ended: many readers may not be read again then.
    read: Option<Pin<Box<R>>>,
    buffer: BytesMut,
}

impl<R: AsyncRead> Stream for Pieces<R> {
    type Item = Result<Bytes, BoxError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(read) = &mut this.read else {
            return Poll::Ready(None);
        };
        this.buffer.resize(PIECE, 0);
        let mut buf = ReadBuf::new(&mut this.buffer);
        let outcome = ready!(read.as_mut().poll_read(cx, &mut buf));
        let count = buf.filled().len();
        match outcome {
            Ok(()) if count > 0 => Poll::Ready(Some(Ok(this.buffer.split_to(count).freeze()))),
            Ok(()) => {
                this.read = None;
                Poll::Ready(None)
            }
            Err(error) => {
                this.read = None;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }
}
