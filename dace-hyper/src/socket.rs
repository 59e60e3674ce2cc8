//! What hyper's bytes go over: TCP, or TLS on it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A connected socket.
#[derive(Debug)]
pub(crate) enum Socket<S> {
    Plain(S),
    #[cfg(any(feature = "rustls", feature = "rustls-ring"))]
    Secure(Box<tokio_rustls::client::TlsStream<S>>),
}

/// Does the same with either.
macro_rules! either {
    ($socket:expr, $inner:ident => $work:expr) => {
        match $socket {
            Socket::Plain($inner) => $work,
            #[cfg(any(feature = "rustls", feature = "rustls-ring"))]
            Socket::Secure($inner) => $work,
        }
    };
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Ends a TLS session as far as that can be done without waiting.
    pub(crate) fn goodbye(&mut self, cx: &mut Context<'_>) {
        match self {
            Self::Plain(_) => {}
            #[cfg(any(feature = "rustls", feature = "rustls-ring"))]
            Self::Secure(socket) => drop(Pin::new(socket).poll_shutdown(cx)),
        }
        let _ = cx;
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_read(cx, buf))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        either!(self, socket => socket.is_write_vectored())
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self.get_mut(), socket => Pin::new(socket).poll_shutdown(cx))
    }
}
