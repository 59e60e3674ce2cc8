//! Letting an exchange in, and what it holds from then on: given back whatever happens.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;

use pin_project::{pin_project, pinned_drop};

use super::call::Call;
use super::shared::Shared;
use super::timer::Timer;
use crate::cluster::{AttemptId, Begin, End, EndpointId, Wish};
use crate::http::HttpErrorKind;
use crate::http::advice::Advice;
use crate::machine::queue::TicketId;
use crate::{Class, HttpError, Instant, Runtime};

/// The request's own timeout.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) until: Instant,
    pub(super) timeout: Duration,
}

/// An exchange that has begun. Its places are given back when it is dropped.
pub(super) struct Exchange<R: Runtime, B> {
    pub(super) shared: Arc<Shared<R, B>>,
    id: AttemptId,
    endpoint: EndpointId,
    phase: Phase,
    /// What the clock said when it was let in: the request is sent at once after.
    pub(super) begun_at: Instant,
    /// When the body ended, if it did: whoever reads drops this at once then.
    pub(super) over_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// No answer yet.
    Sent { replay_safe: bool },
    /// The answer is being read.
    Answered,
    /// The attempt has nothing to do with it any more.
    Detached,
}

impl<R: Runtime, B> Exchange<R, B> {
    pub(super) fn answered(&mut self, now: Instant, end: End) {
        self.phase = Phase::Answered;
        let (id, endpoint) = (self.id, self.endpoint);
        self.shared.section(|policy, cluster, wakes| {
            cluster.on_answer(now, policy, id, endpoint, end, wakes);
        });
    }

    /// The request goes out once more, now.
    pub(super) fn resent(&self) -> Instant {
        let now = self.shared.runtime.now();
        let (id, endpoint) = (self.id, self.endpoint);
        self.shared.section(|_, cluster, _| cluster.on_resent(now, id, endpoint));
        now
    }

    /// Trailers said something of trying again.
    pub(super) fn advised(&self, advice: Advice) {
        let now = self.shared.runtime.now();
        let (id, endpoint) = (self.id, self.endpoint);
        self.shared.section(|policy, cluster, _| {
            cluster.on_advice(now, policy, id, endpoint, advice);
        });
    }

    /// Whether the attempt that it belongs to is under way.
    pub(super) fn is_in_attempt(&self) -> bool {
        self.shared.locked(|_, cluster, _| cluster.is_under_way(self.id)).0
    }

    /// The body failed.
    pub(super) fn body_failed(&self, class: Class) {
        let now = self.shared.runtime.now();
        let (id, endpoint) = (self.id, self.endpoint);
        self.shared.section(|policy, cluster, wakes| {
            cluster.on_exchange_class(now, policy, id, endpoint, class, wakes);
        });
    }

    /// Gives back the place of the limit before the body ends.
    pub(super) fn detach(&mut self) {
        if let Phase::Answered = self.phase {
            self.phase = Phase::Detached;
            let now = self.shared.runtime.now();
            let (id, endpoint) = (self.id, self.endpoint);
            self.shared.section(|policy, cluster, wakes| {
                cluster.leave_exchange(now, policy, id, endpoint, None, wakes);
            });
        }
    }
}

impl<R: Runtime, B> Drop for Exchange<R, B> {
    fn drop(&mut self) {
        let now = self.over_at.unwrap_or_else(|| self.shared.runtime.now());
        let (id, endpoint, phase) = (self.id, self.endpoint, self.phase);
        self.shared.section_in_drop(|policy, cluster, wakes| {
            match phase {
                Phase::Sent { replay_safe } => {
                    let cut = Some(replay_safe);
                    cluster.leave_exchange(now, policy, id, endpoint, cut, wakes);
                }
                Phase::Answered => cluster.leave_exchange(now, policy, id, endpoint, None, wakes),
                Phase::Detached => {}
            }
            cluster.release_connection(now, policy, endpoint, wakes);
        });
    }
}

/// Waits until an exchange may begin: for a permit, and for a connection place.
#[pin_project(PinnedDrop)]
pub(super) struct Enter<'a, R: Runtime, B> {
    call: &'a Call<R, B>,
    wish: Wish,
    limits: Limits,
    ticket: Option<TicketId>,
    #[pin]
    timer: Timer<R>,
}

impl<'a, R: Runtime, B> Enter<'a, R, B> {
    pub(super) fn new(call: &'a Call<R, B>, wish: Wish, limits: Limits) -> Self {
        Self { call, wish, limits, ticket: None, timer: Timer::new() }
    }
}

impl<R: Runtime, B> Future for Enter<'_, R, B> {
    type Output = Result<Exchange<R, B>, HttpError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let shared = &this.call.shared;
        loop {
            let now = shared.runtime.now();
            if now >= this.limits.until {
                let kind = HttpErrorKind::Timeout(this.limits.timeout);
                return Poll::Ready(Err(HttpError::unsent(kind)));
            }
            let (id, wish, ticket) = (this.call.id, &*this.wish, &mut *this.ticket);
            let (begin, due) = shared.locked(|policy, cluster, wakes| {
                cluster.begin_exchange(now, policy, id, wish, ticket, cx.waker(), wakes)
            });
            // What was taken is in a guard before an observer runs, which may panic.
            let mut begun = match &begin {
                Begin::Go(endpoint) => Some(Exchange {
                    shared: shared.clone(),
                    id,
                    endpoint: *endpoint,
                    phase: Phase::Sent { replay_safe: wish.replay_safe },
                    begun_at: now,
                    over_at: None,
                }),
                _ => None,
            };
            if due {
                shared.deliver();
                // An observer may have taken its time.
                if let Some(exchange) = &mut begun {
                    exchange.begun_at = shared.runtime.now();
                }
            }
            if let Some(exchange) = begun {
                return Poll::Ready(Ok(exchange));
            }
            let look_at = match begin {
                Begin::Go(_) => continue,
                Begin::Wait(until) => until.min(this.limits.until),
                Begin::Refused(refusal) => {
                    let kind = HttpErrorKind::Refused(Box::new(refusal));
                    return Poll::Ready(Err(HttpError::unsent(kind)));
                }
                Begin::OwnPlace => {
                    return Poll::Ready(Err(HttpError::unsent(HttpErrorKind::OwnPlace)));
                }
                Begin::AttemptOver => {
                    return Poll::Ready(Err(HttpError::unsent(HttpErrorKind::AttemptOver)));
                }
            };
            if this.timer.as_mut().poll_at(cx, &shared.runtime, look_at).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

#[pinned_drop]
impl<R: Runtime, B> PinnedDrop for Enter<'_, R, B> {
    fn drop(self: Pin<&mut Self>) {
        let this = self.project();
        let Some(ticket) = this.ticket.take() else {
            return;
        };
        let now = this.call.shared.runtime.now();
        let id = this.call.id;
        this.call.shared.section_in_drop(|policy, cluster, wakes| {
            cluster.abandon_exchange(now, policy, id, ticket, wakes);
        });
    }
}
