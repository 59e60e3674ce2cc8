//! One exchange over isahc.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dace_core::ConfigError;
use dace_core::Scheme;
use dace_core::http::{
    Connect, Fault, FaultKind, HttpBackend, HttpSettings, Request, Response, Url,
};
use http::HeaderValue;
use http::header::{self, HeaderName};
use isahc::AsyncBody;
use isahc::config::Configurable;

use crate::body::upload;
use crate::clients::{Client, Clients};
use crate::fault::UploadFailure;
use crate::{IsahcBody, IsahcError, IsahcHead};

/// libcurl reads 0 as its own default of five minutes, and counts milliseconds in a C `long`.
const CONNECT_TIMEOUTS: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_secs(1_000_000));

/// HTTP/1.1 over isahc, that is, libcurl. Cheap to clone; clones share their connections.
///
/// It runs under any executor: each of its two clients has a thread of its own, started by the first
/// exchange that needs it. They end with the last clone and the last body.
///
/// What libcurl does differently from what the seam asks:
/// - it sends a replay-safe request without a body again by itself if the connection was reused and
///   dies before the first byte of the answer; every other request is kept from that;
/// - it notices that an idle connection is too old, or was closed, only with the next request;
/// - it learns that an exchange was dropped only when its connection next moves, so up to
///   `http_pool_size` exchanges with servers that hang may stay open after they were dropped;
/// - the head of an answer is handed over with the first byte of its body;
/// - it adds `Accept: */*` and a `User-Agent` to requests that have none, and a POST with a body and
///   without a `Content-Type` is sent as `application/octet-stream`;
/// - a head that is cut off counts as whole; the answer is [`Truncated`](FaultKind::Truncated) all the
///   same if its body's length was still missing, so an empty body that ends with its connection
///   needs a `Connection: close`;
/// - a bad chunk size is reported as a [`Reset`](FaultKind::Reset), and every failed connect as
///   [`Connect`](FaultKind::Connect): libcurl has one code for both;
/// - of a name's given addresses it uses the first, and only for URLs with that address's port;
/// - header values must be ASCII;
/// - heads are limited to 300 KiB by libcurl itself, whatever `head_limit` says.
#[derive(Clone, Debug)]
pub struct IsahcBackend {
    clients: Arc<Clients>,
}

impl Connect for IsahcBackend {
    fn connect(settings: HttpSettings<Infallible>) -> Result<Self, ConfigError> {
        if settings.head_limit != HttpSettings::<Infallible>::default().head_limit {
            let problem =
                "cannot be set on isahc: libcurl's own limit of 300 KiB holds; leave it out";
            return Err(ConfigError::new("head_limit", problem));
        }
        Ok(Self { clients: Arc::new(Clients::new(&settings)) })
    }
}

impl HttpBackend for IsahcBackend {
    type Tls = Infallible;
    type Head = IsahcHead;
    type Body = IsahcBody;
    type Error = IsahcError;

    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<IsahcHead, IsahcBody>, IsahcError>> + Send {
        self.exchange(request)
    }

    fn fault(error: &IsahcError) -> Fault {
        error.fault
    }
}

impl IsahcBackend {
    async fn exchange(
        &self,
        request: Request,
    ) -> Result<Response<IsahcHead, IsahcBody>, IsahcError> {
        let failure = UploadFailure::default();
        let options = request.options;
        let to_head = request.method.as_str() == "HEAD";
        let request = message(request, &failure)?;
        // Only a body keeps libcurl from sending again what died on a reused connection.
        let guarded = options.replay_safe || !request.body().is_empty();
        let client = match options.persistent && guarded {
            true => self.clients.keeping(),
            false => self.clients.closing(),
        }
        .map_err(|error| IsahcError::in_exchange(error, &failure))?;
        let watch = Watch(Some(client));
        let answer = watch.client().http.send_async(request).await;
        let client = watch.over();
        let answer = answer.map_err(|error| IsahcError::in_exchange(error, &failure))?;
        let (head, reader) = answer.into_parts();
        let head = IsahcHead(head);
        let body = IsahcBody::new(reader, &head, to_head, client, failure);
        Ok(Response { head, body })
    }
}

/// Tells the client if the exchange is dropped before its answer.
struct Watch(Option<Arc<Client>>);

impl Watch {
    fn client(&self) -> &Client {
        self.0.as_ref().expect("it is taken by `over` alone")
    }

    fn over(mut self) -> Arc<Client> {
        self.0.take().expect("it is taken by `over` alone")
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(client) = self.0.take() {
            client.give_up();
        }
    }
}

/// The request in isahc's words. libcurl makes `Host` and the framing itself.
fn message(
    request: Request,
    failure: &UploadFailure,
) -> Result<http::Request<AsyncBody>, IsahcError> {
    let Request { method, url, headers, body, options, .. } = request;
    if url.scheme() == Scheme::Https {
        let what = "https needs the feature `rustls`";
        return Err(IsahcError::unsent(FaultKind::Unsupported, what));
    }
    let body = upload(body.into_payload(), failure).unwrap_or_default();
    let (shortest, longest) = CONNECT_TIMEOUTS;
    let mut message = http::Request::builder()
        .method(method.as_str())
        .uri(without_userinfo(&url))
        .connect_timeout(options.connect_timeout.clamp(shortest, longest))
        .body(body)
        .map_err(invalid)?;
    let has_body = !message.body().is_empty();
    let map = message.headers_mut();
    for header in headers {
        let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(invalid)?;
        let value = HeaderValue::from_maybe_shared(header.value().clone()).map_err(invalid)?;
        // isahc would panic.
        value.to_str().map_err(invalid)?;
        map.append(name, value);
    }
    if !options.persistent {
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if has_body && method.as_str() == "POST" {
        // Or libcurl would call it a form.
        map.entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/octet-stream"));
    }
    if !has_body && matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(message)
}

/// The URL as libcurl gets it: userinfo in it would become a header.
fn without_userinfo(url: &Url) -> String {
    let (scheme, host) = (url.scheme().as_str(), url.host());
    let rest = url.path_and_query();
    match url.has_own_port() {
        true => format!("{scheme}://{host}:{}{rest}", url.port()),
        false => format!("{scheme}://{host}{rest}"),
    }
}

/// The core checks requests, so this is for what it lets through and isahc does not.
fn invalid<E>(_: E) -> IsahcError {
    IsahcError::unsent(FaultKind::Unsupported, "isahc cannot express this method, URL or header")
}
