//! How many instructions a call takes, counted by valgrind's callgrind: a figure that a busy machine
//! does not move.
//!
//! ```text
//! cargo bench --all-features --bench instructions                # a table
//! cargo bench --all-features --bench instructions -- --check     # fails if one is 5 % above what is written down
//! cargo bench --all-features --bench instructions -- --bless     # writes them down: benches/instructions.txt
//! ```
//!
//! Each figure is what 10,000 more calls cost, by ten thousand. They are of one compiler and one C
//! library: another one may need `--bless`.

use std::fmt::Write as _;
use std::future::ready;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

use dace::{Breaker, Budget, Dependency, NoHttp};

mod common;

use common::{Failed, Nothing, Tokio, dace, now_or_never};

const NAMES: [&str; 5] =
    ["success", "success, 1,000 targets", "rejected", "second attempt succeeds", "observed"];

/// Above what is written down by so many per cent is too much.
const TOLERANCE: u64 = 5;

const FEW: u64 = 2_000;
const MANY: u64 = 12_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if let [_, subject, calls] = arguments.as_slice() {
        if let Ok(calls) = calls.parse() {
            return call(subject, calls);
        }
    }
    if !has("--bench") {
        // `cargo test --benches` sees that the subjects work.
        return NAMES.iter().for_each(|name| call(name, 10));
    }
    let counted: Vec<(&str, u64)> = NAMES.iter().map(|name| (*name, instructions(name))).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions.txt");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    let before = |name: &str| {
        let line = written.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        line.and_then(|count| count.parse::<u64>().ok())
    };
    println!("| instructions a call | now | written down |\n|---|---:|---:|");
    let (mut lines, mut worse) = (String::new(), Vec::new());
    for (name, count) in counted {
        let old = before(name);
        println!("| {name} | {count} | {} |", old.map_or("–".into(), |old| old.to_string()));
        writeln!(lines, "{name}: {count}").expect("a string takes all");
        if old.is_none_or(|old| count * 100 > old * (100 + TOLERANCE)) {
            worse.push(name);
        }
    }
    if has("--bless") {
        std::fs::write(path, lines).expect("the file can be written");
    } else if has("--check") && !worse.is_empty() {
        eprintln!("more than {TOLERANCE} % above benches/instructions.txt: {}", worse.join("; "));
        std::process::exit(1);
    }
}

/// What a call of this kind takes.
fn instructions(name: &str) -> u64 {
    let run = |calls: u64| {
        let output = Command::new("valgrind")
            .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
            .arg(std::env::current_exe().expect("it has a path"))
            .args([name, &calls.to_string()])
            .output()
            .expect("valgrind is installed");
        let told = String::from_utf8_lossy(&output.stderr);
        let count = told.lines().find_map(|line| line.split("Collected : ").nth(1));
        count.and_then(|count| count.trim().parse::<u64>().ok()).unwrap_or_else(|| panic!("{told}"))
    };
    (run(MANY) - run(FEW)) / (MANY - FEW)
}

fn call(name: &str, calls: u64) {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without a thread of its own");
    let _entered = tokio.enter();
    match name {
        "success" => succeed(&dace(3, |builder| builder), calls),
        "success, 1,000 targets" => succeed(&dace(1_000, |builder| builder), calls),
        "observed" => succeed(&dace(3, |builder| builder.observer(Nothing)), calls),
        "rejected" => {
            let dace = dace(3, |builder| builder);
            for number in 0..3 {
                let circuit = dace.circuit(&format!("server-{number}:80"));
                circuit.expect("the netloc is known").force_open();
            }
            for _ in 0..calls {
                let refused = now_or_never(dace.call(|_| ready(Ok::<u64, Failed>(1))));
                assert!(black_box(refused).is_err());
            }
        }
        _ => {
            // Every other result is a failure: count them, and never trip or run out.
            let never = Breaker::new().consecutive_failures(u32::MAX).min_calls(u32::MAX);
            let dace = dace(3, |b| b.breaker(never).budget(Budget::new().banked(u32::MAX)));
            for _ in 0..calls {
                let result = now_or_never(dace.call(|call| {
                    ready(match call.attempt() {
                        1 => Err(Failed),
                        _ => Ok(1u64),
                    })
                }));
                assert!(black_box(result).is_ok());
            }
        }
    }
}

fn succeed(dace: &Dependency<Tokio, NoHttp>, calls: u64) {
    for _ in 0..calls {
        let result = now_or_never(dace.call(|_| ready(Ok::<u64, Failed>(1))));
        assert!(black_box(result).is_ok());
    }
}
