//! From a name to a connected socket.

use std::io;
use std::net::SocketAddr;

use dace_core::Instant;
use dace_core::http::FaultKind;

use crate::net::within;
use crate::{HyperError, Net};

/// Names whose addresses were given.
pub(crate) type Resolved = Vec<(String, Vec<SocketAddr>)>;

/// The addresses of `host`, which may be one itself.
pub(crate) async fn resolve<N: Net>(
    net: &N,
    host: &str,
    port: u16,
    resolved: &Resolved,
) -> Result<Vec<SocketAddr>, HyperError> {
    let given = resolved.iter().find(|(name, _)| name.eq_ignore_ascii_case(host));
    if let Some((_, addresses)) = given {
        return Ok(addresses.clone());
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let found = match net.resolve(bare, port).await {
        Ok(found) => found,
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
pub(crate) async fn connect<N: Net>(
    net: &N,
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Result<N::Stream, HyperError> {
    let mut last = HyperError::unsent(FaultKind::Dns, "the name has no address");
    for (tried, &address) in addresses.iter().enumerate() {
        let now = net.now();
        let left = deadline.since(now);
        let share = left / u32::try_from(addresses.len() - tried).unwrap_or(u32::MAX);
        last = match within(net, now.after(share), net.connect(address)).await {
            Some(Ok(socket)) => return Ok(socket),
            Some(Err(error)) => failed(address, error),
            None => {
                let what = format!("connect to {address}: no answer in time");
                HyperError::unsent(FaultKind::ConnectTimeout, what)
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
