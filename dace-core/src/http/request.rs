//! One request, as a backend gets it.

use core::time::Duration;

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::{Body, Header, Method, Proxy, Url};
use crate::Instant;

/// One request, checked: the URL is absolute and `http` or `https`, headers hold no line breaks, and
/// none of them frames the body (`Content-Length`, `Transfer-Encoding`), which is the backend's.
#[derive(Debug)]
#[non_exhaustive]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The absolute URL. Its userinfo is not for sending.
    pub url: Url,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Body,
    /// The proxy to send it through: the dependency's, not the request's own business.
    pub proxy: Option<Arc<Proxy>>,
    /// How to send it.
    pub options: Options,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self {
            method,
            url,
            headers: Vec::new(),
            body: Body::empty(),
            proxy: None,
            options: Options::default(),
        }
    }

    /// Whether sending it twice does no harm, as far as the request itself says: an idempotent
    /// method or an `Idempotency-Key`, and a body that can be sent again.
    pub(crate) fn is_replay_safe(&self) -> bool {
        self.body.is_replayable()
            && (self.method.is_idempotent()
                || super::header::find(&self.headers, "idempotency-key").is_some())
    }
}

/// What is kept of a request that was sent, to send it again or to follow a redirect.
#[derive(Debug)]
pub(crate) struct Again {
    pub(crate) method: Method,
    pub(crate) url: Url,
    pub(crate) headers: Vec<Header>,
    /// `None` if it can be sent once.
    pub(crate) body: Option<Body>,
    proxy: Option<Arc<Proxy>>,
    pub(crate) options: Options,
}

impl Again {
    pub(crate) fn of(request: &Request) -> Self {
        Self {
            method: request.method.clone(),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: request.body.try_clone(),
            proxy: request.proxy.clone(),
            options: request.options,
        }
    }

    /// The same request, if its body can be sent again.
    pub(crate) fn request(&self) -> Option<Request> {
        Some(Request {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: self.body.as_ref()?.try_clone()?,
            proxy: self.proxy.clone(),
            options: self.options,
        })
    }
}

/// How to send one request.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Options {
    /// For resolution, TCP, TLS and a proxy's tunnel together.
    pub connect_timeout: Duration,
    /// Whether the connection may be reused, before and after.
    pub persistent: bool,
    /// Whether the request may reach the server twice. If not, nothing under the backend may ever
    /// send it again by itself.
    pub replay_safe: bool,
    /// When the attempt ends. A backend need not watch it: the core drops the exchange then.
    pub deadline: Instant,
    /// When all of the exchange is over, the body of its answer included: the request's own timeout. Never,
    /// without one. The core drops what is left then; a backend that is not told when an exchange is dropped
    /// may end it by itself a little later.
    pub ends: Instant,
}

impl Default for Options {
    /// 1 s to connect, persistent, not replay-safe, no deadline and no end.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            persistent: true,
            replay_safe: false,
            deadline: Instant::NEVER,
            ends: Instant::NEVER,
        }
    }
}
