//! A connection through a SOCKS 5 proxy (RFC 1928; user and password: RFC 1929).
//!
//! hyper-util has one too, but it looks names up on the thread that it is polled on, and knows nothing
//! of addresses that were given.

use std::io;
use std::net::IpAddr;

use dace_core::http::{FaultKind, Proxy};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::HyperError;

const VERSION: u8 = 5;
const NO_SIGN_IN: u8 = 0;
const USER_AND_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Why no connection came about.
enum Refusal {
    /// The socket to the proxy broke.
    Broken(io::Error),
    Says(&'static str),
    /// The proxy did not get to this address.
    Unreachable(&'static str),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

/// Asks `proxy`, at the other end of `socket`, for a connection to `host` (a name or an address) and
/// `port`. The inner error is that the proxy did not get there, and might get to another address.
pub(crate) async fn open(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Result<(), HyperError>, HyperError> {
    let says = |what| HyperError::unsent(FaultKind::Proxy, format!("the proxy {proxy}: {what}"));
    match negotiate(socket, proxy.credentials(), host, port).await {
        Ok(()) => Ok(Ok(())),
        Err(Refusal::Unreachable(what)) => Ok(Err(says(what))),
        Err(Refusal::Says(what)) => Err(says(what)),
        Err(Refusal::Broken(error)) => {
            let what = format!("the proxy {proxy} broke the connection");
            Err(HyperError::before(FaultKind::Proxy, what, error))
        }
    }
}

async fn negotiate(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    credentials: Option<(&str, &str)>,
    host: &str,
    port: u16,
) -> Result<(), Refusal> {
    let method = credentials.map_or(NO_SIGN_IN, |_| USER_AND_PASSWORD);
    socket.write_all(&[VERSION, 1, method]).await?;
    match (read(socket).await?, credentials) {
        ([VERSION, NO_SIGN_IN], None) => {}
        ([VERSION, USER_AND_PASSWORD], Some((user, password))) => {
            sign_in(socket, user, password).await?;
        }
        ([VERSION, _], None) => return Err(Refusal::Says("it wants user and password")),
        ([VERSION, _], Some(_)) => return Err(Refusal::Says("it takes no user and password")),
        _ => return Err(Refusal::Says("it speaks no SOCKS 5")),
    }
    let mut ask = vec![VERSION, CONNECT, 0];
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => {
            ask.push(IPV4);
            ask.extend(address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            ask.push(IPV6);
            ask.extend(address.octets());
        }
        Err(_) => {
            ask.push(NAME);
            push_text(&mut ask, host, "the host's name is longer than 255 bytes")?;
        }
    }
    ask.extend(port.to_be_bytes());
    socket.write_all(&ask).await?;
    answer(socket).await
}

async fn sign_in(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    user: &str,
    password: &str,
) -> Result<(), Refusal> {
    let mut ask = vec![1];
    push_text(&mut ask, user, "the user is longer than 255 bytes")?;
    push_text(&mut ask, password, "the password is longer than 255 bytes")?;
    socket.write_all(&ask).await?;
    match read(socket).await? {
        [1, 0] => Ok(()),
        [_, _] => Err(Refusal::Says("it does not take this user and password")),
    }
}

/// The answer, with the address that the proxy connects from, which nobody needs.
async fn answer(socket: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<(), Refusal> {
    let [version, code, _, kind] = read(socket).await?;
    if version != VERSION {
        return Err(Refusal::Says("it speaks no SOCKS 5"));
    }
    if let Some(refusal) = refusal(code) {
        return Err(Refusal::Unreachable(refusal));
    }
    match kind {
        IPV4 => read(socket).await.map(|_: [u8; 6]| ())?,
        IPV6 => read(socket).await.map(|_: [u8; 18]| ())?,
        NAME => {
            let [length] = read(socket).await?;
            let mut rest = vec![0; usize::from(length) + 2];
            socket.read_exact(&mut rest).await?;
        }
        _ => return Err(Refusal::Says("it speaks no SOCKS 5")),
    }
    Ok(())
}

fn refusal(code: u8) -> Option<&'static str> {
    Some(match code {
        0 => return None,
        2 => "its rules forbid the connection",
        3 => "the network of the host cannot be reached",
        4 => "the host cannot be reached",
        5 => "the host refused the connection",
        6 => "the connection took it too long",
        _ => "it could not connect to the host",
    })
}

async fn read<const N: usize>(socket: &mut (impl AsyncRead + Unpin)) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    socket.read_exact(&mut bytes).await?;
    Ok(bytes)
}

fn push_text(to: &mut Vec<u8>, text: &str, too_long: &'static str) -> Result<(), Refusal> {
    let length = u8::try_from(text.len()).map_err(|_| Refusal::Says(too_long))?;
    to.push(length);
    to.extend(text.bytes());
    Ok(())
}
