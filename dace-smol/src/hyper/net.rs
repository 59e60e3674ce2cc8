//! async-io's sockets, and smol's threads for names and tasks.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};

use async_io::Async;
use dace_hyper::Net;

use super::Socket;
use crate::SmolRuntime;

impl Net for SmolRuntime {
    type Stream = Socket;
    /// Sockets are the process's, whichever executor uses them.
    type Place = ();

    fn place(&self) -> Option<()> {
        Some(())
    }

    async fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let name = (host.to_owned(), port);
        // The system's look-up blocks.
        smol::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Async::<TcpStream>::connect(address).await?;
        socket.get_ref().set_nodelay(true)?;
        Ok(Socket::new(socket))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        smol::spawn(task).detach();
        true
    }
}
