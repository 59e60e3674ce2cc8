//! What a person sees: progress while it runs, and the table at the end.

use std::cell::{Cell, RefCell};
use std::io::{IsTerminal, Write};
use std::time::Duration;

use dace::Instant;

use crate::server::Server;
use crate::traffic::{Story, Tally};

/// A line that is redrawn on a terminal, and printed now and then elsewhere.
pub(crate) struct Progress {
    terminal: bool,
    next: Cell<Duration>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), next: Cell::new(Duration::ZERO) }
    }

    pub(crate) fn show(
        &self,
        elapsed: Duration,
        length: Duration,
        plain: &RefCell<Tally>,
        dace: &RefCell<Tally>,
        servers: &[Server],
    ) {
        if elapsed < self.next.get() {
            return;
        }
        let pause = if self.terminal { 200 } else { 3000 };
        self.next.set(elapsed + Duration::from_millis(pause));
        let down: Vec<_> = servers.iter().filter(|s| s.is_down()).map(|s| s.name).collect();
        let down =
            if down.is_empty() { String::new() } else { format!("   {} is down", down.join(", ")) };
        let line = format!(
            "{:>4.1} s of {} s   plain {:>6.2} %   dace {:>6.2} %{down}",
            elapsed.as_secs_f64(),
            length.as_secs(),
            100.0 * plain.borrow().success_rate(),
            100.0 * dace.borrow().success_rate(),
        );
        if self.terminal {
            print!("\r{line:<72}");
        } else {
            println!("{line}");
        }
        // Progress that cannot be shown is not worth a failure.
        let _ = std::io::stdout().flush();
    }

    pub(crate) fn clear(&self) {
        if self.terminal {
            print!("\r{:<72}\r", "");
        }
    }
}

/// Prints the table. Answers whether clients and servers agree.
pub(crate) fn print(
    servers: &[Server],
    plain: &Tally,
    dace: &Tally,
    story: &Story,
    begin: Instant,
) -> bool {
    let read = |of_dace: bool| -> Vec<u64> {
        let count = |server: &Server| if of_dace { server.counts().1 } else { server.counts().0 };
        servers.iter().map(count).collect()
    };
    let (read_plain, read_dace) = (read(false), read(true));
    let row = |name: &str, a: String, b: String| println!("{name:<30}{a:>16}{b:>16}");
    println!();
    row("", "plain client".into(), "dace".into());
    row("calls", plain.calls.to_string(), dace.calls.to_string());
    let percent = |tally: &Tally| format!("{:.2} %", 100.0 * tally.success_rate());
    row("success", percent(plain), percent(dace));
    for percentile in [50, 99] {
        let time = |tally: &Tally| {
            format!("{:.1} ms", tally.percentile(percentile).as_secs_f64() * 1000.0)
        };
        row(&format!("p{percentile}"), time(plain), time(dace));
    }
    let per_call = |read: &[u64], tally: &Tally| {
        format!("{:.3}", read.iter().sum::<u64>() as f64 / tally.calls.max(1) as f64)
    };
    row("requests per call", per_call(&read_plain, plain), per_call(&read_dace, dace));
    for (index, server) in servers.iter().enumerate() {
        let share = |read: &[u64]| {
            format!("{:.1} %", 100.0 * read[index] as f64 / read.iter().sum::<u64>().max(1) as f64)
        };
        row(&format!("  to `{}`", server.name), share(&read_plain), share(&read_dace));
    }
    let counted = |tally: &Tally| match tally.unknown {
        0 => tally.answered.to_string(),
        unknown => format!("{} to {}", tally.answered, tally.answered + unknown),
    };
    row("requests, by the client", counted(plain), counted(dace));
    let sum = |read: &[u64]| read.iter().sum::<u64>().to_string();
    row("requests, by the servers", sum(&read_plain), sum(&read_dace));
    let agree = |read: &[u64], tally: &Tally| {
        let read = read.iter().sum::<u64>();
        (tally.answered..=tally.answered + tally.unknown).contains(&read)
    };
    let (plain_agrees, dace_agrees) = (agree(&read_plain, plain), agree(&read_dace, dace));
    let word = |agrees: bool| String::from(if agrees { "yes" } else { "NO" });
    row("do they agree?", word(plain_agrees), word(dace_agrees));
    protections(story, begin);
    plain_agrees && dace_agrees
}

fn protections(story: &Story, begin: Instant) {
    println!();
    println!("what protected the calls through dace:");
    println!("  balancer   sent the traffic where it is fast and works (shares above)");
    println!("  retries    {:>5} made, {} calls rescued by one", story.retries, story.rescued);
    println!(
        "  circuits   {:>5} changes, {} attempts kept away",
        story.circuits.len(),
        story.refused_by_circuits
    );
    println!("  queue      {:>5} calls waited for a place", story.queued);
    for (at, change) in story.circuits.iter().take(12) {
        println!("    + {:>4.1} s   {change}", at.since(begin).as_secs_f64());
    }
}
