//! Just enough of HTTP/2 (RFC 9113) to say what a test needs said, over plain TCP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use dace_wire::{Gate, PATIENCE};

/// What the server does when a request's head (or, if it has one, body) has arrived.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A 200 with this body, and these fields after it.
    Answer(&'static str, &'static [(&'static str, &'static str)]),
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// `GOAWAY` with this last stream, and no error.
    GoAway(u32),
    /// Nothing, ever; the gate says that it has arrived.
    Silence(Gate),
    /// The connection ends.
    Close,
}

/// `REFUSED_STREAM`.
pub(crate) const REFUSED: u32 = 7;
/// `INTERNAL_ERROR`.
pub(crate) const INTERNAL: u32 = 2;
/// `HTTP_1_1_REQUIRED`.
pub(crate) const HTTP_1_1: u32 = 13;

#[derive(Debug, Default)]
struct Record {
    /// The connection of every request that arrived, in order.
    requests: Vec<usize>,
    /// What arrived of all bodies.
    data: Vec<u8>,
    /// What did not begin as HTTP/2 does.
    strangers: usize,
    connections: usize,
}

/// Does one act for every request, in order of arrival; the last one for all others.
pub(crate) struct Server {
    address: SocketAddr,
    record: Arc<Mutex<Record>>,
}

impl Server {
    pub(crate) fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let acts: Vec<Act> = acts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let record = Arc::new(Mutex::new(Record::default()));
        let shared = record.clone();
        // Ends with the process.
        std::thread::spawn(move || {
            for (number, socket) in listener.incoming().enumerate() {
                let (socket, acts, shared) = (socket.unwrap(), acts.clone(), shared.clone());
                shared.lock().unwrap().connections += 1;
                std::thread::spawn(move || serve(socket, number, &acts, &shared));
            }
        });
        Self { address, record }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<usize> {
        self.record.lock().unwrap().requests.clone()
    }

    pub(crate) fn data(&self) -> Vec<u8> {
        self.record.lock().unwrap().data.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.record.lock().unwrap().connections
    }

    pub(crate) fn strangers(&self) -> usize {
        self.record.lock().unwrap().strangers
    }
}

const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

/// A client may leave at any time.
fn serve(mut socket: TcpStream, number: usize, acts: &[Act], record: &Mutex<Record>) {
    let _ = conversation(&mut socket, number, acts, record);
}

fn conversation(
    socket: &mut TcpStream,
    number: usize,
    acts: &[Act],
    record: &Mutex<Record>,
) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut preface = [0; 24];
    socket.read_exact(&mut preface)?;
    if &preface != PREFACE {
        record.lock().unwrap().strangers += 1;
        return Ok(());
    }
    write(socket, SETTINGS, 0, 0, &[])?;
    loop {
        let (kind, flags, stream, payload) = read(socket)?;
        match kind {
            SETTINGS if flags & ACK == 0 => write(socket, SETTINGS, ACK, 0, &[])?,
            HEADERS => record.lock().unwrap().requests.push(number),
            DATA => record.lock().unwrap().data.extend(payload),
            _ => {}
        }
        if matches!(kind, HEADERS | DATA) && flags & END_STREAM != 0 {
            let at = record.lock().unwrap().requests.len() - 1;
            let act = acts.get(at).or(acts.last()).expect("one at least");
            if !perform(socket, stream, act)? {
                return Ok(());
            }
        }
    }
}

/// Whether the connection goes on.
fn perform(socket: &mut TcpStream, stream: u32, act: &Act) -> io::Result<bool> {
    match act {
        Act::Answer(body, trailers) => {
            write(socket, HEADERS, END_HEADERS, stream, &[STATUS_200])?;
            let last = if trailers.is_empty() { END_STREAM } else { 0 };
            write(socket, DATA, last, stream, body.as_bytes())?;
            if !trailers.is_empty() {
                write(socket, HEADERS, END_HEADERS | END_STREAM, stream, &fields(trailers))?;
            }
        }
        Act::Reset(code) => write(socket, RST_STREAM, 0, stream, &code.to_be_bytes())?,
        Act::GoAway(last) => {
            let mut payload = last.to_be_bytes().to_vec();
            payload.extend(0_u32.to_be_bytes());
            write(socket, GOAWAY, 0, 0, &payload)?;
        }
        Act::Silence(arrived) => arrived.open(),
        Act::Close => return Ok(false),
    }
    Ok(true)
}

/// Of HPACK's static table (RFC 7541, appendix A).
const STATUS_200: u8 = 0x88;

/// Literals that are not indexed (RFC 7541, 6.2.2).
fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.extend([0, name.len() as u8]);
        block.extend(name.as_bytes());
        block.push(value.len() as u8);
        block.extend(value.as_bytes());
    }
    block
}

fn read(socket: &mut TcpStream) -> io::Result<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    socket.read_exact(&mut head)?;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
    let mut payload = vec![0; length as usize];
    socket.read_exact(&mut payload)?;
    Ok((head[3], head[4], stream, payload))
}

fn write(
    socket: &mut TcpStream,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &[u8],
) -> io::Result<()> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    socket.write_all(&frame)
}
