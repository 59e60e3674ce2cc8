//! The loop that carries out one call: ask the machine, do it, report.
//!
//! The clock is read once a turn, and compared with the deadline before the function is polled; the
//! timer is made only when the function is pending. A call that succeeds at once takes the lock
//! twice, reads the clock twice, and allocates nothing.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use alloc::boxed::Box;
use alloc::sync::Arc;

use pin_project::{pin_project, pinned_drop};

use super::call::Call;
use super::judge::Judge;
use super::part::Base;
use super::shared::{Shared, Spans};
use super::timer::Timer;
use crate::balancer::Pick;
use crate::cluster::{
    Action, CallMachine, Ended, Proposal, Returned, Slot, Start, TimedOut, Verdict,
};
use crate::{ConfigError, Error, Instant, Runtime, Span};

#[pin_project(PinnedDrop)]
pub(super) struct Drive<R: Runtime, B, F, Fut: Future> {
    pub(super) shared: Arc<Shared<R, B>>,
    function: F,
    pub(super) machine: CallMachine,
    /// The function's future, while an attempt runs. It is held in place.
    #[pin]
    attempt: Option<Fut>,
    /// The future of an attempt beside it.
    hedge: Option<Pin<Box<Fut>>>,
    /// Set to when the machine is to be asked again at the latest.
    #[pin]
    timer: Timer<R>,
    /// What the last attempt returned.
    last: Option<Fut::Output>,
    /// What the observers put around the function's polls, from the first attempt on.
    spans: Option<Box<Spans>>,
}

impl<R: Runtime, B, F, Fut: Future> Drive<R, B, F, Fut> {
    pub(super) fn new(shared: Arc<Shared<R, B>>, function: F) -> Self {
        Self {
            shared,
            function,
            machine: CallMachine::new(Start::new()),
            attempt: None,
            hedge: None,
            timer: Timer::new(),
            last: None,
            spans: None,
        }
    }

    pub(super) fn adjust(&mut self, set: impl FnOnce(&mut Start)) {
        if let Some(start) = self.machine.start_mut() {
            set(start);
        }
    }

