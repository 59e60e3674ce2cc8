//! One exchange over connections that hyper drives.
//!
//! hyper's own client is not used: it would retry by itself, and has no word for how many
//! connections there may be. What is left is small: a pool, and a request in hyper's words.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dace_core::http::{
    Connect, Fault, FaultKind, Header, HttpBackend, HttpSettings, Protocol, Request, Response, Url,
};
use dace_core::{ConfigError, Instant};
use hyper::client::conn::TrySendError;

use crate::body::{Hold, Lease};
use crate::connection::Connection;
use crate::dial::Dialer;
use crate::message::Message;
use crate::pool::{Bounds, Pool};
use crate::route::Route;
use crate::security::{Security, Tls};
use crate::socket::Socket;
use crate::upload::{Progress, Upload};
use crate::wire::{Gauge, Wire};
use crate::{HyperBody, HyperError, HyperHead, Net};

/// So many servers may be busy at once before idle connections to others are closed.
const BUSY_SERVERS: usize = 16;

/// HTTP/1.1 over hyper, and HTTP/2 with the feature `http2`. Cheap to clone; clones share their
/// connections.
///
/// An origin that speaks HTTP/2 has one connection, which its exchanges share; an exchange that is not
/// persistent has one to itself. `https` needs the feature `rustls` or `rustls-ring`; the type that
/// `tls` takes is then `rustls::ClientConfig`, and it is taken as it is, but for ALPN if it names no
/// protocol.
///
/// A connection of HTTP/1.1 is driven by whoever awaits its exchange or reads its answer, and by nobody in
/// between: a request that is still being sent when the answer comes goes on as the body is read. One of
/// HTTP/2 has a task. Every connection ends with the runtime that made it: that is then noticed, and it is
/// replaced. When the last clone is gone, so are all idle connections and tasks.
#[derive(Debug)]
pub struct HyperBackend<N: Net> {
    pub(crate) pool: Arc<Pool<N>>,
    dialer: Arc<Dialer<N>>,
    head_limit: usize,
    #[cfg(feature = "http2")]
    pub(crate) ping: crate::http2::Ping,
    #[cfg(feature = "http2")]
    turns: Arc<crate::turns::Turns<N::Place>>,
}

/// What carries one exchange.
pub(crate) enum Link<N: Net> {
    Http1(Connection<N>),
    #[cfg(feature = "http2")]
    Http2(crate::http2::Ticket<N>),
}

impl<N: Net> Clone for HyperBackend<N> {
    fn clone(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            dialer: self.dialer.clone(),
            head_limit: self.head_limit,
            #[cfg(feature = "http2")]
            ping: self.ping,
            #[cfg(feature = "http2")]
            turns: self.turns.clone(),
        }
    }
}

impl<N: Net> Connect for HyperBackend<N> {
    fn connect(mut settings: HttpSettings<Tls>) -> Result<Self, ConfigError> {
        if settings.protocol == Protocol::Http2 && cfg!(not(feature = "http2")) {
            let problem = "is HTTP/2 alone, which needs the feature `http2`";
            return Err(ConfigError::new("protocol", problem));
        }
        let security = Security::new(&mut settings)?;
        let protocol = settings.protocol;
        let net = N::default();
        Ok(Self {
            pool: Pool::new(
                net.clone(),
                Bounds {
                    size: settings.pool_size,
                    total: settings.pool_size.saturating_mul(BUSY_SERVERS),
                    idle_timeout: settings.idle_timeout,
                    max_age: settings.max_age,
                },
            ),
            dialer: Arc::new(Dialer { net, resolved: settings.resolve, security, protocol }),
            head_limit: settings.head_limit,
            #[cfg(feature = "http2")]
            ping: crate::http2::Ping::default(),
            #[cfg(feature = "http2")]
            turns: Arc::default(),
        })
    }
}

impl<N: Net> HttpBackend for HyperBackend<N> {
    type Tls = Tls;
    type Head = HyperHead;
    type Body = HyperBody<N>;
    type Error = HyperError;

    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<HyperHead, HyperBody<N>>, HyperError>> + Send {
        self.exchange(request)
    }

    fn fault(error: &HyperError) -> Fault {
        error.fault
    }

    fn trailers(body: &HyperBody<N>) -> &[Header] {
        body.trailers()
    }
}

