//! dace end to end: both adapters, real sockets, servers that do what a script says.
//!
//! A scenario is written once, for any adapter, and named for the behaviour that it would miss.
//! `on_both_adapters!` makes two tests of it; one that no list names is dead code, which does not
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
