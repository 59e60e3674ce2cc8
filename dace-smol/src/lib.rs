//! dace on smol (async-io) and isahc: a [`Runtime`](dace_core::Runtime) and an
//! [`HttpBackend`](dace_core::HttpBackend), nothing else.
//!
//! Every decision is the core's. This crate hands requests to libcurl in a way that keeps it from
//! deciding anything itself, and says as exactly as libcurl allows what went wrong. What it cannot keep
//! it from is listed with [`IsahcBackend`]. With the feature `hyper`, the module of that name has hyper in its place.
#![forbid(unsafe_code)]

mod backend;
mod body;
mod clients;
mod fault;
mod head;
#[cfg(feature = "hyper")]
pub mod hyper;
mod meaning;
mod message;
mod quiet;
mod reader;
mod runtime;
mod silence;
#[cfg_attr(not(feature = "rustls"), path = "no_trust.rs")]
mod trust;

pub use backend::IsahcBackend;
pub use body::IsahcBody;
pub use fault::IsahcError;
pub use head::IsahcHead;
/// isahc's own TLS settings, for [`DependencyBuilder::tls`].
#[cfg(feature = "rustls")]
pub use isahc::tls;
pub use reader::reader;
pub use runtime::{Sleep, SmolRuntime};
pub use trust::Tls;

/// A dependency on smol and isahc.
pub type Dependency = dace_core::Dependency<SmolRuntime, IsahcBackend>;

/// What makes one.
pub type DependencyBuilder = dace_core::DependencyBuilder<SmolRuntime, IsahcBackend>;

/// What a wrapped function gets.
pub type Call = dace_core::Call<SmolRuntime, IsahcBackend>;

/// An answer.
pub type Response = dace_core::Response<SmolRuntime, IsahcBackend>;

/// Answers that are kept, for [`cached`](dace_core::Execution::cached) calls.
pub type Cache<K, T> = dace_core::Cache<SmolRuntime, K, T>;

/// Calls that may share their answers, for [`shared`](dace_core::Execution::shared) calls.
pub type Group<K, T, E> = dace_core::Group<SmolRuntime, K, T, E>;

/// The dependency that decorated functions with this id share here: for snapshots, control by hand and new
/// targets.
///
/// The id is that of the attribute, or the function's path (`my_crate::api::user`). `None` before the first
/// call of such a function, which builds it, and if its settings are wrong.
#[must_use]
pub fn dependency(id: &str) -> Option<Dependency> {
    dace_core::decorated::find(id)
}

/// smol and isahc: what `runtime = dace::smol::Smol` stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Smol;

impl dace_core::Adapter for Smol {
    type Runtime = SmolRuntime;
    type Backend = IsahcBackend;
}
