//! Bugs that others had: a test for each, named by its id in the `README.md` beside this.
//!
//! Each is short, stands for itself, and runs in virtual time. What only a socket or an adapter can
//! show is tested there, and the README says where; `table` checks that it tells the truth.

mod a_cancellation;
mod b_breaker;
mod c_numbers;
mod d_retry;
mod e_hedging;
mod f_bodies;
mod g_connections;
mod h_balancing;
mod i_your_code;
mod j_identity;
mod k_security;
mod l_metrics;
mod panics;
#[allow(dead_code, reason = "what the tests of behaviour share; not all of it is needed here")]
#[path = "../behaviour/support.rs"]
mod support;
mod table;
