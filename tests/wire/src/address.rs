//! Addresses at which nobody answers, each in its own way.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// An address that refuses connections: it is taken, and nobody listens there.
#[derive(Debug)]
pub struct Refusing {
    address: SocketAddr,
    _taken: Socket,
}

impl Refusing {
    /// An address for as long as this lives.
    ///
    /// # Panics
    /// If there is no loopback port to be had.
    pub fn new() -> Self {
        let (taken, address) = bound();
        Self { address, _taken: taken }
    }

    /// The URL of its root.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Default for Refusing {
    fn default() -> Self {
        Self::new()
    }
}

fn bound() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    socket.bind(&any.into()).expect("a loopback port");
    let address = socket
        .local_addr()
        .ok()
        .and_then(|address| address.as_socket())
        .expect("a bound socket has an address");
    (socket, address)
}

/// A listener whose backlog is full: a connection to it hangs in its SYN.
#[derive(Debug)]
pub struct Hanging {
    address: SocketAddr,
    _listener: Socket,
    _backlog: Vec<Socket>,
}

impl Hanging {
    /// A listener that nobody accepts from, with as many connections as it takes.
    ///
    /// # Panics
    /// If there is no loopback port to be had.
    pub fn new() -> Self {
        let (listener, address) = bound();
        listener.listen(0).expect("a bound socket listens");
        // A backlog of 0 takes one connection; the second's SYN, and all after it, are dropped.
        let backlog = (0..4)
            .map(|_| {
                let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
                socket.set_nonblocking(true).expect("a mode of every socket");
                // In progress, as it should be.
                let _ = socket.connect(&address.into());
                socket
            })
            .collect();
        Self { address, _listener: listener, _backlog: backlog }
    }

    /// The URL of its root.
    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Default for Hanging {
    fn default() -> Self {
        Self::new()
    }
}
