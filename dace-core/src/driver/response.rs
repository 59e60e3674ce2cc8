//! An answer: its head, and the ways to read its body.

use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use alloc::string::String;
use alloc::vec::Vec;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use super::reading::Reading;
use crate::http::{Head, Header, Hop, HttpErrorKind, Sent, Url, Version};
use crate::{HttpBackend, HttpError, Runtime};

/// An answer.
///
/// Its body arrives while it is read. It holds a connection place, and one place of the limit if it
/// outlives its call, until the body ends or it is dropped.
pub struct Response<R: Runtime, B: HttpBackend> {
    head: B::Head,
    url: Url,
    retry_after: Option<Duration>,
    pub(super) history: Vec<Hop>,
    trailers: Vec<Header>,
    body: Option<Reading<R, B>>,
}

impl<R: Runtime, B: HttpBackend> Response<R, B> {
    pub(super) fn new(
        head: B::Head,
        url: Url,
        reading: Reading<R, B>,
        retry_after: Option<Duration>,
    ) -> Self {
        Self {
            head,
            url,
            retry_after,
            history: Vec::new(),
            trailers: Vec::new(),
            body: Some(reading),
        }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// The version of HTTP that the answer came in.
    pub fn version(&self) -> Version {
        self.head.version()
    }

    /// The URL that answered.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The first value of a header. Names compare without regard to case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.head.get(name)
    }

    /// The redirects that led here, in order.
    pub fn history(&self) -> &[Hop] {
        &self.history
    }

    /// The fields that came after the body (RFC 9110, 6.5): none before its end was read.
    pub fn trailers(&self) -> &[Header] {
        &self.trailers
    }

    /// All headers, as they arrived: `Content-Encoding` and `Content-Length` say what was on the wire.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.iter()
    }

    /// What the answer asked the client to wait: by `Retry-After`, if it is a 429 or a 503, and by what
    /// [`hints`](crate::DependencyBuilder::hints) has read.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// The answer itself if its status is below 400.
    ///
    /// # Errors
    /// The status, if it is 400 or above.
    pub fn error_for_status(self) -> Result<Self, HttpError> {
        let status = self.status();
        if status < 400 {
            return Ok(self);
        }
        let kind = HttpErrorKind::Status { status, retry_after: self.retry_after };
        Err(HttpError::new(kind, Sent::Sent, Some(self.url.netloc())))
    }

    /// Gives back the place that the answer takes of the limit, though its body is not read yet: for
    /// a body that is passed on slowly, on purpose.
    pub fn detach(&mut self) {
        if let Some(reading) = &mut self.body {
            reading.detach();
        }
    }

    /// The next piece of the body, `None` at its end.
    ///
    /// # Errors
    /// If the body breaks off, stalls, or is not complete within the request's timeout.
    ///
    /// # Cancel safety
    /// No byte is lost if it is dropped.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, HttpError> {
        // Who stops waiting has not waited on: the next wait is a new one.
        struct Waiting<'a, R: Runtime, B: HttpBackend>(&'a mut Response<R, B>);
        impl<R: Runtime, B: HttpBackend> Drop for Waiting<'_, R, B> {
            fn drop(&mut self) {
                if let Some(reading) = &mut self.0.body {
                    reading.stop_waiting();
                }
            }
        }
        let waiting = Waiting(self);
        poll_fn(|cx| waiting.0.poll_chunk(cx)).await
    }

    /// The whole body, at most `body_limit` bytes of it.
    ///
    /// # Errors
    /// As [`chunk`](Self::chunk), and if the body is larger.
    ///
    /// # Cancel safety
    /// What was read is lost if it is dropped, and the connection is closed.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
    pub fn bytes(mut self) -> impl Future<Output = Result<Bytes, HttpError>> + use<R, B> {
        async move {
            let limit = match &self.body {
                Some(reading) => reading.limit(),
                None => return Ok(Bytes::new()),
            };
            let Some(first) = self.chunk().await? else {
                return Ok(Bytes::new());
            };
            if first.len() > limit {
                return Err(self.too_large(limit));
            }
            let Some(second) = self.chunk().await? else {
                return Ok(first);
            };
            let mut all = BytesMut::from(&first[..]);
            let mut next = Some(second);
            while let Some(piece) = next {
                if piece.len() > limit - all.len() {
                    return Err(self.too_large(limit));
                }
                all.extend_from_slice(&piece);
                next = self.chunk().await?;
            }
            Ok(all.freeze())
        }
    }

    /// The whole body as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and if it is not UTF-8.
    ///
    /// # Cancel safety
    /// As [`bytes`](Self::bytes).
    pub async fn text(self) -> Result<String, HttpError> {
        let netloc = self.url.netloc();
        let bytes = self.bytes().await?;
        match core::str::from_utf8(&bytes) {
            Ok(text) => Ok(text.into()),
            Err(_) => Err(HttpError::new(HttpErrorKind::NotText, Sent::Sent, Some(netloc))),
        }
    }

    /// The whole body, read as JSON.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes), and if it is not JSON or not of this type.
    ///
    /// # Cancel safety
    /// As [`bytes`](Self::bytes).
    #[cfg(feature = "json")]
    pub async fn json<T: serde::de::DeserializeOwned>(self) -> Result<T, HttpError> {
        let netloc = self.url.netloc();
        let bytes = self.bytes().await?;
        serde_json::from_slice(&bytes).map_err(|error| {
            HttpError::new(HttpErrorKind::NotJson, Sent::Sent, Some(netloc))
                .because(crate::http::error::JsonError::from(error))
        })
    }

    /// Throws the body away.
    pub(super) async fn discard(mut self) {
        let length = self
            .head
            .get("content-length")
            .and_then(|length| core::str::from_utf8(length).ok()?.parse().ok());
        if let Some(reading) = self.body.take() {
            reading.discard(length).await;
        }
    }

    fn too_large(&self, limit: usize) -> HttpError {
        let kind = HttpErrorKind::TooLarge(limit);
        HttpError::new(kind, Sent::Sent, Some(self.url.netloc()))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, HttpError>> {
        let Some(reading) = &mut self.body else {
            return Poll::Ready(Ok(None));
        };
        let broken = match ready!(reading.poll(cx)) {
            Ok(Some(bytes)) => return Poll::Ready(Ok(Some(bytes))),
            Ok(None) => {
                let (trailers, wait) = reading.trailers();
                self.trailers = trailers;
                self.retry_after = self.retry_after.max(wait);
                self.body = None;
                return Poll::Ready(Ok(None));
            }
            Err(broken) => broken,
        };
        let error = reading.failed(broken, self.url.netloc());
        self.body = None;
        Poll::Ready(Err(error))
    }
}

/// The body, piece by piece.
impl<R: Runtime, B: HttpBackend> Stream for Response<R, B>
where
    B::Head: Unpin,
{
    type Item = Result<Bytes, HttpError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.get_mut().poll_chunk(cx).map(Result::transpose)
    }
}

impl<R: Runtime, B: HttpBackend> fmt::Debug for Response<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("url", &self.url)
            .finish_non_exhaustive()
    }
}
