//! What dace needs of a runtime: a clock, timers on that clock, a lock and a seed.
//!
//! Nothing is spawned by the core, and no socket is opened by it, so this is all. An implementation
//! for a runtime of your own is about fifty lines; `examples/custom_runtime.rs` is one.

use core::future::Future;
use core::time::Duration;

use alloc::string::String;

use crate::Instant;

/// A clock, timers, a lock and a seed.
///
/// `now` and `sleep_until` must read the same clock. A clock that goes back is survived, but timers
/// then fire by the clock's new idea of time.
pub trait Runtime: Send + Sync + 'static {
    /// The lock that guards a dependency's state.
    type Lock<T: Send + 'static>: Lock<T> + Send + Sync + 'static;

    /// A timer. It must wake the task that polled it once its instant has come, and may be dropped
    /// at any time.
    type Sleep: Future<Output = ()> + Send;

    /// The present. Read at most twice for a call that succeeds at once.
    fn now(&self) -> Instant;

    /// A timer that ends at `deadline`. dace compares [`now`](Self::now) with its deadlines itself,
    /// so a timer may end a little late, but must not end early for ever.
    fn sleep_until(&self, deadline: Instant) -> Self::Sleep;

    /// A number that seeds all of one dependency's randomness (balancing, jitter). Return a constant
    /// to make a history repeatable.
    fn seed(&self) -> u64;

    /// The time since the Unix epoch, if the runtime knows it. Used for one thing only: to read a
    /// `Retry-After` date, or a quota's reset, when the answer has no `Date` of its own.
    fn unix_time(&self) -> Option<Duration> {
        None
    }

    /// Whether [`variable`](Self::variable) reads an environment. Where it does not, `use_proxy` is an
    /// error.
    const HAS_ENVIRONMENT: bool = false;

    /// A variable of the process's environment. Read for one thing only: the proxies, when a dependency
    /// that asks for them (`use_proxy`) is built.
    fn variable(&self, name: &str) -> Option<String> {
        let _ = name;
        None
    }
}

/// Mutual exclusion whose guard cannot cross an await, because there is none.
///
/// A panic inside `with` does not happen in dace: no user code runs there. An implementation must
/// stay usable after one all the same (no poisoning).
pub trait Lock<T> {
    /// A lock around `value`.
    fn new(value: T) -> Self;

    /// Runs `f` while nobody else does. `f` is short: it never waits and calls no user code.
    fn with<O>(&self, f: impl FnOnce(&mut T) -> O) -> O;
}

/// The bundle that a name such as `dace::tokio::Tokio` stands for: a runtime and a backend that go
/// together.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no adapter",
    label = "say `dace::tokio::Tokio`, `dace::smol::Smol`, or a type that implements `dace::Adapter`"
)]
pub trait Adapter {
    /// The runtime.
    type Runtime: Runtime + Default;
    /// The HTTP backend.
    type Backend: crate::http::Connect;
}
