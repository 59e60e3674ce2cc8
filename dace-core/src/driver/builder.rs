//! The builder: every setting, checked in one place.

mod http;

use core::fmt;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::dependency::Dependency;
use super::shared::Shared;
use crate::balancer::{self, Kind, LoadBalancer};
use crate::cluster::{Cluster, Selection, Shipped};
use crate::dependency_id;
use crate::http::Connect;
use crate::machine::circuit::CircuitRules;
use crate::policy::Policy;
use crate::{
    Backoff, Breaker, Budget, ConfigError, HttpBackend, Lock, Observer, Runtime, Target,
    TargetError,
};

/// Makes a [`Dependency`]. Every setting has a default that is safe in production; all are checked in
/// [`build`](Self::build).
///
/// `Duration::MAX` means never, in every setting. Zero is an error where it is not said to mean
/// something.
pub struct DependencyBuilder<R: Runtime, B: HttpBackend> {
    id: String,
    timeout: Duration,
    attempt_timeout: Duration,
    retry_attempts: u32,
    retry_on_timeout: bool,
    idempotent: bool,
    max_open_per_netloc: u32,
    queue: usize,
    expected_in: Option<Duration>,
    hang_after: Option<Duration>,
    connect_timeout: Duration,
    http_pool_size: u32,
    stall_timeout: Duration,
    body_limit: usize,
    circuit_reset_timeout: Duration,
    breaker: Breaker,
    backoff: Backoff,
    budget: Budget,
    hint_max: Duration,
    max_netlocs: usize,
    targets: Option<Result<Vec<Target>, ConfigError>>,
    load_balancer: Option<LoadBalancer>,
    observers: Result<Vec<Box<dyn Observer>>, ConfigError>,
    http: http::Settings<B::Tls>,
    runtime: core::marker::PhantomData<fn() -> R>,
}

