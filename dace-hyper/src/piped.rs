//! A runtime for this crate's own tests: tokio's, with sockets that may be pipes in memory.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use dace_core::{Instant, Runtime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::{Handle, Id};

use crate::Net;

/// tokio, as this crate's own tests have it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Piped;

/// A socket, or the end of a pipe.
pub(crate) trait Pipe: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin {}

impl<P: AsyncRead + AsyncWrite + std::fmt::Debug + Send + Unpin> Pipe for P {}

fn epoch() -> tokio::time::Instant {
    static EPOCH: OnceLock<tokio::time::Instant> = OnceLock::new();
    *EPOCH.get_or_init(tokio::time::Instant::now)
}

impl Runtime for Piped {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        let epoch = epoch();
        Instant::EPOCH.after(tokio::time::Instant::now().saturating_duration_since(epoch))
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        tokio::time::sleep(deadline.since(self.now()).min(Duration::from_secs(1 << 30)))
    }

    fn seed(&self) -> u64 {
        0
    }
}

impl Net for Piped {
    type Stream = Box<dyn Pipe>;
    type Place = Id;

    fn place(&self) -> Option<Id> {
        Some(Handle::try_current().ok()?.id())
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Box<dyn Pipe>> {
        Ok(Box::new(TcpStream::connect(address).await?))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        Handle::try_current().map(|runtime| drop(runtime.spawn(task))).is_ok()
    }
}
