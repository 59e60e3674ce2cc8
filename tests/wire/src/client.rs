//! What contracts need of a client: requests in a line, and answers read whole.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::Bytes;
use dace_core::http::{
    Body, BoxError, Connect, Fault, Head, HttpBackend, HttpSettings, Method, Request, Url,
};
use futures_core::Stream;

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answer<H> {
    /// Its head.
    pub head: H,
    /// Its whole body.
    pub body: Vec<u8>,
}

impl<H: Head> Answer<H> {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A failed exchange.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What the backend says of it.
    pub fault: Fault,
    /// Whether the head of the answer had been handed over.
    pub after_head: bool,
    /// The error and its chain, for messages.
    pub chain: String,
    /// The error's `Debug`.
    pub debug: String,
}

/// A GET that may be sent twice.
///
/// # Panics
/// If the URL cannot be parsed.
pub fn get(url: &str) -> Request {
    let mut request = Request::new(Method::GET, Url::parse(url).expect("a test's own URL"));
    request.options.replay_safe = true;
    request
}

/// A POST that must not be sent twice.
///
/// # Panics
/// If the URL cannot be parsed.
pub fn post(url: &str, body: impl Into<Body>) -> Request {
    let mut request = Request::new(Method::POST, Url::parse(url).expect("a test's own URL"));
    request.body = body.into();
    request
}

/// A stream of these pieces, each after a turn of waiting, as a network would hand them over.
pub fn upload(pieces: Vec<Result<&'static str, BoxError>>, length: Option<u64>) -> Body {
    struct Pieces {
        pieces: std::vec::IntoIter<Result<&'static str, BoxError>>,
        ready: bool,
    }
    impl Stream for Pieces {
        type Item = Result<Bytes, BoxError>;

        fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            self.ready = !self.ready;
            if self.ready {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = self.pieces.next();
            Poll::Ready(piece.map(|piece| piece.map(|text| Bytes::from_static(text.as_bytes()))))
        }
    }
    let pieces = pieces.into_iter();
    Body::stream(Pieces { pieces, ready: false }, length)
}

/// One exchange, read to its end.
///
/// # Errors
/// What went wrong, before or after the head.
pub async fn run<B: HttpBackend>(
    backend: &B,
    request: Request,
) -> Result<Answer<B::Head>, Failure> {
    match backend.send(request).await {
        Ok(response) => {
            let head = response.head;
            let body = read::<B>(response.body).await?;
            Ok(Answer { head, body })
        }
        Err(error) => Err(failure::<B>(&error, false)),
    }
}

/// The rest of a body.
///
/// # Errors
/// What the body ended with.
pub async fn read<B: HttpBackend>(mut body: B::Body) -> Result<Vec<u8>, Failure> {
    let mut read = Vec::new();
    while let Some(piece) = next(&mut body).await {
        match piece {
            Ok(piece) => read.extend_from_slice(&piece),
            Err(error) => return Err(failure::<B>(&error, true)),
        }
    }
    Ok(read)
}

/// The next item of a stream.
pub(crate) async fn next<S: Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
    poll_fn(|cx| Pin::new(&mut *stream).poll_next(cx)).await
}

/// Runs `work` until `stop` is ready: `None` if that came first, and `work` is then dropped.
pub async fn race<W: Future, S: Future>(work: W, stop: S) -> Option<W::Output> {
    let mut work = pin!(work);
    let mut stop = pin!(stop);
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        stop.as_mut().poll(cx).map(|_| None)
    })
    .await
}

/// A backend with the default settings, but for what `set` changes.
pub(crate) fn backend<B: Connect>(set: impl FnOnce(&mut HttpSettings<B::Tls>)) -> B {
    let mut settings = HttpSettings::default();
    set(&mut settings);
    B::connect(settings).expect("a backend with these settings")
}

pub(crate) fn failure<B: HttpBackend>(error: &B::Error, after_head: bool) -> Failure {
    let mut chain = error.to_string();
    let mut source = core::error::Error::source(error);
    while let Some(error) = source {
        chain.push_str(" <- ");
        chain.push_str(&error.to_string());
        source = error.source();
    }
    Failure { fault: B::fault(error), after_head, chain, debug: format!("{error:?}") }
}
