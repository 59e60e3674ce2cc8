//! Whole HTTP calls on loopback: dace on its adapters beside what a user would call in its place.
//!
//! ```text
//! cd benches/http && cargo run --release            # three minutes or so, a Markdown table
//! cd benches/http && cargo run --release -- --quick
//! cd benches/http && cargo run --release -- --json
//! cd benches/http && cargo run --release -- --only "raw hyper,dace on tokio" --callers 16    # for a profiler
//! ```
//!
//! The server is hyper's, on a thread of its own, and answers 13 bytes. Each client makes so many requests
//! at a time for a while, one client after the other, in rounds, so that whatever else the machine does
//! hits all of them; the medians over the rounds are told, and the best rate. A round in which some client
//! was much slower than it is usually counts for nobody. Rates are to raw hyper, and of those on smol to bare
//! isahc: only ratios mean anything.

mod clients;
mod server;
mod stacked;

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Makes one request, and reads its answer to the end.
pub(crate) type Request = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = usize>>>>;

/// What runs a client's requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    Tokio,
    Smol,
}

pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) on: On,
    /// Requests by so many callers at a time: each has one of these.
    pub(crate) callers: Vec<Request>,
}

const BODY: &str = "hello, world!";

/// A round in which some client's rate was less than its median by so much was disturbed.
const DISTURBED: f64 = 1.5;

fn main() {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let (quick, as_json) = (has("--quick"), has("--json"));
    let only = after("--only");
    let callers = after("--callers").map(|callers| callers.parse().expect("a number of callers"));
    let (rounds, round) = if quick { (3, 200) } else { (9, 700) };
    let round = Duration::from_millis(round);
    let server = server::start();
    if !as_json {
        println!(
            "| callers | client | requests/s (most) | of its base | p50 | p99 | CPU of its base | allocations | \
             rounds left out |\n|---:|---|---:|---:|---:|---:|---:|---:|---:|"
        );
    }
    let mut told: Vec<String> = Vec::new();
    for concurrency in callers.map_or(vec![1, 16, 64], |callers| vec![callers]) {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let tokio = tokio.expect("a runtime on this thread");
        let mut clients = clients::all(&tokio, server, concurrency);
        if let Some(only) = &only {
            clients.retain(|client| only.split(',').any(|name| name == client.name));
        }
        let mut measured: Vec<Vec<Sample>> = clients.iter().map(|_| Vec::new()).collect();
        for number in 0..=rounds {
            for (client, samples) in clients.iter().zip(&mut measured) {
                let sample = measure(&tokio, client, round);
                // The first round makes connections.
                if number > 0 {
                    samples.push(sample);
                }
            }
        }
        let left_out = leave_out_disturbed(&mut measured);
        let medians: Vec<Sample> = measured.iter().map(|samples| median(samples)).collect();
        let of = |name: &str| {
            let at = clients.iter().position(|client| client.name == name);
            medians[at.unwrap_or_default()]
        };
        for ((client, sample), samples) in clients.iter().zip(&medians).zip(&measured) {
            let base = match client.on {
                On::Tokio => of("raw hyper"),
                On::Smol => of("isahc"),
            };
            let Sample { rate, p50, p99, cpu, allocations } = sample;
            let most = samples.iter().map(|sample| sample.rate).fold(0.0, f64::max);
            let (of_base, cpu_of_base, name) = (rate / base.rate, cpu / base.cpu, client.name);
            if as_json {
                let (p50, p99) = (p50.as_nanos(), p99.as_nanos());
                told.push(format!(
                    r#"{{"callers":{concurrency},"client":"{name}","rate":{rate:.0},"most":{most:.0},"of_base":{of_base:.3},"p50_ns":{p50},"p99_ns":{p99},"cpu_of_base":{cpu_of_base:.3},"allocations":{allocations:.2},"rounds_left_out":{left_out}}}"#
                ));
            } else {
                println!(
                    "| {concurrency} | {name} | {rate:.0} ({most:.0}) | {of_base:.2} | {p50:.0?} | {p99:.0?} | \
                     {cpu_of_base:.2} | {allocations:.1} | {left_out} |"
                );
            }
        }
    }
    if as_json {
        println!("[{}]", told.join(","));
    }
}

