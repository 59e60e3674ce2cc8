//! The body of an answer, and what becomes of its connection afterwards.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use dace_core::http::Header;
use futures_core::Stream;
use http_body::Body;
use hyper::body::Incoming;

use crate::connection::Connection;
#[cfg(feature = "http2")]
use crate::http2::Ticket;
use crate::pool::Pool;
use crate::route::Route;
use crate::upload::Progress;
use crate::{HyperError, Net};

/// The body of an answer. Dropping it before its end closes the connection; over HTTP/2, the stream.
pub struct HyperBody<N: Net> {
    incoming: Incoming,
    reused: bool,
    progress: Progress,
    hold: Hold<N>,
    trailers: Vec<Header>,
}

/// What a body holds of its connection.
pub(crate) enum Hold<N: Net> {
    /// Nothing any more: the exchange has ended.
    Nothing,
    Lease(Lease<N>),
    #[cfg(feature = "http2")]
    Ticket(Ticket<N>),
}

/// A connection on loan to an exchange, and where it goes afterwards, if anywhere.
pub(crate) struct Lease<N: Net> {
    pub(crate) connection: Connection<N>,
    pub(crate) route: Option<Route<N::Place>>,
    pub(crate) pool: Arc<Pool<N>>,
}

impl<N: Net> Lease<N> {
    fn park(mut self) {
        self.connection.answered();
        self.connection.rest();
        if let Some(route) = self.route {
            self.pool.park(route, self.connection);
        }
    }

    /// Whether nothing of the request is left to send, as far as this side can tell.
    fn has_sent(&self, progress: &Progress) -> bool {
        progress.is_over() && !self.connection.gauge().is_blocked()
    }
}

impl<N: Net> HyperBody<N> {
    pub(crate) fn new(incoming: Incoming, reused: bool, progress: Progress, hold: Hold<N>) -> Self {
        Self { incoming, reused, progress, hold, trailers: Vec::new() }
    }

    /// A body that is empty from the start gives its connection back at once.
    pub(crate) fn end_if_empty(&mut self) -> impl Future<Output = ()> {
        poll_fn(|cx| match self.incoming.is_end_stream() {
            true => self.poll_release(cx),
            false => Poll::Ready(()),
        })
    }

    pub(crate) fn trailers(&self) -> &[Header] {
        &self.trailers
    }

    /// Gives the connection back, once it is ready for another exchange.
    ///
    /// One of HTTP/1.1 mostly is by now, unless the request is still being sent: then the answer came early,
    /// and the connection is closed. hyper may have taken all of a request that the server does not read; the
    /// wire knows.
    fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.hold {
            Hold::Nothing => return Poll::Ready(()),
            Hold::Lease(lease) => {
                if !lease.connection.is_ready() || !lease.has_sent(&self.progress) {
                    lease.connection.drive(Some(cx));
                }
                let kept = lease.route.is_some() && lease.has_sent(&self.progress);
                let ready = lease.connection.is_ready();
                if kept && !ready && !lease.connection.is_closed() {
                    return Poll::Pending;
                }
                if let Hold::Lease(lease) = std::mem::replace(&mut self.hold, Hold::Nothing) {
                    if kept && ready {
                        lease.park();
                    }
                }
            }
            #[cfg(feature = "http2")]
            Hold::Ticket(ticket) => {
                ticket.done();
                self.progress.give_up();
            }
        }
        self.hold = Hold::Nothing;
        Poll::Ready(())
    }

    /// What came is a sign of life of a connection that others use too.
    fn heard(&mut self, waiting: bool) {
        #[cfg(feature = "http2")]
        if let Hold::Ticket(ticket) = &mut self.hold {
            ticket.waits(waiting);
        }
        let _ = waiting;
    }

    fn keep_trailers(&mut self, trailers: &http::HeaderMap) {
        let fields = trailers.iter().filter_map(|(name, value)| {
            Header::new(name.as_str(), Bytes::copy_from_slice(value.as_bytes()))
        });
        self.trailers.extend(fields);
    }
}

impl<N: Net> Stream for HyperBody<N> {
    type Item = Result<Bytes, HyperError>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        loop {
            let poll = match &mut this.hold {
                Hold::Lease(lease) => lease.connection.poll_frame(cx, &mut this.incoming),
                _ => Pin::new(&mut this.incoming).poll_frame(cx),
            };
            this.heard(poll.is_pending());
            match ready!(poll) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Poll::Ready(Some(Ok(data))),
                    Err(frame) => {
                        if let Some(trailers) = frame.trailers_ref() {
                            this.keep_trailers(trailers);
                        }
                    }
                },
                Some(Err(error)) => {
                    let over_http2 = this.hold.is_ticket();
                    #[cfg(feature = "http2")]
                    if let Hold::Ticket(ticket) = &mut this.hold {
                        if crate::streams::is_of_connection(&error) {
                            ticket.broke();
                        }
                    }
                    this.hold = Hold::Nothing;
                    let error = HyperError::in_body::<N>(this.reused, over_http2, error);
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    ready!(this.poll_release(cx));
                    return Poll::Ready(None);
                }
            }
        }
    }
}

impl<N: Net> Hold<N> {
    fn is_ticket(&self) -> bool {
        #[cfg(feature = "http2")]
        if let Self::Ticket(_) = self {
            return true;
        }
        false
    }
}

impl<N: Net> Drop for HyperBody<N> {
    /// A reader that knows the length may stop before it is told of the end.
    fn drop(&mut self) {
        let ended = self.incoming.is_end_stream();
        match std::mem::replace(&mut self.hold, Hold::Nothing) {
            Hold::Nothing => {}
            Hold::Lease(mut lease) => {
                let kept = ended && lease.has_sent(&self.progress);
                if kept && (lease.connection.is_ready() || lease.connection.look()) {
                    lease.park();
                }
            }
            #[cfg(feature = "http2")]
            Hold::Ticket(mut ticket) => {
                if ended {
                    ticket.done();
                }
                self.progress.give_up();
            }
        }
    }
}

impl<N: Net> fmt::Debug for HyperBody<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperBody").finish_non_exhaustive()
    }
}
