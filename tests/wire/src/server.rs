//! A server that does what a script says, byte by byte, and remembers what reached it.
//!
//! It speaks no HTTP of its own, so it can answer in ways that no HTTP server would: half heads, resets,
//! two answers for one request, silence. Each accepted connection plays the next script; a connection
//! for which there is none is a failure. Nothing sleeps: what must happen in order waits on a
//! [`Gate`], and whatever waits longer than [`PATIENCE`] fails the test with the step it was at.

use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crate::player::play;
use crate::{Arrival, Handshake, Step};

/// A scripted server on the loopback address.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) over: AtomicBool,
    pub(crate) record: Mutex<Record>,
}

#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) connections: usize,
    pub(crate) arrivals: Vec<Arrival>,
    pub(crate) handshakes: Vec<Handshake>,
    pub(crate) failures: Vec<String>,
    pub(crate) sockets: Vec<TcpStream>,
}

impl Server {
    /// A server whose first connection plays the first script, and so on.
    ///
    /// # Panics
    /// If there is no loopback socket to be had.
    pub fn start<I: IntoIterator<Item = Vec<Step>>>(scripts: I) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State::default());
        let scripts: Vec<_> = scripts.into_iter().collect();
        let acceptor = {
            let state = state.clone();
            std::thread::spawn(move || accept(&listener, scripts, &state))
        };
        Self { address, state, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The URL of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The URL of a path on it, over TLS and by the name that contracts give it.
    pub fn secure_url(&self, path: &str) -> String {
        format!("https://service.invalid:{}{path}", self.address.port())
    }

    /// How many connections it accepted.
    pub fn connections(&self) -> usize {
        lock(&self.state.record).connections
    }

    /// What arrived, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.state.record).arrivals.clone()
    }

    /// The TLS handshakes that were completed, in order.
    pub fn handshakes(&self) -> Vec<Handshake> {
        lock(&self.state.record).handshakes.clone()
    }

    /// Ends every connection's thread, and fails if any script could not be played.
    ///
    /// # Panics
    /// With the steps that failed.
    pub fn finish(mut self) {
        self.join(true);
    }

    fn join(&mut self, check: bool) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.state.over.store(true, Ordering::Relaxed);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        for socket in lock(&self.state.record).sockets.drain(..) {
            // It may be closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        let joined = acceptor.join();
        if check {
            assert!(joined.is_ok(), "the server's own thread panicked");
            let failures = std::mem::take(&mut lock(&self.state.record).failures);
            assert!(failures.is_empty(), "the server's scripts: {failures:#?}");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.join(!std::thread::panicking());
    }
}

fn accept(listener: &TcpListener, scripts: Vec<Vec<Step>>, state: &Arc<State>) {
    let mut scripts = scripts.into_iter();
    let mut threads = Vec::new();
    loop {
        let accepted = listener.accept();
        if state.over.load(Ordering::Relaxed) {
            break;
        }
        let Ok((socket, _)) = accepted else {
            continue;
        };
        let mut record = lock(&state.record);
        let connection = record.connections;
        record.connections += 1;
        let Some(script) = scripts.next() else {
            let failure = format!("connection {connection} has no script");
            record.failures.push(failure);
            continue;
        };
        record.sockets.extend(socket.try_clone());
        drop(record);
        let state = state.clone();
        threads.push(std::thread::spawn(move || {
            play(socket, script, connection, &state);
        }));
    }
    for thread in threads {
        if thread.join().is_err() {
            let failure = String::from("a connection's thread panicked");
            lock(&state.record).failures.push(failure);
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
