//! A call that succeeds at its first attempt allocates nothing in dace.

use std::alloc::System;
use std::future::{Future, Pending, pending, ready};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::{Dependency, Instant, NoHttp, Runtime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// A runtime whose time stands still.
struct Still;

impl Runtime for Still {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = Pending<()>;

    fn now(&self) -> Instant {
        Instant::EPOCH
    }

    fn sleep_until(&self, _: Instant) -> Pending<()> {
        pending()
    }

    fn seed(&self) -> u64 {
        7
    }
}

fn allocations(mut act: impl FnMut()) -> usize {
    for _ in 0..100 {
        act();
    }
    let region = Region::new(ALLOCATOR);
    for _ in 0..1000 {
        act();
    }
    region.change().allocations
}

fn finish<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is ready at once"),
    }
}

// One test alone in its process: the counter counts everybody.
#[test]
fn a_call_that_succeeds_at_its_first_attempt_allocates_nothing() {
    let dependency = Dependency::builder("still")
        .targets(["http://a", "http://b", "http://c"])
        .attempt_timeout(Duration::from_millis(500))
        .expected_in(Duration::from_millis(200))
        .retry_on_timeout(true)
        .queue(100)
        .build_with(Still, NoHttp)
        .unwrap();
    let none = allocations(|| {
        finish(dependency.call(|_| ready(Ok::<_, std::io::Error>(7)))).unwrap();
    });
    assert_eq!(none, 0);

    // It waits once, with a timer: still nothing.
    let waits = allocations(|| {
        let mut polled = false;
        let mut call = pin!(dependency.call(|_| {
            std::future::poll_fn(move |_| {
                polled = !polled;
                if polled { Poll::Pending } else { Poll::Ready(Ok::<_, std::io::Error>(7)) }
            })
        }));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        assert!(call.as_mut().poll(&mut cx).is_ready());
    });
    assert_eq!(waits, 0);

    // The counter sees what a function allocates: it could have failed.
    let boxed = allocations(|| {
        finish(dependency.call(|_| ready(Ok::<_, std::io::Error>(Box::new(7))))).unwrap();
    });
    assert_eq!(boxed, 1000);
}
