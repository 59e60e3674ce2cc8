//! What the benches of the call path share: a function that fails, a clock, and a dependency with
//! everything on.

#![allow(dead_code, reason = "each bench uses a part")]

pub(crate) mod peers;
pub(crate) mod rows;
pub(crate) mod tails;

use std::future::Future;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::{Backoff, Class, Classify, Dependency, Event, Instant, NoHttp, Observer, Runtime};

pub(crate) const LIMIT: u32 = 1 << 20;
pub(crate) const TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(1);
pub(crate) const RETRIES: u32 = 3;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}

impl Classify for Failed {
    fn class(&self) -> Class {
        Class::Transient
    }
}

/// The clock that tokio and failsafe read too.
#[expect(clippy::disallowed_methods, reason = "a bench has to look at a clock")]
pub(crate) fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

/// tokio's timer, and the clock under it.
pub(crate) struct Tokio {
    epoch: std::time::Instant,
}

impl Runtime for Tokio {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        let since = clock().duration_since(self.epoch);
        Instant::from_nanos(since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos()))
    }

    fn sleep_until(&self, deadline: Instant) -> tokio::time::Sleep {
        let deadline = self.epoch + deadline.since(Instant::EPOCH);
        tokio::time::sleep_until(deadline.into())
    }

    fn seed(&self) -> u64 {
        7
    }
}

impl Tokio {
    pub(crate) fn new() -> Self {
        Self { epoch: clock() }
    }
}

/// tokio's timer, and a clock that somebody else would move now and then: it stands still here.
pub(crate) struct Coarse(AtomicU64);

impl Runtime for Coarse {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::Relaxed))
    }

    fn sleep_until(&self, deadline: Instant) -> tokio::time::Sleep {
        tokio::time::sleep(deadline.since(self.now()))
    }

    fn seed(&self) -> u64 {
        7
    }
}

impl Coarse {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(1_000_000_000))
    }
}

pub(crate) type Builder<R = Tokio> = dace::DependencyBuilder<R, NoHttp>;

/// A dependency on so many targets, with everything on, and nobody who looks.
pub(crate) fn dace(
    targets: usize,
    adjust: impl FnOnce(Builder) -> Builder,
) -> Dependency<Tokio, NoHttp> {
    dace_on(Tokio::new(), targets, adjust)
}

/// The same on another runtime.
pub(crate) fn dace_on<R: Runtime>(
    runtime: R,
    targets: usize,
    adjust: impl FnOnce(Builder<R>) -> Builder<R>,
) -> Dependency<R, NoHttp> {
    let targets: Vec<String> =
        (0..targets).map(|number| format!("http://server-{number}:80")).collect();
    let builder = Dependency::builder("servers")
        .targets(targets)
        .timeout(TIMEOUT)
        .attempt_timeout(ATTEMPT_TIMEOUT)
        .retry_attempts(RETRIES)
        .backoff(Backoff::new().base(Duration::ZERO))
        .max_open_per_netloc(LIMIT);
    adjust(builder).build_with(runtime, NoHttp).expect("the settings are right")
}

/// The output of a future that is ready at once.
pub(crate) fn now_or_never<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("nothing waits here"),
    }
}

/// An observer that does nothing.
pub(crate) struct Nothing;

impl Observer for Nothing {
    fn on_event(&self, _: &str, event: &Event) {
        std::hint::black_box(event);
    }
}
