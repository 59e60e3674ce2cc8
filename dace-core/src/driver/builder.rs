//! The builder: every setting, checked in one place.

mod http;

use core::fmt;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::dependency::Dependency;
use super::shared::{Shared, State};
use crate::balancer::{self, IntoLoadBalancer, Kind, LoadBalancer, Member, Place};
use crate::cluster::{Cluster, Selection};
use crate::dependency_id;
use crate::http::Connect;
use crate::machine::balancer::Balance;
use crate::policy::{Balancing, ClientRules, Listing, Policy, Rules};
use crate::shared_limit::{self, Shares};
use crate::{ConfigError, HttpBackend, Lock, Observer, Runtime, SharedLimit};

/// Makes a [`Dependency`]. Every setting has a default that is safe in production; all are checked in
/// [`build`](Self::build).
///
/// `Duration::MAX` means never, in every setting. Zero is an error where it is not said to mean
/// something.
pub struct DependencyBuilder<R: Runtime, B: HttpBackend> {
    id: String,
    pub(crate) policy: Policy,
    load_balancer: Option<LoadBalancer>,
    observers: Result<Vec<Box<dyn Observer>>, ConfigError>,
    shared_limits: Vec<SharedLimit>,
    http: http::Settings<B::Tls>,
    runtime: core::marker::PhantomData<fn() -> R>,
}

impl<R: Runtime, B: HttpBackend> DependencyBuilder<R, B> {
    pub(super) fn new(id: String) -> Self {
        Self {
            id,
            policy: Policy::new(),
            load_balancer: None,
            observers: Ok(Vec::new()),
            shared_limits: Vec::new(),
            http: http::Settings::new(),
            runtime: core::marker::PhantomData,
        }
    }

    /// The servers to balance over, by power of two choices with peak-EWMA. Relative URLs ride on the
    /// picked one. Default: none, the function names its servers itself. A [`Member`] has a weight, a
    /// priority or a limit of its own.
    #[must_use]
    pub fn targets<I: IntoIterator<Item: Into<Member>>>(mut self, targets: I) -> Self {
        self.policy = self.policy.targets(targets);
        self
    }

    /// What picks the server of an attempt: a closure that returns a `(scheme, netloc)` pair,
    /// [`RoundRobin`](crate::RoundRobin), [`PeakEwma`](crate::PeakEwma), [`LeastOpen`](crate::LeastOpen),
    /// [`Rendezvous`](crate::Rendezvous), or a [`Balancer`](crate::Balancer) of your own.
    #[must_use]
    pub fn load_balancer(mut self, balancer: impl IntoLoadBalancer) -> Self {
        self.load_balancer = Some(balancer.into());
        self
    }

    /// A limit that other dependencies have a part in. Any number of them.
    #[must_use]
    pub fn shared_limit(mut self, limit: &SharedLimit) -> Self {
        self.shared_limits.push(limit.clone());
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
        let pool_size = self.policy.http_pool_size;
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
        let shared_limits = self.shared_limits;
        shared_limit::validate(&shared_limits)?;
        let mut rules = Rules::new(self.policy, !shared_limits.is_empty())?;
        let observers = self.observers?;
        let (listing, balancing) = rules.take_targets();
        let targets = listing.map(Listing::places).transpose()?;
        let (selection, balancer) = select(targets, balancing, self.load_balancer)?;
        let client = ClientRules::new(&rules, self.http.fixed(runtime)?);
        Ok(Prepared { id, rules, client, selection, balancer, observers, shared_limits })
    }
}

/// Settings that were checked.
struct Prepared {
    shared_limits: Vec<SharedLimit>,
    id: Arc<str>,
    rules: Rules,
    client: ClientRules,
    selection: Selection,
    balancer: Option<Arc<dyn balancer::Balancer>>,
    observers: Vec<Box<dyn Observer>>,
}

impl Prepared {
    fn assemble<R: Runtime, B: HttpBackend>(self, runtime: R, backend: B) -> Dependency<R, B> {
        let Self { id, rules, client, selection, balancer, observers, shared_limits } = self;
        let now = runtime.now();
        let observed = !observers.is_empty();
        let cluster = Cluster::new(now, &rules, &id, selection, observed, runtime.seed());
        let shared = Shared {
            state: R::Lock::new(State { rules, cluster }),
            client: R::Lock::new(Arc::new(client)),
            runtime,
            backend,
            id,
            balancer,
            shares: Shares::new(now, shared_limits),
            observers,
        };
        let shared = Arc::new(shared);
        #[cfg(feature = "std")]
        super::registry::enlist(&shared);
        Dependency { shared }
    }
}

type Selected = (Selection, Option<Arc<dyn balancer::Balancer>>);

fn select(
    targets: Option<Vec<Place>>,
    balancing: Option<Balancing>,
    load_balancer: Option<LoadBalancer>,
) -> Result<Selected, ConfigError> {
    if balancing.is_some() {
        let problem = match (&targets, &load_balancer) {
            (_, Some(_)) => Some("is said twice, beside `load_balancer`; say it in one place"),
            (None, None) => Some("has nothing to pick from; name `targets`"),
            (Some(_), None) => None,
        };
        if let Some(problem) = problem {
            return Err(ConfigError::new("balancer", problem));
        }
    }
    Ok(match (targets, load_balancer) {
        (None, None) => (Selection::Function, None),
        (Some(targets), None) => {
            let balance = balancing.map_or(Balance::PeakEwma, Balance::from);
            (Selection::Balanced(balance, targets), None)
        }
        (targets, Some(LoadBalancer(Kind::Custom(balancer)))) => {
            (Selection::Custom(targets.unwrap_or_default()), Some(balancer))
        }
        (None, Some(LoadBalancer(Kind::Shipped(balance, targets)))) => {
            (Selection::Balanced(balance, targets?), None)
        }
        (Some(_), Some(LoadBalancer(Kind::Shipped(..)))) => {
            let problem = "are named by the load balancer already; name them in one place";
            return Err(ConfigError::new("targets", problem));
        }
    })
}

impl<R: Runtime, B: HttpBackend> fmt::Debug for DependencyBuilder<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DependencyBuilder").field("id", &self.id).finish_non_exhaustive()
    }
}
