//! One exchange over isahc.

use std::future::Future;
use std::sync::Arc;

use dace_core::http::{Connect, Fault, Header, HttpBackend, HttpSettings, Request, Response};
use dace_core::{ConfigError, Instant, Netloc, Runtime as _, Scheme};
use isahc::ResponseExt as _;

use crate::body::Origin;
use crate::clients::{Client, Clients};
use crate::fault::UploadFailure;
use crate::meaning::Way;
use crate::message::message;
use crate::quiet::Quiet;
use crate::trust::Tls;
use crate::{IsahcBody, IsahcError, IsahcHead, SmolRuntime};

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
    fn connect(settings: HttpSettings<Tls>) -> Result<Self, ConfigError> {
        if settings.head_limit != HttpSettings::<Tls>::default().head_limit {
            let problem =
                "cannot be set on isahc: libcurl's own limit of 300 KiB holds; leave it out";
            return Err(ConfigError::new("head_limit", problem));
        }
        Ok(Self { clients: Arc::new(Clients::new(&settings)?) })
    }
}

impl HttpBackend for IsahcBackend {
    type Tls = Tls;
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

    fn trailers(body: &IsahcBody) -> &[Header] {
        body.trailers()
    }
}

impl IsahcBackend {
    async fn exchange(
        &self,
        request: Request,
    ) -> Result<Response<IsahcHead, IsahcBody>, IsahcError> {
        let failure = UploadFailure::default();
        let options = request.options;
        let way = Way {
            netloc: request.url.netloc(),
            secure: request.url.scheme() == Scheme::Https,
            proxy: request.proxy.clone(),
        };
        let to_head = request.method.as_str() == "HEAD";
        let request = message(request, self.clients.speak_http2_alone(), &failure)?;
        // Only a body keeps libcurl from sending again what died on a reused connection.
        let guarded = options.replay_safe || !request.body().is_empty();
        let client = match options.persistent && guarded {
            true => self.clients.keeping(),
            false => self.clients.closing(),
        }
        .map_err(IsahcError::without_client)?;
        let multiplexed = self.clients.may_speak_http2(way.secure);
        let netloc = multiplexed.then(|| way.netloc.clone());
        let watch = Watch { client, netloc, deadline: options.deadline, over: false };
        let answer = Quiet::new(|| watch.client.http.send_async(request)).await;
        let client = watch.over();
        let answer = answer.map_err(|error| IsahcError::in_exchange(error, &way, &failure))?;
        let trailer = answer.trailer().clone();
        let (head, reader) = answer.into_parts();
        let head = IsahcHead(head);
        let body = IsahcBody::new(reader, trailer, &head, to_head, Origin { client, way, failure });
        Ok(Response { head, body })
    }
}

/// Tells the client if the exchange is dropped before its answer.
struct Watch {
    client: Arc<Client>,
    /// Where it goes, if connections there carry more than one exchange at a time.
    netloc: Option<Netloc>,
    deadline: Instant,
    over: bool,
}

impl Watch {
    fn over(mut self) -> Arc<Client> {
        self.over = true;
        if let Some(netloc) = &self.netloc {
            self.client.heard(netloc);
        }
        self.client.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.client.give_up();
        if let Some(netloc) = self.netloc.take().filter(|_| self.deadline <= SmolRuntime.now()) {
            self.client.unheard(netloc);
        }
    }
}
