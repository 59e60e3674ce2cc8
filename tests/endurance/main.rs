//! What takes long: `cargo run --release --all-features --example endurance -- COMMAND`. Each command says what
//! it measured, and fails if that is not what dace promises. `docs/endurance.md` has the figures.

mod cuts;
mod deadlines;
mod defaults;
mod descriptors;
mod drops;
mod process;
mod server;
mod slope;
mod soak;
mod support;

use std::process::ExitCode;
use std::time::Duration;

use crate::soak::{Leak, Plan};

const USAGE: &str = "\
drops [CALLS]        drops calls at any await point, until so many were dropped on each adapter (1,000,000)
cuts [POSTS]         posts to a server that closes at any byte (100,000)
deadlines [CALLS]    lets calls run into their deadlines (20,000)
descriptors          counts descriptors in a storm and after it
defaults             waits for what the default settings end: a stalled body, a silent HTTP/2 connection
soak [MINUTES] [leak memory|task|descriptor|place]
                     runs both adapters under faults and cancellation, and looks for slopes (3)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |default: f64| match args.get(1) {
        Some(given) => {
            given.replace(',', "").parse().unwrap_or_else(|_| panic!("{given:?} is no number"))
        }
        None => default,
    };
    let verdict = match args.first() {
        Some(&"serve") => {
            server::serve_until_told();
            Ok(())
        }
        Some(&"drops") => drops::on_both(number(1e6) as u64),
        Some(&"cuts") => cuts::on_both(number(1e5) as usize),
        Some(&"deadlines") => deadlines::on_both(number(2e4) as usize, Duration::from_millis(20)),
        Some(&"descriptors") => descriptors::on_both(),
        Some(&"defaults") => defaults::on_both(),
        Some(&"soak") => {
            let leak = args.get(3).map(|what| Leak::of(what).expect("a thing that can leak"));
            soak::run(&Plan { time: Duration::from_secs_f64(number(3.0) * 60.0), leak })
        }
        _ => Err(String::from(USAGE)),
    };
    match verdict {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
