//! A server that does what a script says, byte by byte, and remembers what reached it.
//!
//! It speaks no HTTP of its own, so it can answer in ways that no HTTP server would: half heads, resets,
//! two answers for one request, silence. Each accepted connection plays the next script; a connection
//! for which there is none is a failure. Nothing sleeps: what must happen in order waits on a
//! [`Gate`], and whatever waits longer than [`PATIENCE`] fails the test with the step it was at.

use std::future::Future;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long anything may take before the test fails.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// How often a waiting thread looks whether the test is over.
const GLANCE: Duration = Duration::from_millis(20);

/// One step of a connection's script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read a request's head, to its empty line, and record it as an arrival.
    ReadHead,
    /// Read a whole request, framed by `Content-Length` or in chunks, and record it as an arrival.
    ReadRequest,
    /// Like [`ReadRequest`](Self::ReadRequest), but the client may close instead; the script then ends.
    ReadRequestIfAny,
    /// Read and forget whatever comes, until the client closes.
    Drain,
    /// Read exactly this many bytes, and record them as an arrival.
    ReadBytes(usize),
    /// Read a whole request, and say so with the gate.
    ReadRequestThen(Gate),
    /// Send these bytes, in one write.
    Send(Vec<u8>),
    /// Send these bytes for as long as the client takes them.
    Offer(Vec<u8>),
    /// Wait until the gate is open.
    Wait(Gate),
    /// Open a gate.
    Open(Gate),
    /// Half-close: what was sent arrives, then the end.
    Finish,
    /// Reset the connection.
    Reset,
    /// Wait until the client closes; any byte from it is a failure.
    AwaitClose,
}

/// Shorthand for [`Step::Send`].
pub fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

/// A 200 with this body and a `Content-Length`.
pub fn ok(body: &str) -> Step {
    send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
}

/// A connection that answers one request after the other, then waits for the client to close.
pub fn keep_alive(bodies: &[&str]) -> Vec<Step> {
    let mut script: Vec<Step> =
        bodies.iter().flat_map(|body| [Step::ReadRequest, ok(body)]).collect();
    script.push(Step::AwaitClose);
    script
}

/// Something that one thread waits for and another lets happen. Once open, it stays open.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<(Mutex<Door>, Condvar)>);

#[derive(Debug, Default)]
struct Door {
    open: bool,
    waiting: Vec<Waker>,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens it.
    pub fn open(&self) {
        let mut door = lock(&self.0.0);
        door.open = true;
        let waiting = std::mem::take(&mut door.waiting);
        drop(door);
        self.0.1.notify_all();
        for waker in waiting {
            waker.wake();
        }
    }

    /// Waits until it is open, without blocking.
    pub fn opened(&self) -> impl Future<Output = ()> + Send + use<> {
        let this = self.clone();
        std::future::poll_fn(move |cx| {
            let mut door = lock(&this.0.0);
            if door.open {
                return Poll::Ready(());
            }
            door.waiting.push(cx.waker().clone());
            Poll::Pending
        })
    }

    /// Blocks until it is open.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub fn wait(&self) {
        assert!(self.wait_unless(&AtomicBool::new(false)), "a gate stayed closed for {PATIENCE:?}");
    }

    /// Blocks until it is open: whether it was in time.
    fn wait_unless(&self, over: &AtomicBool) -> bool {
        let (state, changed) = &*self.0;
        let mut door = lock(state);
        let glances = PATIENCE.as_millis() / GLANCE.as_millis();
        for _ in 0..glances {
            if door.open || over.load(Ordering::Relaxed) {
                return true;
            }
            door = changed.wait_timeout(door, GLANCE).unwrap_or_else(PoisonError::into_inner).0;
        }
        door.open
    }
}

/// What one connection sent in one read step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The how-manieth connection it came on, from 0.
    pub connection: usize,
    /// Every byte of it.
    pub bytes: Vec<u8>,
}

impl Arrival {
    /// The arrival as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    /// The request line.
    pub fn line(&self) -> String {
        self.text().lines().next().unwrap_or_default().to_owned()
    }

    /// The values of a header, named in lower case.
    pub fn header(&self, name: &str) -> Vec<String> {
        self.text()
            .split("\r\n\r\n")
            .next()
            .unwrap_or_default()
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim().to_owned())
            .collect()
    }

    /// What follows the head, as it was framed.
    pub fn body(&self) -> Vec<u8> {
        head_length(&self.bytes).map_or_else(Vec::new, |end| self.bytes[end..].to_vec())
    }
}

/// A scripted server on the loopback address.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    over: AtomicBool,
    record: Mutex<Record>,
}

#[derive(Debug, Default)]
struct Record {
    connections: usize,
    arrivals: Vec<Arrival>,
    failures: Vec<String>,
    sockets: Vec<TcpStream>,
}

impl Server {
    /// A server whose first connection plays the first script, and so on.
    ///
    /// # Panics
    /// If there is no loopback socket to be had.
    pub fn start<I: IntoIterator<Item = Vec<Step>>>(scripts: I) -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").expect("a loopback port"), scripts)
    }

    /// The same, on a socket whose address is known already.
    ///
    /// # Panics
    /// If it is not bound.
    pub fn on<I: IntoIterator<Item = Vec<Step>>>(listener: TcpListener, scripts: I) -> Self {
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

    /// How many connections it accepted.
    pub fn connections(&self) -> usize {
        lock(&self.state.record).connections
    }

    /// What arrived, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        lock(&self.state.record).arrivals.clone()
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

fn play(socket: TcpStream, script: Vec<Step>, connection: usize, state: &State) {
    let mut player = Player { socket, buffer: Vec::new(), connection, state };
    let prepared = player
        .socket
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| player.socket.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| player.socket.set_nodelay(true));
    if let Err(error) = prepared {
        player.fail(format!("could not be prepared: {error}"));
        return;
    }
    for step in script {
        let shown = show(&step);
        match player.step(step) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => {
                player.fail(format!("{shown}: {error}"));
                return;
            }
        }
    }
}

