//! The body of a request, as hyper takes it, and what becomes of it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use dace_core::http::{BodyStream, BoxError, Payload};
use http_body::{Body, Frame, SizeHint};

/// How much of a body of bytes hyper gets at a time. As long as it has not taken the last, the request is
/// known to be unsent.
const PIECE: usize = 16 * 1024;

/// The body of a request, as hyper takes it. It is moved about with its request, and mostly there is none.
pub(crate) struct Upload(Option<Box<Something>>);

/// Something to send.
struct Something {
    content: Content,
    /// Dropped with the upload: so the other end knows that hyper has done with it.
    fate: Arc<Fate>,
}

enum Content {
    Done,
    Bytes(Bytes),
    Stream {
        stream: BodyStream,
        left: Option<u64>,
        /// What completes the length, until it is known that nothing follows.
        last: Option<Bytes>,
    },
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
    /// What hyper is told; the exchange gets the reason from [`Progress`], since HTTP/2 would lose it.
    #[error("the body ended early")]
    Ended,
}

/// What is known about an upload while hyper has it. Of one that is empty there is nothing to know.
#[derive(Debug)]
pub(crate) struct Progress(Option<Arc<Fate>>);

#[derive(Debug, Default)]
struct Fate(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    failure: Option<UploadError>,
    given_up: bool,
    waker: Option<Waker>,
}

impl Progress {
    /// Whether hyper has done with the upload: this is the only end left.
    pub(crate) fn is_over(&self) -> bool {
        self.0.as_ref().is_none_or(|fate| Arc::strong_count(fate) == 1)
    }

    /// Why the upload failed, if that is what happened.
    pub(crate) fn take_failure(&self) -> Option<UploadError> {
        self.0.as_ref()?.lock().failure.take()
    }

    /// The answer is over, so nobody needs the rest. On a connection of its own an upload ends with
    /// that; a stream among others would go on for as long as the connection.
    #[cfg(feature = "http2")]
    pub(crate) fn give_up(&self) {
        let Some(fate) = &self.0 else {
            return;
        };
        let mut known = fate.lock();
        known.given_up = true;
        let waker = known.waker.take();
        drop(known);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Fate {
    fn fail(&self, failure: UploadError) -> UploadError {
        self.lock().failure = Some(failure);
        UploadError::Ended
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Upload {
    pub(crate) fn new(payload: Payload) -> (Self, Progress) {
        let content = match payload {
            Payload::Bytes(bytes) if !bytes.is_empty() => Content::Bytes(bytes),
            Payload::Stream { length: Some(0), .. } => return (Self(None), Progress(None)),
            Payload::Stream { stream, length } => {
                Content::Stream { stream, left: length, last: None }
            }
            _ => return (Self(None), Progress(None)),
        };
        let fate = Arc::new(Fate::default());
        let progress = Progress(Some(fate.clone()));
        (Self(Some(Box::new(Something { content, fate }))), progress)
    }

    /// Whether hyper has to be told to frame it in chunks.
    pub(crate) fn is_chunked(&self) -> bool {
        self.0
            .as_ref()
            .is_some_and(|upload| matches!(upload.content, Content::Stream { left: None, .. }))
    }
}

impl Something {
    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, UploadError>>> {
        match &mut self.content {
            Content::Done => Poll::Ready(None),
            Content::Bytes(bytes) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                if bytes.is_empty() {
                    self.content = Content::Done;
                }
                Poll::Ready(Some(Ok(piece)))
            }
            Content::Stream { stream, left, last } => {
                let mut known = self.fate.lock();
                if known.given_up {
                    return Poll::Ready(Some(Err(UploadError::Ended)));
                }
                known.waker = Some(cx.waker().clone());
                drop(known);
                let item = loop {
                    // A panic would end whoever drives the connection, and nobody would hear why.
                    let poll = catch_unwind(AssertUnwindSafe(|| stream.as_mut().poll_next(cx)));
                    let item = match poll {
                        Ok(poll) => checked(ready!(poll), left),
                        Err(_) => Some(Err(UploadError::Panicked)),
                    };
                    match item {
                        // With the last piece the request would be whole, whatever follows.
                        Some(Ok(piece)) if *left == Some(0) => {
                            last.get_or_insert(piece);
                        }
                        Some(Ok(piece)) => return Poll::Ready(Some(Ok(piece))),
                        None => break last.take().map(Ok),
                        failed => break failed,
                    }
                };
                self.content = Content::Done;
                Poll::Ready(item.map(|item| item.map_err(|error| self.fate.fail(error))))
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
        match &mut self.0 {
            None => Poll::Ready(None),
            Some(upload) => upload.poll_data(cx).map_ok(Frame::data),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|upload| matches!(upload.content, Content::Done))
    }

    fn size_hint(&self) -> SizeHint {
        let Some(upload) = &self.0 else {
            return SizeHint::with_exact(0);
        };
        match &upload.content {
            Content::Done => SizeHint::with_exact(0),
            Content::Bytes(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Content::Stream { left: Some(left), last, .. } => {
                SizeHint::with_exact(*left + last.as_ref().map_or(0, |last| last.len() as u64))
            }
            Content::Stream { left: None, .. } => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upload").finish_non_exhaustive()
    }
}
