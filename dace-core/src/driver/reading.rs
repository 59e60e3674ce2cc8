//! A body as it is read: timed, decoded, and given back.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use futures_core::Stream as _;

use super::enter::{Exchange, Limits};
use super::timer::{Timer, Within};
use crate::http::advice;
use crate::http::decoding::{Decoding, Undecodable};
use crate::http::error::class_of_fault;
use crate::http::{Fault, Header, HttpErrorKind, Sent};
use crate::policy::ClientRules;
use crate::{Class, HttpBackend, HttpError, Instant, Netloc, Runtime};

/// The longest body that is read to keep its connection, as in Go's `net/http`.
const DISCARDED: u64 = 2048;

/// How long that may take: it comes with its head, or the connection is not worth the wait.
const DISCARDED_WITHIN: Duration = Duration::from_millis(50);

/// A body that is being read.
pub(super) struct Reading<R: Runtime, B: HttpBackend> {
    body: B::Body,
    decoding: Decoding,
    exchange: Exchange<R, B>,
    rules: Arc<ClientRules>,
    limits: Limits,
    /// When its attempt ends: then whoever reads in it has to go, also if there is always a piece to read
    /// and nobody else gets to look at the clock.
    attempt_until: Instant,
    /// That has come, and the call had a turn to end by itself, as a timeout.
    had_turn: bool,
    /// Since when the reader waits for the next bytes.
    waiting_since: Option<Instant>,
    /// Made when the reader first waits.
    timer: Option<Pin<Box<Timer<R>>>>,
}

/// Why there is no more of it.
pub(super) enum Broken<E> {
    Backend(E),
    Coding(Undecodable),
    Time(HttpErrorKind),
}

impl<R: Runtime, B: HttpBackend> Reading<R, B> {
    pub(super) fn new(
        body: B::Body,
        decoding: Decoding,
        exchange: Exchange<R, B>,
        rules: Arc<ClientRules>,
        limits: Limits,
        attempt_until: Instant,
    ) -> Self {
        let (waiting_since, timer) = (None, None);
        let had_turn = false;
        Self {
            body,
            decoding,
            exchange,
            rules,
            limits,
            attempt_until,
            had_turn,
            waiting_since,
            timer,
        }
    }

    /// The most bytes that are read into memory.
    pub(super) fn limit(&self) -> usize {
        self.rules.body_limit
    }

    /// The reader went away: its next wait is a new one.
    pub(super) fn stop_waiting(&mut self) {
        self.waiting_since = None;
    }

    pub(super) fn detach(&mut self) {
        self.exchange.detach();
    }

    /// What came after the body, and the wait that it asks for.
    pub(super) fn trailers(&self) -> (Vec<Header>, Option<Duration>) {
        let trailers = B::trailers(&self.body);
        let Some(hints) = &self.rules.fixed.hints else {
            return (trailers.to_vec(), None);
        };
        let advice = advice::of_trailers(hints, trailers);
        self.exchange.advised(advice);
        (trailers.to_vec(), advice.wait)
    }

    /// Reads a body that nobody wants, if it is small and comes soon, so that its connection can be used
    /// again. Any other is dropped, and its connection closed. What goes wrong is of no interest.
    pub(super) async fn discard(mut self, length: Option<u64>) {
        if length.is_some_and(|length| length <= DISCARDED) {
            self.decoding = Decoding::None;
            let shared = self.exchange.shared.clone();
            let now = shared.runtime.now();
            let until = now.after(DISCARDED_WITHIN);
            let read = async { while let Ok(Some(_)) = poll_fn(|cx| self.poll(cx)).await {} };
            // Late or not, it is done with.
            let _ = Within::new(&shared.runtime, now, until, read).await;
        }
    }

    /// Tells the attempt, and makes the error.
    pub(super) fn failed(&self, broken: Broken<B::Error>, netloc: Netloc) -> HttpError {
        match broken {
            Broken::Backend(error) => {
                let fault = B::fault(&error);
                self.exchange.body_failed(class_of_fault(fault.kind, Sent::Sent));
                HttpError::fault(Fault { sent: Sent::Sent, ..fault }, netloc, error)
            }
            Broken::Coding((kind, error)) => {
                self.exchange.body_failed(class_of_fault(kind, Sent::Sent));
                HttpError::fault(Fault::new(kind, Sent::Sent), netloc, error)
            }
            // That is for the call to tell.
            Broken::Time(kind @ HttpErrorKind::AttemptOver) => {
                HttpError::new(kind, Sent::Sent, Some(netloc))
            }
            Broken::Time(kind) => {
                self.exchange.body_failed(Class::Timeout);
                HttpError::new(kind, Sent::Sent, Some(netloc))
            }
        }
    }

    /// The next piece. The reader's waiting is timed, not its dawdling between pieces.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<Bytes>, Broken<B::Error>>> {
        let runtime = &self.exchange.shared.runtime;
        let stall = self.rules.stall_timeout;
        loop {
            let now = runtime.now();
            if now >= self.limits.until {
                let kind = HttpErrorKind::Timeout(self.limits.timeout);
                return Poll::Ready(Err(Broken::Time(kind)));
            }
            if now >= self.attempt_until {
                if self.exchange.is_in_attempt() {
                    if !core::mem::replace(&mut self.had_turn, true) {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    return Poll::Ready(Err(Broken::Time(HttpErrorKind::AttemptOver)));
                }
                self.attempt_until = Instant::NEVER;
            }
            match self.decoding.pull() {
                Ok(None) => {}
                Ok(piece) => return Poll::Ready(Ok(piece)),
                Err(error) => return Poll::Ready(Err(Broken::Coding(error))),
            }
            match Pin::new(&mut self.body).poll_next(cx) {
                Poll::Ready(Some(Ok(bytes))) if bytes.is_empty() => continue,
                Poll::Ready(Some(Ok(bytes))) => {
                    self.waiting_since = None;
                    match self.decoding.push(bytes) {
                        None => continue,
                        piece => return Poll::Ready(Ok(piece)),
                    }
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(Broken::Backend(error))),
                Poll::Ready(None) => {
                    self.exchange.over_at = Some(now);
                    let end = self.decoding.finish().map(|()| None);
                    return Poll::Ready(end.map_err(Broken::Coding));
                }
                Poll::Pending => {}
            }
            let since = *self.waiting_since.get_or_insert(now);
            if now >= since.after(stall) {
                return Poll::Ready(Err(Broken::Time(HttpErrorKind::Stalled(stall))));
            }
            let until = since.after(stall).min(self.limits.until);
            let timer = self.timer.get_or_insert_with(|| Box::pin(Timer::new()));
            ready!(timer.as_mut().poll_at(cx, runtime, until));
        }
    }
}