impl<N: Net> HyperBackend<N> {
    /// Small, since whoever calls moves it about: what is rare has a box of its own.
    #[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
    fn exchange(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<HyperHead, HyperBody<N>>, HyperError>> + Send {
        async move {
            let Some(route) = Route::of(&request, &self.dialer.net) else {
                let what = "hyper needs a runtime; send from a task of one";
                return Err(HyperError::unsent(FaultKind::RuntimeGone, what));
            };
            let persistent = request.options.persistent;
            let (url, within) = (request.url.clone(), request.options.connect_timeout);
            let (message, progress) = Message::new(request)?;
            let (mut connection, message) = {
                let link = match self.at_hand(&route, persistent) {
                    Some(link) => link,
                    None => Box::pin(self.connect(&route, &url, within, persistent)).await?,
                };
                match link {
                    Link::Http1(connection) => {
                        (connection, message.http1(route.forwarder(self.is_http2_alone()))?)
                    }
                    #[cfg(feature = "http2")]
                    Link::Http2(ticket) => {
                        return Box::pin(over_http2(ticket, message.http2()?, progress)).await;
                    }
                }
            };
            let answer = {
                let mut answer = pin!(connection.begin(message));
                poll_fn(|cx| connection.poll_answer(cx, answer.as_mut())).await
            };
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => return Err(failed(&connection, &progress, error)),
            };
            connection.gauge().head_complete();
            let (head, incoming) = answer.into_parts();
            let reused = connection.is_reused();
            let route = persistent.then_some(route);
            let hold = Hold::Lease(Lease { connection, route, pool: self.pool.clone() });
            let mut body = HyperBody::new(incoming, reused, progress, hold);
            body.end_if_empty().await;
            Ok(Response { head: HyperHead(head), body })
        }
    }

    /// A new connection, for whatever comes on `route` or, if it is not to be persistent, for one exchange.
    async fn connect(
        &self,
        route: &Route<N::Place>,
        url: &Url,
        within: Duration,
        persistent: bool,
    ) -> Result<Link<N>, HyperError> {
        let limit = self.dialer.net.now().after(within);
        match persistent {
            true => self.link(route, url, limit).await,
            false => Ok(self.open(route, url, limit).await?.alone()),
        }
    }

    #[cfg(not(feature = "http2"))]
    async fn link(
        &self,
        route: &Route<N::Place>,
        url: &Url,
        limit: Instant,
    ) -> Result<Link<N>, HyperError> {
        Ok(self.open(route, url, limit).await?.alone())
    }

    /// Where it may be shared, one exchange makes it, and the others wait for what comes of it.
    #[cfg(feature = "http2")]
    async fn link(
        &self,
        route: &Route<N::Place>,
        url: &Url,
        limit: Instant,
    ) -> Result<Link<N>, HyperError> {
        let turn = match self.may_be_shared(route) {
            true => {
                Some(self.turns.wait(&self.dialer.net, route, limit).await.ok_or_else(|| {
                    let what = "another exchange is still connecting to the same place";
                    HyperError::unsent(FaultKind::ConnectTimeout, what)
                })?)
            }
            false => None,
        };
        if turn.is_some() {
            if let Some(link) = self.ready(route) {
                return Ok(link);
            }
        }
        // The one before may have found HTTP/1.1: then those who waited connect side by side.
        let turn = turn.filter(|_| self.may_be_shared(route));
        Ok(match self.open(route, url, limit).await? {
            Opened::Http1(connection) => {
                if turn.is_some() {
                    self.turns.speaks_http1(route);
                }
                Link::Http1(connection)
            }
            // Whatever was spoken before: servers change, and some that share a name differ.
            Opened::Http2(shared) => {
                self.turns.speaks_http2(route);
                Link::Http2(self.pool.share(route, &shared))
            }
        })
    }

    /// Whether the next connection on `route` may be for all, as far as is known.
    #[cfg(feature = "http2")]
    fn may_be_shared(&self, route: &Route<N::Place>) -> bool {
        match self.dialer.protocol {
            Protocol::Http2 => true,
            Protocol::Negotiated => route.is_secure() && !self.turns.is_http1(route),
            _ => false,
        }
    }

