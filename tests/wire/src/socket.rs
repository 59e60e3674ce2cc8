//! A server's end of a connection, with TLS or without.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustls::{ServerConnection, StreamOwned};

use crate::certificates::{Handshake, ServerTls};

#[derive(Debug)]
pub(crate) enum Socket {
    Plain(TcpStream),
    Tls(Box<StreamOwned<ServerConnection, TcpStream>>),
}

impl Socket {
    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    /// Speaks TLS from here on. `received` came already and belongs to the handshake.
    pub(crate) fn secure(&mut self, tls: &ServerTls, received: &[u8]) -> io::Result<Handshake> {
        let Self::Plain(socket) = self else {
            return Err(io::Error::other("TLS in TLS"));
        };
        let mut socket = socket.try_clone()?;
        let mut session = ServerConnection::new(tls.0.clone()).map_err(io::Error::other)?;
        if !received.is_empty() {
            session.read_tls(&mut &*received)?;
            session.process_new_packets().map_err(io::Error::other)?;
        }
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        let protocol = session.alpn_protocol().map(|name| String::from_utf8_lossy(name).into());
        let seen = Handshake { name: session.server_name().map(String::from), protocol };
        *self = Self::Tls(Box::new(StreamOwned::new(session, socket)));
        Ok(seen)
    }

    /// Half-closes, with TLS's own goodbye before.
    pub(crate) fn finish(&mut self) -> io::Result<()> {
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            stream.flush()?;
        }
        self.tcp().shutdown(Shutdown::Write)
    }
}

impl Read for Socket {
    /// An end is an end here, with goodbye or without.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.read(buffer),
            Self::Tls(stream) => match stream.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(0),
                read => read,
            },
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(socket) => socket.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(socket) => socket.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}
