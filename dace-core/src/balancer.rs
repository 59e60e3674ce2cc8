//! Balancers: how attempts are spread over targets.

use core::convert::Infallible;

use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::cluster::Shipped;
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

/// What a balancer may look at.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Pick<'a> {
    /// The dependency's targets, as they are now.
    pub targets: &'a [Target],
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// How often it was asked for this attempt before: its proposals were refused, or had been tried.
    pub asked: u32,
    /// The sticky key of the call, if it has one.
    pub key: Option<&'a str>,
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
    Shipped(Shipped, Result<Vec<Target>, ConfigError>),
    Custom(Arc<dyn Balancer>),
}

impl core::fmt::Debug for LoadBalancer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match &self.0 {
            Kind::Shipped(Shipped::PeakEwma, _) => "PeakEwma",
            Kind::Shipped(Shipped::RoundRobin, _) => "RoundRobin",
            Kind::Custom(_) => "custom balancer",
        })
    }
}

impl<B: Balancer> From<B> for LoadBalancer {
    fn from(balancer: B) -> Self {
        Self(Kind::Custom(Arc::new(balancer)))
    }
}

/// One target after the other; those that are open, paused or full are passed over.
#[derive(Debug)]
pub struct RoundRobin(Result<Vec<Target>, ConfigError>);

impl RoundRobin {
    /// Over these targets.
    pub fn new<I>(targets: I) -> Self
    where
        I: IntoIterator<Item: TryInto<Target, Error: Into<TargetError>>>,
    {
        Self(parse("load_balancer", targets))
    }
}

impl From<RoundRobin> for LoadBalancer {
    fn from(RoundRobin(targets): RoundRobin) -> Self {
        Self(Kind::Shipped(Shipped::RoundRobin, targets))
    }
}

/// Power of two choices by peak-EWMA: of two targets drawn at random the one that is cheaper, by its
/// latency and by what is open there. The default for a list of targets.
#[derive(Debug)]
pub struct PeakEwma(Result<Vec<Target>, ConfigError>);

impl PeakEwma {
    /// Over these targets.
    pub fn new<I>(targets: I) -> Self
    where
        I: IntoIterator<Item: TryInto<Target, Error: Into<TargetError>>>,
    {
        Self(parse("load_balancer", targets))
    }
}

impl From<PeakEwma> for LoadBalancer {
    fn from(PeakEwma(targets): PeakEwma) -> Self {
        Self(Kind::Shipped(Shipped::PeakEwma, targets))
    }
}

/// Targets from whatever names them: not empty, none twice.
pub(crate) fn parse<I>(setting: &'static str, targets: I) -> Result<Vec<Target>, ConfigError>
where
    I: IntoIterator<Item: TryInto<Target, Error: Into<TargetError>>>,
{
    let mut list: Vec<Target> = Vec::new();
    for target in targets {
        let target = target.try_into().map_err(|error| {
            let error: TargetError = error.into();
            ConfigError::new(
                setting,
                alloc::format!("must name targets such as `http://10.0.0.1:8080`: {error}"),
            )
        })?;
        list.push(target);
    }
    if list.is_empty() {
        return Err(ConfigError::new(setting, "must name at least one target"));
    }
    let mut sorted: Vec<&Target> = list.iter().collect();
    sorted.sort();
    if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        let problem = alloc::format!("names {} twice; name every target once", pair[0]);
        return Err(ConfigError::new(setting, problem));
    }
    Ok(list)
}
