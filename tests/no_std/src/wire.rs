//! An HTTP backend that answers by itself, by the path of the request.

use core::convert::Infallible;
use core::future::{Future, pending};
use core::pin::Pin;
use core::sync::atomic::{AtomicU32, Ordering};
use core::task::{Context, Poll};

use bytes::Bytes;
use dace_core::http::{Fault, FaultKind, Head, HttpBackend, Request, Response, Sent, Version};
use futures_core::Stream;

/// Requests that arrived.
pub(crate) static ARRIVED: AtomicU32 = AtomicU32::new(0);

/// `/flaky` answers 503 to every other request, beginning with the first, `/hang` never answers,
/// `/down` refuses the connection, and everything else is a 200.
pub(crate) struct Wire {
    pub(crate) flaky: AtomicU32,
}

#[derive(Debug, thiserror::Error)]
#[error("connection refused")]
pub(crate) struct Refused;

impl HttpBackend for Wire {
    type Tls = Infallible;
    type Head = Status;
    type Body = Whole;
    type Error = Refused;

    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<Status, Whole>, Refused>> + Send {
        ARRIVED.fetch_add(1, Ordering::Relaxed);
        async move {
            let status = match request.url.path() {
                "/flaky" if self.flaky.fetch_add(1, Ordering::Relaxed) % 2 == 0 => 503,
                "/hang" => pending().await,
                "/down" => return Err(Refused),
                _ => 200,
            };
            Ok(Response {
                head: Status(status),
                body: Whole(Some(Bytes::from_static(b"hello"))),
            })
        }
    }

    fn fault(_: &Refused) -> Fault {
        Fault::new(FaultKind::ConnectionRefused, Sent::Unsent)
    }
}

pub(crate) struct Status(u16);

impl Head for Status {
    fn status(&self) -> u16 {
        self.0
    }

    fn version(&self) -> Version {
        Version::Http11
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        [("content-length", &b"5"[..])].into_iter()
    }
}

/// A body that is there at once.
pub(crate) struct Whole(Option<Bytes>);

impl Stream for Whole {
    type Item = Result<Bytes, Refused>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(Ok))
    }
}
