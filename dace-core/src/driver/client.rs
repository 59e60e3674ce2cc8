//! The HTTP client that a call carries: what a request is to be, checked before anything is sent.

use core::fmt;
use core::time::Duration;

use alloc::string::String;

use bytes::Bytes;

use super::call::Call;
use super::exchange;
use super::response::Response;
use crate::http::{Body, Header, HttpErrorKind, Method, Request, Url, header};
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
        RequestBuilder {
            call: self.call,
            request: self.call.request(method, url),
            idempotent: None,
            timeout: Duration::MAX,
        }
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
        exchange::send(self.call, request, None, Duration::MAX).await
    }
}

impl<R: Runtime, B> Call<R, B> {
    fn request(&self, method: Method, url: &str) -> Result<Request, HttpErrorKind> {
        let url = match Url::parse(url) {
            Err(crate::http::UrlError::Relative) => match self.target() {
                Some(target) => target.base().and_then(|base| base.join(url)),
                None => Err(crate::http::UrlError::Relative),
            },
            parsed => parsed,
        };
        url.map(|url| Request::new(method, url)).map_err(HttpErrorKind::Url)
    }
}

/// A request that is being put together. What is wrong with it is told by [`send`](Self::send),
/// before any connection is made.
#[must_use = "nothing is sent before `send`"]
pub struct RequestBuilder<'a, R: Runtime, B> {
    call: &'a Call<R, B>,
    request: Result<Request, HttpErrorKind>,
    idempotent: Option<bool>,
    timeout: Duration,
}

impl<R: Runtime, B: HttpBackend> RequestBuilder<'_, R, B> {
    /// Adds a header. Several of one name are sent in this order.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with_header(name, value.as_ref(), false)
    }

    /// Adds a header whose value is a secret: it appears in no output.
    pub fn sensitive_header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with_header(name, value.as_ref(), true)
    }

    /// Adds several headers.
    pub fn headers<N, V>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self
    where
        N: AsRef<str>,
        V: AsRef<[u8]>,
    {
        for (name, value) in headers {
            self = self.with_header(name.as_ref(), value.as_ref(), false);
        }
        self
    }

    /// The body: bytes, text, or a [`Body`] made of a factory or a stream.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.change(|request| {
            request.body = body.into();
            Ok(())
        })
    }

    /// For this request: its waits, its head and its body together. Default: none but the call's.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self.change(|_| {
            if timeout.is_zero() {
                return Err("the timeout of a request must be longer than zero");
            }
            Ok(())
        })
    }

    /// Whether the connection may be reused. Default `true`.
    pub fn persistent(self, persistent: bool) -> Self {
        self.change(|request| {
            request.options.persistent = persistent;
            Ok(())
        })
    }

    /// Whether sending it twice does no harm, in place of what its method says.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Sends the request and waits for the head of the answer.
    ///
    /// # Errors
    /// If the request is wrong in itself, if dace refuses it, or if the exchange fails. An answer of
    /// any status is no error; see [`Response::error_for_status`].
    ///
    /// # Cancel safety
    /// Dropping it gives back its places and closes its connection; the server may have seen it.
    pub async fn send(self) -> Result<Response<R, B>, HttpError> {
        let request = self.request.map_err(HttpError::unsent)?;
        exchange::send(self.call, request, self.idempotent, self.timeout).await
    }

    fn with_header(self, name: &str, value: &[u8], sensitive: bool) -> Self {
        self.change(|request| {
            let Some(header) = Header::new(name, Bytes::copy_from_slice(value)) else {
                return Err(
                    "a header's name must be a token, and its value free of control characters",
                );
            };
            let header = if sensitive { header.sensitive() } else { header };
            request.headers.push(header);
            Ok(())
        })
    }

    fn change(mut self, act: impl FnOnce(&mut Request) -> Result<(), &'static str>) -> Self {
        if let Ok(request) = &mut self.request {
            if let Err(what) = act(request) {
                self.request = Err(HttpErrorKind::Request(what));
            }
        }
        self
    }
}

/// What no request may say, however it was put together.
pub(super) fn check_headers(request: &Request) -> Result<(), &'static str> {
    for header in &request.headers {
        if let Some(problem) = header::reserved(header.name()) {
            return Err(problem);
        }
        if header.name() == "host" && !names(&request.url, header.value()) {
            return Err("the header `host` must name the host of the URL");
        }
    }
    Ok(())
}

/// Whether a `Host` header says what the URL says.
fn names(url: &Url, host: &[u8]) -> bool {
    let (name, port) = (url.host(), url.port());
    let with_port: String = alloc::format!("{name}:{port}");
    host.eq_ignore_ascii_case(name.as_bytes()) && !url.has_own_port()
        || host.eq_ignore_ascii_case(with_port.as_bytes())
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

impl<R: Runtime, B> fmt::Debug for RequestBuilder<'_, R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder").field("request", &self.request).finish_non_exhaustive()
    }
}
