//! A script, played on one connection.

use std::fmt::{self, Write as _};
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::arrival::{head_length, request_length};
use crate::frames::{self, Client, Heard};
use crate::server::{State, lock};
use crate::socket::Socket;
use crate::{Arrival, PATIENCE, ServerTls, Step};

pub(crate) fn play(socket: TcpStream, script: Vec<Step>, connection: usize, state: &State) {
    let prepared = socket
        .set_read_timeout(Some(PATIENCE))
        .and_then(|()| socket.set_write_timeout(Some(PATIENCE)))
        .and_then(|()| socket.set_nodelay(true));
    let socket = Socket::Plain(socket);
    let mut player = Player {
        socket,
        buffer: Vec::new(),
        http2: None,
        requests: Vec::new(),
        resets: Vec::new(),
        connection,
        state,
    };
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

/// The beginning of a step, however many bytes it has.
fn show(step: &Step) -> String {
    struct Short(String);
    impl fmt::Write for Short {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            if self.0.len() > 80 {
                return Err(fmt::Error);
            }
            self.0.push_str(text);
            Ok(())
        }
    }
    let mut short = Short(String::new());
    // It fails when there is enough.
    let _ = write!(short, "{step:?}");
    short.0
}

/// What steps wait for, beside requests and resets.
#[derive(PartialEq, Eq)]
enum Said {
    Head,
    Ping,
    Other,
}

