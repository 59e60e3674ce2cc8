//! The crate of `#[fault_tolerant]`, the attribute that wraps an async function in a call.
//!
//! The attribute is not written yet; until then a call is made by `Dependency::call`.
#![forbid(unsafe_code)]
