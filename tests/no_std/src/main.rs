//! The core without std: linked, and run.
//!
//! This program has no std, its own allocator and its own panic handler, and drives whole calls
//! through a runtime and a backend of its own. If anything under the core let std in, there would be
//! two panic handlers, and it would not link.
#![no_std]
#![no_main]

extern crate alloc;

mod bare;
mod backend;
mod runtime;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;

use alloc::string::String;
use dace_core::{Backoff, Breaker, Dependency, Error, HttpError};

use backend::{Canned, SCRIPT};
use runtime::{Ticks, clock};

type Bare = Dependency<Ticks, Canned>;
type Call = dace_core::Call<Ticks, Canned>;

/// Polls until it is ready; whenever it is not, the clock moves on by a millisecond.
fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        clock::advance(Duration::from_millis(1));
    }
}

async fn get(call: Call) -> Result<String, HttpError> {
    call.http().get("/").send().await?.error_for_status()?.text().await
}

fn proof() {
    let dependency: Bare = Dependency::builder("bare")
        .targets(["http://10.0.0.1:8080"])
        .timeout(Duration::from_millis(100))
        .backoff(Backoff::new().base(Duration::ZERO))
        .breaker(Breaker::new().consecutive_failures(2))
        .build_with(Ticks, Canned)
        .expect("the settings are good");

    SCRIPT.set(&[503, 200]);
    let text = block_on(dependency.call(get)).expect("the second attempt succeeds");
    assert_eq!(text, "from the bare backend");

    SCRIPT.set(&[0, 0, 0]);
    for _ in 0..2 {
        let before = clock::now();
        let error = block_on(dependency.call(get)).expect_err("nobody answers");
        assert!(matches!(error, Error::Timeout { .. }));
        assert_eq!(clock::now().since(before), Duration::from_millis(100));
    }

    let error = block_on(dependency.call(get)).expect_err("the circuit is open");
    assert!(matches!(error, Error::CircuitOpen { .. }));
    let name = block_on(
        dependency.call(get).fallback(|_| core::future::ready(Ok(String::from("somebody")))),
    );
    assert_eq!(name.expect("the fallback's"), "somebody");
    assert_eq!(dependency.snapshot().calls, 0);
}

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    proof();
    bare::print(c"dace-core runs without std");
    0
}
