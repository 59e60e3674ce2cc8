//! What dace does, rule by rule, in virtual time.
//!
//! Every test is named for the behaviour that it would miss. The modules follow a call from its
//! start to its end.

mod admission;
mod balancing;
mod breaker;
mod cancellation;
mod charging;
mod client;
#[cfg(feature = "gzip")]
mod compression;
mod config;
mod control;
mod corners;
mod deadline;
mod delivery;
mod errors;
mod events;
mod fallback;
mod http;
mod inside;
mod redirects;
mod retry;
mod settings;
mod stale;
mod support;
mod telling;
