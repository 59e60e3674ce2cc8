//! A socket of async-io's, in the words that hyper's backend understands.

use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use async_io::Async;
use dace_hyper::io::{AsyncRead, AsyncWrite, ReadBuf};
use futures_io::AsyncWrite as _;

/// A TCP connection on async-io.
#[derive(Debug)]
pub struct Socket {
    socket: Async<TcpStream>,
    /// Whether the last read left nothing: then the reactor is asked before the system. Each costs a call of
    /// the system, and mostly it is the reactor's that is needed.
    dry: bool,
}

impl Socket {
    pub(super) fn new(socket: Async<TcpStream>) -> Self {
        Self { socket, dry: false }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        loop {
            if this.dry {
                ready!(this.socket.poll_readable(cx))?;
            }
            let room = buf.initialize_unfilled();
            match this.socket.get_ref().read(room) {
                Ok(count) => {
                    this.dry = count < room.len();
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => this.dry = true,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}