fn show(step: &Step) -> String {
    let mut shown = format!("{step:?}");
    shown.truncate(80);
    shown
}

struct Player<'a> {
    socket: TcpStream,
    /// Read, and not yet part of an arrival.
    buffer: Vec<u8>,
    connection: usize,
    state: &'a State,
}

impl Player<'_> {
    /// Whether to go on.
    fn step(&mut self, step: Step) -> io::Result<bool> {
        match step {
            Step::ReadHead => {
                let length = self.fill_until(head_length)?;
                self.record(length);
            }
            Step::ReadRequest => self.read_request()?,
            Step::ReadRequestThen(gate) => {
                self.read_request()?;
                gate.open();
            }
            Step::ReadRequestIfAny => {
                let ended = self.buffer.is_empty() && self.socket.peek(&mut [0])? == 0;
                if ended {
                    return Ok(false);
                }
                self.read_request()?;
            }
            Step::Drain => {
                let mut piece = [0; 4096];
                // A reset is a close like any other here.
                while self.socket.read(&mut piece).is_ok_and(|count| count > 0) {}
            }
            Step::ReadBytes(count) => {
                let length = self.fill_until(|bytes| (bytes.len() >= count).then_some(count))?;
                self.record(length);
            }
            Step::Send(bytes) => self.socket.write_all(&bytes)?,
            Step::Offer(bytes) => {
                if self.socket.write_all(&bytes).is_err() {
                    return Ok(false);
                }
            }
            Step::Wait(gate) => {
                if !gate.wait_unless(&self.state.over) {
                    return Err(io::Error::other("the gate stayed closed"));
                }
            }
            Step::Open(gate) => gate.open(),
            Step::Finish => self.socket.shutdown(Shutdown::Write)?,
            Step::Reset => {
                self.reset()?;
                return Ok(false);
            }
            Step::AwaitClose => self.await_close()?,
        }
        Ok(true)
    }

    fn read_request(&mut self) -> io::Result<()> {
        let length = self.fill_until(request_length)?;
        self.record(length);
        Ok(())
    }

    fn fill_until(&mut self, complete: impl Fn(&[u8]) -> Option<usize>) -> io::Result<usize> {
        let mut piece = [0; 4096];
        loop {
            if let Some(length) = complete(&self.buffer) {
                return Ok(length);
            }
            match self.socket.read(&mut piece)? {
                0 => {
                    let seen = String::from_utf8_lossy(&self.buffer);
                    return Err(io::Error::other(format!("the client closed at {seen:?}")));
                }
                count => self.buffer.extend_from_slice(&piece[..count]),
            }
        }
    }

    fn record(&mut self, length: usize) {
        let bytes = self.buffer.drain(..length).collect();
        lock(&self.state.record).arrivals.push(Arrival { connection: self.connection, bytes });
    }

    /// With nothing to linger for, closing is a reset. The copy of the socket that is kept for the
    /// end of the test would hold it open.
    fn reset(&mut self) -> io::Result<()> {
        socket2::SockRef::from(&self.socket).set_linger(Some(Duration::ZERO))?;
        let own = self.socket.peer_addr()?;
        lock(&self.state.record).sockets.retain(|other| other.peer_addr().ok() != Some(own));
        Ok(())
    }

    fn await_close(&mut self) -> io::Result<()> {
        let mut piece = [0; 256];
        match self.socket.read(&mut piece) {
            Ok(0) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(_) if self.state.over.load(Ordering::Relaxed) => Ok(()),
            Err(error) => Err(error),
            Ok(count) => {
                let seen = String::from_utf8_lossy(&piece[..count]).into_owned();
                Err(io::Error::other(format!("the client sent {seen:?}")))
            }
        }
    }

    fn fail(&self, failure: String) {
        if !self.state.over.load(Ordering::Relaxed) {
            let failure = format!("connection {}: {failure}", self.connection);
            lock(&self.state.record).failures.push(failure);
        }
    }
}

impl Drop for Player<'_> {
    /// The copy that is kept for the end of the test would hold the connection open.
    fn drop(&mut self) {
        if let Ok(own) = self.socket.peer_addr() {
            lock(&self.state.record).sockets.retain(|other| other.peer_addr().ok() != Some(own));
        }
    }
}

/// Where the head that `bytes` begin with ends.
fn head_length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

/// Where the request that `bytes` begin with ends.
fn request_length(bytes: &[u8]) -> Option<usize> {
    let head = head_length(bytes)?;
    let text = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let rest = &bytes[head..];
    let body = if text.contains("transfer-encoding: chunked") {
        let end = b"0\r\n\r\n";
        rest.windows(end.len()).position(|window| window == end).map(|at| at + end.len())?
    } else {
        text.lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|value| value.trim().parse().ok())
            .unwrap_or(0)
    };
    (rest.len() >= body).then_some(head + body)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
