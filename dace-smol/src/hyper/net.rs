//! async-io's sockets, threads that may block for names, and one for tasks.

use std::future::{Future, pending};
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::sync::{Mutex, PoisonError};

use async_executor::Executor;
use async_io::Async;
use dace_hyper::Net;

use super::Socket;
use crate::SmolRuntime;

/// What nobody awaits: what closes idle connections, and connections of HTTP/2.
static TASKS: Executor<'static> = Executor::new();

/// Whether there is the thread that runs them; the first task starts it.
fn has_thread() -> bool {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    if !*started {
        let thread = std::thread::Builder::new().name("dace-smol".into());
        *started = thread.spawn(|| async_io::block_on(TASKS.run(pending::<()>()))).is_ok();
    }
    *started
}

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
        blocking::unblock(move || Ok(name.to_socket_addrs()?.collect())).await
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<Socket> {
        let socket = Async::<TcpStream>::connect(address).await?;
        socket.get_ref().set_nodelay(true)?;
        Ok(Socket::new(socket))
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let runs = has_thread();
        if runs {
            TASKS.spawn(task).detach();
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use dace_core::Runtime as _;
    use dace_core::http::{Connect as _, HttpSettings};
    use dace_wire::{PATIENCE, Server, get, keep_alive, run};

    use super::*;
    use crate::hyper::HyperBackend;

    /// A9.
    #[test]
    fn no_task_outlives_the_last_handle() {
        let server = Server::start([keep_alive(&["one"])]);
        let backend = HyperBackend::connect(HttpSettings::default()).unwrap();
        async_io::block_on(run(&backend, get(&server.url("/")))).unwrap();
        assert!(!TASKS.is_empty(), "somebody looks after the idle connection");
        drop(backend);
        let deadline = SmolRuntime.now().after(PATIENCE);
        while !TASKS.is_empty() {
            assert!(SmolRuntime.now() < deadline, "its task is left");
            std::thread::yield_now();
        }
    }
}