    /// A connection that is there, if the exchange may have one that was used.
    fn at_hand(&self, route: &Route<N::Place>, persistent: bool) -> Option<Link<N>> {
        if !persistent {
            // It takes the place of an idle one: together they are no more than the pool may have.
            drop(self.pool.take(route));
            return None;
        }
        self.ready(route)
    }

    fn ready(&self, route: &Route<N::Place>) -> Option<Link<N>> {
        #[cfg(feature = "http2")]
        if let Some(ticket) = self.pool.join(route) {
            return Some(Link::Http2(ticket));
        }
        self.pool.take(route).map(Link::Http1)
    }

    fn is_http2_alone(&self) -> bool {
        self.dialer.protocol == Protocol::Http2
    }

    async fn open(
        &self,
        route: &Route<N::Place>,
        url: &Url,
        limit: Instant,
    ) -> Result<Opened<N>, HyperError> {
        let born = self.dialer.net.now();
        let (socket, http2) = self.dialer.dial(route, url, limit).await?;
        #[cfg(feature = "http2")]
        if http2 {
            let heads = Some(crate::heads::Heads::default());
            let wire = Wire { socket, gauge: Gauge::new(self.head_limit), heads };
            let shared = crate::http2::Shared::open(
                self.dialer.net.clone(),
                wire,
                self.head_limit,
                self.ping,
                born,
            );
            return Ok(Opened::Http2(shared.await?));
        }
        debug_assert!(!http2, "without the feature nothing offers HTTP/2");
        self.open_http1(socket, born).await.map(Opened::Http1)
    }

    async fn open_http1(
        &self,
        socket: Socket<N::Stream>,
        born: Instant,
    ) -> Result<Connection<N>, HyperError> {
        let wire = Wire {
            socket,
            gauge: Gauge::new(self.head_limit),
            #[cfg(feature = "http2")]
            heads: None,
        };
        Connection::open(wire, self.head_limit, born).await
    }
}

/// Why no head came.
fn failed<N: Net>(
    connection: &Connection<N>,
    progress: &Progress,
    mut error: TrySendError<http::Request<Upload>>,
) -> HyperError {
    let (reused, gauge) = (connection.is_reused(), connection.gauge());
    let given_back = error.take_message().is_some();
    let error = error.into_error();
    let error = match progress.take_failure() {
        Some(failure) => HyperError::of_upload(reused, failure),
        None if given_back => HyperError::given_back(reused, error),
        None => HyperError::before_head::<N>(reused, gauge.received() > 0, error),
    };
    error.after_alert(gauge.refused())
}

#[cfg(feature = "http2")]
async fn over_http2<N: Net>(
    mut ticket: crate::http2::Ticket<N>,
    message: http::Request<Upload>,
    progress: Progress,
) -> Result<Response<HyperHead, HyperBody<N>>, HyperError> {
    let reused = ticket.reused;
    let answer = match ticket.sender().try_send_request(message).await {
        Ok(answer) => answer,
        Err(mut error) => {
            ticket.done();
            let given_back = error.take_message().is_some();
            let error = error.into_error();
            if let Some(failure) = progress.take_failure() {
                return Err(HyperError::of_upload(reused, failure).after_alert(ticket.refused()));
            }
            if crate::streams::is_of_connection(&error) {
                ticket.broke();
            }
            let error = match given_back {
                true => HyperError::given_back(reused, error),
                false => HyperError::of_stream::<N>(reused, error),
            };
            return Err(error.after_alert(ticket.refused()));
        }
    };
    ticket.answered();
    let (head, incoming) = answer.into_parts();
    let mut body = HyperBody::new(incoming, reused, progress, Hold::Ticket(ticket));
    body.end_if_empty().await;
    Ok(Response { head: HyperHead(head), body })
}

/// A connection that was just made.
enum Opened<N: Net> {
    Http1(Connection<N>),
    #[cfg(feature = "http2")]
    Http2(Arc<crate::http2::Shared<N>>),
}

impl<N: Net> Opened<N> {
    /// For one exchange, as far as the pool is not told.
    fn alone(self) -> Link<N> {
        match self {
            Self::Http1(connection) => Link::Http1(connection),
            #[cfg(feature = "http2")]
            Self::Http2(shared) => Link::Http2(shared.ticket(None)),
        }
    }
}
