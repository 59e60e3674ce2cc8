//! Many threads at one dependency, which do meet: in its queue, and at its lock.
//!
//! A stress test proves something only if there was stress, so it goes on until there was enough of it, and
//! fails if there never is.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant as Clock};

use dace::smol::SmolRuntime;
use dace::tokio::TokioRuntime;
use dace::{Dependency, Event, Instant, Lock, NoHttp, Observer, Runtime, What};
use futures_util::future::{BoxFuture, join_all};
use smol::future::{poll_once, yield_now};

const CALLERS: usize = 8;
const LIMIT: u32 = 3;

/// Calls that had to wait, and times that a thread found the lock taken.
const WAITS: usize = 2_000;
const MEETINGS: usize = 50;

/// How long that may take, on a busy machine too.
const AT_MOST: Duration = Duration::from_secs(60);

/// A runtime whose lock counts who found it taken; `N` tells those apart who count.
#[derive(Default)]
struct Counting<R, const N: usize>(R);

struct CountingLock<T, const N: usize>(Mutex<T>);

static MET: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

impl<T, const N: usize> Lock<T> for CountingLock<T, N> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<O>(&self, f: impl FnOnce(&mut T) -> O) -> O {
        let mut value = match self.0.try_lock() {
            Ok(value) => value,
            Err(TryLockError::Poisoned(value)) => value.into_inner(),
            Err(TryLockError::WouldBlock) => {
                MET[N].fetch_add(1, Ordering::Relaxed);
                self.0.lock().unwrap_or_else(PoisonError::into_inner)
            }
        };
        f(&mut value)
    }
}

impl<R: Runtime, const N: usize> Runtime for Counting<R, N> {
    type Lock<T: Send + 'static> = CountingLock<T, N>;
    type Sleep = R::Sleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> R::Sleep {
        self.0.sleep_until(deadline)
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }
}

#[derive(Clone, Default)]
struct Waits(Arc<AtomicUsize>);

impl Observer for Waits {
    fn on_event(&self, _: &str, event: &Event) {
        if matches!(event.what, What::Queued { .. }) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the callers know of each other.
#[derive(Default)]
struct Crowd {
    inside: AtomicU32,
    peak: AtomicU32,
    over: AtomicBool,
}

/// Comes in, lets others run, and goes out, also if it is dropped.
async fn visit(crowd: Arc<Crowd>) -> Result<(), Infallible> {
    struct Out<'a>(&'a AtomicU32);
    impl Drop for Out<'_> {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let inside = 1 + crowd.inside.fetch_add(1, Ordering::SeqCst);
    let _out = Out(&crowd.inside);
    crowd.peak.fetch_max(inside, Ordering::SeqCst);
    yield_now().await;
    Ok(())
}

/// The machine's clock: how long it may take to meet is not dace's to say.
#[expect(clippy::disallowed_methods, reason = "threads meet in the machine's time")]
fn clock() -> Clock {
    Clock::now()
}

/// `run` has everybody run on threads of a runtime's own.
fn threads_that_meet<R, const N: usize>(run: impl FnOnce(Vec<BoxFuture<'static, ()>>))
where
    R: Runtime + Default,
{
    let (waits, crowd) = (Waits::default(), Arc::new(Crowd::default()));
    let dependency = Dependency::<Counting<R, N>, NoHttp>::builder("test")
        .targets(["http://a"])
        .max_open_per_netloc(LIMIT)
        .queue(CALLERS)
        .no_timeout()
        .observer(waits.clone())
        .build_with(Counting::default(), NoHttp)
        .expect("the settings are good");
    let begun = clock();
    let caller = |number: usize| {
        let (dependency, waits, crowd) = (dependency.clone(), waits.0.clone(), crowd.clone());
        async move {
            let mut made = 0;
            while !crowd.over.load(Ordering::Relaxed) {
                let kept = crowd.clone();
                let call = dependency.call(move |_| visit(kept.clone()));
                made += 1;
                if (made + number) % 7 == 0 {
                    // Some leave, while they wait or from inside.
                    drop(poll_once(call).await);
                } else {
                    call.await.expect("there is a place in the queue for everybody");
                }
                let enough = waits.load(Ordering::Relaxed) >= WAITS
                    && MET[N].load(Ordering::Relaxed) >= MEETINGS;
                if enough || begun.elapsed() > AT_MOST {
                    crowd.over.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    run((0..CALLERS).map(|number| Box::pin(caller(number)) as BoxFuture<'static, ()>).collect());
    dependency.flush();
    let (waited, met) = (waits.0.load(Ordering::Relaxed), MET[N].load(Ordering::Relaxed));
    assert!(waited >= WAITS, "only {waited} calls had to wait: that was no stress");
    assert!(met >= MEETINGS, "the lock was found taken {met} times: that was no stress");
    assert!(crowd.peak.load(Ordering::SeqCst) <= LIMIT, "no more than may be inside were");
    let snapshot = dependency.snapshot();
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.queued), (0, 0, 0), "{snapshot}");
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0), "{snapshot}");
    println!("{waited} calls waited, {met} times the lock was found taken, {:?}", begun.elapsed());
}

#[test]
fn threads_of_tokio_meet_and_lose_nothing() {
    threads_that_meet::<TokioRuntime, 0>(|callers| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(4)
            .enable_all()
            .build()
            .expect("a runtime");
        let tasks = join_all(callers.into_iter().map(|caller| runtime.spawn(caller)));
        for ended in runtime.block_on(tasks) {
            ended.expect("no caller panics");
        }
    });
}

#[test]
fn threads_of_smol_meet_and_lose_nothing() {
    threads_that_meet::<SmolRuntime, 1>(|callers| {
        let spawn = |caller| thread::spawn(|| smol::block_on(caller));
        let threads: Vec<_> = callers.into_iter().map(spawn).collect();
        for thread in threads {
            thread.join().expect("no caller panics");
        }
    });
}
