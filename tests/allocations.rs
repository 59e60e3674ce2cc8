//! A call that succeeds at its first attempt allocates nothing, with everything switched on.
//!
//! The counter is a global allocator that counts per thread, so the test harness does not disturb it;
//! a negative control shows that it sees what a call's function allocates.

use std::convert::Infallible;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure;
use dace::{Breaker, Budget, Call, Dependency, DependencyBuilder, Instant, NoHttp, Runtime};

/// A clock that moves by a microsecond whenever it is read, so that latencies and windows change.
#[derive(Default)]
struct Ticking(AtomicU64);

impl Runtime for Ticking {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = Ready<()>;

    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.fetch_add(1_000, Ordering::Relaxed))
    }

    /// A future that is ready at once needs no timer.
    fn sleep_until(&self, _: Instant) -> Ready<()> {
        unreachable!("nothing waits here")
    }

    fn seed(&self) -> u64 {
        7
    }
}

const CALLS: u64 = 1_000;

fn everything_on() -> Dependency<Ticking, NoHttp> {
    built(|builder| builder)
}

fn built(
    set: impl FnOnce(DependencyBuilder<Ticking, NoHttp>) -> DependencyBuilder<Ticking, NoHttp>,
) -> Dependency<Ticking, NoHttp> {
    let builder = Dependency::builder("servers")
        .targets(["http://a:80", "http://b:80", "http://c:80"])
        .timeout(Duration::from_secs(5))
        .attempt_timeout(Duration::from_secs(1))
        .retry_attempts(3)
        .retry_on_timeout(true)
        .budget(Budget::new().deposit(0.2))
        .breaker(Breaker::new().consecutive_failures(5))
        .max_open_per_netloc(100)
        .queue(100)
        .expected_in(Duration::from_millis(500));
    set(builder).build_with(Ticking::default(), NoHttp).expect("the settings are right")
}

/// Makes one call, which must end at its first poll.
fn call<T, Fut>(
    dependency: &Dependency<Ticking, NoHttp>,
    function: impl FnMut(Call<Ticking, NoHttp>) -> Fut,
) -> T
where
    Fut: Future<Output = Result<T, Infallible>>,
{
    let call = pin!(dependency.call(function));
    match call.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(value)) => value,
        other => panic!("not a success at once: {:?}", other.map_ok(|_| ())),
    }
}

#[test]
fn a_call_that_succeeds_at_once_allocates_nothing() {
    let dependency = everything_on();
    // Whatever grows to its working size does so now.
    for _ in 0..CALLS {
        call(&dependency, |_| ready(Ok(())));
    }
    let seen = measure(|| {
        for _ in 0..CALLS {
            call(&dependency, |_| ready(Ok(())));
        }
    });
    assert_eq!(seen.count_total, 0, "{seen:?}");
    assert_eq!(dependency.snapshot().totals.good, 2 * CALLS);
}

/// Counts what 1,000 calls allocate on this thread, once everything has its working size.
fn seen_by(dependency: &Dependency<Ticking, NoHttp>) -> u64 {
    for _ in 0..3 * CALLS {
        call(dependency, |_| ready(Ok(())));
    }
    let seen = measure(|| {
        for _ in 0..CALLS {
            call(dependency, |_| ready(Ok(())));
        }
    });
    seen.count_total
}

#[test]
fn an_observer_costs_no_allocation_of_daces() {
    let observed = built(|builder| builder.observer(|_: &str, _: &dace::Event| {}));
    assert_eq!(seen_by(&observed), 0);
}

#[cfg(feature = "statsd")]
#[test]
fn statsd_allocates_nothing_in_the_steady_state() {
    use dace::StatsdExt as _;
    let unread = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let server = unread.local_addr().expect("an address");
    for tags in [false, true] {
        let statsd = dace::Statsd::to(server.to_string()).tags(tags);
        let told = built(|builder| builder.statsd(statsd));
        assert_eq!(seen_by(&told), 0);
        told.flush();
    }
}

#[cfg(feature = "metrics")]
#[test]
fn metrics_allocate_nothing_in_the_steady_state() {
    let told = built(|builder| builder.observer(dace::Metrics::new()));
    assert_eq!(seen_by(&told), 0);
}

#[test]
fn the_counter_sees_what_a_function_allocates() {
    let dependency = everything_on();
    for _ in 0..CALLS {
        call(&dependency, |_| ready(Ok(())));
    }
    let seen = measure(|| {
        for number in 0..CALLS {
            let boxed = call(&dependency, |_| ready(Ok(black_box(Box::new(number)))));
            assert_eq!(*boxed, number);
        }
    });
    assert_eq!(seen.count_total, CALLS, "{seen:?}");
    assert_eq!(seen.count_current, 0, "{seen:?}");
}
