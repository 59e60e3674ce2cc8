//! A backend whose answers are written down beforehand.

use core::convert::Infallible;
use core::future::{Future, pending};
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};

use bytes::Bytes;
use dace_core::http::{Fault, FaultKind, Head, HttpBackend, Request, Response, Sent, Version};
use futures_core::Stream;

pub static SCRIPT: Script = Script { next: AtomicUsize::new(0), statuses: [const { AtomicUsize::new(0) }; 8] };

/// Statuses of the answers to come; 0 is no answer at all.
pub struct Script {
    next: AtomicUsize,
    statuses: [AtomicUsize; 8],
}

impl Script {
    pub fn set(&self, statuses: &[usize]) {
        self.next.store(0, Ordering::Relaxed);
        for (place, status) in self.statuses.iter().zip(statuses) {
            place.store(*status, Ordering::Relaxed);
        }
    }

    fn next(&self) -> u16 {
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        self.statuses[place % self.statuses.len()].load(Ordering::Relaxed) as u16
    }
}

pub struct Canned;

#[derive(Debug)]
pub struct Never(Infallible);

impl core::fmt::Display for Never {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.0 {}
    }
}

impl core::error::Error for Never {}

pub struct Status(u16);

impl Head for Status {
    fn status(&self) -> u16 {
        self.0
    }

    fn version(&self) -> Version {
        Version::Http11
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        core::iter::empty()
    }
}

pub struct Text(Option<&'static [u8]>);

impl Stream for Text {
    type Item = Result<Bytes, Never>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.take().map(|text| Ok(Bytes::from_static(text))))
    }
}

impl HttpBackend for Canned {
    type Tls = Infallible;
    type Head = Status;
    type Body = Text;
    type Error = Never;

    fn send(
        &self,
        _: Request,
    ) -> impl Future<Output = Result<Response<Status, Text>, Never>> + Send {
        async {
            match SCRIPT.next() {
                0 => pending().await,
                status => Ok(Response {
                    head: Status(status),
                    body: Text(Some(b"from the bare backend")),
                }),
            }
        }
    }

    fn fault(error: &Never) -> Fault {
        let Never(_) = error;
        Fault::new(FaultKind::Other, Sent::MaybeSent)
    }
}
