//! Rows of subjects that take turns in short samples, so that whatever else the machine does hits all of
//! them alike, and the table that comes of it.

use std::fmt::Write as _;
use std::hint::{black_box, spin_loop};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use super::clock;

/// Calls in one sample.
const CALLS: u64 = 5_000;

/// A round in which some subject took more than so many times its median was disturbed.
const DISTURBED: f64 = 1.5;

/// How many rounds are made.
pub(crate) fn rounds(arguments: &[String]) -> usize {
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    match () {
        // `cargo test --benches` runs it too, to see that it works.
        () if !has("--bench") => 1,
        () if has("--quick") => 31,
        () => 301,
    }
}

pub(crate) struct Row {
    name: &'static str,
    subjects: Vec<Subject>,
    /// Rounds that were disturbed.
    left_out: usize,
}

pub(crate) struct Subject {
    name: &'static str,
    /// Makes so many calls, and says how long that took.
    run: Box<dyn FnMut(u64) -> Duration>,
    /// Nanoseconds per call, one for each round.
    samples: Vec<f64>,
    /// Per call; `None` where other threads allocate.
    allocations: Option<f64>,
    one_thread: bool,
    /// In one sample.
    calls: u64,
    /// How long it takes says nothing of how quiet the machine is.
    slow: bool,
}

impl Row {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, subjects: Vec::new(), left_out: 0 }
    }

    pub(crate) fn subject(
        self,
        name: &'static str,
        mut call: impl FnMut() -> u64 + 'static,
    ) -> Self {
        self.timed(name, move |calls| {
            let start = clock();
            for _ in 0..calls {
                black_box(call());
            }
            start.elapsed()
        })
    }

    /// A subject that says itself how long so many calls took.
    pub(crate) fn timed(
        self,
        name: &'static str,
        run: impl FnMut(u64) -> Duration + 'static,
    ) -> Self {
        self.with(name, Box::new(run), true)
    }

    /// The last subject takes long, or waits: it makes but so many calls in a sample, which is then as seldom
    /// interrupted as the others', and does not say which rounds were disturbed.
    pub(crate) fn slow(mut self, calls: u64) -> Self {
        let last = self.subjects.last_mut().expect("there is one");
        (last.calls, last.slow) = (calls, true);
        self
    }

    fn with(
        mut self,
        name: &'static str,
        run: Box<dyn FnMut(u64) -> Duration>,
        one_thread: bool,
    ) -> Self {
        self.subjects.push(Subject {
            name,
            run,
            samples: Vec::new(),
            allocations: None,
            one_thread,
            calls: CALLS,
            slow: false,
        });
        self
    }

    /// A subject that two threads call, each through a handle of its own.
    pub(crate) fn shared<H: Send + 'static>(
        self,
        name: &'static str,
        tokio: &tokio::runtime::Handle,
        handle: impl Fn() -> H + 'static,
        call: impl Fn(&mut H) -> u64 + Send + Clone + 'static,
    ) -> Self {
        let tokio = tokio.clone();
        let run = Box::new(move |calls| {
            let arrived = AtomicU32::new(0);
            thread::scope(|scope| {
                let threads = [(); 2].map(|()| {
                    let (arrived, tokio) = (&arrived, &tokio);
                    let (mut handle, call) = (handle(), call.clone());
                    scope.spawn(move || {
                        let _entered = tokio.enter();
                        meet(arrived);
                        let start = clock();
                        for _ in 0..calls {
                            black_box(call(&mut handle));
                        }
                        start.elapsed()
                    })
                });
                let took = threads.map(|thread| thread.join().expect("no panic"));
                took.iter().sum::<Duration>() / 2
            })
        });
        self.with(name, run, false)
    }

    pub(crate) fn measure(&mut self, rounds: usize) {
        for subject in &mut self.subjects {
            // The first calls grow what is reused later.
            let calls = subject.calls;
            (subject.run)(calls);
            if subject.one_thread {
                let counted = allocation_counter::measure(|| {
                    (subject.run)(calls);
                });
                subject.allocations = Some(counted.count_total as f64 / calls as f64);
            }
        }
        for _ in 0..rounds {
            for subject in &mut self.subjects {
                let took = (subject.run)(subject.calls);
                subject.samples.push(took.as_nanos() as f64 / subject.calls as f64);
            }
        }
        self.leave_out_disturbed();
        for subject in &mut self.subjects {
            subject.samples.sort_by(f64::total_cmp);
        }
    }

    /// A round in which the machine did something else counts for nobody.
    fn leave_out_disturbed(&mut self) {
        let usual: Vec<f64> = self.subjects.iter().map(Subject::usual).collect();
        let rounds = self.subjects[0].samples.len();
        let disturbed = |round: usize| {
            let mut subjects = self.subjects.iter().zip(&usual);
            subjects
                .any(|(subject, usual)| !subject.slow && subject.samples[round] > usual * DISTURBED)
        };
        let kept: Vec<bool> = (0..rounds).map(|round| !disturbed(round)).collect();
        let count = kept.iter().filter(|kept| **kept).count();
        if count * 2 < rounds {
            // Then nothing was usual: all count.
            return;
        }
        self.left_out = rounds - count;
        for subject in &mut self.subjects {
            let mut kept = kept.iter();
            subject.samples.retain(|_| *kept.next().expect("as many as samples"));
        }
    }
}

impl Subject {
    /// The median of unsorted samples.
    fn usual(&self) -> f64 {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    }

    fn median(&self) -> f64 {
        self.samples[self.samples.len() / 2]
    }

    fn minimum(&self) -> f64 {
        self.samples[0]
    }
}

/// Returns to two threads when both run. One that slept would be woken where the other runs, and the two would
/// take turns.
pub(crate) fn meet(arrived: &AtomicU32) {
    arrived.fetch_add(1, Ordering::AcqRel);
    while arrived.load(Ordering::Acquire) < 2 {
        spin_loop();
    }
}

/// A table, with how many rounds were disturbed and do not count.
pub(crate) fn table(rows: &[Row]) -> String {
    let mut out = String::from(
        "| row | subject | ns: median (minimum) | allocations | the first to it | rounds left out |\n\
         |---|---|---:|---:|---:|---:|\n",
    );
    for row in rows {
        let first = row.subjects[0].median();
        for subject in &row.subjects {
            let allocations =
                subject.allocations.map_or("–".to_owned(), |count| format!("{count:.2}"));
            // Writing to a string does not fail.
            let _ = writeln!(
                out,
                "| {} | {} | {:.0} ({:.0}) | {allocations} | {:.2} | {} |",
                row.name,
                subject.name,
                subject.median(),
                subject.minimum(),
                first / subject.median(),
                row.left_out,
            );
        }
    }
    out
}

/// The rows' subjects, separated by commas.
pub(crate) fn json(rows: &[Row]) -> String {
    let subjects = rows.iter().flat_map(|row| {
        row.subjects.iter().map(|subject| {
            let allocations =
                subject.allocations.map_or("null".to_owned(), |count| count.to_string());
            format!(
                r#"{{"row":"{}","subject":"{}","median_ns":{:.1},"minimum_ns":{:.1},"allocations":{allocations},"rounds_left_out":{}}}"#,
                row.name,
                subject.name,
                subject.median(),
                subject.minimum(),
                row.left_out,
            )
        })
    });
    subjects.collect::<Vec<_>>().join(",")
}
