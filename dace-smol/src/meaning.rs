//! What libcurl's codes mean, and in which phase.
//!
//! isahc folds them into fewer kinds and hands on none of libcurl's own words, so the code is read from
//! the message of the source, which begins with it in brackets (`[56] …`). The phase is read off the
//! peer's address: libcurl knows it once a connection is made, with its tunnel and its handshake, and
//! not a byte of a request is sent before. What no code tells is read off the way that it went.

use std::error::Error;
use std::io;
use std::sync::Arc;

use dace_core::Netloc;
use dace_core::http::{FaultKind, Proxy, ProxyKind, Sent};
use isahc::error::ErrorKind;

use crate::body::SentAgain;

/// How an exchange goes.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    pub(crate) netloc: Netloc,
    pub(crate) secure: bool,
    pub(crate) proxy: Option<Arc<Proxy>>,
}

impl Way {
    /// Kind and phase of an error, and where it was if it was on the way there.
    pub(crate) fn meaning(&self, error: &isahc::Error) -> (FaultKind, Sent, Option<String>) {
        match error.kind() {
            ErrorKind::InvalidRequest | ErrorKind::ClientInitialization => {
                return (FaultKind::Unsupported, Sent::Unsent, None);
            }
            ErrorKind::Io if is_sent_again(error) => {
                return (FaultKind::Reset, Sent::MaybeSent, None);
            }
            _ => {}
        }
        match code(error) {
            Some(code) if error.remote_addr().is_none() => {
                let kind = self.on_the_way(code);
                (kind, Sent::Unsent, Some(self.place(code, kind)))
            }
            code => {
                let (kind, sent) = self.connected(code);
                (kind, sent, None)
            }
        }
    }

    /// No connection came about.
    fn on_the_way(&self, code: u32) -> FaultKind {
        let proxy = self.proxy.as_ref().map(|proxy| proxy.kind());
        match code {
            // The proxy's own name, another one.
            5 | 6 => FaultKind::Dns,
            28 => FaultKind::ConnectTimeout,
            // A handshake, or what it needs: engine, certificate, ciphers, verification, authorities.
            35 | 53 | 54 | 58 | 59 | 60 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91 | 98 => {
                FaultKind::Tls
            }
            // A handshake between proxies.
            97 => FaultKind::Proxy,
            // One code for a proxy that is not there and for one that opens no tunnel.
            7 if self.secure && proxy == Some(ProxyKind::Http) => FaultKind::Proxy,
            7 => FaultKind::Connect,
            // The connection ended, or something came back that is not what it should be.
            _ if proxy.is_some() => FaultKind::Proxy,
            _ if self.secure => FaultKind::Tls,
            _ => FaultKind::Connect,
        }
    }

    fn place(&self, code: u32, kind: FaultKind) -> String {
        let to_proxy = match kind {
            FaultKind::Dns => code == 5,
            FaultKind::Tls => false,
            _ => true,
        };
        match self.proxy.as_ref().filter(|_| to_proxy) {
            Some(proxy) => proxy.to_string(),
            None => self.netloc.to_string(),
        }
    }

    fn connected(&self, code: Option<u32>) -> (FaultKind, Sent) {
        match code {
            // HTTP/2 ended; got nothing; a rewind for a request that was to be sent again.
            Some(16 | 52 | 65) => (FaultKind::Closed, Sent::MaybeSent),
            // Of TLS, libcurl has one code for a reset and for an end without goodbye.
            Some(55 | 56) if self.secure => (FaultKind::Closed, Sent::MaybeSent),
            // Send and receive errors; a stream that was reset.
            Some(55 | 56 | 92) => (FaultKind::Reset, Sent::MaybeSent),
            // A partial file: the head was there.
            Some(18) => (FaultKind::Truncated, Sent::Sent),
            // HTTP/0.9, weird server reply, no memory for such a head, bad encoding, too large.
            Some(1 | 8 | 27 | 61 | 100) => (FaultKind::Malformed, Sent::MaybeSent),
            _ => (FaultKind::Other, Sent::MaybeSent),
        }
    }
}

fn is_sent_again(error: &isahc::Error) -> bool {
    sources(error)
        .filter_map(|error| error.downcast_ref::<io::Error>()?.get_ref())
        .any(|inner| inner.is::<SentAgain>())
}

/// libcurl's code, from the first message in the chain that begins with it.
pub(crate) fn code(error: &(dyn Error + 'static)) -> Option<u32> {
    sources(error).find_map(|error| {
        let text = error.to_string();
        text.strip_prefix('[')?.split(']').next()?.parse().ok()
    })
}

fn sources<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&error: &&'a (dyn Error + 'static)| error.source())
}
