//! Addresses at which nobody answers, each in its own way.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// An address that refuses connections: it was just given to us, and given back.
///
/// # Panics
/// If there is no loopback port to be had.
pub fn refusing() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("a loopback port")
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
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        listener.bind(&any.into()).expect("a loopback port");
        listener.listen(0).expect("a bound socket listens");
        let address = listener
            .local_addr()
            .ok()
            .and_then(|address| address.as_socket())
            .expect("a bound socket has an address");
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
