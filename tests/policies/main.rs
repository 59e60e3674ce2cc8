//! Policies beyond retry and breaker, each with the figures that it promises, in virtual time.

mod adaptive_limit;
mod balancers;
mod bounds;
mod cache;
#[allow(dead_code, reason = "what the tests of behaviour share; not all of it is needed here")]
#[path = "../behaviour/support.rs"]
mod common;
#[cfg(feature = "serde")]
mod data;
mod deadlines;
mod hedging;
mod hints;
mod overload;
mod priorities;
mod rate_limit;
mod reload;
mod shared;
mod shared_limit;
mod support;
mod targets;
mod throttle;
