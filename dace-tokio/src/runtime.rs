//! tokio's clock and timers.
//!
//! Both come from `tokio::time`, so a paused clock pauses dace too.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, SystemTime};

use dace_core::{Instant, Runtime};
use tokio::time::Instant as TokioInstant;

/// The runtime of dependencies that live on tokio. Timers need a tokio context when they are made.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokioRuntime;

/// Where this process's nanoseconds begin. One for all runtimes, so that an instant made on one
/// means the same on another.
static EPOCH: OnceLock<TokioInstant> = OnceLock::new();

fn epoch() -> TokioInstant {
    *EPOCH.get_or_init(TokioInstant::now)
}

impl Runtime for TokioRuntime {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        // The epoch first: the very first reading would be before it otherwise.
        let epoch = epoch();
        Instant::EPOCH.after(TokioInstant::now().saturating_duration_since(epoch))
    }

    fn sleep_until(&self, deadline: Instant) -> Self::Sleep {
        match epoch().checked_add(deadline.since(Instant::EPOCH)) {
            Some(deadline) => tokio::time::sleep_until(deadline),
            None => tokio::time::sleep(Duration::MAX),
        }
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
