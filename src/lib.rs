//! Calls to other services that survive.
#![forbid(unsafe_code)]

pub use dace_core::*;

/// Virtual time and scripted servers: test what dace does without waiting.
#[cfg(feature = "sim")]
pub use dace_sim as sim;