    /// The call, for what is around it.
    pub(super) fn base(self: Pin<&mut Self>) -> Base<'_, R, B> {
        let this = self.project();
        Base { shared: this.shared, machine: this.machine }
    }

    pub(super) fn fallback_ended(self: Pin<&mut Self>) {
        let this = self.project();
        let machine = this.machine;
        this.shared.section(|_, cluster, wakes| machine.on_fallback_ended(cluster, wakes));
    }

    /// Runs the fallback, inside of the call's spans; they are new if there was no attempt.
    pub(super) fn fall_back<O>(self: Pin<&mut Self>, user: impl FnOnce() -> O) -> O {
        let mut guard = self.guard();
        let this = guard.drive.as_mut().project();
        let falls_back = this.machine.falls_back();
        if falls_back && this.spans.is_none() {
            *this.spans = this.shared.spans(this.machine.call());
        }
        let out = within(this.spans.as_deref().filter(|_| falls_back), user);
        guard.armed = false;
        out
    }

    /// Whether anybody reads the texts of errors.
    fn is_read(&self) -> bool {
        self.machine.is_reported() || self.shared.wants_errors()
    }

    /// Whether the function runs.
    #[inline]
    fn runs(&self) -> bool {
        self.attempt.is_some() || self.hedge.is_some()
    }

    /// Drops the function's future in this place.
    fn clear(self: Pin<&mut Self>, slot: Slot) {
        let mut this = self.project();
        within(this.spans.as_deref(), || match slot {
            Slot::First => this.attempt.set(None),
            Slot::Hedge => *this.hedge = None,
        });
    }

    /// The part of a turn that user code runs in: if it panics, everything is given back first.
    fn guard(self: Pin<&mut Self>) -> Guard<'_, R, B, F, Fut> {
        Guard { drive: self, armed: true }
    }

    /// Asks the machine what to do next.
    fn ask(self: Pin<&mut Self>, now: Instant, cx: &Context<'_>) -> Action {
        let this = self.project();
        let machine = this.machine;
        this.shared.section(|policy, cluster, wakes| {
            machine.poll_action(now, policy, cluster, cx.waker(), wakes)
        })
    }

    /// The function's future was dropped because its time is up.
    fn cancelled(self: Pin<&mut Self>, now: Instant, cx: &Context<'_>, slot: Slot) -> Action {
        let this = self.project();
        let machine = this.machine;
        this.shared.section(|policy, cluster, wakes| {
            machine.on_cancelled(now, policy, cluster, slot, wakes);
            machine.poll_action(now, policy, cluster, cx.waker(), wakes)
        })
    }

    /// Asks the shared limits, then the machine. What it did not use is given back after unlocking.
    fn share(self: Pin<&mut Self>, now: Instant, cx: &Context<'_>) -> Action {
        let this = self.project();
        let machine = this.machine;
        let mut shared = this.shared.shares.take(now).map(Some);
        this.shared.section(|policy, cluster, wakes| {
            machine.on_shared(now, policy, cluster, &mut shared, cx.waker(), wakes)
        })
    }

    /// Asks the user's balancer.
    fn propose(mut self: Pin<&mut Self>) {
        let mut guard = self.as_mut().guard();
        let this = guard.drive.as_mut().project();
        let (targets, _) = this.shared.locked(|_, cluster, _| cluster.shown());
        let pick = Pick {
            targets: &targets,
            attempt: this.machine.attempts() + 1,
            asked: this.machine.proposals(),
            key: this.machine.key(),
            source: &**this.shared,
        };
        let proposal = match &this.shared.balancer {
            None => Proposal::Nobody,
            Some(balancer) => match balancer.pick(&pick) {
                Ok(Some(target)) => Proposal::Target(target),
                Ok(None) => Proposal::Nobody,
                Err(error) => {
                    let problem = alloc::format!("must yield a scheme and a netloc: {error}");
                    Proposal::Wrong(Box::new(ConfigError::new("load_balancer", problem)))
                }
            },
        };
        this.machine.on_proposal(proposal);
        guard.armed = false;
    }
}