impl<R: Runtime, B: HttpBackend> DependencyBuilder<R, B> {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            timeout: Duration::from_secs(5),
            attempt_timeout: Duration::MAX,
            retry_attempts: 3,
            retry_on_timeout: false,
            idempotent: true,
            max_open_per_netloc: 10,
            queue: 0,
            expected_in: None,
            hang_after: None,
            connect_timeout: Duration::from_secs(1),
            http_pool_size: 10,
            stall_timeout: Duration::from_secs(20),
            body_limit: 64 * 1024 * 1024,
            circuit_reset_timeout: Duration::from_secs(10),
            breaker: Breaker::new(),
            backoff: Backoff::new(),
            budget: Budget::new(),
            hint_max: Duration::from_secs(30),
            max_netlocs: 10_000,
            targets: None,
            load_balancer: None,
            observers: Ok(Vec::new()),
            http: http::Settings::new(),
            runtime: core::marker::PhantomData,
        }
    }

    /// For the whole call: every attempt, every wait, every body that the function reads. Default 5 s.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// No timeout for the call. An attempt that is dropped then never counts as hung, unless
    /// [`hang_after`](Self::hang_after) or [`expected_in`](Self::expected_in) is set.
    #[must_use]
    pub fn no_timeout(self) -> Self {
        self.timeout(Duration::MAX)
    }

    /// For one attempt. Default: none. An attempt that it ends is retried only with
    /// [`retry_on_timeout`](Self::retry_on_timeout).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = timeout;
        self
    }

    /// Retries after the first attempt: **the function may run `1 + retry_attempts` times**. Default
    /// 3; 0 means none.
    ///
    /// HTTP requests that must not happen twice are not repeated, dace sees to that. What a function
    /// does without dace's HTTP client it cannot see: if running an `INSERT` twice does harm, say
    /// [`idempotent(false)`](Self::idempotent).
    #[must_use]
    pub fn retry_attempts(mut self, attempts: u32) -> Self {
        self.retry_attempts = attempts;
        self
    }

    /// Whether an attempt that ended in a timeout of its own may be retried. Default `false`. A
    /// timeout while connecting is not one of these: nothing was sent, so it always may.
    #[must_use]
    pub fn retry_on_timeout(mut self, retry: bool) -> Self {
        self.retry_on_timeout = retry;
        self
    }

    /// Whether running the function again after it failed does no harm. Default `true`. With `false`
    /// an attempt is repeated only if nothing reached a server, or if it asked for it.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = idempotent;
        self
    }

    /// Operations open at one netloc at a time. Default 10; zero is an error.
    #[must_use]
    pub fn max_open_per_netloc(mut self, limit: u32) -> Self {
        self.max_open_per_netloc = limit;
        self
    }

    /// Calls that may wait for a permit. Default 0: a call that finds everything full is refused.
    #[must_use]
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// An attempt that takes longer is a failure for the circuit, whatever it returned. It changes
    /// nothing else. Default: none.
    #[must_use]
    pub fn expected_in(mut self, duration: Duration) -> Self {
        self.expected_in = Some(duration);
        self
    }

    /// How long an attempt must have run for its being dropped to count as a timeout of the server.
    /// Default: `expected_in` if that is set, else half of the call's own timeout, and never with
    /// `no_timeout`.
    #[must_use]
    pub fn hang_after(mut self, duration: Duration) -> Self {
        self.hang_after = Some(duration);
        self
    }

    /// For name resolution, TCP, TLS handshake and proxy tunnel together. Default 1 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// The most HTTP connections per netloc, busy and idle together. Default 10; zero is an error.
    #[must_use]
    pub fn http_pool_size(mut self, connections: u32) -> Self {
        self.http_pool_size = connections;
        self
    }

    /// How long a body may send nothing while it is being read. Default 20 s.
    #[must_use]
    pub fn stall_timeout(mut self, timeout: Duration) -> Self {
        self.stall_timeout = timeout;
        self
    }

    /// The most bytes that `bytes` and `text` read of one body. Default 64 MiB; zero is an error.
    #[must_use]
    pub fn body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// How long a circuit stays open at first; it doubles while probes fail. Default 10 s; 0
    /// switches the breaker off.
    #[must_use]
    pub fn circuit_reset_timeout(mut self, timeout: Duration) -> Self {
        self.circuit_reset_timeout = timeout;
        self
    }

    /// When circuits open and close. Default [`Breaker::new`].
    #[must_use]
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.breaker = breaker;
        self
    }

    /// The waits between attempts. Default [`Backoff::new`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What pays for retries. Default [`Budget::new`].
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The longest pause that a server may ask for. Default 30 s; zero is an error.
    #[must_use]
    pub fn hint_max(mut self, max: Duration) -> Self {
        self.hint_max = max;
        self
    }

    /// Netlocs that are accounted one by one; those beyond share one entry. Default 10,000; zero is an
    /// error. Listed targets are always accounted one by one.
    #[must_use]
    pub fn max_netlocs(mut self, netlocs: usize) -> Self {
        self.max_netlocs = netlocs;
        self
    }

    /// The servers to balance over, by power of two choices with peak-EWMA. Relative URLs ride on the
    /// picked one. Default: none, the function names its servers itself.
    #[must_use]
    pub fn targets<I>(mut self, targets: I) -> Self
    where
        I: IntoIterator<Item: TryInto<Target, Error: Into<TargetError>>>,
    {
        self.targets = Some(balancer::parse("targets", targets));
        self
    }

    /// What picks the server of an attempt: a closure that returns a `(scheme, netloc)` pair,
    /// [`RoundRobin`](crate::RoundRobin), [`PeakEwma`](crate::PeakEwma), or a
    /// [`Balancer`](crate::Balancer) of your own.
    #[must_use]
    pub fn load_balancer(mut self, balancer: impl Into<LoadBalancer>) -> Self {
        self.load_balancer = Some(balancer.into());
        self
    }

    /// Somebody who sees every event. Any number of them.
    #[must_use]
    pub fn observer(mut self, observer: impl Observer) -> Self {
        if let Ok(observers) = &mut self.observers {
            observers.push(Box::new(observer));
        }
        self
    }

    /// An observer that could be made, or the error that [`build`](Self::build) ends with: for
    /// extensions whose observers have settings of their own.
    #[must_use]
    pub fn try_observer(mut self, observer: Result<impl Observer, ConfigError>) -> Self {
        match observer {
            Ok(observer) => return self.observer(observer),
            Err(error) => self.observers = self.observers.and(Err(error)),
        }
        self
    }

    /// The dependency, on a runtime and a backend of its own making.
    ///
    /// # Errors
    /// The first setting that cannot be used, and what would be right.
    pub fn build(mut self) -> Result<Dependency<R, B>, ConfigError>
    where
        R: Default,
        B: Connect,
    {
        let pool_size = self.http_pool_size;
        let settings = self.http.backend_settings(pool_size)?;
        let runtime = R::default();
        let prepared = self.prepare(&runtime)?;
        Ok(prepared.assemble(runtime, B::connect(settings)?))
    }

    /// The dependency, on a runtime and a backend that are ready.
    ///
    /// # Errors
    /// The first setting that cannot be used, and what would be right. A setting that concerns the
    /// backend alone is an error here: the backend is made already.
    pub fn build_with(self, runtime: R, backend: B) -> Result<Dependency<R, B>, ConfigError> {
        self.http.refuse_backend_settings()?;
        Ok(self.prepare(&runtime)?.assemble(runtime, backend))
    }

    fn prepare(self, runtime: &R) -> Result<Prepared, ConfigError> {
        let id = dependency_id::sanitise(&self.id)
            .ok_or_else(|| ConfigError::new("dependency_id", "must not be empty"))?;
        positive("timeout", self.timeout, "use `no_timeout()` to switch it off")?;
        positive("attempt_timeout", self.attempt_timeout, "leave it out to switch it off")?;
        positive("connect_timeout", self.connect_timeout, "the default is 1 s")?;
        positive("stall_timeout", self.stall_timeout, "`Duration::MAX` switches it off")?;
        positive("hint_max", self.hint_max, "the default is 30 s")?;
        if let Some(expected_in) = self.expected_in {
            positive("expected_in", expected_in, "leave it out to switch it off")?;
        }
        if let Some(hang_after) = self.hang_after {
            positive("hang_after", hang_after, "`Duration::MAX` switches it off")?;
        }
        not_zero("max_open_per_netloc", self.max_open_per_netloc as usize, "allow at least 1")?;
        not_zero("http_pool_size", self.http_pool_size as usize, "allow at least 1")?;
        not_zero("body_limit", self.body_limit, "allow at least one byte")?;
        not_zero("max_netlocs", self.max_netlocs, "allow at least 1")?;
        self.breaker.validate()?;
        self.backoff.validate()?;
        self.budget.validate()?;
        let observers = self.observers?;
        let (selection, balancer) = select(self.targets, self.load_balancer)?;
        let policy = Policy {
            id,
            timeout: self.timeout,
            attempt_timeout: self.attempt_timeout,
            retry_attempts: self.retry_attempts,
            retry_on_timeout: self.retry_on_timeout,
            idempotent: self.idempotent,
            max_open_per_netloc: self.max_open_per_netloc,
            queue: self.queue,
            expected_in: self.expected_in.unwrap_or(Duration::MAX),
            hang_after: self.hang_after,
            connect_timeout: self.connect_timeout,
            http_pool_size: self.http_pool_size,
            stall_timeout: self.stall_timeout,
            body_limit: self.body_limit,
            client: self.http.client_rules(runtime)?,
            circuit: CircuitRules::new(&self.breaker, self.circuit_reset_timeout),
            backoff: self.backoff,
            budget: self.budget,
            hint_max: self.hint_max,
            max_netlocs: self.max_netlocs,
            observed: !observers.is_empty(),
        };
        Ok(Prepared { policy, selection, balancer, observers })
    }
}

