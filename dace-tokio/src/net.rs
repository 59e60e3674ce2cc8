//! tokio's sockets, names and tasks.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use dace_hyper::Net;
use tokio::net::{TcpStream, lookup_host};
use tokio::runtime::{Handle, Id, is_rt_shutdown_err};

use crate::TokioRuntime;

impl Net for TokioRuntime {
    type Stream = TcpStream;
    type Place = Id;

    fn place(&self) -> Option<Id> {
        Some(Handle::try_current().ok()?.id())
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok(lookup_host((host, port)).await?.collect())
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = TcpStream::connect(address).await?;
        socket.set_nodelay(true)?;
        Ok(socket)
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        Handle::try_current().map(|runtime| drop(runtime.spawn(task))).is_ok()
    }

    fn is_gone(error: &io::Error) -> bool {
        is_rt_shutdown_err(error)
    }
}
