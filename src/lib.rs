#![cfg_attr(all(feature = "tokio", feature = "smol", feature = "sim"), doc = include_str!("../README.md"))]
#![cfg_attr(
    not(all(feature = "tokio", feature = "smol", feature = "sim")),
    doc = "Calls to other services that survive."
)]
#![forbid(unsafe_code)]

pub use dace_core::*;

/// On tokio and hyper: `dace::tokio::Dependency`, with the feature `tokio`.
#[cfg(feature = "tokio")]
pub use dace_tokio as tokio;

/// On smol and isahc: `dace::smol::Dependency`, with the feature `smol`.
#[cfg(feature = "smol")]
pub use dace_smol as smol;

/// Virtual time and scripted servers: test what dace does without waiting.
#[cfg(feature = "sim")]
pub use dace_sim as sim;

#[cfg(feature = "tokio")]
#[doc = include_str!("../docs/guide.md")]
pub mod guide {
    #[cfg(feature = "json")]
    #[doc = include_str!("../docs/http.md")]
    pub mod http {}
}
