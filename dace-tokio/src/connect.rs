//! From a URL to a connected socket, within one `connect_timeout`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use dace_core::http::{Fault, FaultKind, Sent, Url};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::HyperError;

/// Names whose addresses were given.
pub(crate) type Resolved = Vec<(String, Vec<SocketAddr>)>;

/// Resolves and connects; `limit` holds for both together.
pub(crate) async fn connect(
    url: &Url,
    resolved: &Resolved,
    limit: Duration,
) -> Result<TcpStream, HyperError> {
    let started = Instant::now();
    let addresses = timeout(limit, resolve(url, resolved))
        .await
        .map_err(|elapsed| unsent(FaultKind::ConnectTimeout, elapsed))?
        .map_err(|error| unsent(FaultKind::Dns, error))?;
    let left = limit.saturating_sub(started.elapsed());
    let socket =
        connect_any(&addresses, left).await.map_err(|error| unsent(kind_of(&error), error))?;
    // Small requests must not wait for the acknowledgement of earlier ones.
    socket.set_nodelay(true).map_err(|error| unsent(FaultKind::Connect, error))?;
    Ok(socket)
}

async fn resolve(url: &Url, resolved: &Resolved) -> io::Result<Vec<SocketAddr>> {
    let host = url.host();
    let given = resolved.iter().find(|(name, _)| name.eq_ignore_ascii_case(host));
    if let Some((_, addresses)) = given {
        return Ok(addresses.clone());
    }
    let host = host.trim_start_matches('[').trim_end_matches(']');
    Ok(lookup_host((host, url.port())).await?.collect())
}

/// Tries the addresses in turn. Each gets its share of the time that is left, so that the first one
/// cannot use up the time of all.
async fn connect_any(addresses: &[SocketAddr], limit: Duration) -> io::Result<TcpStream> {
    let started = Instant::now();
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for (tried, &address) in addresses.iter().enumerate() {
        let left = limit.saturating_sub(started.elapsed());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = error,
            Err(elapsed) => last = io::Error::new(io::ErrorKind::TimedOut, elapsed),
        }
    }
    Err(last)
}

fn kind_of(error: &io::Error) -> FaultKind {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => FaultKind::ConnectionRefused,
        io::ErrorKind::TimedOut => FaultKind::ConnectTimeout,
        io::ErrorKind::NotFound => FaultKind::Dns,
        _ => FaultKind::Connect,
    }
}

fn unsent(kind: FaultKind, source: impl std::error::Error + Send + Sync + 'static) -> HyperError {
    HyperError::new(Fault::new(kind, Sent::Unsent), source)
}
