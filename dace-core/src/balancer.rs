//! Balancers: how attempts are spread over targets.

mod member;
mod shipped;
mod view;

use core::convert::Infallible;

use alloc::sync::Arc;
use alloc::vec::Vec;

pub(crate) use member::{Options, Place, check_weight, parse, twice};
pub(crate) use view::Source;

pub use member::Member;
pub use shipped::{LeastOpen, PeakEwma, Rendezvous, RoundRobin};
pub use view::{EndpointView, Pick};

use crate::machine::balancer::Balance;
use crate::{ConfigError, Target, TargetError};

/// A balancer of your own: it proposes where an attempt goes.
///
/// It runs outside every lock. What it proposes is checked: a target that is open, paused or full, or
/// that this call has tried, is asked for again, at most 3 times; then the call is refused. It may
/// name a target that is in no list.
///
/// A closure that returns a `(scheme, netloc)` pair is one too:
///
/// ```
/// # use dace_core::{Balancer, LoadBalancer};
/// let balancer: LoadBalancer = (|| ("http", "10.0.0.1:8080")).into();
/// ```
pub trait Balancer: Send + Sync + 'static {
    /// The target for an attempt, `None` if there is none.
    ///
    /// # Errors
    /// If what it would name is no target. The call then ends with a configuration error.
    fn pick(&self, pick: &Pick<'_>) -> Result<Option<Target>, TargetError>;
}

impl<F, T> Balancer for F
where
    F: Fn() -> T + Send + Sync + 'static,
    T: TryInto<Target, Error: Into<TargetError>>,
{
    fn pick(&self, _: &Pick<'_>) -> Result<Option<Target>, TargetError> {
        self().try_into().map(Some).map_err(Into::into)
    }
}

impl From<Infallible> for TargetError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Any balancer, as [`load_balancer`](crate::DependencyBuilder::load_balancer) takes it.
pub struct LoadBalancer(pub(crate) Kind);

pub(crate) enum Kind {
    Shipped(Balance, Result<Vec<Place>, ConfigError>),
    Custom(Arc<dyn Balancer>),
}

impl core::fmt::Debug for LoadBalancer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match &self.0 {
            Kind::Shipped(Balance::PeakEwma, _) => "PeakEwma",
            Kind::Shipped(Balance::RoundRobin, _) => "RoundRobin",
            Kind::Shipped(Balance::LeastOpen, _) => "LeastOpen",
            Kind::Shipped(Balance::Rendezvous(_), _) => "Rendezvous",
            Kind::Custom(_) => "custom balancer",
        })
    }
}

/// What [`load_balancer`](crate::DependencyBuilder::load_balancer) takes: all that becomes a [`LoadBalancer`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no balancer",
    label = "give a closure that returns `(scheme, netloc)`, a `dace::RoundRobin`, or a `dace::Balancer` of yours"
)]
pub trait IntoLoadBalancer: Into<LoadBalancer> {}

#[diagnostic::do_not_recommend]
impl<B: Into<LoadBalancer>> IntoLoadBalancer for B {}

impl<B: Balancer> From<B> for LoadBalancer {
    fn from(balancer: B) -> Self {
        Self(Kind::Custom(Arc::new(balancer)))
    }
}
