//! Every order in which threads can take a dependency's lock, wake each other, and leave.
//!
//! All shared state of the core is plain data behind the lock that a `Runtime` brings: there are no atomics
//! in it. So a `Runtime` whose lock is loom's is enough for loom to go through all orders, and the core is
//! built as it is. Timers never fire and the clock stands still here: what holds must hold by wake-ups
//! alone.

#![cfg(test)]

mod events;
mod exchange;
mod queue;
mod shared;
mod threads;
