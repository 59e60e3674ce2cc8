//! Whole policies in virtual time, with the figures that they are there for.

mod adaptive_limit;
mod rate_limit;
mod shared_limit;
#[allow(dead_code, reason = "what the tests of behaviour share; not all of it is needed here")]
#[path = "../behaviour/support.rs"]
mod support;
mod throttle;