impl<R, B, F, Fut, T, E> Drive<R, B, F, Fut>
where
    R: Runtime,
    F: FnMut(Call<R, B>) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    pub(super) fn poll_call<J: Judge<T, E>>(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        judge: &J,
    ) -> Poll<Result<T, Error<E>>> {
        let mut now = self.shared.runtime.now();
        let mut action = if self.runs() && now < self.timer.at() {
            Action::WaitUntil(self.timer.at())
        } else {
            self.as_mut().ask(now, cx)
        };
        loop {
            match action {
                Action::Propose => {
                    self.as_mut().propose();
                    action = self.as_mut().ask(now, cx);
                    continue;
                }
                Action::Share => {
                    action = self.as_mut().share(now, cx);
                    continue;
                }
                Action::Attempt { slot, look_at } => {
                    self.as_mut().start(slot);
                    self.as_mut().project().timer.set_at(look_at);
                }
                Action::Cancel(slot) => {
                    let mut guard = self.as_mut().guard();
                    guard.drive.as_mut().clear(slot);
                    guard.armed = false;
                    drop(guard);
                    action = self.as_mut().cancelled(now, cx, slot);
                    continue;
                }
                Action::Queue(at) | Action::WaitUntil(at) => {
                    self.as_mut().project().timer.set_at(at);
                }
                Action::Finish => {
                    let this = self.project();
                    this.timer.clear();
                    let (verdict, attempts) =
                        (this.machine.take_verdict(), this.machine.attempts());
                    return Poll::Ready(conclude(verdict, attempts, this.last.take()));
                }
            }
            if self.runs() {
                if let Poll::Ready((slot, result)) = self.as_mut().poll_attempts(cx) {
                    now = self.shared.runtime.now();
                    action = self.as_mut().returned(now, cx, judge, slot, result);
                    continue;
                }
            }
            let this = self.as_mut().project();
            if this.timer.poll(cx, &this.shared.runtime).is_pending() {
                return Poll::Pending;
            }
            now = self.shared.runtime.now();
            action = self.as_mut().ask(now, cx);
        }
    }

    /// Calls the function.
    fn start(mut self: Pin<&mut Self>, slot: Slot) {
        let mut guard = self.as_mut().guard();
        let mut this = guard.drive.as_mut().project();
        let Some((id, number, deadline)) = this.machine.attempt(slot) else {
            unreachable!("the machine has just begun it")
        };
        if number == 1 {
            *this.spans = this.shared.spans(this.machine.call());
        }
        let connect_timeout = this.machine.connect_timeout();
        let function = this.function;
        let call = Call { shared: this.shared.clone(), id, number, deadline, connect_timeout };
        let attempt = within(this.spans.as_deref(), || function(call));
        match slot {
            Slot::First => this.attempt.set(Some(attempt)),
            Slot::Hedge => *this.hedge = Some(Box::pin(attempt)),
        }
        guard.armed = false;
    }

    /// Polls what runs; the first one first.
    fn poll_attempts(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<(Slot, Result<T, E>)> {
        let mut guard = self.as_mut().guard();
        let this = guard.drive.as_mut().project();
        let (first, hedge, spans) = (this.attempt, this.hedge, this.spans.as_deref());
        let mut polled = Poll::Pending;
        if let Some(attempt) = first.as_pin_mut() {
            polled = within(spans, || attempt.poll(cx)).map(|result| (Slot::First, result));
        }
        if let (Poll::Pending, Some(hedge)) = (&polled, hedge) {
            polled = within(spans, || hedge.as_mut().poll(cx)).map(|result| (Slot::Hedge, result));
        }
        if let Poll::Ready((slot, _)) = &polled {
            // What the future still holds is given back before its outcome is settled.
            guard.drive.as_mut().clear(*slot);
        }
        guard.armed = false;
        polled
    }

    /// The function returned: classify, settle, ask what is next.
    fn returned<J: Judge<T, E>>(
        mut self: Pin<&mut Self>,
        now: Instant,
        cx: &Context<'_>,
        judge: &J,
        slot: Slot,
        result: Result<T, E>,
    ) -> Action {
        let mut guard = self.as_mut().guard();
        let class = judge.judge(&result);
        let error = match &result {
            Err(error) if guard.drive.is_read() => Some(judge.render(error)),
            _ => None,
        };
        guard.armed = false;
        drop(guard);
        let returned = Returned { class, failed: result.is_err(), error };
        let this = self.project();
        *this.last = Some(result);
        let machine = this.machine;
        this.shared.section(|policy, cluster, wakes| {
            machine.returned(now, policy, cluster, (slot, returned), cx.waker(), wakes)
        })
    }
}

/// Runs user code inside of the spans, the first one outermost.
#[inline]
fn within<O>(spans: Option<&Spans>, user: impl FnOnce() -> O) -> O {
    let Some(spans) = spans else {
        return user();
    };
    let mut run = Run::Not(user);
    nest(&spans.0, &mut || run.run());
    // A span that did not call what it was given is not there.
    run.run();
    match run {
        Run::Done(out) => out,
        Run::Not(_) | Run::Now => unreachable!("it has just run"),
    }
}

/// What runs once.
enum Run<F, O> {
    Not(F),
    Now,
    Done(O),
}

impl<O, F: FnOnce() -> O> Run<F, O> {
    fn run(&mut self) {
        if let Self::Not(_) = self {
            if let Self::Not(user) = core::mem::replace(self, Self::Now) {
                *self = Self::Done(user());
            }
        }
    }
}

fn nest(spans: &[Box<dyn Span>], poll: &mut dyn FnMut()) {
    match spans {
        [] => poll(),
        [outer, inner @ ..] => outer.within(&mut || nest(inner, poll)),
    }
}

