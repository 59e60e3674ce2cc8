//! A request that is being put together, and sent with all that belongs to a client: default headers,
//! credentials, compression, redirects.

use core::fmt;
use core::future::Future;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use futures_core::Stream;

use super::call::Call;
use super::exchange::{self, Order};
use super::response::Response;
use crate::http::redirect::{self, Hop, RedirectError};
use crate::http::{
    Body, BoxError, Header, HttpErrorKind, Method, Request, Sent, decoding, header, proxy,
};
use crate::policy::ClientRules;
use crate::{HttpBackend, HttpError, Runtime, Scheme};

/// A request that is being put together. What is wrong with it is told by [`send`](Self::send),
/// before any connection is made.
#[must_use = "nothing is sent before `send`"]
pub struct RequestBuilder<'a, R: Runtime, B> {
    call: &'a Call<R, B>,
    rules: Arc<ClientRules>,
    request: Result<Request, HttpError>,
    idempotent: Option<bool>,
    timeout: Duration,
    redirects: Option<u32>,
    https_only: bool,
}

impl<'a, R: Runtime, B: HttpBackend> RequestBuilder<'a, R, B> {
    pub(super) fn new(call: &'a Call<R, B>, request: Result<Request, HttpErrorKind>) -> Self {
        let rules = call.shared.client();
        Self {
            call,
            request: request.map_err(HttpError::unsent),
            idempotent: None,
            timeout: Duration::MAX,
            redirects: Some(rules.max_redirects),
            https_only: rules.https_only,
            rules,
        }
    }

    /// Adds a header. Several of one name are sent in this order.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.with_header(name, value.as_ref(), false)
    }

    /// Adds a header whose value is a secret: it appears in no output, and no redirect takes it to
    /// another origin.
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

    /// Adds pairs to the query of the URL, encoded as a form does it; what the URL has stays as it is.
    pub fn query<K: AsRef<str>, V: AsRef<str>>(self, pairs: &[(K, V)]) -> Self {
        self.change(|request| {
            request.url = request.url.with_query(pairs);
            Ok(())
        })
    }

    /// User and password (RFC 7617). They go to the origin of the URL, and no redirect takes them to
    /// another one.
    pub fn basic_auth(self, user: &str, password: Option<&str>) -> Self {
        if user.contains(':') {
            return self.change(|_| Err("the user of Basic authorization cannot have a colon"));
        }
        let value = proxy::basic(user, password.unwrap_or_default());
        self.with_header("authorization", value.as_bytes(), true)
    }

    /// A bearer token (RFC 6750). It goes to the origin of the URL, and no redirect takes it to another
    /// one.
    pub fn bearer_auth(self, token: &str) -> Self {
        self.with_header("authorization", alloc::format!("Bearer {token}").as_bytes(), true)
    }

    /// The body: bytes, text, or a [`Body`] made of a factory or a stream.
    pub fn body(self, body: impl Into<Body>) -> Self {
        self.change(|request| {
            request.body = body.into();
            Ok(())
        })
    }

    /// A body that is read once as it is sent, in chunks. The request is then never sent twice, by no
    /// retry and no redirect; [`Body::factory`] makes one that can be.
    pub fn stream<S>(self, body: S) -> Self
    where
        S: Stream<Item = Result<Bytes, BoxError>> + Send + 'static,
    {
        self.body(Body::stream(body, None))
    }

    /// Pairs as the body, as a form sends them (`application/x-www-form-urlencoded`).
    pub fn form<K: AsRef<str>, V: AsRef<str>>(self, pairs: &[(K, V)]) -> Self {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        self.typed("application/x-www-form-urlencoded", body)
    }

    /// `value` as the body, in JSON.
    #[cfg(feature = "json")]
    pub fn json<T: serde::Serialize + ?Sized>(mut self, value: &T) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.typed("application/json", body),
            Err(error) => {
                let kind = HttpErrorKind::Request("the value cannot be written as JSON");
                self.request = self.request.and(Err(HttpError::unsent(kind).because(error)));
                self
            }
        }
    }

    /// For this request: its waits, its redirects, its head and its body together. Default: none but
    /// the call's.
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

    /// Whether redirects are followed. Default `true`; else the redirect is the answer.
    pub fn allow_redirects(mut self, allow: bool) -> Self {
        self.redirects = allow.then_some(self.redirects.unwrap_or(self.rules.max_redirects));
        self
    }

    /// How many redirects are followed. Default: as the dependency says, which is 10. With 0, any is
    /// an error; see [`allow_redirects`](Self::allow_redirects).
    pub fn max_redirects(mut self, redirects: u32) -> Self {
        self.redirects = Some(redirects);
        self
    }

    /// Whether plain `http` is refused, also where a redirect leads. It can be asked for here, but not
    /// be taken back if the dependency asks for it. Default: as the dependency says, which is `false`.
    pub fn https_only(mut self, only: bool) -> Self {
        self.https_only = only || self.rules.https_only;
        self
    }

    /// Whether sending it twice does no harm, in place of what its method says.
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// Sends the request, follows redirects, and waits for the head of the answer.
    ///
    /// A redirect keeps the method and the body, but that 301 and 302 turn a POST into a GET, and 303
    /// everything but a HEAD. Once a hop leaves the origin (scheme, host and port), credentials and
    /// sensitive headers are dropped for good. Each hop is an exchange: charged to its server, and
    /// refused if that one's circuit is open.
    ///
    /// # Errors
    /// If the request is wrong in itself, if dace refuses it, or if an exchange fails. An answer of
    /// any status is no error; see [`Response::error_for_status`].
    ///
    /// # Cancel safety
    /// Dropping it gives back its places and closes its connection; the server may have seen it.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
    pub fn send(self) -> impl Future<Output = Result<Response<R, B>, HttpError>> + use<'a, R, B> {
        async move {
            let mut request = self.request?;
            let decode = complete(&self.rules, &mut request)
                .map_err(|what| HttpError::unsent(HttpErrorKind::Request(what)))?;
            let order = Order::new(self.call, self.rules, self.timeout);
            let order = Order { idempotent: self.idempotent, decode, ..order };
            let mut hops = Vec::new();
            loop {
                if self.https_only && request.url.scheme() == Scheme::Http {
                    return Err(match hops.is_empty() {
                        true => HttpError::unsent(HttpErrorKind::Request(exchange::INSECURE)),
                        false => not_followed(&hops, RedirectError::Insecure),
                    });
                }
                let (mut response, sent) = exchange::send(self.call, request, &order).await?;
                let status = response.status();
                let location = sent.as_ref().and_then(|_| response.header("location"));
                let (Some(limit), Some((sent, location))) = (self.redirects, sent.zip(location))
                else {
                    response.history = hops;
                    return Ok(response);
                };
                hops.push(Hop { url: sent.url.clone(), status });
                if hops.len() > limit as usize {
                    return Err(not_followed(&hops, RedirectError::TooMany(limit)));
                }
                let next = redirect::next(*sent, status, location);
                request = next.map_err(|error| not_followed(&hops, error))?;
                // Its places are given back before the next exchange asks for some.
                Box::pin(response.discard()).await;
            }
        }
    }

    fn typed(self, content_type: &'static str, body: impl Into<Body>) -> Self {
        self.change(|request| {
            if header::find(&request.headers, "content-type").is_none() {
                let value = Bytes::from_static(content_type.as_bytes());
                request.headers.extend(Header::new("content-type", value));
            }
            request.body = body.into();
            Ok(())
        })
    }

    fn with_header(self, name: &str, value: &[u8], sensitive: bool) -> Self {
        self.change(|request| {
            let Some(header) = Header::new(name, Bytes::copy_from_slice(value)) else {
                return Err(
                    "a header's name must be a token, and its value free of control characters",
                );
            };
            let has = |name| header::find(&request.headers, name).is_some();
            if header.name() == "authorization" && has("authorization") {
                return Err("authorization is given twice");
            }
            let header = if sensitive { header.sensitive() } else { header };
            request.headers.push(header);
            Ok(())
        })
    }

    fn change(mut self, act: impl FnOnce(&mut Request) -> Result<(), &'static str>) -> Self {
        if let Ok(request) = &mut self.request {
            if let Err(what) = act(request) {
                self.request = Err(HttpError::unsent(HttpErrorKind::Request(what)));
            }
        }
        self
    }
}