struct Player<'a> {
    socket: Socket,
    /// Read, and not yet part of an arrival.
    buffer: Vec<u8>,
    http2: Option<Client>,
    /// Whole requests that no step has read yet, with their streams.
    requests: Vec<(u32, Vec<u8>)>,
    /// The streams that the client reset, and why.
    resets: Vec<(u32, u32)>,
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
            Step::ReadRequestIfAny => return self.read_request_if_any(),
            Step::ReadRequestOr(gate) => {
                let came = self.read_request_if_any()?;
                if !came {
                    gate.open();
                }
                return Ok(came);
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
            Step::Send(bytes) => self.send(&bytes)?,
            Step::Offer(bytes) => {
                if self.send(&bytes).is_err() {
                    return Ok(false);
                }
            }
            Step::Drip(bytes, pause) => {
                self.drip(&bytes, pause)?;
                return Ok(false);
            }
            Step::Wait(gate) => {
                if !gate.wait_unless(&self.state.over) {
                    return Err(io::Error::other("the gate stayed closed"));
                }
            }
            Step::Open(gate) => gate.open(),
            Step::Finish => unless_gone(self.socket.finish())?,
            Step::Cut => unless_gone(self.socket.tcp().shutdown(Shutdown::Write))?,
            Step::Reset => {
                self.reset()?;
                return Ok(false);
            }
            Step::AwaitClose => self.await_close()?,
            Step::Tls(tls) => {
                let received = std::mem::take(&mut self.buffer);
                let seen = self.socket.secure(&tls, &received)?;
                lock(&self.state.record).handshakes.push(seen);
            }
            Step::TlsRefused(tls) => self.refuse_tls(&tls)?,
            Step::Http2(settings) => {
                self.fill_until(|bytes| bytes.starts_with(frames::PREFACE).then_some(0))?;
                self.buffer.drain(..frames::PREFACE.len());
                self.http2 = Some(Client::default());
                self.send(&frames::settings(&settings))?;
            }
            Step::ReadStreamHead => while self.said()? != Said::Head {},
            Step::ReadPing => while self.said()? != Said::Ping {},
            Step::ReadStream => self.read_stream()?,
            Step::ReadStreamIfAny => match self.read_stream() {
                Err(error) if is_gone(&error) => return Ok(false),
                read => read?,
            },
            Step::ReadReset(stream, code) => {
                while !self.resets.contains(&(stream, code)) {
                    self.said()?;
                }
                self.resets.retain(|reset| reset.0 != stream);
            }
        }
        Ok(true)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)?;
        self.socket.flush()
    }

    /// The pause between two bytes is spent on waiting for the client to close.
    fn drip(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        self.socket.tcp().set_read_timeout(Some(pause))?;
        for byte in bytes.iter().cycle() {
            if self.send(&[*byte]).is_err() {
                break;
            }
            match self.socket.read(&mut [0; 256]) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::TimedOut => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// The next thing that a client of HTTP/2 says. What it asks for by it is sent; requests and resets
    /// are kept for the steps that read them, since nothing says which comes first.
    fn said(&mut self) -> io::Result<Said> {
        loop {
            let client = self.http2.as_mut().ok_or_else(|| io::Error::other("no HTTP/2 here"))?;
            if let Some((heard, reply)) = client.take(&mut self.buffer) {
                self.send(&reply)?;
                return Ok(match heard {
                    Heard::Head => Said::Head,
                    Heard::Ping => Said::Ping,
                    Heard::Other => Said::Other,
                    Heard::Request(stream, bytes) => {
                        self.requests.push((stream, bytes));
                        Said::Other
                    }
                    Heard::Reset(stream, code) => {
                        self.resets.push((stream, code));
                        Said::Other
                    }
                });
            }
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// What this side said to refuse the other has to arrive, so the socket is read to its end.
    fn refuse_tls(&mut self, tls: &ServerTls) -> io::Result<()> {
        if self.socket.secure(tls, &[]).is_ok() {
            return Err(io::Error::other("the handshake was completed"));
        }
        self.socket.tcp().shutdown(Shutdown::Write).ok();
        self.step(Step::Drain).map(drop)
    }

    /// Whether one came. A reset is a close like any other here: no request.
    fn read_request_if_any(&mut self) -> io::Result<bool> {
        if self.buffer.is_empty() && !self.fill().unwrap_or(false) {
            return Ok(false);
        }
        self.read_request()?;
        Ok(true)
    }

    fn read_request(&mut self) -> io::Result<()> {
        let length = self.fill_until(request_length)?;
        self.record(length);
        Ok(())
    }

    fn read_stream(&mut self) -> io::Result<()> {
        while self.requests.is_empty() {
            self.said()?;
        }
        let (stream, bytes) = self.requests.remove(0);
        self.arrived(stream, bytes);
        Ok(())
    }

    fn fill_until(&mut self, complete: impl Fn(&[u8]) -> Option<usize>) -> io::Result<usize> {
        loop {
            if let Some(length) = complete(&self.buffer) {
                return Ok(length);
            }
            if !self.fill()? {
                let seen = String::from_utf8_lossy(&self.buffer);
                return Err(io::Error::other(format!("the client closed at {seen:?}")));
            }
        }
    }

    /// Reads some more: whether there was any.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 4096];
        let count = self.socket.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count > 0)
    }

    fn record(&mut self, length: usize) {
        let bytes = self.buffer.drain(..length).collect();
        self.arrived(0, bytes);
    }

    fn arrived(&self, stream: u32, bytes: Vec<u8>) {
        let arrival = Arrival { connection: self.connection, stream, bytes };
        lock(&self.state.record).arrivals.push(arrival);
    }

    /// With nothing to linger for, closing is a reset. The copy of the socket that is kept for the
    /// end of the test would hold it open.
    fn reset(&mut self) -> io::Result<()> {
        socket2::SockRef::from(self.socket.tcp()).set_linger(Some(Duration::ZERO))?;
        let own = self.socket.tcp().peer_addr()?;
        lock(&self.state.record).sockets.retain(|other| other.peer_addr().ok() != Some(own));
        Ok(())
    }

    fn await_close(&mut self) -> io::Result<()> {
        if self.http2.is_some() {
            return self.await_close_of_streams();
        }
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

    /// Frames about the connection may come, and requests may not.
    fn await_close_of_streams(&mut self) -> io::Result<()> {
        loop {
            if let Some((stream, _)) = self.requests.first() {
                return Err(io::Error::other(format!("the client sent stream {stream}")));
            }
            match self.said() {
                Ok(Said::Head) => return Err(io::Error::other("the client began a stream")),
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Ok(()),
                Err(_) if self.state.over.load(Ordering::Relaxed) => return Ok(()),
                Err(error) => return Err(error),
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

/// Whether the client left.
fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    )
}

/// A client that left first is no failure: that is an end too.
fn unless_gone(end: io::Result<()>) -> io::Result<()> {
    match end {
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotConnected
                    | io::ErrorKind::BrokenPipe
                    | io::ErrorKind::ConnectionReset
            ) =>
        {
            Ok(())
        }
        end => end,
    }
}

impl Drop for Player<'_> {
    /// The copy that is kept for the end of the test would hold the connection open.
    fn drop(&mut self) {
        if let Ok(own) = self.socket.tcp().peer_addr() {
            lock(&self.state.record).sockets.retain(|other| other.peer_addr().ok() != Some(own));
        }
    }
}
