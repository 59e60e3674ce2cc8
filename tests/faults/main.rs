//! The fault matrix: every fault × {GET, POST of bytes, POST of a stream} × both adapters.
//!
//! Each cell is one call, with one retry at most. What became of it is a cell of `docs/faults.md`:
//! `DACE_BLESS=1 cargo test --all-features --test faults` writes that page anew. What no page may say is
//! in `laws.rs`, and is checked first. All of it is one test: what is shown, logged and counted anywhere
//! while it runs is searched for secrets.
#![deny(dead_code)]

mod answers;
mod cell;
mod fault;
mod http2;
mod laws;
mod page;
mod secure;
mod seen;
mod wire;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::cell::{Cell, KINDS};
use crate::fault::{Fault, SECRET};
use crate::seen::Ears;

/// Cells that run at once. Most of them wait most of the time.
const AT_ONCE: usize = 24;

/// The faults, group by group.
fn faults() -> Vec<(&'static str, Vec<Fault>)> {
    vec![
        ("Nobody is reached", wire::connecting()),
        ("The connection ends or falls silent before the answer", wire::before_the_answer()),
        ("A connection that was used before", wire::stale()),
        ("An answer before the request has ended", wire::early()),
        ("Heads that are none, or too much", answers::heads()),
        ("Bodies that break off, stall or never end", answers::bodies()),
        ("gzip that is damaged", answers::gzip()),
        ("Statuses", answers::statuses()),
        ("Redirects", answers::redirects()),
        ("TLS", secure::tls()),
        ("HTTP/2", http2::http2()),
    ]
}

/// A fault's cells: for every kind of request, hyper's and isahc's.
type Row = [[Cell; 2]; 3];

#[test]
fn every_fault_ends_as_the_page_says_and_shows_no_secret() {
    let ears = Ears::open();
    let groups = faults();
    let flat: Vec<&Fault> = groups.iter().flat_map(|(_, faults)| faults).collect();
    let rows = run_all(&flat, &ears);
    let mut wrong = Vec::new();
    for (fault, row) in flat.iter().zip(&rows) {
        laws::check(fault, row, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_no_secrets(&flat, &rows, &ears);
    page::check(&groups, &rows);
}

/// All cells, some at once, each on a thread of its own or in a runtime that they share.
fn run_all(faults: &[&Fault], ears: &Ears) -> Vec<Row> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let count = faults.len() * KINDS.len() * 2;
    let cells: Vec<Mutex<Option<Cell>>> = (0..count).map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(at) else { break };
                    let (fault, kind) = (faults[at / 6], KINDS[at / 2 % 3]);
                    let done = if at % 2 == 0 {
                        let cell = cell::run::<dace::tokio::Tokio>(fault, kind, &ears.statsd);
                        runtime.block_on(cell)
                    } else {
                        smol::block_on(cell::run::<dace::smol::Smol>(fault, kind, &ears.statsd))
                    };
                    *cell.lock().unwrap() = Some(done);
                }
            });
        }
    });
    let mut cells = cells.into_iter().map(|cell| cell.into_inner().unwrap().expect("it ran"));
    let mut pair = || [(); 2].map(|()| cells.next().expect("as many as there are"));
    (0..faults.len()).map(|_| [(); 3].map(|()| pair())).collect()
}

/// S21: nothing that was shown, logged or counted anywhere has a part of what must not be seen.
fn assert_no_secrets(faults: &[&Fault], rows: &[Row], ears: &Ears) {
    let mut told = 0;
    for (fault, row) in faults.iter().zip(rows) {
        for cell in row.iter().flatten() {
            assert!(!cell.shown.contains(SECRET), "{}: {}", fault.name, cell.shown);
            told += usize::from(cell.told);
        }
    }
    // Else there was nothing to be found.
    assert!(told > rows.len() * 4, "only {told} servers were told a secret");
    for (what, text) in ears.heard() {
        assert!(text.lines().count() > 200, "there are no {what}");
        // What h2 logs by itself, of frames, is for who asks for h2's own logs.
        let mut ours = text.lines().filter(|line| !line.contains(" h2::"));
        let found = ours.find(|line| line.contains(SECRET));
        assert!(found.is_none(), "{what}: {}", found.unwrap_or_default());
    }
}
