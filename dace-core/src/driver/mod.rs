//! The driver: it carries out what the machines decide.

mod builder;
mod call;
mod client;
mod close;
mod control;
mod dependency;
mod drive;
mod exchange;
mod execution;
mod fallback;
mod judge;
mod reading;
#[cfg(feature = "std")]
mod registry;
mod request;
mod response;
mod shared;
mod targets;
mod timer;

pub use builder::DependencyBuilder;
pub use call::Call;
pub use client::{Agent, Http};
pub use close::Close;
pub use control::CircuitControl;
pub use dependency::Dependency;
pub use execution::{Execution, Reported};
pub use fallback::{Fallback, NoFallback, OrElse};
pub use judge::{ByFn, ByType, Judge};
pub use request::RequestBuilder;
pub use response::Response;
