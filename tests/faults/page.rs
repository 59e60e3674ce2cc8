//! `docs/faults.md`: the matrix, and why the adapters differ where they do.

use std::fmt::Write as _;

use crate::Row;
use crate::cell::Cell;
use crate::fault::{Fault, Wait};

const INTRODUCTION: &str = "\
# What becomes of a call that meets a fault

Written by `DACE_BLESS=1 cargo test --all-features --test faults`, and checked by the same test: every line is one
fault that meets a GET, a POST of bytes and a POST of a stream, on both adapters, against a server that plays a
script on a real socket.
";

const LEGEND: &str = "
A cell says how many requests arrived, of how many attempts; the class of the last attempt; whether the error says
that the request was sent; and why there was no further attempt. Every call could make one retry. `2/2 transient,
MaybeSent; no_attempts`: two arrived in two attempts, and all attempts were used. A cell with two lines has hyper's
and isahc's; the notes say why they differ.

**Waits** is what ends the wait, and how long one is; without it nothing waits, and the call ends at once. The test
fails if a call ends earlier, or 8 s later: all other timeouts are 60 s.

What holds in every cell, whatever this page says: what must not happen twice is tried, and arrives, once, unless
nothing arrived, or the server said that it did not begin (`REFUSED_STREAM`, `GOAWAY`), or sent the client
elsewhere. An error that says `Unsent` had no arrival, and was tried again. And nothing of it shows a secret: neither
errors, their `Debug` and their sources, nor reports, events and snapshots, nor the logs at `TRACE`
but for those that h2 writes of its frames, nor metrics and statsd lines, while user, password, query, headers, cookies, bodies and proxy credentials had one.
";

/// Why the adapters differ, and in which faults: a line each, reason and faults.
fn differences() -> Vec<(String, Vec<String>)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/faults/differences.txt");
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines()
        .map(|line| {
            let (why, names) = line.split_once(" | ").expect("a reason, a bar, and faults");
            (why.to_owned(), names.split("; ").map(String::from).collect())
        })
        .collect()
}

/// Compares the page with what is written, or writes it.
pub(crate) fn check(groups: &[(&'static str, Vec<Fault>)], rows: &[Row]) {
    let (page, unexplained) = page(groups, rows);
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/faults.md");
    if std::env::var_os("DACE_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let changed: Vec<_> =
        page.lines().filter(|line| !written.lines().any(|old| old == *line)).collect();
    assert!(page == written, "docs/faults.md says otherwise: {changed:#?}");
    assert!(
        unexplained.is_empty(),
        "differences without a reason, or reasons without one: {unexplained:#?}"
    );
}

fn page(groups: &[(&'static str, Vec<Fault>)], rows: &[Row]) -> (String, Vec<String>) {
    let mut page = String::from(INTRODUCTION);
    let cells = rows.len() * 6;
    writeln!(page, "{} faults, {cells} cells.", rows.len()).unwrap();
    page.push_str(LEGEND);
    let mut rows = rows.iter();
    let (mut differing, differences) = (Vec::new(), differences());
    for (title, faults) in groups {
        write!(page, "\n## {title}\n\n| | GET | POST, bytes | POST, stream | waits |\n|---|---|---|---|---|\n").unwrap();
        for (fault, row) in faults.iter().zip(&mut rows) {
            let note = differences.iter().position(|(_, names)| names.contains(&fault.name));
            let differs = row.iter().any(|[hyper, isahc]| hyper.text() != isahc.text());
            if differs {
                differing.push(&*fault.name);
            }
            let note = note.map_or(String::new(), |at| format!(" [{}]", at + 1));
            let [get, bytes, stream] = row.each_ref().map(shown);
            writeln!(
                page,
                "| {}{note} | {get} | {bytes} | {stream} | {} |",
                fault.name,
                waits(fault.wait)
            )
            .unwrap();
        }
    }
    page.push_str("\n## Why they differ\n\n");
    for (at, (why, _)) in differences.iter().enumerate() {
        writeln!(page, "{}. {why}", at + 1).unwrap();
    }
    let explained: Vec<&str> =
        differences.iter().flat_map(|(_, names)| names).map(String::as_str).collect();
    let missing = differing
        .iter()
        .filter(|name| !explained.contains(name))
        .map(|name| format!("{name}: no reason"));
    let idle = explained
        .iter()
        .filter(|name| !differing.contains(name))
        .map(|name| format!("{name}: no difference"));
    (page, missing.chain(idle).collect())
}

fn shown([hyper, isahc]: &[Cell; 2]) -> String {
    let (hyper, isahc) = (hyper.text(), isahc.text());
    if hyper == isahc { hyper } else { format!("{hyper}<br>{isahc}") }
}

fn waits(wait: Wait) -> String {
    match wait {
        Wait::Nothing => String::new(),
        wait => format!("{}, {:?}", wait.describe(), wait.long()),
    }
}
