//! A backend that answers what a target tells it to, and keeps the requests that it got.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use dace::http::{Fault, FaultKind, Head, Header, HttpBackend, Request, Response, Sent, Version};
use futures_core::Stream;

/// Status, headers, pieces of the body, trailers.
#[derive(Clone, Debug, Default)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) pieces: VecDeque<Bytes>,
    pub(super) trailers: Vec<Header>,
}

impl Answer {
    pub(super) fn status(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    pub(super) fn header(mut self, name: &str, value: &[u8]) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }
}

/// Gives its answers in order, and an error after the last one.
#[derive(Clone, Debug, Default)]
pub(super) struct Peer {
    answers: Arc<Mutex<VecDeque<Answer>>>,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Peer {
    pub(super) fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = answers.into_iter().collect();
        Self { answers: Arc::new(Mutex::new(answers)), requests: Arc::default() }
    }

    /// The requests since this was asked last.
    pub(super) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }
}

/// There is no answer left.
#[derive(Debug)]
pub(super) struct Nothing;

impl std::fmt::Display for Nothing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("there is no answer left")
    }
}

impl std::error::Error for Nothing {}

impl HttpBackend for Peer {
    type Tls = Infallible;
    type Head = Answer;
    type Body = Pieces;
    type Error = Nothing;

    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<Answer, Pieces>, Nothing>> + Send {
        self.requests.lock().unwrap().push(request);
        let answer = self.answers.lock().unwrap().pop_front();
        std::future::ready(answer.ok_or(Nothing).map(|mut head| {
            let body = Pieces(std::mem::take(&mut head.pieces), std::mem::take(&mut head.trailers));
            Response { head, body }
        }))
    }

    fn fault(_: &Nothing) -> Fault {
        Fault::new(FaultKind::ConnectionRefused, Sent::Unsent)
    }

    fn trailers(body: &Pieces) -> &[Header] {
        if body.0.is_empty() { &body.1 } else { &[] }
    }
}

impl Head for Answer {
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

#[derive(Debug)]
pub(super) struct Pieces(VecDeque<Bytes>, Vec<Header>);

impl Stream for Pieces {
    type Item = Result<Bytes, Nothing>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}
