//! The HTTP client that a call carries, and the agent under it.

use core::fmt;
use core::time::Duration;

use super::call::Call;
use super::exchange::{self, Order};
use super::request::RequestBuilder;
use super::response::Response;
use crate::http::{HttpErrorKind, Method, Request, Url, UrlError};
use crate::{HttpBackend, HttpError, Runtime};

/// The HTTP client of one attempt. From [`Call::http`].
///
/// URLs that are relative ride on the target that the balancer picked; absolute ones go where they
/// say.
pub struct Http<'a, R: Runtime, B> {
    call: &'a Call<R, B>,
}

impl<'a, R: Runtime, B: HttpBackend> Http<'a, R, B> {
    pub(super) fn new(call: &'a Call<R, B>) -> Self {
        Self { call }
    }

    /// A GET request.
    pub fn get(&self, url: &str) -> RequestBuilder<'a, R, B> {
        self.request(Method::GET, url)
    }

    /// A HEAD request.
    pub fn head(&self, url: &str) -> RequestBuilder<'a, R, B> {
        self.request(Method::HEAD, url)
    }

    /// A POST request.
    pub fn post(&self, url: &str) -> RequestBuilder<'a, R, B> {
        self.request(Method::POST, url)
    }

    /// A PUT request.
    pub fn put(&self, url: &str) -> RequestBuilder<'a, R, B> {
        self.request(Method::PUT, url)
    }

    /// A PATCH request.
    pub fn patch(&self, url: &str) -> RequestBuilder<'a, R, B> {
        self.request(Method::PATCH, url)
    }

    /// A DELETE request.
    pub fn delete(&self, url: &str) -> RequestBuilder<'a, R, B> {
        self.request(Method::DELETE, url)
    }

    /// A request with any method.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder<'a, R, B> {
        RequestBuilder::new(self.call, self.call.request(method, url))
    }
}

/// One exchange at a time, charged, broken and counted, and nothing else. From [`Call::agent`].
pub struct Agent<'a, R: Runtime, B> {
    call: &'a Call<R, B>,
}

impl<'a, R: Runtime, B: HttpBackend> Agent<'a, R, B> {
    pub(super) fn new(call: &'a Call<R, B>) -> Self {
        Self { call }
    }

    /// A request to fill in and [`send`](Self::send); a relative URL is joined to the picked target.
    ///
    /// # Errors
    /// If the URL cannot be used, or is relative and there is no target.
    pub fn request(&self, method: Method, url: &str) -> Result<Request, HttpError> {
        self.call.request(method, url).map_err(HttpError::unsent)
    }

    /// Sends `request`: one exchange. Its options but `persistent` are the call's.
    ///
    /// # Errors
    /// If a header frames the message, if dace refuses it, or the exchange fails. An answer of any
    /// status is no error.
    ///
    /// # Cancel safety
    /// Dropping it gives back its places and closes its connection; the server may have seen it.
    pub async fn send(&self, request: Request) -> Result<Response<R, B>, HttpError> {
        let order = Order::new(self.call, self.call.shared.client(), Duration::MAX);
        Ok(exchange::send(self.call, request, &order).await?.0)
    }
}

impl<R: Runtime, B> Call<R, B> {
    fn request(&self, method: Method, url: &str) -> Result<Request, HttpErrorKind> {
        let url = match Url::parse(url) {
            Err(UrlError::Relative) => {
                let root = self.shared.section(|_, cluster, _| cluster.picked_root(self.id));
                root.unwrap_or(Err(UrlError::Relative)).and_then(|root| root.join(url))
            }
            parsed => parsed,
        };
        url.map(|url| Request::new(method, url)).map_err(HttpErrorKind::Url)
    }
}

impl<R: Runtime, B> fmt::Debug for Http<'_, R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Http").field(self.call).finish()
    }
}

impl<R: Runtime, B> fmt::Debug for Agent<'_, R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Agent").field(self.call).finish()
    }
}
