//! The clock and the timers of smol.

use std::time::Duration;

use dace_core::{Instant, Lock as _, Runtime};
use dace_smol::SmolRuntime;

fn is_send<T: Send + 'static>(value: T) -> T {
    value
}

#[test]
fn now_and_sleep_read_the_same_clock() {
    let runtime = SmolRuntime;
    let start = runtime.now();
    let deadline = start.after(Duration::from_millis(20));
    smol::block_on(is_send(runtime.sleep_until(deadline)));
    assert!(runtime.now() >= deadline);
    drop(runtime.sleep_until(Instant::NEVER));
    assert_ne!(runtime.seed(), runtime.seed());
    assert!(runtime.unix_time().is_some());
    let lock = <SmolRuntime as Runtime>::Lock::new(1);
    assert_eq!(lock.with(|value| *value + 1), 2);
}
