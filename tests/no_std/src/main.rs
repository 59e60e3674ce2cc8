//! Calls without std: retry after a 503, a timeout, and a circuit that opens and closes.
//!
//! That this program links is the proof: std has a panic handler too, and two of them are an error.
//! That it runs shows that nothing needed was left out.

#![no_std]
#![no_main]

extern crate alloc;

mod board;
mod ground;
mod lock;
mod wire;

use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;

use alloc::string::String;

use dace_core::{Breaker, Dependency, Error, HttpError, Runtime};

use board::{Board, block_on};
use ground::{Output, live_blocks};
use wire::{ARRIVED, Wire};

const TARGET: &str = "http://server.example:80";

#[unsafe(no_mangle)]
extern "C" fn main() -> i32 {
    {
        let dependency = dependency();
        retries_after_a_503(&dependency);
        times_out_by_its_own_clock(&dependency);
        refuses_while_the_circuit_is_open(&dependency);
    }
    assert_eq!(live_blocks(), 0, "memory is given back");
    match writeln!(Output(1), "no_std: retry, timeout and circuit work") {
        Ok(()) => 0,
        Err(_) => 1,
    }
}

fn dependency() -> Dependency<Board, Wire> {
    Dependency::builder("server")
        .targets([TARGET])
        .timeout(Duration::from_secs(2))
        .breaker(Breaker::new().consecutive_failures(2).successes(1))
        .circuit_reset_timeout(Duration::from_secs(10))
        .build_with(
            Board,
            Wire {
                flaky: AtomicU32::new(0),
            },
        )
        .expect("the settings are right")
}

fn get(dependency: &Dependency<Board, Wire>, path: &str) -> Result<String, Error<HttpError>> {
    block_on(dependency.call(|call| async move {
        let answer = call.http().get(path).send().await?;
        answer.error_for_status()?.text().await
    }))
}

fn retries_after_a_503(dependency: &Dependency<Board, Wire>) {
    let text = get(dependency, "/flaky").expect("the retry gets a 200");
    assert_eq!(text, "hello");
    assert_eq!(ARRIVED.load(Ordering::Relaxed), 2, "a 503, then a 200");
}

fn times_out_by_its_own_clock(dependency: &Dependency<Board, Wire>) {
    let start = Board.now();
    let result = get(dependency, "/hang");
    assert!(matches!(result, Err(Error::Timeout { attempts: 1, .. })));
    assert_eq!(Board.now().since(start), Duration::from_secs(2));
    // A success, so that the timeout is not the first of two failures.
    get(dependency, "/").expect("a 200");
}

fn refuses_while_the_circuit_is_open(dependency: &Dependency<Board, Wire>) {
    let result = get(dependency, "/down");
    assert!(result.is_err(), "the connection is refused");
    let arrived = ARRIVED.load(Ordering::Relaxed);
    let Err(Error::CircuitOpen {
        retry_after: Some(wait),
        ..
    }) = get(dependency, "/")
    else {
        panic!("the circuit is open");
    };
    assert_eq!(ARRIVED.load(Ordering::Relaxed), arrived, "nothing is sent");

    block_on(Board.sleep_until(Board.now().after(wait)));
    get(dependency, "/").expect("the probe gets a 200");
}
