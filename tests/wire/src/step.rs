//! What a script is made of.

use std::time::Duration;

use crate::{Gate, ServerTls, frames};

/// One step of a connection's script.
#[derive(Clone, Debug)]
pub enum Step {
    /// Read a request's head, to its empty line, and record it as an arrival.
    ReadHead,
    /// Read a whole request, framed by `Content-Length` or in chunks, and record it as an arrival.
    ReadRequest,
    /// Like [`ReadRequest`](Self::ReadRequest), but the client may close instead; the script then ends.
    ReadRequestIfAny,
    /// The same, and a close opens the gate.
    ReadRequestOr(Gate),
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
    /// Send these bytes one by one and over again, with this long between two, until the client closes.
    Drip(Vec<u8>, Duration),
    /// Wait until the gate is open.
    Wait(Gate),
    /// Open a gate.
    Open(Gate),
    /// Half-close: what was sent arrives, then the end, over TLS with its goodbye.
    Finish,
    /// Half-close without TLS's goodbye.
    Cut,
    /// Reset the connection.
    Reset,
    /// Wait until the client closes; any byte from it is a failure. Over HTTP/2, any request is.
    AwaitClose,
    /// Speak TLS from here on, and remember the handshake.
    Tls(ServerTls),
    /// Speak TLS, which does not get past the handshake: the client, or this side, refuses the other.
    TlsRefused(ServerTls),
    /// Begin with HTTP/2: read the client's preface, and send these settings.
    Http2(Vec<(u16, u32)>),
    /// Read frames until a request's head came, whose body may follow.
    ReadStreamHead,
    /// Read frames until a whole request came on any stream, and record it as an arrival. What
    /// settings and pings ask for is sent.
    ReadStream,
    /// Like [`ReadStream`](Self::ReadStream), but the client may close instead; the script then ends.
    ReadStreamIfAny,
    /// Read frames until a ping came, and answer it.
    ReadPing,
    /// Read frames until this stream was reset by the client, with this code.
    ReadReset(u32, u32),
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

/// An HTTP/2 connection that answers the streams 1, 3, … in turn, then waits for the client to close.
pub fn streams(bodies: &[&str]) -> Vec<Step> {
    let mut script = vec![Step::Http2(Vec::new())];
    for (stream, body) in (1..).step_by(2).zip(bodies) {
        script.extend([Step::ReadStream, Step::Send(frames::answer(stream, body))]);
    }
    script.push(Step::AwaitClose);
    script
}
