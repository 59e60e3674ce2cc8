//! A tunnel through an HTTP proxy (CONNECT; RFC 9110, 9.3.6).
//!
//! hyper-util's says of a refusal no more than that it was one; a person needs the status.

use dace_core::http::{FaultKind, Proxy};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::HyperError;

/// More than any proxy has to say.
const HEAD_LIMIT: usize = 16 * 1024;

/// Asks `proxy`, at the other end of `socket`, for a connection to `authority` (host and port).
pub(crate) async fn open(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
    authority: &str,
) -> Result<(), HyperError> {
    let mut ask = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n");
    if let Some(value) = proxy.basic_authorization() {
        ask.push_str("Proxy-Authorization: ");
        ask.push_str(&value);
        ask.push_str("\r\n");
    }
    ask.push_str("\r\n");
    socket.write_all(ask.as_bytes()).await.map_err(|error| broken(proxy, error))?;
    let head = read_head(socket, proxy).await?;
    match status(&head) {
        Some([b'2', _, _]) => Ok(()),
        Some(code @ [b'4', b'0', b'7']) if proxy.credentials().is_none() => {
            let code = text(code);
            refused(proxy, &format!("answered {code}: it wants user and password"))
        }
        Some(code) => refused(proxy, &format!("answered {} to CONNECT", text(code))),
        None => refused(proxy, "did not answer in HTTP/1.1"),
    }
}

/// The head of the proxy's answer, and not a byte more: what follows belongs to the tunnel, where the
/// server does not speak first.
async fn read_head(
    socket: &mut (impl AsyncRead + AsyncWrite + Unpin),
    proxy: &Proxy,
) -> Result<Vec<u8>, HyperError> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.windows(4).any(|window| window == b"\r\n\r\n") {
            // A refusal may come with a body; a tunnel begins with silence.
            return match status(&head) {
                Some([b'2', _, _]) => refused(proxy, "sent bytes before the tunnel was used"),
                _ => Ok(head),
            };
        }
        if head.len() > HEAD_LIMIT {
            return refused(proxy, "sent a head over the limit of 16 KiB");
        }
        match socket.read_buf(&mut head).await {
            Ok(0) => return refused(proxy, "closed the connection instead of opening a tunnel"),
            Ok(_) => {}
            Err(error) => return Err(broken(proxy, error)),
        }
    }
    Ok(head)
}

/// The three digits of the status line.
fn status(head: &[u8]) -> Option<&[u8; 3]> {
    let rest = head.strip_prefix(b"HTTP/1.1 ").or_else(|| head.strip_prefix(b"HTTP/1.0 "))?;
    let (code, rest) = rest.split_first_chunk()?;
    let ended = matches!(rest.first(), Some(b' ' | b'\r'));
    (ended && code.iter().all(u8::is_ascii_digit)).then_some(code)
}

fn text(code: &[u8; 3]) -> String {
    String::from_utf8_lossy(code).into_owned()
}

fn refused<T>(proxy: &Proxy, what: &str) -> Result<T, HyperError> {
    Err(HyperError::unsent(FaultKind::Proxy, format!("the proxy {proxy} {what}")))
}

fn broken(proxy: &Proxy, error: std::io::Error) -> HyperError {
    let what = format!("the proxy {proxy} broke the connection");
    HyperError::before(FaultKind::Proxy, what, error)
}
