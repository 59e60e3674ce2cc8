//! Random operations against small models of what should come of them.
//!
//! Each module states what is random and what must hold. `DACE_CASES` is the number of cases, 256
//! unless given. A case that failed once is kept as a test of its own, written out.

mod circuit;
mod cluster;
mod interaction;
mod opening;
mod panics;
mod places;
mod queue;
mod tokens;

use proptest::test_runner::Config;

/// Nothing is written to disk: a failure is printed, and kept by hand.
fn config() -> Config {
    let cases = std::env::var("DACE_CASES").ok().and_then(|cases| cases.parse().ok());
    Config {
        cases: cases.unwrap_or(256),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..Config::default()
    }
}
