//! dace on tokio and hyper: a [`Runtime`](dace_core::Runtime) and an
//! [`HttpBackend`](dace_core::HttpBackend), nothing else.
//!
//! Every decision is the core's, and how hyper is used is [`dace_hyper`]'s. This crate has the clock, the
//! sockets and the tasks.
#![forbid(unsafe_code)]

mod net;
mod reader;
mod runtime;

pub use dace_hyper::{HyperError, HyperHead};
pub use reader::reader;
pub use runtime::TokioRuntime;

/// HTTP over hyper, on tokio. An exchange outside of a runtime is an error.
pub type HyperBackend = dace_hyper::HyperBackend<TokioRuntime>;

/// The body of an answer.
pub type HyperBody = dace_hyper::HyperBody<TokioRuntime>;

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
