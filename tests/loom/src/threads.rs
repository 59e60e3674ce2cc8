//! The runtime, and what the models have in common.

use std::convert::Infallible;
use std::future::Pending;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use dace_core::{Call, Dependency, DependencyBuilder, HttpBackend, Instant, Lock, NoHttp, Runtime};
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicUsize, Ordering};

/// A clock that stands still, timers that never fire, and loom's lock.
pub(crate) struct Threads;

pub(crate) struct LoomLock<T>(Mutex<T>);

impl<T> Lock<T> for LoomLock<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<O>(&self, f: impl FnOnce(&mut T) -> O) -> O {
        f(&mut self.0.lock().expect("nobody panics under it"))
    }
}

impl Runtime for Threads {
    type Lock<T: Send + 'static> = LoomLock<T>;
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::EPOCH
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        std::future::pending()
    }

    fn seed(&self) -> u64 {
        7
    }
}

pub(crate) type Local = Dependency<Threads, NoHttp>;

/// One server.
pub(crate) const TARGET: &str = "http://a:80";

/// All orders with at most so many places where a thread is stopped though it could go on.
pub(crate) fn model(preemptions: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 100_000;
    builder.check(run);
}

/// A dependency with one place, and room for who waits.
pub(crate) fn one_place<B: HttpBackend>() -> DependencyBuilder<Threads, B> {
    Dependency::builder("test")
        .targets([TARGET])
        .max_open_per_netloc(1)
        .queue(3)
        .no_timeout()
        .retry_attempts(0)
}

/// Who is inside of what is limited.
pub(crate) struct Inside {
    now: AtomicUsize,
    most: usize,
}

impl Inside {
    pub(crate) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { now: AtomicUsize::new(0), most })
    }

    /// Comes, and goes when it is dropped. Between the two another thread may run.
    pub(crate) fn enter(self: &Arc<Self>) -> Visit {
        let before = self.now.fetch_add(1, Ordering::SeqCst);
        assert!(before < self.most, "one more than may be inside");
        Visit(self.clone())
    }
}

pub(crate) struct Visit(Arc<Inside>);

impl Drop for Visit {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A call that goes in and out at once.
pub(crate) fn visit(
    dependency: &Local,
    inside: &Arc<Inside>,
) -> impl Future<Output = Result<(), dace_core::Error<Infallible>>> + use<> {
    let inside = inside.clone();
    dependency.call(move |_: Call<Threads, NoHttp>| {
        let inside = inside.clone();
        async move {
            let _visit = inside.enter();
            Ok(())
        }
    })
}

/// Polls once, as somebody whom nobody has to wake.
pub(crate) fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Pending once, so that its caller can be dropped in the middle.
pub(crate) async fn pause() {
    let mut paused = false;
    std::future::poll_fn(|_| {
        if std::mem::replace(&mut paused, true) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
