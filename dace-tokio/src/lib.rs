//! dace on tokio and hyper: a [`Runtime`](dace_core::Runtime) and an
//! [`HttpBackend`](dace_core::HttpBackend), nothing else.
//!
//! Every decision is the core's. This crate opens sockets, frames bytes, and says exactly what went
//! wrong.
#![forbid(unsafe_code)]

mod backend;
mod body;
mod connect;
mod fault;
mod head;
mod pool;
mod runtime;
mod wire;

pub use backend::HyperBackend;
pub use body::HyperBody;
pub use fault::HyperError;
pub use head::HyperHead;
pub use runtime::TokioRuntime;

/// tokio and hyper: what `runtime = dace::tokio::Tokio` stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl dace_core::Adapter for Tokio {
    type Runtime = TokioRuntime;
    type Backend = HyperBackend;
}
