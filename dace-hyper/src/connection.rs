//! A connection of HTTP/1.1, which whoever holds it drives: the exchange while it waits for the head, the
//! body while it is read. So there is no task that has to be woken first, and dropping the connection closes
//! its socket at once.
//!
//! Answers and bodies come from the driver alone, so that it is polled with a waker that [reaches the
//! task](Relay), and they are asked with one that does nothing: the task would else wake itself.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use dace_core::Instant;
use http_body::{Body as _, Frame};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;

use crate::relay::Relay;
use crate::upload::Upload;
use crate::wire::{Gauge, Wire};
use crate::{HyperError, Net};

/// hyper wants room for at least this much; a smaller `head_limit` still binds.
const SMALLEST_BUFFER: usize = 8192;

type Driver<S> = http1::Connection<TokioIo<Wire<S>>, Upload>;

/// A connection of HTTP/1.1. In a box, since it is moved about.
pub(crate) struct Connection<N: Net>(Box<Inner<N>>);

struct Inner<N: Net> {
    sender: SendRequest<Upload>,
    /// Gone once it has ended, and the socket with it. Nobody ever waits for the lock: it lets an answer be
    /// lent to other threads.
    driver: Mutex<Option<Driver<N::Stream>>>,
    relay: Arc<Relay>,
    /// The relay, as what the driver is polled with.
    waker: Waker,
    gauge: Arc<Gauge>,
    born: Instant,
    reused: bool,
}

impl<N: Net> Connection<N> {
    /// Begins with HTTP/1.1 on a connected socket. `born` is when the connection began to be made.
    pub(crate) async fn open(
        wire: Wire<N::Stream>,
        head_limit: usize,
        born: Instant,
    ) -> Result<Self, HyperError> {
        let gauge = wire.gauge.clone();
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(head_limit.max(SMALLEST_BUFFER))
            .max_header_size(head_limit)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| HyperError::given_back(false, error))?;
        let (driver, relay) = (Mutex::new(Some(driver)), Arc::new(Relay::default()));
        let waker = relay.clone().into();
        let inner = Inner { sender, driver, relay, waker, gauge, born, reused: false };
        Ok(Self(Box::new(inner)))
    }

    /// Begins an exchange. What is returned is for [`poll_answer`](Self::poll_answer) alone.
    pub(crate) fn begin(
        &mut self,
        message: http::Request<Upload>,
    ) -> impl Future<Output = Answer> + use<N> {
        self.0.gauge.begin();
        self.0.gauge.listen();
        let Inner { sender, relay, .. } = &mut *self.0;
        relay.quietly(|| sender.try_send_request(message))
    }

    pub(crate) fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        answer: Pin<&mut impl Future<Output = Answer>>,
    ) -> Poll<Answer> {
        match self.drive(Some(cx)) {
            // It may be there, and wait no more than for tokio's budget of this task.
            true => answer.poll(cx),
            false => answer.poll(&mut Context::from_waker(Waker::noop())),
        }
    }

    /// The next frame of `body`, which came on this connection.
    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Incoming,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut nobody = Context::from_waker(Waker::noop());
        // The driver reads no more than the body asks for, so the body is asked first.
        let relay = &self.0.relay;
        let poll = relay.quietly(|| Pin::new(&mut *body).poll_frame(&mut nobody));
        if poll.is_ready() {
            return poll;
        }
        self.0.gauge.listen();
        self.drive(Some(cx));
        Pin::new(body).poll_frame(&mut nobody)
    }

    /// Goes on with whatever can be done now, and wakes the task of `cx`, if there is one, when there is more.
    /// Returns whether the connection ended, or something has come in since its gauge was told to listen.
    pub(crate) fn drive(&mut self, cx: Option<&Context<'_>>) -> bool {
        let Inner { driver, relay, waker, .. } = &mut *self.0;
        let driver = driver.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(connection) = driver else {
            return true;
        };
        relay.listen(cx);
        if Pin::new(connection).poll(&mut Context::from_waker(waker)).is_ready() {
            // Its error is told to the exchange that it concerns.
            *driver = None;
            return true;
        }
        self.0.gauge.heard()
    }

    /// Whether another exchange may begin on it, by a look at the socket if anything happened there since the
    /// last one: the server may have closed it, or sent what nobody asked for.
    pub(crate) fn look(&mut self) -> bool {
        if self.has_news() {
            self.drive(None);
        }
        self.is_ready()
    }

    /// Whether anything happened since the last look, or may have.
    pub(crate) fn has_news(&self) -> bool {
        self.0.relay.is_stirred() || !self.0.gauge.is_quiet()
    }

    /// Nobody waits for anything on it.
    pub(crate) fn rest(&self) {
        self.0.relay.forget();
    }

    /// Whether the last exchange is over in both directions, and another one may begin.
    pub(crate) fn is_ready(&self) -> bool {
        self.0.sender.is_ready()
    }

    /// Whether it will never be ready again.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.sender.is_closed()
    }

    pub(crate) fn gauge(&self) -> &Gauge {
        &self.0.gauge
    }

    pub(crate) fn born(&self) -> Instant {
        self.0.born
    }

    /// Whether it has carried an answered exchange.
    pub(crate) fn is_reused(&self) -> bool {
        self.0.reused
    }

    /// It has carried one.
    pub(crate) fn answered(&mut self) {
        self.0.reused = true;
    }
}

/// What becomes of a request until its head is there.
pub(crate) type Answer = Result<http::Response<Incoming>, TrySendError<http::Request<Upload>>>;

impl<N: Net> fmt::Debug for Connection<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("gauge", &self.0.gauge)
            .field("born", &self.0.born)
            .field("reused", &self.0.reused)
            .finish_non_exhaustive()
    }
}
