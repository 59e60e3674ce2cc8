//! The core of dace: every decision, and the driver that carries them out, without std.
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

mod class;
mod error;
pub mod http;
mod instant;
mod netloc;
mod runtime;
#[cfg(feature = "std")]
mod std_impls;

pub use class::{Class, Classify};
pub use error::{ConfigError, Error, Reason, Refusal, Why};
pub use http::{HttpBackend, HttpError, NoHttp};
pub use instant::Instant;
pub use netloc::{Netloc, Scheme, Target, TargetError};
pub use runtime::{Adapter, Lock, Runtime};
