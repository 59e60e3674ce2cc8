//! One exchange over hyper's HTTP/1 connections.
//!
//! hyper's own client is not used: it would retry by itself, and has no word for how many
//! connections there may be. What is left is small: a pool, and a request in hyper's words.

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
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::runtime::Handle;

use crate::body::{Lease, Upload};
use crate::connect::{Resolved, connect};
use crate::pool::{Connection, Pool};
use crate::wire::{Gauge, Wire};
use crate::{HyperBody, HyperError, HyperHead};

/// hyper wants room for at least this much; a smaller `head_limit` still binds.
const SMALLEST_BUFFER: usize = 8192;

/// HTTP/1.1 over hyper. Cheap to clone; clones share their connections.
///
/// Every connection is driven by a task of the runtime that made it, and ends with it: it is then
/// noticed and replaced. When the last clone is gone, so are all idle connections and tasks.
#[derive(Clone, Debug)]
pub struct HyperBackend {
    pool: Arc<Pool>,
    resolved: Arc<Resolved>,
    head_limit: usize,
}

impl Connect for HyperBackend {
    fn connect(settings: HttpSettings<Infallible>) -> Result<Self, ConfigError> {
        Ok(Self {
            pool: Pool::new(settings.pool_size, settings.idle_timeout),
            resolved: Arc::new(settings.resolve),
            head_limit: settings.head_limit,
        })
    }
}

impl HttpBackend for HyperBackend {
    type Tls = Infallible;
    type Head = HyperHead;
    type Body = HyperBody;
    type Error = HyperError;

    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<HyperHead, HyperBody>, HyperError>> + Send {
        self.exchange(request)
    }

    fn fault(error: &HyperError) -> Fault {
        error.fault
    }
}

impl HyperBackend {
    async fn exchange(
        &self,
        request: Request,
    ) -> Result<Response<HyperHead, HyperBody>, HyperError> {
        if Handle::try_current().is_err() {
            let what = "hyper needs a tokio runtime; send from a task of one";
            return Err(HyperError::unsent(FaultKind::RuntimeGone, what));
        }
        let options = request.options;
        let url = request.url.clone();
        let origin = url.target();
        let running = Arc::new(());
        let request = message(request, running.clone())?;
        // One that must not be used again takes the place of an idle one: together they are no more
        // than the pool may have.
        let idle = self.pool.take(&origin).filter(|_| options.persistent);
        let mut connection = match idle {
            Some(connection) => connection,
            None => self.open(&url, options.connect_timeout).await?,
        };
        let reused = connection.reused;
        connection.gauge.begin();
        let answer = match connection.sender.try_send_request(request).await {
            Ok(answer) => answer,
            Err(mut error) => {
                let given_back = error.take_message().is_some();
                let answered = connection.gauge.answered();
                let error = error.into_error();
                return Err(match given_back {
                    true => HyperError::given_back(reused, error),
                    false => HyperError::before_head(reused, answered, error),
                });
            }
        };
        connection.gauge.head_complete();
        let (head, incoming) = answer.into_parts();
        let lease = options.persistent.then(|| Lease {
            connection,
            origin,
            pool: self.pool.clone(),
            running,
        });
        Ok(Response { head: HyperHead(head), body: HyperBody::new(incoming, reused, lease).await })
    }

    async fn open(&self, url: &Url, connect_timeout: Duration) -> Result<Connection, HyperError> {
        if url.scheme() == Scheme::Https {
            let what = "https needs the feature `rustls`";
            return Err(HyperError::unsent(FaultKind::Unsupported, what));
        }
        let socket = connect(url, &self.resolved, connect_timeout).await?;
        let gauge = Gauge::new(self.head_limit);
        let wire = Wire { socket, gauge: gauge.clone() };
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(self.head_limit.max(SMALLEST_BUFFER))
            .max_header_size(self.head_limit)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| HyperError::given_back(false, error))?;
        // Its errors reach the exchange that they concern.
        tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, gauge, reused: false })
    }
}

/// The request in hyper's words: origin form, one framing header, and a `Host`.
fn message(request: Request, running: Arc<()>) -> Result<http::Request<Upload>, HyperError> {
    let Request { method, url, headers, body, options, .. } = request;
    let upload = Upload::new(body.into_payload(), running);
    let mut map = http::HeaderMap::with_capacity(headers.len() + 3);
    if !headers.iter().any(|header| header.name() == "host") {
        map.insert(header::HOST, host(&url)?);
    }
    for header in headers {
        let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(invalid)?;
        let value = HeaderValue::from_maybe_shared(header.value().clone()).map_err(invalid)?;
        map.append(name, value);
    }
    if !options.persistent {
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if upload.is_chunked() {
        let chunked = HeaderValue::from_static("chunked");
        map.insert(header::TRANSFER_ENCODING, chunked);
    } else if http_body::Body::is_end_stream(&upload)
        && matches!(method.as_str(), "POST" | "PUT" | "PATCH")
    {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    let mut message = http::Request::new(upload);
    *message.method_mut() =
        http::Method::from_bytes(method.as_str().as_bytes()).map_err(invalid)?;
    *message.uri_mut() = url.path_and_query().parse().map_err(invalid)?;
    *message.headers_mut() = map;
    Ok(message)
}

/// Host and port, the port only if it is not the scheme's own.
fn host(url: &Url) -> Result<HeaderValue, HyperError> {
    let host = url.host();
    match url.has_own_port() {
        true => HeaderValue::try_from(format!("{host}:{}", url.port())),
        false => HeaderValue::from_str(host),
    }
    .map_err(invalid)
}

/// The core checks requests, so this is for what it lets through and `http` does not.
fn invalid<E>(_: E) -> HyperError {
    HyperError::unsent(FaultKind::Unsupported, "hyper cannot express this method, URL or header")
}
