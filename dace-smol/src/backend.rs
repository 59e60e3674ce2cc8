//! One exchange over isahc.

use std::future::Future;
use std::sync::Arc;

use dace_core::http::{
    Connect, Fault, FaultKind, Header, HttpBackend, HttpSettings, Options, Request, Response,
};
use dace_core::{ConfigError, Netloc, Runtime as _, Scheme};
use isahc::ResponseExt as _;

use crate::body::Origin;
use crate::clients::{Client, Clients};
use crate::fault::UploadFailure;
use crate::meaning::Way;
use crate::message::message;
use crate::quiet::Quiet;
use crate::trust::Tls;
use crate::{IsahcBody, IsahcError, IsahcHead, SmolRuntime};

/// HTTP over isahc, that is, libcurl: with TLS by the feature `rustls`, HTTP/2 by `http2`. Cheap to
/// clone; clones share their connections.
///
/// It runs under any executor: each of its clients has a thread of its own, started by the first
/// exchange that needs it. There are two as a rule, and more where exchanges that do not persist
/// speak [HTTP/2 alone]. They end with the last clone and the last body.
///
/// What libcurl does differently from what the seam asks:
/// - it sends a replay-safe request without a body again by itself, up to five times, if the
///   connection was reused and dies before the first byte of the answer, or if the server refuses
///   the stream; every other request is kept from that. Where a server says in the midst of a body
///   that it wants HTTP/1.1, the request's head may arrive there once more, with a body that is cut
///   off;
/// - so what must not arrive twice and has no body goes in HTTP/1.1 over a connection of its own,
///   and so does what is not to persist. Where HTTP/2 alone is spoken it shares a connection after
///   all; a HEAD cannot, and is [`Unsupported`];
/// - a stream that was refused, or is above the last of a `GOAWAY`, is not told from a connection
///   that died: it is [`Closed`], and may have been sent;
/// - above a server's limit of streams it makes another connection;
/// - a server without ALPN is spoken to in HTTP/2 where that alone is spoken, and a proxy that
///   forwards is not spoken to at all;
/// - it notices that an idle connection is too old, or was closed, only with the next request;
/// - it learns that an exchange was dropped only when its connection or stream next moves, so up to
///   `http_pool_size` exchanges with servers that hang, and four times as many with several that hang in
///   the midst of answers, may stay open after they were dropped, unless their requests have timeouts of
///   their own, which end them;
/// - the age of connections is that of the client that made them: all are replaced at once;
/// - the head of an answer is handed over with the first byte of its body; fields that come after a
///   body of no bytes are among those of its head;
/// - it adds `Accept: */*` and a `User-Agent` to requests that have none, and a POST with a body
///   and without a `Content-Type` is sent as `application/octet-stream`;
/// - a head that is cut off counts as whole; the answer is [`Truncated`] all the same if its body's
///   length was still missing, so an empty body that ends with its connection needs a `Connection:
///   close`;
/// - as curl-sys builds it (`static-curl`, 0.4.90), it can use no descriptor above 1,023: in a process that
///   has more of them every connect fails, and its error says so. With `CFLAGS=-DHAVE_POLL` in the
///   environment of the build it can;
/// - its own words do not get through isahc, only its codes. A bad chunk size is reported as a
///   [`Reset`], and every failed connect as [`Connect`]; a proxy that is to open a tunnel and is
///   not there, as [`Proxy`], and the status with which one refuses is not told;
/// - of TLS it does not tell a reset, or an alert after the handshake, from a close, and it throws
///   away what it reads together with the end of a connection that was not closed as TLS asks for.
///   Both are [`Closed`] or [`Truncated`];
/// - it takes client certificates from files alone. Those of [`identity`] are kept in memory, which
///   can be done on Linux; on other systems they are an error, and [`tls`] takes the names of
///   files;
/// - its TLS makes `aws-lc-rs` the process's default provider of rustls if there is none yet;
/// - of a name's given addresses it uses the first, and only for URLs with that address's port: a URL
///   with another port is [`Unsupported`](FaultKind::Unsupported);
/// - header values must be ASCII;
/// - heads are limited to 300 KiB by libcurl itself, and `head_limit` cannot be set.
///
/// [`Closed`]: dace_core::http::FaultKind::Closed
/// [`Connect`]: dace_core::http::FaultKind::Connect
/// [`Proxy`]: dace_core::http::FaultKind::Proxy
/// [`Reset`]: dace_core::http::FaultKind::Reset
/// [`Truncated`]: dace_core::http::FaultKind::Truncated
/// [`Unsupported`]: dace_core::http::FaultKind::Unsupported
/// [HTTP/2 alone]: dace_core::http::Protocol::Http2
/// [`identity`]: crate::DependencyBuilder::identity
/// [`tls`]: crate::DependencyBuilder::tls
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
        if request.proxy.is_none() && self.clients.would_look_up(&request.url) {
            let what = "isahc uses given addresses for URLs with the port of the first one alone";
            return Err(IsahcError::unsent(FaultKind::Unsupported, what));
        }
        let request = message(request, self.clients.speak_http2_alone(), &failure)?;
        // Only a body keeps libcurl from sending again what died on a reused connection.
        let guarded = options.replay_safe || !request.body().is_empty();
        let client = match options.persistent && guarded {
            true => self.clients.keeping(),
            false => self.clients.closing(),
        }
        .map_err(IsahcError::without_client)?;
        let multiplexed = self.clients.may_speak_http2(way.secure);
        let netloc = way.netloc.clone();
        let watch = Watch { client, netloc, multiplexed, options, over: false };
        let answer = Quiet::new(|| watch.client.http.send_async(request)).await;
        let client = watch.over();
        let answer = answer.map_err(|error| IsahcError::in_exchange(error, &way, &failure))?;
        let trailer = answer.trailer().clone();
        let (head, reader) = answer.into_parts();
        let head = IsahcHead(head);
        let origin = Origin { client, way, ends: options.ends, failure };
        let body = IsahcBody::new(reader, trailer, &head, to_head, origin);
        Ok(Response { head, body })
    }
}

/// Tells the client if the exchange is dropped before its answer.
struct Watch {
    client: Arc<Client>,
    /// Where it goes.
    netloc: Netloc,
    /// Whether connections there carry more than one exchange at a time.
    multiplexed: bool,
    options: Options,
    over: bool,
}

impl Watch {
    fn over(mut self) -> Arc<Client> {
        self.over = true;
        if self.multiplexed {
            self.client.heard(&self.netloc);
        }
        self.client.clone()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.client.give_up(&self.netloc, false, self.options.ends);
        if self.multiplexed && self.options.deadline <= SmolRuntime.now() {
            self.client.unheard(self.netloc.clone());
        }
    }
}