/// Adds what every request of the dependency has, and says whether a compressed answer is decoded: it
/// is if dace asked for it.
fn complete(rules: &ClientRules, request: &mut Request) -> Result<bool, &'static str> {
    let own = request.headers.len();
    let lacks =
        |request: &Request, name: &str| header::find(&request.headers[..own], name).is_none();
    if let Some((user, password)) = request.url.userinfo() {
        if lacks(request, "authorization") {
            let value = proxy::basic(&user, &password);
            request.headers.extend(Header::new("authorization", Bytes::from(value)));
        }
        request.url = request.url.without_userinfo();
    }
    let own = request.headers.len();
    request.headers.reserve(rules.fixed.headers.len());
    for default in rules.fixed.headers.iter() {
        if header::find(&request.headers[..own], default.name()).is_none() {
            request.headers.push(default.clone());
        }
    }
    let Some(accepted) = decoding::ACCEPTED else {
        return Ok(false);
    };
    // A range is one of the bytes as they are encoded: a part of that cannot be decoded.
    let own_business = ["accept-encoding", "range"];
    if own_business.iter().any(|name| header::find(&request.headers, name).is_some()) {
        return Ok(false);
    }
    let value = Bytes::from_static(accepted.as_bytes());
    request.headers.extend(Header::new("accept-encoding", value));
    Ok(request.method != Method::HEAD)
}

fn not_followed(hops: &[Hop], error: RedirectError) -> HttpError {
    let netloc = hops.last().map(|hop| hop.url.netloc());
    HttpError::new(HttpErrorKind::Redirect(error), Sent::Sent, netloc)
}

impl<R: Runtime, B> fmt::Debug for RequestBuilder<'_, R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBuilder").field("request", &self.request).finish_non_exhaustive()
    }
}
