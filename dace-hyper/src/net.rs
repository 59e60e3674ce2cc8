//! The seam to a runtime: sockets, names, and somebody to run what nobody awaits.

use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;

use dace_core::{Instant, Runtime};
use tokio::io::{AsyncRead, AsyncWrite};

/// What the backend needs of a runtime, beside its clock.
///
/// The traits of its sockets are tokio's, which hyper brings along on any runtime ([`io`](crate::io)). It is
/// made by `Default` where a backend is made from settings, and is kept in futures that move (`Unpin`).
pub trait Net: Runtime<Sleep: Sync> + Clone + fmt::Debug + Default + Unpin {
    /// A TCP connection.
    type Stream: AsyncRead + AsyncWrite + fmt::Debug + Send + Unpin + 'static;

    /// Which of several runtimes of the same kind. A connection that was made in one is not used in another.
    type Place: Clone + fmt::Debug + Eq + Hash + Send + Sync + Unpin;

    /// Where the caller is: `None` outside of any runtime, if the sockets need one.
    fn place(&self) -> Option<Self::Place>;

    /// The addresses of a name, at least one.
    ///
    /// # Errors
    /// If it has none, or nobody could say.
    ///
    /// # Cancel safety
    /// It is dropped when its time is up; a look-up that blocks may go on elsewhere.
    fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> impl Future<Output = io::Result<Vec<SocketAddr>>> + Send;

    /// A connection to this address, on which small writes do not wait for earlier ones (`TCP_NODELAY`).
    ///
    /// # Errors
    /// If it is refused, or cannot be reached.
    ///
    /// # Cancel safety
    /// It is dropped when its time is up, or when another address was quicker; then its socket is closed.
    fn connect(&self, address: SocketAddr)
    -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Runs a task to its end, on another thread or later: it is called under a lock, so it neither polls the task
    /// before it returns, nor panics. Returns whether there is anybody who runs it. Connections of HTTP/2
    /// need that, and what closes idle ones; an exchange over HTTP/1.1 does not.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool;

    /// Whether a socket broke because its runtime is gone.
    fn is_gone(error: &io::Error) -> bool {
        let _ = error;
        false
    }
}

/// Runs `work` until `deadline`: `None` if it did not end in time.
pub(crate) async fn within<N: Net, F: Future>(
    net: &N,
    deadline: Instant,
    work: F,
) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut late = pin!(net.sleep_until(deadline));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => late.as_mut().poll(cx).map(|()| None),
    })
    .await
}