/// Takes the rounds out in which some client was slower than its median by [`DISTURBED`], and counts them.
fn leave_out_disturbed(measured: &mut [Vec<Sample>]) -> usize {
    let usual: Vec<f64> = measured.iter().map(|samples| median(samples).rate).collect();
    let rounds = measured.first().map_or(0, Vec::len);
    let quiet = |round: usize| {
        let mut clients = measured.iter().zip(&usual);
        clients.all(|(samples, usual)| samples[round].rate * DISTURBED > *usual)
    };
    let kept: Vec<bool> = (0..rounds).map(quiet).collect();
    let count = kept.iter().filter(|kept| **kept).count();
    if count * 2 < rounds {
        // Then nothing was usual: all count.
        return 0;
    }
    for samples in measured {
        let mut kept = kept.iter();
        samples.retain(|_| *kept.next().expect("as many as samples"));
    }
    rounds - count
}

/// What follows `flag` on the command line.
fn after(flag: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != flag).nth(1)
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    rate: f64,
    p50: Duration,
    p99: Duration,
    /// Seconds of this process but for the server's thread, a request.
    cpu: f64,
    /// A request, on the callers' thread, without the box that this bench puts each request into.
    allocations: f64,
}

fn measure(tokio: &tokio::runtime::Runtime, client: &Client, round: Duration) -> Sample {
    let (begin, cpu) = (Instant::now(), cpu_of_clients());
    let until = begin + round;
    let callers = client.callers.iter().cloned().map(|request| async move {
        let mut took = Vec::new();
        while Instant::now() < until {
            let begin = Instant::now();
            assert_eq!(request().await, BODY.len());
            took.push(begin.elapsed());
        }
        took
    });
    let mut took: Vec<Vec<Duration>> = Vec::new();
    let allocated = allocation_counter::measure(|| took = run(tokio, client.on, callers));
    let elapsed = begin.elapsed();
    let mut took: Vec<Duration> = took.concat();
    took.sort();
    let count = took.len();
    Sample {
        rate: count as f64 / elapsed.as_secs_f64(),
        p50: took[count / 2],
        p99: took[count * 99 / 100],
        cpu: (cpu_of_clients() - cpu) / count as f64,
        allocations: allocated.count_total as f64 / count as f64 - 1.0,
    }
}

fn run<C>(
    tokio: &tokio::runtime::Runtime,
    on: On,
    callers: impl Iterator<Item = C>,
) -> Vec<Vec<Duration>>
where
    C: Future<Output = Vec<Duration>> + 'static,
{
    match on {
        On::Tokio => {
            let local = tokio::task::LocalSet::new();
            local.block_on(tokio, async {
                let tasks: Vec<_> = callers.map(tokio::task::spawn_local).collect();
                let mut all = Vec::new();
                for task in tasks {
                    all.push(task.await.expect("no panic"));
                }
                all
            })
        }
        On::Smol => {
            let local = smol::LocalExecutor::new();
            smol::block_on(local.run(async {
                let tasks: Vec<_> = callers.map(|caller| local.spawn(caller)).collect();
                let mut all = Vec::new();
                for task in tasks {
                    all.push(task.await);
                }
                all
            }))
        }
    }
}

fn median(samples: &[Sample]) -> Sample {
    let by = |key: fn(&Sample) -> f64| {
        let mut all: Vec<f64> = samples.iter().map(key).collect();
        all.sort_by(f64::total_cmp);
        all[all.len() / 2]
    };
    Sample {
        rate: by(|sample| sample.rate),
        p50: Duration::from_secs_f64(by(|sample| sample.p50.as_secs_f64())),
        p99: Duration::from_secs_f64(by(|sample| sample.p99.as_secs_f64())),
        cpu: by(|sample| sample.cpu),
        allocations: by(|sample| sample.allocations),
    }
}

/// Seconds that all threads but the server's have run. Linux counts them in ticks of 10 ms.
fn cpu_of_clients() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let ticks = |stat: &str| {
        let after = stat.rsplit(')').next().unwrap_or_default();
        let fields: Vec<&str> = after.split_whitespace().collect();
        fields[11].parse::<u64>().unwrap_or(0) + fields[12].parse::<u64>().unwrap_or(0)
    };
    let all = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter(|stat| !stat.contains("(server)"))
        .map(|stat| ticks(&stat));
    all.sum::<u64>() as f64 / 100.0
}
