//! The driver: it carries out what the machines decide.

mod builder;
mod cached;
mod call;
mod client;
mod close;
mod coalesce;
mod control;
mod dependency;
mod drive;
mod enter;
mod exchange;
mod execution;
mod fallback;
mod judge;
mod part;
mod reading;
#[cfg(feature = "std")]
mod registry;
mod request;
mod rescued;
mod response;
mod shared;
mod targets;
mod timer;

pub use builder::DependencyBuilder;
pub use cached::{Cache, Cached};
pub use call::Call;
pub use client::{Agent, Http};
pub use close::Close;
pub use coalesce::{Coalesced, Group};
pub use control::CircuitControl;
pub use dependency::Dependency;
pub use execution::{Execution, Reported};
pub use fallback::{Fallback, NoFallback, OrElse};
pub use judge::{ByFn, ByType, Judge, Sourced};
#[doc(hidden)]
pub use part::{Base, Story};
pub use part::{Failure, Part};
pub use request::RequestBuilder;
pub use rescued::Rescued;
pub use response::Response;
