//! `#[fault_tolerant]`: what the attribute makes of a function, on both adapters.

mod acts;
mod adapters;
mod held;
mod parameters;
mod recorder;
mod runtimes;
mod shapes;
mod sharing;
mod support;
