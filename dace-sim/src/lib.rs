//! Virtual time and scripted servers, for tests of what dace does.
//!
//! A [`Sim`] is a runtime whose clock jumps to the next timer as soon as nothing else can run, and an
//! HTTP backend whose servers do what a script says. So a minute of outage takes about a millisecond,
//! nothing sleeps, and one seed is one history: the same decisions at the same instants, every time.
//!
//! ```
//! use std::time::Duration;
//! use dace_core::{Dependency, HttpError};
//!
//! let sim = dace_sim::Sim::new(7);
//! sim.server("http://a:80").latency(Duration::from_millis(20));
//! let dependency = Dependency::builder("a")
//!     .targets(["http://a:80"])
//!     .build_with(sim.runtime(), sim.backend())?;
//! let text = sim.run(async move {
//!     dependency
//!         .call(|call| async move { call.http().get("/").send().await?.text().await })
//!         .await
//! });
//! assert_eq!(text.unwrap(), "ok");
//! assert_eq!(sim.elapsed(), Duration::from_millis(20));
//! # Ok::<(), dace_core::ConfigError>(())
//! ```
//!
//! When nothing can run and no timer is set, [`Sim::run`] panics and says who waits for what.

mod backend;
mod clock;
mod executor;
mod server;

pub use backend::{SimBackend, SimBody, SimError, SimHead};
pub use clock::{SimRuntime, SimSleep};
pub use executor::{Sim, Task};
pub use server::{Answer, Arrival, Ending, Server};