/// The call's result, from the verdict and what the last attempt returned.
fn conclude<T, E>(
    verdict: Option<Verdict>,
    attempts: u32,
    last: Option<Result<T, E>>,
) -> Result<T, Error<E>> {
    match (verdict, last) {
        (None | Some(Verdict::Ended(_)), Some(Ok(value))) => Ok(value),
        (Some(Verdict::Ended(ended)), Some(Err(source))) => Err(failure(ended, attempts, source)),
        (Some(Verdict::TimedOut(timed_out)), last) => {
            let TimedOut { after, why, trail } = *timed_out;
            let last = last.and_then(Result::err);
            Err(Error::Timeout { after, attempts, why, last, trail })
        }
        (Some(Verdict::Refused(refusal)), _) => Err(refusal.into_error(None, None)),
        (Some(Verdict::Wrong(error)), _) => Err(Error::Config(*error)),
        (None | Some(Verdict::Ended(_)), _) => {
            debug_assert!(false, "a verdict on what was returned comes with it, and once");
            Err(Error::NoEndpoint { source: None, trail: None })
        }
    }
}

fn failure<E>(ended: Ended, attempts: u32, source: E) -> Error<E> {
    let Ended { why, requested, refusal, trail } = ended;
    let retry_after = trail.as_ref().and_then(|trail| trail.retry_after);
    match refusal {
        Some(refusal) => refusal.into_error(Some(source), trail),
        None if requested => Error::RetryRequested { attempts, source, why, trail },
        None if attempts > 1 => {
            Error::RetriesExhausted { attempts, source, why, retry_after, trail }
        }
        None => Error::Operation { source, why, retry_after, trail },
    }
}

/// Gives everything back if user code panics, before the panic goes on to the caller.
struct Guard<'a, R: Runtime, B, F, Fut: Future> {
    drive: Pin<&'a mut Drive<R, B, F, Fut>>,
    armed: bool,
}

impl<R: Runtime, B, F, Fut: Future> Drop for Guard<'_, R, B, F, Fut> {
    fn drop(&mut self) {
        if self.armed && !self.drive.machine.is_idle() {
            abandon(self.drive.as_mut(), true);
        }
    }
}

#[pinned_drop]
impl<R: Runtime, B, F, Fut: Future> PinnedDrop for Drive<R, B, F, Fut> {
    fn drop(self: Pin<&mut Self>) {
        if !self.machine.is_idle() {
            abandon(self, false);
        }
    }
}

#[cold]
fn abandon<R: Runtime, B, F, Fut: Future>(drive: Pin<&mut Drive<R, B, F, Fut>>, panicked: bool) {
    let this = drive.project();
    // The machine is told even if the future's own drop panics.
    let tell = Tell { shared: this.shared, machine: this.machine, panicked };
    // And what runs is dropped before that, even if a span panics instead of entering it.
    let mut running = Running { attempt: this.attempt, hedge: this.hedge };
    within(this.spans.as_deref(), || running.clear());
    drop(running);
    drop(tell);
}

/// The futures of the function, on their way out.
struct Running<'a, Fut> {
    attempt: Pin<&'a mut Option<Fut>>,
    hedge: &'a mut Option<Pin<Box<Fut>>>,
}

impl<Fut> Running<'_, Fut> {
    fn clear(&mut self) {
        *self.hedge = None;
        self.attempt.set(None);
    }
}

impl<Fut> Drop for Running<'_, Fut> {
    fn drop(&mut self) {
        self.clear();
    }
}

struct Tell<'a, R: Runtime, B> {
    shared: &'a Shared<R, B>,
    machine: &'a mut CallMachine,
    panicked: bool,
}

impl<R: Runtime, B> Drop for Tell<'_, R, B> {
    fn drop(&mut self) {
        let now = self.shared.runtime.now();
        let (machine, panicked) = (&mut *self.machine, self.panicked);
        self.shared.section_in_drop(|policy, cluster, wakes| {
            machine.on_abandoned(now, policy, cluster, panicked, wakes);
        });
    }
}
