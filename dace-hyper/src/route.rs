//! The way to an origin: straight, or through a proxy.

use std::sync::Arc;

use dace_core::http::{Proxy, ProxyKind, Request};
use dace_core::{Scheme, Target};

use crate::Net;

/// What a connection is for. One that was made for another origin, another proxy, other
/// credentials there or another runtime is never used.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Route<P> {
    pub(crate) target: Target,
    pub(crate) proxy: Option<Arc<Proxy>>,
    /// The runtime that has the connection's socket: on another one nobody says how long it will go on.
    place: P,
}

impl<P> Route<P> {
    /// `None` outside of any runtime.
    pub(crate) fn of(request: &Request, net: &impl Net<Place = P>) -> Option<Self> {
        let place = net.place()?;
        Some(Self { target: request.url.target(), proxy: request.proxy.clone(), place })
    }

    pub(crate) fn is_secure(&self) -> bool {
        self.target.scheme() == Scheme::Https
    }

    /// Whether the proxy forwards requests, rather than opening a tunnel. HTTP/2 that begins without
    /// asking cannot be forwarded.
    pub(crate) fn forwarder(&self, http2_alone: bool) -> Option<&Proxy> {
        let proxy = self.proxy.as_deref()?;
        let forwards = proxy.kind() == ProxyKind::Http && !self.is_secure() && !http2_alone;
        forwards.then_some(proxy)
    }
}
