//! dace end to end: every adapter, real sockets, servers that do what a script says.
//!
//! A scenario is written once, for any adapter, and named for the behaviour that it would miss.
//! `on_every_adapter!` makes a test of it on each; one that no list names is dead code, which does not
//! compile here.
#![deny(dead_code)]

#[macro_use]
mod support;

mod crowd;
mod hints;
mod life;
mod load;
mod redirects;
mod requests;
mod secrets;
mod servers;
mod stale;
mod time;
