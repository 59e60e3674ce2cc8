//! An answer: its head, and its body as it arrives.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use alloc::boxed::Box;
use alloc::string::String;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;

use super::exchange::{Exchange, Limits};
use super::timer::Timer;
use crate::http::error::class_of_fault;
use crate::http::{Head, HttpErrorKind, Sent, Url, Version};
use crate::{Class, HttpBackend, HttpError, Instant, Runtime};

/// An answer.
///
/// Its body arrives while it is read. It holds a connection place, and one place of the limit if it
/// outlives its call, until the body ends or it is dropped.
pub struct Response<R: Runtime, B: HttpBackend> {
    head: B::Head,
    url: Url,
    retry_after: Option<Duration>,
    body: Option<Reading<R, B>>,
}

/// A body that is being read.
struct Reading<R: Runtime, B: HttpBackend> {
    body: B::Body,
    exchange: Exchange<R, B>,
    limits: Limits,
    /// Since when the reader waits for the next bytes.
    waiting_since: Option<Instant>,
    /// Made when the reader first waits.
    timer: Option<Pin<Box<Timer<R>>>>,
}

impl<R: Runtime, B: HttpBackend> Response<R, B> {
    pub(super) fn new(
        head: B::Head,
        body: B::Body,
        url: Url,
        exchange: Exchange<R, B>,
        limits: Limits,
        retry_after: Option<Duration>,
    ) -> Self {
        let reading = Reading { body, exchange, limits, waiting_since: None, timer: None };
        Self { head, url, retry_after, body: Some(reading) }
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

    /// All headers.
    pub fn headers(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.head.iter()
    }

    /// What the answer asked the client to wait (`Retry-After`, of a 429 or a 503).
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
            reading.exchange.detach();
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
                    reading.waiting_since = None;
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
    pub async fn bytes(mut self) -> Result<Bytes, HttpError> {
        let limit = match &self.body {
            Some(reading) => reading.exchange.shared.policy.body_limit,
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

    fn too_large(&self, limit: usize) -> HttpError {
        let kind = HttpErrorKind::TooLarge(limit);
        HttpError::new(kind, Sent::Sent, Some(self.url.netloc()))
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, HttpError>> {
        let Some(reading) = &mut self.body else {
            return Poll::Ready(Ok(None));
        };
        let kind = match ready!(reading.poll(cx)) {
            Ok(Some(bytes)) => return Poll::Ready(Ok(Some(bytes))),
            Ok(None) => {
                self.body = None;
                return Poll::Ready(Ok(None));
            }
            Err(kind) => kind,
        };
        let error = match kind {
            Broken::Backend(error) => {
                let fault = B::fault(&error);
                reading.exchange.body_failed(class_of_fault(fault.kind, Sent::Sent));
                let fault = crate::http::Fault { sent: Sent::Sent, ..fault };
                HttpError::fault(fault, self.url.netloc(), error)
            }
            Broken::Time(kind) => {
                reading.exchange.body_failed(Class::Timeout);
                HttpError::new(kind, Sent::Sent, Some(self.url.netloc()))
            }
        };
        self.body = None;
        Poll::Ready(Err(error))
    }
}

enum Broken<E> {
    Backend(E),
    Time(HttpErrorKind),
}

impl<R: Runtime, B: HttpBackend> Reading<R, B> {
    /// The next piece. The reader's waiting is timed, not its dawdling between pieces.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Broken<B::Error>>> {
        let runtime = &self.exchange.shared.runtime;
        let stall = self.exchange.shared.policy.stall_timeout;
        loop {
            let now = runtime.now();
            if now >= self.limits.until {
                let kind = HttpErrorKind::Timeout(self.limits.timeout);
                return Poll::Ready(Err(Broken::Time(kind)));
            }
            match Pin::new(&mut self.body).poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => continue,
                Poll::Ready(Some(Ok(bytes))) => {
                    self.waiting_since = None;
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::Backend(error))),
                Poll::Ready(None) => return Poll::Ready(Ok(None)),
                Poll::Pending => {}
            }
            let since = *self.waiting_since.get_or_insert(now);
            if now >= since.after(stall) {
                return Poll::Ready(Err(Broken::Time(HttpErrorKind::Stalled(stall))));
            }
            let until = since.after(stall).min(self.limits.until);
            let timer = self.timer.get_or_insert_with(|| Box::pin(Timer::new()));
            ready!(timer.as_mut().poll_at(cx, runtime, until));
        }
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
