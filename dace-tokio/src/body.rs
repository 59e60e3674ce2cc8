//! Bodies, in both directions.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dace_core::Target;
use dace_core::http::{BodyStream, BoxError, Payload};
use futures_core::Stream;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use crate::HyperError;
use crate::pool::{Connection, Pool};

/// The body of a request, as hyper takes it.
pub(crate) struct Upload {
    content: Content,
    /// Dropped with the upload: so the other end knows that hyper has done with it.
    _running: Arc<()>,
}

enum Content {
    Done,
    Bytes(Bytes),
    Stream { stream: BodyStream, left: Option<u64> },
}

/// The user's body failed, or was not as long as it said.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    #[error("the body's stream failed")]
    Stream(#[source] BoxError),
    #[error("the body's stream panicked")]
    Panicked,
    #[error("the body's stream does not have the length that was announced")]
    Length,
}

impl Upload {
    pub(crate) fn new(payload: Payload, running: Arc<()>) -> Self {
        let content = match payload {
            Payload::Bytes(bytes) if !bytes.is_empty() => Content::Bytes(bytes),
            Payload::Stream { length: Some(0), .. } => Content::Done,
            Payload::Stream { stream, length } => Content::Stream { stream, left: length },
            _ => Content::Done,
        };
        Self { content, _running: running }
    }

    /// Whether hyper has to be told to frame it in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        matches!(self.content, Content::Stream { left: None, .. })
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        match &mut self.content {
            Content::Done => Poll::Ready(None),
            Content::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                self.content = Content::Done;
                Poll::Ready(Some(Ok(bytes)))
            }
            Content::Stream { stream, left } => {
                // A panic would end the task of the connection, and nobody would hear why.
                let poll = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx)));
                let item = match poll {
                    Ok(poll) => checked(ready!(poll), left),
                    Err(_) => Some(Err(UploadError::Panicked)),
                };
                if !matches!(item, Some(Ok(_))) || *left == Some(0) {
                    self.content = Content::Done;
                }
                Poll::Ready(item)
            }
        }
    }
}

/// `item` of a stream that has `left` bytes to come, if that is known.
fn checked(
    item: Option<Result<Bytes, BoxError>>,
    left: &mut Option<u64>,
) -> Option<Result<Bytes, UploadError>> {
    let data = match item {
        Some(Ok(data)) => data,
        Some(Err(error)) => return Some(Err(UploadError::Stream(error))),
        None if left.is_some_and(|left| left > 0) => return Some(Err(UploadError::Length)),
        None => return None,
    };
    if let Some(left) = left {
        match left.checked_sub(data.len() as u64) {
            Some(rest) => *left = rest,
            None => return Some(Err(UploadError::Length)),
        }
    }
    Some(Ok(data))
}

impl Body for Upload {
    type Data = Bytes;
    type Error = UploadError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UploadError>>> {
        self.poll_data(cx).map_ok(Frame::data)
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.content, Content::Done)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Done => SizeHint::with_exact(0),
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream { left: Some(left), .. } => SizeHint::with_exact(*left),
            Content::Stream { left: None, .. } => SizeHint::default(),
        }
    }
}

/// The body of an answer. Dropping it before its end closes the connection.
pub struct HyperBody {
    incoming: Incoming,
    reused: bool,
    lease: Option<Lease>,
}

/// A connection on loan to an exchange, and where it goes afterwards.
pub(crate) struct Lease {
    pub(crate) connection: Connection,
    pub(crate) origin: Target,
    pub(crate) pool: Arc<Pool>,
    pub(crate) running: Arc<()>,
}

impl Lease {
    /// Parks the connection once it is ready for another exchange, and drops it if it will not be.
    ///
    /// It is ready as soon as the task that drives it has seen the end of this exchange, unless the
    /// request is still being sent: then the answer came early, and the connection is closed.
    fn poll_release(this: &mut Option<Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Some(lease) = this else {
            return Poll::Ready(());
        };
        let uploaded = Arc::strong_count(&lease.running) == 1;
        let ready = uploaded && ready!(lease.connection.sender.poll_ready(cx)).is_ok();
        if let Some(lease) = this.take().filter(|_| ready) {
            lease.park();
        }
        Poll::Ready(())
    }

    fn park(mut self) {
        self.connection.reused = true;
        self.pool.park(self.origin, self.connection);
    }
}

impl HyperBody {
    /// `lease` is `None` if the connection must not be used again. A body that is empty from the
    /// start gives its connection back at once.
    pub(crate) async fn new(incoming: Incoming, reused: bool, mut lease: Option<Lease>) -> Self {
        if incoming.is_end_stream() {
            std::future::poll_fn(|cx| Lease::poll_release(&mut lease, cx)).await;
        }
        Self { incoming, reused, lease }
    }
}

impl Stream for HyperBody {
    type Item = Result<Bytes, HyperError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            match ready!(Pin::new(&mut this.incoming).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // What is not data is a trailer.
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(Ok(data)));
                    }
                }
                Some(Err(error)) => {
                    this.lease = None;
                    return Poll::Ready(Some(Err(HyperError::in_body(this.reused, error))));
                }
                None => {
                    ready!(Lease::poll_release(&mut this.lease, cx));
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl Drop for HyperBody {
    /// A reader that knows the length may stop before it is told of the end.
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        let uploaded = Arc::strong_count(&lease.running) == 1;
        if self.incoming.is_end_stream() && uploaded && lease.connection.sender.is_ready() {
            lease.park();
        }
    }
}

impl fmt::Debug for HyperBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperBody").finish_non_exhaustive()
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}
