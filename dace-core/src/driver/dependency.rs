//! The handle on a dependency.

use core::fmt;
use core::future::Future;
use core::time::Duration;

use alloc::sync::Arc;

use super::builder::DependencyBuilder;
use super::call::Call;
use super::close::Close;
use super::control::CircuitControl;
use super::execution::Execution;
use super::shared::Shared;
use crate::cluster::Snapshot;
use crate::policy::{Listing, Rules};
use crate::{ConfigError, HttpBackend, Policy, Runtime};

/// A remote service, with one policy and one shared state. A cheap clone: all clones share the state,
/// and connections are closed when the last one is gone.
pub struct Dependency<R: Runtime, B> {
    pub(super) shared: Arc<Shared<R, B>>,
}

impl<R: Runtime, B: HttpBackend> Dependency<R, B> {
    /// A builder for the dependency called `id`: the name in stats and logs.
    pub fn builder(id: impl Into<alloc::string::String>) -> DependencyBuilder<R, B> {
        DependencyBuilder::new(id.into())
    }

    /// All dependencies of this runtime and backend that are alive in the process, in the order in
    /// which they were built. With the feature `std`.
    ///
    /// It keeps none alive: one is gone from here when its last handle, and the last call on it, is.
    ///
    /// ```
    /// # use dace_core::{Dependency, HttpBackend, Runtime};
    /// fn page<R: Runtime, B: HttpBackend>() -> String {
    ///     Dependency::<R, B>::all().iter().map(|one| one.snapshot().to_string()).collect()
    /// }
    /// ```
    #[cfg(feature = "std")]
    pub fn all() -> alloc::vec::Vec<Self> {
        super::registry::live().map(|shared| Self { shared }).collect()
    }
}

impl<R: Runtime, B> Dependency<R, B> {
    /// A call: runs `function` under this dependency's policy, once for every attempt.
    pub fn call<F, Fut>(&self, function: F) -> Execution<R, B, F, Fut>
    where
        F: FnMut(Call<R, B>) -> Fut,
        Fut: Future,
    {
        Execution::new(self.shared.clone(), function)
    }

    /// The id, as it was sanitised.
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// The policy that holds now, without targets: see [`targets`](Self::targets).
    pub fn policy(&self) -> Policy {
        self.shared.section(|rules, _, _| Policy::clone(rules))
    }

    /// Another policy from now on, for calls under way as well: their deadlines stay, later decisions
    /// follow the new one. All of it holds or nothing does. What is known stays: windows, latencies,
    /// circuits, pauses, the tokens that the new bank holds, and all counts; a policy without a breaker
    /// closes the circuits that are open. If it has targets, they replace the list as [`set_targets`](Self::set_targets) does, in the same step.
    ///
    /// # Errors
    /// The first setting that cannot be used, and what would be right. The old policy then stays.
    pub fn reload(&self, policy: Policy) -> Result<(), ConfigError> {
        let mut rules = Rules::new(policy, self.shared.shares.any())?;
        let (listing, balancing) = rules.take_targets();
        let targets = listing.map(Listing::places).transpose()?;
        let now = self.shared.runtime.now();
        self.shared.reload(now, rules, targets, balancing)
    }

    /// What the dependency looks like now.
    pub fn snapshot(&self) -> Snapshot {
        let now = self.shared.runtime.now();
        let mut snapshot = self.shared.section(|policy, cluster, _| cluster.snapshot(now, policy));
        snapshot.shared_limits = self.shared.shares.snapshot(now);
        snapshot.sort();
        snapshot
    }

    /// The circuit of a netloc (`host:port`, or the dependency's own id), for control by hand.
    /// `None` if the netloc is not known: if it is no target, and nobody called there so far.
    pub fn circuit(&self, netloc: &str) -> Option<CircuitControl<R, B>> {
        CircuitControl::new(self.shared.clone(), netloc)
    }

    /// Hands waiting events to the observers now, and has them send what they hold back: at most a
    /// second of waiting for each of dace's own, in which the thread is blocked. It waits for nobody
    /// who delivers meanwhile: then what was delivered so far is sent, and the rest is that one's.
    /// [`close`](Self::close) waits for all of it.
    ///
    /// What nobody delivers before the last handle goes is lost.
    pub fn flush(&self) {
        self.shared.deliver_all();
        self.shared.flush_observers();
    }

    /// Takes no more calls, waits at most `within` for those under way, hands over all events and
    /// [flushes](Self::flush) the observers, which blocks the thread, mostly for some milliseconds, for
    /// a second at most for each of dace's own whose receiver hangs. The future answers how many calls were still under way then.
    pub fn close(&self, within: Duration) -> Close<R, B> {
        Close::new(self.shared.clone(), within)
    }
}

impl<R: Runtime, B> Clone for Dependency<R, B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

impl<R: Runtime, B> fmt::Debug for Dependency<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dependency").field("id", &self.shared.id).finish_non_exhaustive()
    }
}
