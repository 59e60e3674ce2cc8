#![cfg_attr(all(feature = "tokio", feature = "smol", feature = "sim", feature = "macros"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "tokio", feature = "smol", feature = "sim", feature = "macros")),
    doc = "Calls to other services that survive."
)]
#![forbid(unsafe_code)]

#[cfg(feature = "tracing")]
mod logs;
#[cfg(feature = "metrics")]
mod metrics;
#[cfg(any(feature = "statsd", feature = "metrics", feature = "tracing"))]
mod names;
#[cfg(feature = "statsd")]
mod statsd;

pub use dace_core::*;

#[cfg(feature = "macros")]
pub use dace_macros::fault_tolerant;

#[cfg(feature = "tracing")]
pub use logs::Logs;
#[cfg(feature = "metrics")]
pub use metrics::Metrics;
#[cfg(feature = "statsd")]
pub use statsd::{Statsd, StatsdExt};

/// On tokio and hyper: `dace::tokio::Dependency`, with the feature `tokio`.
#[cfg(feature = "tokio")]
pub use dace_tokio as tokio;

/// On smol and isahc: `dace::smol::Dependency`, with the feature `smol`; on smol and hyper:
/// `dace::smol::hyper::Dependency`, with the feature `smol-hyper`.
#[cfg(feature = "smol")]
pub use dace_smol as smol;

/// Virtual time and scripted servers: test what dace does without waiting.
#[cfg(feature = "sim")]
pub use dace_sim as sim;

#[cfg(all(feature = "tokio", feature = "macros"))]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {
    #[cfg(feature = "json")]
    #[doc = include_str!("../docs/http.md")]
    pub mod http {}
}

#[cfg(all(feature = "tokio", feature = "tracing", feature = "statsd", feature = "metrics"))]
#[doc = include_str!("../docs/observing.md")]
pub mod observing {}
