//! Policies beyond retry and breaker, each with the figures that it promises, in virtual time.

mod balancers;
mod bounds;
#[cfg(feature = "serde")]
mod data;
mod reload;
mod support;
mod targets;
