//! The socket under hyper, with the facts that hyper does not tell.
//!
//! Whether any byte of an answer came tells a closed connection from a truncated head; and how many
//! came before the head was complete bounds informational answers, of which hyper skips any number.
//! Whether the other side has stopped reading tells an answer that came early.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::socket::Socket;

/// What is known about the bytes of the exchange under way.
#[derive(Debug)]
pub(crate) struct Gauge {
    received: AtomicUsize,
    /// Whether a read had an outcome since [`listen`](Self::listen).
    heard: AtomicBool,
    /// Whether the last read found nothing, so that whoever reads is told of what comes.
    quiet: AtomicBool,
    awaiting_head: AtomicBool,
    head_limit: usize,
    /// Whether TLS ended with an alert.
    refused: AtomicBool,
    /// Whether what was to be written does not fit.
    blocked: AtomicBool,
    /// Where exchanges share the connection: how many there are, and how many bytes of heads came since
    /// one of them got its own.
    #[cfg(feature = "http2")]
    pub(crate) open: AtomicUsize,
    #[cfg(feature = "http2")]
    pub(crate) unheard: AtomicUsize,
}

impl Gauge {
    pub(crate) fn new(head_limit: usize) -> Arc<Self> {
        Arc::new(Self {
            received: AtomicUsize::new(0),
            heard: AtomicBool::new(false),
            quiet: AtomicBool::new(false),
            awaiting_head: AtomicBool::new(false),
            head_limit,
            refused: AtomicBool::new(false),
            blocked: AtomicBool::new(false),
            #[cfg(feature = "http2")]
            open: AtomicUsize::new(0),
            #[cfg(feature = "http2")]
            unheard: AtomicUsize::new(0),
        })
    }

    #[cfg(test)]
    pub(crate) fn head_limit(&self) -> usize {
        self.head_limit
    }

    /// A request is about to be sent.
    pub(crate) fn begin(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.awaiting_head.store(true, Ordering::Relaxed);
    }

    /// The head of its answer is complete.
    pub(crate) fn head_complete(&self) {
        self.awaiting_head.store(false, Ordering::Relaxed);
    }

    /// How many bytes came since the request was begun; where several share the connection, since that
    /// was.
    pub(crate) fn received(&self) -> usize {
        self.received.load(Ordering::Relaxed)
    }

    /// Whether the server ended the TLS session with an alert. hyper may find the connection closed
    /// without a word of why.
    pub(crate) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Forgets what was [`heard`](Self::heard).
    pub(crate) fn listen(&self) {
        self.heard.store(false, Ordering::Relaxed);
    }

    /// Whether anything came: bytes, the end, or an error.
    pub(crate) fn heard(&self) -> bool {
        self.heard.load(Ordering::Relaxed)
    }

    /// Whether the last read found nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet.load(Ordering::Relaxed)
    }

    /// Whether a part of the request waits for the other side to read.
    pub(crate) fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }

    fn wrote<T>(&self, poll: Poll<T>) -> Poll<T> {
        self.blocked.store(poll.is_pending(), Ordering::Relaxed);
        poll
    }

    /// Checked before every read: hyper reads on only when it has parsed what it has, so what was
    /// received by then is head alone.
    fn exhausted(&self) -> bool {
        #[cfg(feature = "http2")]
        {
            let open = self.open.load(Ordering::Relaxed).max(1);
            let limit = self.head_limit.saturating_mul(open);
            if self.unheard.load(Ordering::Relaxed) > limit {
                return true;
            }
        }
        self.awaiting_head.load(Ordering::Relaxed)
            && self.received.load(Ordering::Relaxed) >= self.head_limit
    }
}

/// A socket that keeps its [`Gauge`].
#[derive(Debug)]
pub(crate) struct Wire<S: AsyncRead + AsyncWrite + Unpin> {
    pub(crate) socket: Socket<S>,
    pub(crate) gauge: Arc<Gauge>,
    /// Counts heads, on a connection of HTTP/2.
    #[cfg(feature = "http2")]
    pub(crate) heads: Option<crate::heads::Heads>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.gauge.exhausted() {
            self.gauge.heard.store(true, Ordering::Relaxed);
            let error = io::Error::new(io::ErrorKind::InvalidData, "heads over the limit");
            return Poll::Ready(Err(error));
        }
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.gauge.quiet.store(poll.is_pending(), Ordering::Relaxed);
        if poll.is_ready() {
            let more = buf.filled().len() - before;
            self.gauge.received.fetch_add(more, Ordering::Relaxed);
            self.gauge.heard.store(true, Ordering::Relaxed);
        }
        #[cfg(feature = "http2")]
        if let Some(heads) = &mut self.heads {
            let count = heads.count(&buf.filled()[before..]);
            self.gauge.unheard.fetch_add(count, Ordering::Relaxed);
        }
        if matches!(&poll, Poll::Ready(Err(error)) if crate::security::is_alert(error)) {
            self.gauge.refused.store(true, Ordering::Relaxed);
        }
        poll
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.gauge.wrote(poll)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.gauge.wrote(poll)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let poll = Pin::new(&mut self.socket).poll_flush(cx);
        self.gauge.wrote(poll)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Drop for Wire<S> {
    /// Over TLS, a server that is left without a goodbye takes that for an attack.
    fn drop(&mut self) {
        self.socket.goodbye(&mut Context::from_waker(Waker::noop()));
    }
}
