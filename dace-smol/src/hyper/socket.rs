//! A socket of async-io's, in the words that hyper's backend understands.

use std::io::{self, ErrorKind, IoSlice, Read as _};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_io::Async;
use dace_hyper::io::{AsyncRead, AsyncWrite, ReadBuf};
use futures_io::AsyncWrite as _;

/// How much is read at a time.
const PIECE: usize = 16 * 1024;

/// A TCP connection on async-io.
#[derive(Debug)]
pub struct Socket {
    socket: Async<TcpStream>,
    /// Whether the last read left nothing: then the reactor is asked before the system. Each costs a call of
    /// the system, and mostly it is the reactor's that is needed.
    dry: bool,
    /// Whether the reactor was asked, and had nothing to tell. It may have something for whoever comes again,
    /// and not say so: what it finds in the round in which it was asked (async-io#62). So then the system is
    /// asked as well.
    asked: bool,
}

impl Socket {
    pub(super) fn new(socket: Async<TcpStream>) -> Self {
        Self { socket, dry: false, asked: false }
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
            let mut watched = false;
            if this.dry {
                match this.socket.poll_readable(cx) {
                    Poll::Ready(ready) => ready?,
                    Poll::Pending if this.asked => watched = true,
                    Poll::Pending => {
                        this.asked = true;
                        return Poll::Pending;
                    }
                }
            }
            let room = buf.initialize_unfilled_to(buf.remaining().min(PIECE));
            match this.socket.get_ref().read(room) {
                Ok(count) => {
                    (this.dry, this.asked) = (count < room.len(), false);
                    buf.advance(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if watched {
                        return Poll::Pending;
                    }
                    (this.dry, this.asked) = (true, false);
                }
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
        Poll::Ready(match self.socket.get_ref().shutdown(Shutdown::Write) {
            // The other side was quicker.
            Err(error) if error.kind() == ErrorKind::NotConnected => Ok(()),
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};
    use std::thread::{self, Thread};

    use super::*;

    struct Unpark(Thread, AtomicBool);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.1.store(true, Ordering::Release);
            self.0.unpark();
        }
    }

    /// The reactor is on async-io's thread, since nobody else runs it.
    #[test]
    fn whoever_was_woken_finds_what_came_whichever_thread_runs_the_reactor() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut far = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (near, _) = listener.accept().unwrap();
        let mut socket = Socket::new(Async::new(near).unwrap());
        let task = Arc::new(Unpark(thread::current(), AtomicBool::new(false)));
        let waker = Waker::from(task.clone());
        let mut read = |space: &mut [u8]| {
            let mut buf = ReadBuf::new(space);
            let polled =
                Pin::new(&mut socket).poll_read(&mut Context::from_waker(&waker), &mut buf);
            polled.map(|outcome| outcome.map(|()| buf.filled().len()))
        };
        let mut space = [0; 16];
        for round in 0..200 {
            assert!(read(&mut space).is_pending());
            far.write_all(b"here").unwrap();
            while !task.1.swap(false, Ordering::Acquire) {
                thread::park();
            }
            assert!(matches!(read(&mut space), Poll::Ready(Ok(4))), "{round}");
        }
    }
}
