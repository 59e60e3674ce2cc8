//! The backend that talks to scripted servers.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use dace_core::Netloc;
use dace_core::http::{
    Fault, FaultKind, Head, Header, HttpBackend, Request, Response, Sent, Version,
};
use futures_core::Stream;

use crate::clock::{SimSleep, World};
use crate::server::{Answer, Ending, Reception};

/// Sends requests to the servers of a [`Sim`](crate::Sim). A netloc without a server does not resolve.
#[derive(Clone, Debug)]
pub struct SimBackend {
    pub(crate) world: Arc<World>,
}

/// What a script did to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SimError(Fault);

impl std::fmt::Display for SimError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "simulated: {}", self.0.kind)
    }
}

impl std::error::Error for SimError {}

/// A request that a server works on. It leaves the server when it is dropped.
#[derive(Debug)]
struct Open {
    world: Arc<World>,
    netloc: Netloc,
    hang: Option<u64>,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.world.lock().servers.leave(&self.netloc, self.hang);
    }
}

impl HttpBackend for SimBackend {
    type Tls = Infallible;
    type Head = SimHead;
    type Body = SimBody;
    type Error = SimError;

    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<SimHead, SimBody>, SimError>> + Send {
        let world = self.world.clone();
        async move {
            let netloc = request.url.netloc();
            let reception = {
                let mut state = world.lock();
                let state = &mut *state;
                state.servers.receive(world.now(), &mut state.rng, &request)
            };
            let mut open = Open { world: world.clone(), netloc: netloc.clone(), hang: None };
            let reset = || SimError(Fault::new(FaultKind::Reset, Sent::MaybeSent));
            match reception {
                Reception::Refused(fault) => {
                    std::mem::forget(open);
                    Err(SimError(fault))
                }
                Reception::Hang(hang) => {
                    open.hang = Some(hang);
                    pending().await
                }
                Reception::Reset(after) => {
                    pause(&world, after).await;
                    Err(reset())
                }
                Reception::Answer(after, answer) => {
                    pause(&world, after).await;
                    if world.lock().servers.is_down(world.now(), &netloc) {
                        return Err(reset());
                    }
                    let Answer { status, headers, pieces, trailers, ending, .. } = answer;
                    let pieces = pieces.into_iter();
                    let body = SimBody { open, pieces, trailers, ending, next: None };
                    Ok(Response { head: SimHead { status, headers }, body })
                }
            }
        }
    }

    fn fault(error: &SimError) -> Fault {
        error.0
    }

    fn trailers(body: &SimBody) -> &[Header] {
        if body.pieces.as_slice().is_empty() { &body.trailers } else { &[] }
    }
}

async fn pause(world: &Arc<World>, duration: Duration) {
    if !duration.is_zero() {
        world.sleep(duration).await;
    }
}

/// The head of a simulated answer.
#[derive(Clone, Debug)]
pub struct SimHead {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
}

impl Head for SimHead {
    fn status(&self) -> u16 {
        self.status
    }

    fn version(&self) -> Version {
        Version::Http11
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()))
    }
}

/// The body of a simulated answer.
#[derive(Debug)]
pub struct SimBody {
    open: Open,
    pieces: std::vec::IntoIter<(Duration, Bytes)>,
    trailers: Vec<Header>,
    ending: Ending,
    next: Option<(SimSleep, Bytes)>,
}

impl Stream for SimBody {
    type Item = Result<Bytes, SimError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.next.is_none() {
            match self.pieces.next() {
                Some((after, piece)) => self.next = Some((self.open.world.sleep(after), piece)),
                None => {
                    let truncated = SimError(Fault::new(FaultKind::Truncated, Sent::Sent));
                    return match self.ending {
                        Ending::Complete => Poll::Ready(None),
                        Ending::Truncated => Poll::Ready(Some(Err(truncated))),
                        Ending::Stalled => Poll::Pending,
                    };
                }
            }
        }
        if let Some((sleep, _)) = &mut self.next {
            ready!(Pin::new(sleep).poll(cx));
        }
        Poll::Ready(self.next.take().map(|(_, piece)| Ok(piece)))
    }
}
