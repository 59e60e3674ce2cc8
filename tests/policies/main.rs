//! Policies beyond retry and breaker, each with the figures that it promises, in virtual time.

mod bounds;
#[cfg(feature = "serde")]
mod data;
mod hedging;
mod reload;
