//! A small HTTP/1.1 server with faults by the clock: a thread for each connection, nothing but std.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// The time that the healthy server takes.
const LATENCY: Duration = Duration::from_millis(3);

/// How often threads look at the clock while they have nothing to do.
const TICK: Duration = Duration::from_millis(5);

/// What is wrong with a server, in seconds since the traffic began.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fault {
    /// Answers one request in so many with a 500.
    Fails { one_in: u64 },
    /// Refuses connections, and closes those that it has.
    Down { from: u64, to: u64 },
    /// Takes so many milliseconds more, in one second of so many.
    Slow { by_ms: u64, one_second_in: u64 },
}

/// A running server. It stops when it is dropped.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    address: SocketAddr,
    state: Arc<State>,
    acceptor: Option<thread::JoinHandle<()>>,
}

struct State {
    faults: Vec<Fault>,
    begun: OnceLock<Instant>,
    stopped: AtomicBool,
    /// Requests that it read, by client.
    plain: AtomicU64,
    dace: AtomicU64,
}

impl Server {
    pub(crate) fn start(name: &'static str, faults: Vec<Fault>) -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let state = Arc::new(State {
            faults,
            begun: OnceLock::new(),
            stopped: AtomicBool::new(false),
            plain: AtomicU64::new(0),
            dace: AtomicU64::new(0),
        });
        let acceptor = thread::spawn({
            let state = state.clone();
            move || accept(&state, address, listener)
        });
        Ok(Self { name, address, state, acceptor: Some(acceptor) })
    }

    pub(crate) fn target(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The clock of the faults starts now.
    pub(crate) fn begin(&self) {
        self.state.begun.get_or_init(now);
    }

    pub(crate) fn is_down(&self) -> bool {
        self.state.is_down()
    }

    /// Requests that it read: of the plain client, and of dace.
    pub(crate) fn counts(&self) -> (u64, u64) {
        (self.state.plain.load(Ordering::Relaxed), self.state.dace.load(Ordering::Relaxed))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.state.stopped.store(true, Ordering::Relaxed);
        if let Some(acceptor) = self.acceptor.take() {
            // A panic there has been printed already.
            let _ = acceptor.join();
        }
    }
}

impl State {
    fn elapsed(&self) -> Duration {
        self.begun.get().map_or(Duration::ZERO, |begun| now().duration_since(*begun))
    }

    fn is_down(&self) -> bool {
        let second = self.elapsed().as_secs();
        let down = |fault: &Fault| matches!(fault, Fault::Down { from, to } if (*from..*to).contains(&second));
        self.faults.iter().any(down)
    }

    fn is_over(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }
}

#[expect(clippy::disallowed_methods, reason = "a server has a clock of its own")]
fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a thread of its own does the waiting")]
fn wait(duration: Duration) {
    thread::sleep(duration);
}

/// Accepts connections; while the server is down, nothing listens, so that they are refused.
fn accept(state: &Arc<State>, address: SocketAddr, first: TcpListener) {
    let connections: Mutex<Vec<thread::JoinHandle<()>>> = Mutex::default();
    let mut listener = Some(first);
    while !state.is_over() {
        if state.is_down() {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).ok();
        }
        let Some(open) = &listener else {
            wait(TICK);
            continue;
        };
        // It looks at the clock between connections.
        let _ = open.set_nonblocking(true);
        match open.accept() {
            Ok((stream, _)) => {
                let state = state.clone();
                let connection = thread::spawn(move || {
                    // A connection that breaks is the client's affair.
                    let _ = serve(&state, stream);
                });
                connections.lock().expect("no panic under it").push(connection);
            }
            Err(_) => wait(Duration::from_millis(1)),
        }
    }
    for connection in connections.into_inner().expect("no panic under it") {
        let _ = connection.join();
    }
}

fn serve(state: &State, stream: TcpStream) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TICK))?;
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::new(stream);
    let mut served = 0;
    while !state.is_down() {
        let Some(head) = read_head(state, &mut reader)? else { return Ok(()) };
        let client = if head.contains("x-client: dace") { &state.dace } else { &state.plain };
        let number = client.fetch_add(1, Ordering::Relaxed) + 1;
        served += 1;
        let mut latency = LATENCY;
        let mut status = "200 OK";
        for fault in &state.faults {
            match *fault {
                Fault::Fails { one_in } if number % one_in == 0 => {
                    status = "500 Internal Server Error";
                }
                Fault::Slow { by_ms, one_second_in }
                    if state.elapsed().as_secs() % one_second_in == one_second_in - 1 =>
                {
                    latency += Duration::from_millis(by_ms);
                }
                _ => {}
            }
        }
        wait(latency);
        let body = format!("answer {served}\n");
        write!(writer, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
    Ok(())
}

/// The head of the next request; `None` if there is none, or the server is down. What it has read it
/// answers, so that clients and servers count the same.
fn read_head(state: &State, reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<String>> {
    let mut head = String::new();
    loop {
        match reader.read_line(&mut head) {
            Ok(0) => return Ok(None),
            Ok(_) if head.ends_with("\r\n\r\n") => {
                head.make_ascii_lowercase();
                return Ok(Some(head));
            }
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if head.is_empty() && (state.is_down() || state.is_over()) {
                    return Ok(None);
                }
            }
            Err(error) => return Err(error),
        }
    }
}
