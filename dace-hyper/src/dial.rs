//! From a route to a socket on which HTTP can be spoken: look-up, TCP, tunnel and TLS, all within one
//! `connect_timeout`.

use std::sync::atomic::{AtomicU8, Ordering};

use dace_core::Instant;
use dace_core::http::{FaultKind, Protocol, Proxy, ProxyKind, Url};

use crate::connect::{Resolved, connect, resolve};
use crate::net::within;
use crate::route::Route;
use crate::security::Security;
use crate::socket::Socket;
use crate::{HyperError, Net, socks, tunnel};

/// Makes connections.
#[derive(Debug)]
pub(crate) struct Dialer<N> {
    pub(crate) net: N,
    pub(crate) resolved: Resolved,
    pub(crate) security: Security,
    pub(crate) protocol: Protocol,
}

impl<N: Net> Dialer<N> {
    /// A socket on `route`, and whether HTTP/2 is spoken on it.
    pub(crate) async fn dial(
        &self,
        route: &Route<N::Place>,
        url: &Url,
        deadline: Instant,
    ) -> Result<(Socket<N::Stream>, bool), HyperError> {
        if route.is_secure() {
            self.security.check()?;
        }
        let stage = Stage::default();
        let dialled = self.walk(route, url, deadline, &stage);
        within(&self.net, deadline, dialled).await.unwrap_or_else(|| {
            let what = format!("{}: no answer in time", stage.describe(route, url));
            Err(HyperError::unsent(FaultKind::ConnectTimeout, what))
        })
    }

    async fn walk(
        &self,
        route: &Route<N::Place>,
        url: &Url,
        deadline: Instant,
        stage: &Stage,
    ) -> Result<(Socket<N::Stream>, bool), HyperError> {
        let mut socket = match route.proxy.as_deref() {
            None => self.reach(url.host(), url.port(), deadline, stage).await?,
            Some(proxy) => self.reach_proxy(proxy, deadline, stage).await?,
        };
        if let Some(proxy) = &route.proxy {
            if route.forwarder(self.protocol == Protocol::Http2).is_none() {
                stage.set(Stage::TUNNEL);
                self.tunnel(&mut socket, proxy, url, deadline, stage).await?;
            }
        }
        if route.is_secure() {
            stage.set(Stage::TLS);
            return self.security.secure(url.host(), socket).await;
        }
        Ok((Socket::Plain(socket), self.protocol == Protocol::Http2))
    }

    async fn reach(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        stage: &Stage,
    ) -> Result<N::Stream, HyperError> {
        let addresses = resolve(&self.net, host, port, &self.resolved).await?;
        stage.set(Stage::CONNECT);
        connect(&self.net, &addresses, deadline).await
    }

    async fn reach_proxy(
        &self,
        proxy: &Proxy,
        deadline: Instant,
        stage: &Stage,
    ) -> Result<N::Stream, HyperError> {
        let reached = self.reach(proxy.host(), proxy.port(), deadline, stage).await;
        reached.map_err(|error| error.within(|what| format!("the proxy {proxy}: {what}")))
    }

    async fn tunnel(
        &self,
        socket: &mut N::Stream,
        proxy: &Proxy,
        url: &Url,
        deadline: Instant,
        stage: &Stage,
    ) -> Result<(), HyperError> {
        let (host, port) = (url.host(), url.port());
        match proxy.kind() {
            ProxyKind::Socks5 => {
                let addresses = resolve(&self.net, host, port, &self.resolved).await?;
                let mut last = HyperError::unsent(FaultKind::Dns, "the name has no address");
                for (tried, address) in addresses.iter().enumerate() {
                    if tried > 0 {
                        // After a refusal the proxy closes (RFC 1928, 6).
                        *socket = self.reach_proxy(proxy, deadline, stage).await?;
                        stage.set(Stage::TUNNEL);
                    }
                    match socks::open(socket, proxy, &address.ip().to_string(), port).await? {
                        Ok(()) => return Ok(()),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
            ProxyKind::Socks5h => socks::open(socket, proxy, host, port).await?,
            _ => tunnel::open(socket, proxy, &format!("{host}:{port}")).await,
        }
    }
}

/// How far a connection got.
#[derive(Debug, Default)]
struct Stage(AtomicU8);

impl Stage {
    const CONNECT: u8 = 1;
    const TUNNEL: u8 = 2;
    const TLS: u8 = 3;

    fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }

    fn describe<P>(&self, route: &Route<P>, url: &Url) -> String {
        let (host, port) = match &route.proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (url.host(), url.port()),
        };
        match (self.0.load(Ordering::Relaxed), &route.proxy) {
            (Self::CONNECT, _) => format!("connect to {host}:{port}"),
            (Self::TUNNEL, Some(proxy)) => format!("tunnel through the proxy {proxy}"),
            (Self::TLS, _) => format!("TLS handshake with {}", url.host()),
            _ => format!("look up {host}"),
        }
    }
}
