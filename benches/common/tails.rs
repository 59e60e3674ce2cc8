//! How long the slowest of a thousand calls takes when two threads share what they call, as a multiple of
//! the median: a lock that makes its callers stand in line shows here, and in no mean.

use std::fmt::Write as _;
use std::hint::black_box;
use std::sync::atomic::AtomicU32;
use std::thread;
use std::time::Duration;

use super::clock;
use super::rows::meet;

/// How long a round takes.
const ROUND: Duration = Duration::from_millis(20);

pub(crate) struct Tail {
    name: &'static str,
    /// Makes calls from two threads, and says how long each took, in nanoseconds.
    run: Box<dyn Fn() -> Vec<u64>>,
    rounds: Vec<Figures>,
}

#[derive(Clone, Copy)]
struct Figures {
    median: f64,
    /// Of a thousand calls, one takes longer.
    p999: f64,
    ratio: f64,
    /// Of all. A busy machine interrupts, too.
    longest: f64,
    calls: f64,
}

impl Tail {
    /// A subject that two threads call, each through a handle of its own.
    pub(crate) fn new<H: Send + 'static>(
        name: &'static str,
        tokio: &tokio::runtime::Handle,
        handle: impl Fn() -> H + 'static,
        call: impl Fn(&mut H) -> u64 + Send + Clone + 'static,
    ) -> Self {
        let tokio = tokio.clone();
        let run = Box::new(move || {
            let arrived = AtomicU32::new(0);
            thread::scope(|scope| {
                let threads = [(); 2].map(|()| {
                    let (arrived, tokio) = (&arrived, &tokio);
                    let (mut handle, call) = (handle(), call.clone());
                    scope.spawn(move || {
                        let _entered = tokio.enter();
                        let mut took = Vec::with_capacity(1 << 19);
                        meet(arrived);
                        let start = clock();
                        let mut begin = start;
                        while begin.duration_since(start) < ROUND {
                            black_box(call(&mut handle));
                            let end = clock();
                            took.push(end.duration_since(begin).as_nanos() as u64);
                            begin = end;
                        }
                        took
                    })
                });
                threads.map(|thread| thread.join().expect("no panic")).concat()
            })
        });
        Self { name, run, rounds: Vec::new() }
    }

    fn round(&mut self) {
        let mut took = (self.run)();
        took.sort_unstable();
        let (median, p999) = (took[took.len() / 2] as f64, took[took.len() * 999 / 1000] as f64);
        let (longest, calls) = (took[took.len() - 1] as f64, took.len() as f64);
        self.rounds.push(Figures { median, p999, ratio: p999 / median, longest, calls });
    }

    /// The median of the rounds.
    fn usual(&self, of: impl Fn(&Figures) -> f64) -> f64 {
        let mut all: Vec<f64> = self.rounds.iter().map(of).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    }
}

/// One round for five of the rows', which are shorter.
pub(crate) fn measure(tails: &mut [Tail], rounds: usize) {
    for _ in 0..rounds.div_ceil(5) {
        tails.iter_mut().for_each(Tail::round);
    }
}

pub(crate) fn table(tails: &[Tail]) -> String {
    let mut out = String::from(
        "| rejected by open circuits, 2 threads on shared state | ns: median, with one look at the clock \
         | p99.9 | of the median | the longest | calls a round |\n|---|---:|---:|---:|---:|---:|\n",
    );
    for tail in tails {
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| {} | {:.0} | {:.0} | {:.1} | {:.0} | {:.0} |",
            tail.name,
            tail.usual(|round| round.median),
            tail.usual(|round| round.p999),
            tail.usual(|round| round.ratio),
            tail.usual(|round| round.longest),
            tail.usual(|round| round.calls),
        );
    }
    out
}

/// The subjects, separated by commas.
pub(crate) fn json(tails: &[Tail]) -> String {
    let subjects = tails.iter().map(|tail| {
        format!(
            r#"{{"subject":"{}","median_ns":{:.1},"p999_ns":{:.1},"ratio":{:.2},"longest_ns":{:.0},"calls":{:.0}}}"#,
            tail.name,
            tail.usual(|round| round.median),
            tail.usual(|round| round.p999),
            tail.usual(|round| round.ratio),
            tail.usual(|round| round.longest),
            tail.usual(|round| round.calls),
        )
    });
    subjects.collect::<Vec<_>>().join(",")
}
