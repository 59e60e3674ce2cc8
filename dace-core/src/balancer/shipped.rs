//! The balancers that dace ships, as builders take them.

use alloc::vec::Vec;

use super::member::{Member, Place, parse};
use super::{Kind, LoadBalancer};
use crate::ConfigError;
use crate::machine::balancer::{self, Balance};
use crate::policy::Thousandths;

macro_rules! shipped {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $name(Result<Vec<Place>, ConfigError>);

        impl $name {
            /// Over these targets.
            pub fn new<I: IntoIterator<Item: Into<Member>>>(targets: I) -> Self {
                Self(parse("load_balancer", targets))
            }
        }

        impl From<$name> for LoadBalancer {
            fn from($name(targets): $name) -> Self {
                Self(Kind::Shipped(Balance::$name, targets))
            }
        }
    )*};
}

shipped! {
    /// One target after the other; those that are open, paused or full are passed over. The heavier ones
    /// come more often, and never several times in a row without need (nginx's smooth round robin).
    RoundRobin;

    /// Power of two choices by peak-EWMA: of two targets drawn at random the one that is cheaper, by its
    /// latency and by what is open there. The default for a list of targets.
    PeakEwma;

    /// Power of two choices by open operations: of two targets drawn at random the one that has fewer open
    /// for its weight.
    LeastOpen;
}

/// Rendezvous hashing: calls with the same [sticky key](crate::Execution::sticky) go to the same target,
/// in every process; when a target goes, its keys alone move, and when it comes back they return.
///
/// A key whose target is full waits for it, if there is a [queue](crate::DependencyBuilder::queue), and is
/// refused else; with [`bounded_load`](Self::bounded_load) it goes to its next one. A key whose target's
/// circuit is open, that pauses, or that failed the last attempt of the call, goes to its next one too. A
/// call without a key goes where [`LeastOpen`] would send it.
///
/// ```
/// # use dace_core::{LoadBalancer, Rendezvous};
/// let targets = ["http://10.0.0.1:8080", "http://10.0.0.2:8080"];
/// let balancer: LoadBalancer = Rendezvous::new(targets).bounded_load(1.25).into();
/// ```
#[derive(Debug)]
pub struct Rendezvous {
    targets: Result<Vec<Place>, ConfigError>,
    bound: Option<Thousandths>,
}

impl Rendezvous {
    /// Over these targets.
    pub fn new<I: IntoIterator<Item: Into<Member>>>(targets: I) -> Self {
        Self { targets: parse("load_balancer", targets), bound: None }
    }

    /// No target gets more than so many times its part, by weight, of all that is open: what would be more
    /// goes to the key's next target. Default: no bound. From 1 to 1,000; 1.25 is the usual number, lower
    /// ones move more keys.
    #[must_use]
    pub fn bounded_load(mut self, factor: f64) -> Self {
        self.bound = Some(Thousandths::of(factor));
        self
    }
}

impl From<Rendezvous> for LoadBalancer {
    fn from(Rendezvous { targets, bound }: Rendezvous) -> Self {
        let targets = match bound {
            Some(Thousandths(1_000..=1_000_000)) | None => targets,
            Some(_) => {
                let problem = "must be a number from 1 to 1000; 1.25 is the usual one";
                Err(ConfigError::new("load_balancer.bounded_load", problem))
            }
        };
        let bound = bound.map(|Thousandths(bound)| bound);
        Self(Kind::Shipped(Balance::Rendezvous(balancer::Rendezvous { bound }), targets))
    }
}
