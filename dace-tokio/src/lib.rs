//! dace on tokio and hyper: a [`Runtime`](dace_core::Runtime) and an
//! [`HttpBackend`](dace_core::HttpBackend), nothing else.
//!
//! Every decision is the core's. This crate opens sockets, frames bytes, and says exactly what went
//! wrong.
#![forbid(unsafe_code)]

mod backend;
mod body;
mod connect;
mod connection;
mod dial;
mod fault;
mod head;
#[cfg(feature = "http2")]
mod heads;
#[cfg(feature = "http2")]
mod http2;
mod message;
#[cfg(not(any(feature = "rustls", feature = "rustls-ring")))]
mod no_tls;
mod pool;
mod reader;
mod relay;
mod route;
mod runtime;
mod socket;
mod socks;
#[cfg(feature = "http2")]
mod streams;
#[cfg(any(feature = "rustls", feature = "rustls-ring"))]
mod tls;
mod tunnel;
#[cfg(feature = "http2")]
mod turns;
mod upload;
mod wire;

#[cfg(not(any(feature = "rustls", feature = "rustls-ring")))]
use no_tls as security;
#[cfg(any(feature = "rustls", feature = "rustls-ring"))]
use tls as security;

pub use backend::HyperBackend;
pub use body::HyperBody;
pub use fault::HyperError;
pub use head::HyperHead;
pub use reader::reader;
pub use runtime::TokioRuntime;

/// A dependency on tokio and hyper.
pub type Dependency = dace_core::Dependency<TokioRuntime, HyperBackend>;

/// What makes one.
pub type DependencyBuilder = dace_core::DependencyBuilder<TokioRuntime, HyperBackend>;

/// What a wrapped function gets.
pub type Call = dace_core::Call<TokioRuntime, HyperBackend>;

/// An answer.
pub type Response = dace_core::Response<TokioRuntime, HyperBackend>;

/// Answers that are kept, for [`cached`](dace_core::Execution::cached) calls.
pub type Cache<K, T> = dace_core::Cache<TokioRuntime, K, T>;

/// Calls that may share their answers, for [`shared`](dace_core::Execution::shared) calls.
pub type Group<K, T, E> = dace_core::Group<TokioRuntime, K, T, E>;

/// The dependency that decorated functions with this id share here: for snapshots, control by hand and new
/// targets.
///
/// The id is that of the attribute, or the function's path (`my_crate::api::user`). `None` before the first
/// call of such a function, which builds it, and if its settings are wrong.
#[must_use]
pub fn dependency(id: &str) -> Option<Dependency> {
    dace_core::decorated::find(id)
}

/// tokio and hyper: what `runtime = dace::tokio::Tokio` stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl dace_core::Adapter for Tokio {
    type Runtime = TokioRuntime;
    type Backend = HyperBackend;
}
