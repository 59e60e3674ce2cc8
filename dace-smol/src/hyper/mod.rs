//! dace on smol and hyper, which costs a request much less than isahc does, and tells more of what went wrong.
//!
//! It runs under any executor. An exchange over HTTP/1.1 needs no other one than the caller's; names are looked up on
//! threads that may block, and what closes idle connections, and connections of HTTP/2, have a thread of dace's own.
//!
//!     use dace_smol::hyper::{Call, Dependency};
//!
//!     # fn main() -> Result<(), dace_core::ConfigError> {
//!     let users = Dependency::builder("users").targets(["http://127.0.0.1:8080"]).build()?;
//!     let user = users.call(|call: Call| async move { call.http().get("/7").send().await?.text().await });
//!     # drop(user);
//!     # Ok(())
//!     # }

mod net;
mod socket;

pub use dace_hyper::{HyperError, HyperHead, Tls};
pub use socket::Socket;

pub use crate::{SmolRuntime, reader};

/// HTTP over hyper, on smol.
pub type HyperBackend = dace_hyper::HyperBackend<SmolRuntime>;

/// The body of an answer.
pub type HyperBody = dace_hyper::HyperBody<SmolRuntime>;

/// A dependency on smol and hyper.
pub type Dependency = dace_core::Dependency<SmolRuntime, HyperBackend>;

/// What makes one.
pub type DependencyBuilder = dace_core::DependencyBuilder<SmolRuntime, HyperBackend>;

/// What a wrapped function gets.
pub type Call = dace_core::Call<SmolRuntime, HyperBackend>;

/// An answer.
pub type Response = dace_core::Response<SmolRuntime, HyperBackend>;

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

/// smol and hyper: what `runtime = dace::smol::hyper::Smol` stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Smol;

impl dace_core::Adapter for Smol {
    type Runtime = SmolRuntime;
    type Backend = HyperBackend;
}
