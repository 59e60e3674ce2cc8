//! The core of dace: every decision, and the driver that carries them out, without std.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

mod balancer;
mod class;
mod cluster;
#[cfg(feature = "std")]
#[doc(hidden)]
pub mod decorated;
mod dependency_id;
mod driver;
mod error;
mod event;
pub mod http;
mod instant;
pub mod machine;
mod netloc;
mod observer;
mod policy;
mod refusal;
mod render;
mod report;
mod runtime;
#[cfg(feature = "serde")]
mod serde_impls;
mod shared_limit;
#[cfg(feature = "std")]
mod std_impls;

pub use balancer::{
    Balancer, EndpointView, IntoLoadBalancer, LeastOpen, LoadBalancer, Member, PeakEwma, Pick,
    Rendezvous, RoundRobin,
};
pub use class::{Class, Classify};
pub use cluster::{ByClass, ByWhy, EndpointSnapshot, Snapshot, Totals};
#[cfg(feature = "std")]
pub use decorated::reset;
pub use driver::{
    Agent, ByFn, ByType, Call, CircuitControl, Close, Dependency, DependencyBuilder, Execution,
    Fallback, Http, Judge, NoFallback, OrElse, Reported, RequestBuilder, Response, Sourced,
};
#[doc(hidden)]
pub use driver::{Base, Story};
pub use driver::{Cache, Cached, Coalesced, Failure, Group, Part, Rescued};
pub use error::{ConfigError, Error, Trail, WaitCause, Why};
pub use event::{Control, Event, Outcome, Phase, What};
pub use http::{DeadlineHeader, HttpBackend, HttpError, NoHttp};
pub use instant::Instant;
pub use machine::circuit::CircuitState;
pub use netloc::{Netloc, Scheme, Target, TargetError};
pub use observer::{Observer, Span};
pub use policy::{
    AdaptiveLimit, Backoff, Balancing, Bounds, Breaker, Budget, CachePolicy, Hedge, Hints, Lint,
    Policy, Priority, RateLimit, Throttle,
};
pub use refusal::{Reason, Refusal};
pub use report::{AttemptReport, Report};
pub use runtime::{Adapter, Lock, Runtime};
pub use shared_limit::{SharedLimit, SharedLimitSnapshot};
