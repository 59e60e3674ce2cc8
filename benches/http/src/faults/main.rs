//! What is left of a service when one of its three backends goes bad: dace beside what a user would call in
//! its place, and an oracle that knows which backends are well.
//!
//! ```text
//! cd benches/http && cargo run --release --bin faults            # twenty minutes, a Markdown table
//! cd benches/http && cargo run --release --bin faults -- --quick
//! cd benches/http && cargo run --release --bin faults -- --json
//! ```
//!
//! A request takes a backend 3.5 ms. 16 callers call one request after the other; whoever got an error waits
//! as long before the next. All backends are well for a second; then the third fails, hangs, or is 30 times as
//! slow, or all fail, and what comes in the next ten seconds is measured. All take turns, five rounds of it;
//! the medians over the rounds are told. An attempt may take 500 ms, and three retries are allowed.

mod backends;
mod subjects;

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use backends::{Backend, Health, TAKES};
use subjects::SUBJECTS;

/// Makes one call: whether it was answered well.
pub(crate) type Call = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool>>>>;

pub(crate) const CALLERS: usize = 16;

/// What happens to the backends, and which of them it happens to.
const FAULTS: [(&str, Health, std::ops::Range<usize>); 4] = [
    ("the third answers 500", Health::Fails, 2..3),
    ("the third hangs", Health::Hangs, 2..3),
    ("the third is 30 times as slow", Health::Slow, 2..3),
    ("all three answer 500", Health::Fails, 0..3),
];

/// What came of the calls that began while something was wrong.
#[derive(Clone, Copy, Debug)]
struct Sample {
    calls: f64,
    /// The share of them that was answered well.
    success: f64,
    /// Well answered, a second.
    goodput: f64,
    p99: f64,
    /// Requests that came to the backends, a call.
    requests: f64,
}

fn main() {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let as_json = has("--json");
    let (rounds, seconds) = if has("--quick") { (1, 3) } else { (5, 10) };
    let time = Duration::from_secs(seconds);
    let backends = backends::start();
    let heading = "| what is wrong | client | calls | success | goodput, of the oracle's | p99, ms | above the oracle's | \
         requests a call |\n|---|---|---:|---:|---:|---:|---:|---:|";
    if !as_json {
        println!("{heading}");
    }
    let mut told: Vec<String> = Vec::new();
    for (fault, health, ill) in FAULTS {
        let mut samples: Vec<Vec<Sample>> = SUBJECTS.iter().map(|_| Vec::new()).collect();
        for _ in 0..rounds {
            for (at, samples) in samples.iter_mut().enumerate() {
                samples.push(measure(at, &backends, health, ill.clone(), time));
            }
        }
        let oracle = samples[0].clone();
        for ((name, _), samples) in SUBJECTS.iter().zip(&samples) {
            let of = |key: &dyn Fn(&Sample, &Sample) -> f64| {
                let mut all: Vec<f64> =
                    samples.iter().zip(&oracle).map(|(s, o)| key(s, o)).collect();
                all.sort_by(f64::total_cmp);
                all[all.len() / 2]
            };
            let goodput =
                (ill.len() == 1).then(|| of(&|sample, oracle| sample.goodput / oracle.goodput));
            let (calls, success) = (of(&|sample, _| sample.calls), of(&|sample, _| sample.success));
            let p99 = of(&|sample, _| sample.p99 * 1e3);
            let above = of(&|sample, oracle| (sample.p99 - oracle.p99) * 1e3);
            let requests = of(&|sample, _| sample.requests);
            if as_json {
                let goodput = goodput.map_or("null".into(), |goodput| format!("{goodput:.4}"));
                told.push(format!(
                    r#"{{"fault":"{fault}","client":"{name}","calls":{calls:.0},"success":{success:.5},"goodput_of_oracle":{goodput},"p99_ms":{p99:.2},"p99_above_oracle_ms":{above:.2},"requests_a_call":{requests:.4}}}"#
                ));
            } else {
                let goodput = goodput.map_or("–".into(), |goodput| format!("{goodput:.2}"));
                println!(
                    "| {fault} | {name} | {calls:.0} | {:.2} % | {goodput} | {p99:.1} | {above:+.1} | {requests:.3} |",
                    success * 100.0,
                );
            }
        }
    }
    if as_json {
        println!("[{}]", told.join(","));
    }
}

fn measure(
    subject: usize,
    backends: &[Backend],
    health: Health,
    ill: std::ops::Range<usize>,
    time: Duration,
) -> Sample {
    backends.iter().for_each(|backend| backend.set(Health::Well));
    let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tokio = tokio.expect("a runtime on this thread");
    let all: Vec<SocketAddr> = backends.iter().map(|backend| backend.address).collect();
    // The oracle knows. If none is well, it is as lost as anybody.
    let called = if subject == 0 && ill.len() == 1 { &all[..2] } else { &all[..] };
    let entered = tokio.enter();
    let call = Rc::new(SUBJECTS[subject].1(called));
    drop(entered);
    let (measures, over) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(false)));
    let took = Rc::new(RefCell::new(Vec::<(Duration, bool)>::new()));
    let callers = (0..CALLERS).map(|_| {
        let (call, measures, over, took) =
            (call.clone(), measures.clone(), over.clone(), took.clone());
        async move {
            while !over.get() {
                let (begin, counts) = (Instant::now(), measures.get());
                let good = call().await;
                if counts {
                    took.borrow_mut().push((begin.elapsed(), good));
                }
                if !good {
                    tokio::time::sleep(TAKES).await;
                }
            }
        }
    });
    let local = tokio::task::LocalSet::new();
    let (arrived, elapsed) = local.block_on(&tokio, async {
        let tasks: Vec<_> = callers.map(tokio::task::spawn_local).collect();
        tokio::time::sleep(Duration::from_secs(1)).await;
        let arrived = || backends.iter().map(Backend::arrived).sum::<u64>();
        let (begin, before) = (Instant::now(), arrived());
        backends[ill].iter().for_each(|backend| backend.set(health));
        measures.set(true);
        tokio::time::sleep(time).await;
        let elapsed = begin.elapsed();
        over.set(true);
        // What was begun is let end.
        for task in tasks {
            task.await.expect("no panic");
        }
        (arrived() - before, elapsed)
    });
    drop(call);
    let mut took = took.take();
    took.sort();
    let good = took.iter().filter(|(_, good)| *good).count() as f64;
    let calls = took.len() as f64;
    Sample {
        calls,
        success: good / calls,
        goodput: good / elapsed.as_secs_f64(),
        p99: took[took.len() * 99 / 100].0.as_secs_f64(),
        requests: arrived as f64 / calls,
    }
}
