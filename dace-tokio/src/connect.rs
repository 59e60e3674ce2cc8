//! From a name to a connected socket.

use std::io;
use std::net::SocketAddr;

use dace_core::http::FaultKind;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};

use crate::HyperError;

/// Names whose addresses were given.
pub(crate) type Resolved = Vec<(String, Vec<SocketAddr>)>;

/// The addresses of `host`, which may be one itself.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    resolved: &Resolved,
) -> Result<Vec<SocketAddr>, HyperError> {
    let given = resolved.iter().find(|(name, _)| name.eq_ignore_ascii_case(host));
    if let Some((_, addresses)) = given {
        return Ok(addresses.clone());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = match lookup_host((bare, port)).await {
        Ok(found) => found.collect::<Vec<_>>(),
        Err(error) => {
            let what = format!("look up {host}: no address found");
            return Err(HyperError::before(FaultKind::Dns, what, error));
        }
    };
    match found.is_empty() {
        true => {
            Err(HyperError::unsent(FaultKind::Dns, format!("look up {host}: it has no address")))
        }
        false => Ok(found),
    }
}

/// Tries the addresses in turn. Each gets its share of the time that is left, so that the first one
/// cannot use up the time of all.
pub(crate) async fn connect(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<TcpStream, HyperError> {
    let mut last = HyperError::unsent(FaultKind::Dns, "the name has no address");
    for (tried, &address) in addresses.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        last = match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => {
                // Small requests must not wait for the acknowledgement of earlier ones.
                let set = socket.set_nodelay(true);
                return set.map(|()| socket).map_err(|error| failed(address, error));
            }
            Ok(Err(error)) => failed(address, error),
            Err(elapsed) => {
                let what = format!("connect to {address}: no answer in time");
                HyperError::before(FaultKind::ConnectTimeout, what, elapsed)
            }
        };
    }
    Err(last)
}

fn failed(address: SocketAddr, error: io::Error) -> HyperError {
    let (kind, how) = match error.kind() {
        io::ErrorKind::ConnectionRefused => (FaultKind::ConnectionRefused, "refused"),
        io::ErrorKind::TimedOut => (FaultKind::ConnectTimeout, "no answer in time"),
        _ => (FaultKind::Connect, "failed"),
    };
    HyperError::before(kind, format!("connect to {address}: {how}"), error)
}
