//! Storms: what happens to fleets of clients when servers fail, and what dace does about it.
//!
//! `cargo run --release -p dace-sim --example storms -- docs/storms` prints the tables of `docs/storms` and
//! `docs/policies/retries.md`, and draws the plots there. With `--hour` it runs one fleet of 10,000 clients and
//! 1,000 servers through all storms, in an hour of its time.
//!
//! Every client has a `Dependency` of its own, with its HTTP client: all of dace but the sockets. Time is
//! that of `dace-sim`, one thread does everything, and one seed is one history.

mod backend;
mod fleet;
mod flood;
mod funding;
mod hour;
mod layers;
mod liveness;
mod overload;
mod plot;
mod servers;
mod storm;
#[cfg(test)]
mod tests;

use std::error::Error;
use std::path::{Path, PathBuf};

use dace_core::Budget;
use fleet::Size;
use flood::flood;
use funding::Kind;
use liveness::{Ending, recovery};
use storm::{CALM, Storm, Verdict};

/// Of the fleets that are compared.
const CLIENTS: usize = 1_000;

const SEED: u64 = 7;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().map(PathBuf::from).ok_or("usage: storms FOLDER [--hour]")?;
    std::fs::create_dir_all(&folder)?;
    match arguments.next().as_deref() {
        Some("--hour") => return hour(&folder),
        Some(other) => return Err(format!("unknown: {other}").into()),
        None => {}
    }
    println!("## Circuits: from a server that is well to the first success\n");
    liveness_table();
    println!("\n## One client, one server\n");
    overload_table();
    println!("\n## Three layers that all retry, 4 attempts each, the last one fails\n");
    let naive = layers::requests_per_call(Budget::new().unlimited());
    let requests = layers::requests_per_call(Budget::new());
    println!("requests a call: {requests:.2}; without budgets {naive:.2}");
    println!("\n## A million netlocs\n");
    flood_table();
    println!("\n## Storms over {CLIENTS} clients and {} servers\n", CLIENTS / 10);
    storms(&folder)
}

fn liveness_table() {
    println!("| the first probe | first success after | at most |");
    println!("|---|---|---|");
    for ending in Ending::ALL {
        let (took, bound) = recovery(ending).map_or_else(
            || (String::from("never"), String::new()),
            |recovery| {
                let text = |time: std::time::Duration| format!("{:.2} s", time.as_secs_f64());
                (text(recovery.took), text(recovery.bound))
            },
        );
        println!("| {} | {took} | {bound} |", ending.name());
    }
}

fn overload_table() {
    println!(
        "| retries paid for by | requests per call, all fail: 1st, 2nd, 3rd ten seconds | capacity halved for 10 s at 75 %: recovered after, peak | at 85 % | success at p = 0.1 | 0.2 | 0.3 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for kind in overload::kinds() {
        let [first, second, third] = overload::total_failure(&kind);
        let overloads = [0.75, 0.85].map(|utilisation| {
            let (recovered, peak) = overload::overload(SEED, &kind, utilisation, 225);
            format!("{}, {peak:.2}", seconds(recovered))
        });
        let chances = [0.1, 0.2, 0.3].map(|share| {
            let (success, attempts) = overload::chance(&kind, share);
            format!("{:.2} % ({attempts:.2})", success * 100.0)
        });
        println!(
            "| {} | {first:.2}, {second:.2}, {third:.2} | {} | {} |",
            kind.name,
            overloads.join(" | "),
            chances.join(" | ")
        );
    }
}

fn flood_table() {
    println!(
        "| | most bytes held | netlocs in the table | 99 % of calls within: known netlocs | new ones | ratio |"
    );
    println!("|---|---|---|---|---|---|");
    for (name, answers) in [("all answer", true), ("all refuse", false)] {
        let flood = flood(1_000_000, answers);
        println!(
            "| {name} | {:.1} MiB | {} | {:?} | {:?} | {:.2} |",
            flood.bytes as f64 / f64::from(1 << 20),
            flood.table,
            flood.known,
            flood.fresh,
            flood.fresh.as_secs_f64() / flood.known.as_secs_f64()
        );
    }
}

fn storms(folder: &Path) -> Result<(), Box<dyn Error>> {
    let size = Size::fleet(CLIENTS);
    println!("| storm | clients | {}", Verdict::HEADER);
    for storm in Storm::ALL {
        let runs = Kind::of_fleets().map(|kind| {
            let (record, verdict) = storm.run(SEED, size, &kind);
            println!("| {} | {} | {verdict}", storm.name(), kind.name);
            (kind, record)
        });
        let lines: Vec<_> =
            runs.iter().map(|(kind, record)| (kind.name, &record.seconds[..])).collect();
        // The naive, those whose requests pay, dace, and the unprotected.
        let lines = [lines[1], lines[2], lines[3], lines[0]];
        let file = folder.join(storm.file()).with_extension("svg");
        plot::draw(&file, storm.name(), &lines, &[(CALM, CALM + storm.seconds())])?;
    }
    Ok(())
}

fn hour(folder: &Path) -> Result<(), Box<dyn Error>> {
    let size = Size::fleet(10_000);
    let (record, verdicts) = hour::run(SEED, size);
    println!("| storm | clients | {}", Verdict::HEADER);
    for (storm, verdict) in &verdicts {
        println!("| {} | dace | {verdict}", storm.name());
    }
    let calls: u64 = record.seconds.iter().map(|second| u64::from(second.calls)).sum();
    println!("\n{calls} calls; of all events, the hash {:016x}", record.hash);
    println!("at most {} connections from a client to a server", record.most_connections);
    println!("{} connections left at the end", record.connections_left);
    if let Some((cpu, memory)) = used() {
        println!("{cpu:.0} s of CPU, at most {memory:.0} MiB");
    }
    let storms = hour::HOUR.map(|(begin, storm)| (begin, begin + storm.seconds()));
    let title = "an hour of 10,000 clients and 1,000 servers";
    plot::draw(&folder.join("hour.svg"), title, &[("dace", &record.seconds)], &storms)
}

/// Seconds of CPU, and the most MiB of memory, as Linux tells them.
fn used() -> Option<(f64, f64)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // Behind the name, which may hold anything: the 12th and 13th, in hundredths of a second.
    let mut fields = stat.rsplit(')').next()?.split_whitespace().skip(11);
    let mut hundredths = || fields.next()?.parse::<f64>().ok();
    let cpu = (hundredths()? + hundredths()?) / 100.0;
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let memory = peak.trim().trim_end_matches(" kB").parse::<f64>().ok()? / 1024.0;
    Some((cpu, memory))
}

/// A time to recover.
pub(crate) fn seconds(time: Option<u64>) -> String {
    time.map_or(String::from("never"), |time| format!("{time} s"))
}