/// Settings that were checked.
struct Prepared {
    policy: Policy,
    selection: Selection,
    balancer: Option<Arc<dyn balancer::Balancer>>,
    observers: Vec<Box<dyn Observer>>,
}

impl Prepared {
    fn assemble<R: Runtime, B: HttpBackend>(self, runtime: R, backend: B) -> Dependency<R, B> {
        let Self { policy, selection, balancer, observers } = self;
        let targets = R::Lock::new(Arc::new(selection.targets().to_vec()));
        let cluster = Cluster::new(runtime.now(), &policy, selection, runtime.seed());
        let cluster = R::Lock::new(cluster);
        let shared = Shared { runtime, backend, policy, cluster, balancer, targets, observers };
        let shared = Arc::new(shared);
        #[cfg(feature = "std")]
        super::registry::enlist(&shared);
        Dependency { shared }
    }
}

type Selected = (Selection, Option<Arc<dyn balancer::Balancer>>);

fn select(
    targets: Option<Result<Vec<Target>, ConfigError>>,
    load_balancer: Option<LoadBalancer>,
) -> Result<Selected, ConfigError> {
    Ok(match (targets.transpose()?, load_balancer) {
        (None, None) => (Selection::Function, None),
        (Some(targets), None) => (Selection::Balanced(Shipped::PeakEwma, targets), None),
        (targets, Some(LoadBalancer(Kind::Custom(balancer)))) => {
            (Selection::Custom(targets.unwrap_or_default()), Some(balancer))
        }
        (None, Some(LoadBalancer(Kind::Shipped(shipped, targets)))) => {
            (Selection::Balanced(shipped, targets?), None)
        }
        (Some(_), Some(LoadBalancer(Kind::Shipped(..)))) => {
            let problem = "are named by the load balancer already; name them in one place";
            return Err(ConfigError::new("targets", problem));
        }
    })
}

fn positive(setting: &'static str, value: Duration, instead: &str) -> Result<(), ConfigError> {
    if value.is_zero() {
        return Err(ConfigError::new(setting, format!("must be longer than zero; {instead}")));
    }
    Ok(())
}

fn not_zero(setting: &'static str, value: usize, instead: &str) -> Result<(), ConfigError> {
    if value == 0 {
        return Err(ConfigError::new(setting, format!("must not be zero; {instead}")));
    }
    Ok(())
}

impl<R: Runtime, B: HttpBackend> fmt::Debug for DependencyBuilder<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DependencyBuilder").field("id", &self.id).finish_non_exhaustive()
    }
}
