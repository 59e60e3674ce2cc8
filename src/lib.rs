//! Calls to other services that survive.

pub use dace_core::*;
