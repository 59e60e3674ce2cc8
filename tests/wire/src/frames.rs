//! HTTP/2 (RFC 9113), as far as a scripted server needs it: frames to send, and requests read back.
//!
//! Answers use literal fields without indexing (RFC 7541, 6.2.2), so that a script may say anything.

use std::collections::BTreeMap;
use std::fmt;

use loona_hpack::Decoder;

/// What a client begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const PRIORITY: u8 = 0x20;

/// No error (RFC 9113, 7).
pub const NO_ERROR: u32 = 0;
/// The server failed.
pub const INTERNAL_ERROR: u32 = 2;
/// Nothing was done with the stream.
pub const REFUSED_STREAM: u32 = 7;
/// The stream is no longer needed.
pub const CANCEL: u32 = 8;

/// The setting for how many streams may be open at a time.
pub const MAX_CONCURRENT_STREAMS: u16 = 3;

/// One frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// The server's settings.
pub(crate) fn settings(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in settings {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// Header fields, in as many frames as they need: `end` ends the stream.
pub fn fields(stream: u32, fields: &[(&str, &str)], end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            push_length(&mut block, text.len());
            block.extend(text.bytes());
        }
    }
    let mut frames = Vec::new();
    let pieces: Vec<&[u8]> = block.chunks(16_384).collect();
    for (at, piece) in pieces.iter().enumerate() {
        let kind = if at == 0 { HEADERS } else { CONTINUATION };
        let last = if at + 1 == pieces.len() { END_HEADERS } else { 0 };
        let ended = if end && at == 0 { END_STREAM } else { 0 };
        frames.extend(frame(kind, last | ended, stream, piece));
    }
    frames
}

/// An integer with a prefix of 7 bits (RFC 7541, 5.1).
fn push_length(block: &mut Vec<u8>, length: usize) {
    let Ok(short @ 0..127) = u8::try_from(length) else {
        block.push(127);
        let mut rest = length - 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).unwrap_or(0) | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).unwrap_or(0));
        return;
    };
    block.push(short);
}

/// Data: `end` ends the stream.
pub fn data(stream: u32, data: &[u8], end: bool) -> Vec<u8> {
    frame(DATA, u8::from(end), stream, data)
}

/// A whole answer: 200 with this body.
pub fn answer(stream: u32, body: &str) -> Vec<u8> {
    let mut frames = fields(stream, &[(":status", "200")], false);
    frames.extend(data(stream, body.as_bytes(), true));
    frames
}

/// The end of a stream, with an error code.
pub fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// The end of a connection: nothing above `last` was or will be looked at.
pub fn goaway(last: u32, code: u32) -> Vec<u8> {
    goaway_saying(last, code, b"")
}

/// The same, with debug data: what the server likes to add.
pub fn goaway_saying(last: u32, code: u32, debug: &[u8]) -> Vec<u8> {
    let mut payload = last.to_be_bytes().to_vec();
    payload.extend(code.to_be_bytes());
    payload.extend(debug);
    frame(GOAWAY, 0, 0, &payload)
}

/// What came from a client.
pub(crate) enum Heard {
    /// A head that a body follows.
    Head,
    /// A whole request.
    Request(u32, Vec<u8>),
    /// The end of a stream, with its code.
    Reset(u32, u32),
    /// Whether this side is alive.
    Ping,
    /// Something else that may need an answer.
    Other,
}

/// The client's half of a connection.
#[derive(Default)]
pub(crate) struct Client {
    decoder: Decoder<'static>,
    open: BTreeMap<u32, Vec<u8>>,
    /// A header block that is not complete yet, and whether its stream ends with it.
    block: Option<(u32, Vec<u8>, bool)>,
}

impl Client {
    /// Takes the frame that `buffer` begins with, if it is complete: what it says, and what has to be
    /// sent for it.
    pub(crate) fn take(&mut self, buffer: &mut Vec<u8>) -> Option<(Heard, Vec<u8>)> {
        let head = buffer.get(..9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5] & 0x7f, head[6], head[7], head[8]]);
        let payload = buffer.get(9..9 + length)?.to_vec();
        buffer.drain(..9 + length);
        Some(self.frame(kind, flags, stream, &payload))
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> (Heard, Vec<u8>) {
        let end = flags & END_STREAM != 0;
        match kind {
            HEADERS => {
                let mut block = unpadded(flags, payload);
                if flags & PRIORITY != 0 {
                    block = &block[5..];
                }
                self.block = Some((stream, block.to_vec(), end));
                (self.head(flags), Vec::new())
            }
            CONTINUATION => {
                if let Some((_, block, _)) = &mut self.block {
                    block.extend(payload);
                }
                (self.head(flags), Vec::new())
            }
            DATA => {
                self.open.entry(stream).or_default().extend(unpadded(flags, payload));
                let said = match end {
                    true => Heard::Request(stream, self.open.remove(&stream).unwrap_or_default()),
                    false => Heard::Other,
                };
                (said, credit(stream, payload.len()))
            }
            SETTINGS if flags & ACK == 0 => (Heard::Other, frame(SETTINGS, ACK, 0, &[])),
            PING if flags & ACK == 0 => (Heard::Ping, frame(PING, ACK, 0, payload)),
            RST_STREAM => {
                self.open.remove(&stream);
                let code = payload.try_into().map(u32::from_be_bytes).unwrap_or(u32::MAX);
                (Heard::Reset(stream, code), Vec::new())
            }
            _ => (Heard::Other, Vec::new()),
        }
    }

    /// The head in the block, once that is complete.
    fn head(&mut self, flags: u8) -> Heard {
        if flags & END_HEADERS == 0 {
            return Heard::Other;
        }
        let Some((stream, block, end)) = self.block.take() else {
            return Heard::Other;
        };
        let head = self
            .decoder
            .decode(&block)
            .map_or_else(|_| b"undecodable".to_vec(), |fields| as_text(&fields));
        // Trailers end a request that is open already.
        let whole = match self.open.get_mut(&stream) {
            Some(request) => {
                request.extend(head);
                end
            }
            None => {
                self.open.insert(stream, head);
                end
            }
        };
        match whole {
            true => Heard::Request(stream, self.open.remove(&stream).unwrap_or_default()),
            false => Heard::Head,
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("open", &self.open).finish_non_exhaustive()
    }
}

/// A head as HTTP/1.1 would write it: request line, then the fields, those with a colon too.
fn as_text(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let find = |wanted: &[u8]| {
        let found = fields.iter().find(|(name, _)| name == wanted);
        found.map_or(String::new(), |(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let mut text = format!("{} {} HTTP/2\r\n", find(b":method"), find(b":path")).into_bytes();
    for (name, value) in fields {
        if !matches!(&**name, b":method" | b":path") {
            text.extend(name);
            text.extend(b": ");
            text.extend(value);
            text.extend(b"\r\n");
        }
    }
    text.extend(b"\r\n");
    text
}

fn unpadded(flags: u8, payload: &[u8]) -> &[u8] {
    match (flags & PADDED != 0, payload) {
        (true, [padding, rest @ ..]) => &rest[..rest.len() - usize::from(*padding)],
        _ => payload,
    }
}

/// As much window as was used, for the stream and for the connection.
fn credit(stream: u32, length: usize) -> Vec<u8> {
    let length = u32::try_from(length).unwrap_or(0);
    if length == 0 {
        return Vec::new();
    }
    let mut frames = frame(WINDOW_UPDATE, 0, 0, &length.to_be_bytes());
    frames.extend(frame(WINDOW_UPDATE, 0, stream, &length.to_be_bytes()));
    frames
}
