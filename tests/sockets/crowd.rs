//! A server for many clients at once: it answers every request of every connection, and counts how
//! many it has open.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use dace_wire::{Gate, PATIENCE};

/// A server that answers `200` with the request's path as its body.
#[derive(Debug)]
pub(crate) struct Crowd {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    over: AtomicBool,
    sockets: Mutex<Vec<TcpStream>>,
    /// Requests read, and not yet answered.
    open: AtomicUsize,
    peak: AtomicUsize,
    served: AtomicUsize,
    connections: AtomicUsize,
    hold: Option<Hold>,
}

/// Requests are held until `go` is open; `full` opens when `count` are held.
#[derive(Clone, Debug)]
pub(crate) struct Hold {
    pub(crate) count: usize,
    pub(crate) full: Gate,
    pub(crate) go: Gate,
}

impl Hold {
    pub(crate) fn new(count: usize) -> Self {
        Self { count, full: Gate::new(), go: Gate::new() }
    }
}

impl Crowd {
    pub(crate) fn start(hold: Option<Hold>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let state = Arc::new(State { hold, ..State::default() });
        let acceptor = {
            let state = state.clone();
            std::thread::spawn(move || accept(&listener, &state))
        };
        Self { address, state, acceptor: Some(acceptor) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The most requests that were open at once.
    pub(crate) fn peak(&self) -> usize {
        self.state.peak.load(Ordering::SeqCst)
    }

    /// Requests that were read.
    pub(crate) fn served(&self) -> usize {
        self.state.served.load(Ordering::SeqCst)
    }

    /// Connections that were accepted.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Blocks until the clients have closed every connection, or said nothing for too long.
    pub(crate) fn all_closed(mut self) {
        self.end(false);
    }

    fn end(&mut self, cut: bool) {
        let Some(acceptor) = self.acceptor.take() else {
            return;
        };
        self.state.over.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        drop(TcpStream::connect(self.address));
        if cut {
            for socket in self.state.sockets.lock().unwrap().drain(..) {
                // It may be closed already.
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        acceptor.join().expect("the server's own thread");
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.end(true);
    }
}

fn accept(listener: &TcpListener, state: &Arc<State>) {
    let mut threads: Vec<JoinHandle<()>> = Vec::new();
    while let Ok((socket, _)) = listener.accept() {
        if state.over.load(Ordering::SeqCst) {
            break;
        }
        state.connections.fetch_add(1, Ordering::SeqCst);
        if let Ok(copy) = socket.try_clone() {
            state.sockets.lock().unwrap().push(copy);
        }
        let state = state.clone();
        threads.push(std::thread::spawn(move || serve(socket, &state)));
        threads.retain(|thread| !thread.is_finished());
    }
    for thread in threads {
        thread.join().expect("a connection's thread");
    }
}

fn serve(socket: TcpStream, state: &State) {
    let own = socket.peer_addr().ok();
    let _ = socket.set_nodelay(true);
    let _ = socket.set_read_timeout(Some(PATIENCE));
    let mut reader = BufReader::new(&socket);
    while let Some(path) = read_request(&mut reader) {
        let open = state.open.fetch_add(1, Ordering::SeqCst) + 1;
        state.peak.fetch_max(open, Ordering::SeqCst);
        state.served.fetch_add(1, Ordering::SeqCst);
        if let Some(hold) = &state.hold {
            if open == hold.count {
                hold.full.open();
            }
            hold.go.wait();
        }
        // Before the client can know of the answer, or its next request would be one too many.
        state.open.fetch_sub(1, Ordering::SeqCst);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", path.len());
        // In two writes, so that a client can be between head and body.
        let written = (&socket).write_all(head.as_bytes());
        if written.and_then(|()| (&socket).write_all(path.as_bytes())).is_err() {
            break;
        }
    }
    // The copy that is kept for the end would hold the connection open.
    state.sockets.lock().unwrap().retain(|other| other.peer_addr().ok() != own);
}

/// The path of the next request, its body read and forgotten.
fn read_request(reader: &mut impl BufRead) -> Option<String> {
    let (mut path, mut length) = (None, 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.parse().ok()?;
            }
            Some(_) => {}
            None => path = line.split(' ').nth(1).map(String::from),
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    path
}
