//! The system's monotonic clock, and async-io's timers on it.
//!
//! async-io drives its timers from a thread of its own, so they run under any executor.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::{Mutex, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant as StdInstant, SystemTime};

use async_io::Timer;
use dace_core::{Instant, Runtime};

/// The runtime of dependencies that live on smol, or on any other executor.
#[derive(Clone, Copy, Debug, Default)]
pub struct SmolRuntime;

/// A timer of [`SmolRuntime`].
#[derive(Debug)]
pub struct Sleep(Timer);

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(cx).map(drop)
    }
}

/// Where this process's nanoseconds begin. One for all runtimes, so that an instant made on one
/// means the same on another.
static EPOCH: OnceLock<StdInstant> = OnceLock::new();

#[expect(clippy::disallowed_methods, reason = "this is where `Runtime::now` comes from")]
fn now() -> StdInstant {
    StdInstant::now()
}

fn epoch() -> StdInstant {
    *EPOCH.get_or_init(now)
}

impl Runtime for SmolRuntime {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        // The epoch first: the very first reading would be before it otherwise.
        let epoch = epoch();
        Instant::EPOCH.after(now().saturating_duration_since(epoch))
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        if deadline.is_never() {
            return Sleep(Timer::never());
        }
        let deadline = epoch().checked_add(deadline.since(Instant::EPOCH));
        Sleep(deadline.map_or_else(Timer::never, Timer::at))
    }

    fn seed(&self) -> u64 {
        RandomState::new().hash_one(0_u8)
    }

    #[expect(clippy::disallowed_methods, reason = "this is where `Runtime::unix_time` comes from")]
    fn unix_time(&self) -> Option<Duration> {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()
    }

    const HAS_ENVIRONMENT: bool = true;

    fn variable(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }
}
