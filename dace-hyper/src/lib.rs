//! dace's HTTP backend over hyper, for any runtime that has sockets: [`Net`] is what it asks of one.
//!
//! Every decision is the core's. This crate frames bytes, keeps connections, and says exactly what went wrong.
//! Use it by `dace::tokio`, or `dace::smol::hyper`; or bind it to a runtime of your own by implementing [`Net`].
#![forbid(unsafe_code)]

mod backend;
#[cfg(feature = "http2")]
mod background;
mod body;
mod connect;
mod connection;
mod dial;
mod fault;
mod head;
#[cfg(feature = "http2")]
mod heads;
#[cfg(feature = "http2")]
mod http2;
mod message;
mod net;
#[cfg(not(any(feature = "rustls", feature = "rustls-ring")))]
mod no_tls;
#[cfg(test)]
mod piped;
mod pool;
mod relay;
mod route;
mod socket;
mod socks;
#[cfg(feature = "http2")]
mod streams;
#[cfg(any(feature = "rustls", feature = "rustls-ring"))]
mod tls;
mod tunnel;
#[cfg(feature = "http2")]
mod turns;
mod upload;
mod wire;

#[cfg(not(any(feature = "rustls", feature = "rustls-ring")))]
use no_tls as security;
#[cfg(any(feature = "rustls", feature = "rustls-ring"))]
use tls as security;

pub use backend::HyperBackend;
pub use body::HyperBody;
pub use fault::HyperError;
pub use head::HyperHead;
pub use net::Net;
pub use security::Tls;

/// What a socket of [`Net`] is: tokio's traits, which hyper brings along on any runtime.
pub mod io {
    pub use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
}
