//! What it costs to be seen: a call around a future that is ready at once, with each kind of observer,
//! beside the same numbers told by hand.
//!
//! ```text
//! cargo bench --all-features --bench observers                # some 10 s, a Markdown table
//! cargo bench --all-features --bench observers -- --quick
//! ```
//!
//! Everything is on, as in `call_overhead`. All subjects take turns in short samples, so that whatever
//! else the machine does hits them alike. The floor is what such a call needs whoever looks: its function,
//! polled once, between two looks at the clock; the ratios to it may be compared between builds and
//! machines. Samples before which the floor shows that the machine was slower are left out and counted.
//! `no observer` is there twice: what the two differ by is noise, and no difference below it says anything.
//! The last rows are what a user would write without dace's sink: the same five lines for each call (two
//! counters, two timers, a gauge), by `cadence`. Lines go to a port on loopback that nobody reads.
//! Allocations are counted on the calling thread.

use std::future::{Future as _, Ready, ready};
use std::hint::black_box;
use std::net::UdpSocket;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use cadence::{
    BufferedUdpMetricSink, Counted as _, Gauged as _, MetricSink, QueuingMetricSink, StatsdClient,
    Timed as _,
};
use dace::{
    Dependency, DependencyBuilder, Event, HttpError, Instant, Logs, Metrics, NoHttp, Runtime,
    Statsd, StatsdExt as _,
};

/// Calls in one sample: few enough for the default queue to hold what they tell.
const CALLS: u64 = 2_000;

#[expect(clippy::disallowed_methods, reason = "a bench has to look at a clock")]
fn clock() -> std::time::Instant {
    std::time::Instant::now()
}

struct Clock(std::time::Instant);

impl Runtime for Clock {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = Ready<()>;

    fn now(&self) -> Instant {
        let since = clock().duration_since(self.0);
        Instant::from_nanos(since.as_secs() * 1_000_000_000 + u64::from(since.subsec_nanos()))
    }

    fn sleep_until(&self, _: Instant) -> Ready<()> {
        unreachable!("nothing waits here")
    }

    fn seed(&self) -> u64 {
        7
    }
}

type Builder = DependencyBuilder<Clock, NoHttp>;

fn dependency(set: impl FnOnce(Builder) -> Builder) -> Dependency<Clock, NoHttp> {
    let builder = Dependency::builder("servers")
        .targets(["http://a:80", "http://b:80", "http://c:80"])
        .attempt_timeout(Duration::from_secs(1))
        .max_open_per_netloc(1 << 20);
    set(builder).build_with(Clock(clock()), NoHttp).expect("the settings are right")
}

fn call(dependency: &Dependency<Clock, NoHttp>) {
    let call = pin!(dependency.call(|_| ready(Ok::<_, HttpError>(()))));
    match call.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(Ok(())) => {}
        _ => unreachable!("it succeeds at once"),
    }
}

struct Subject {
    name: &'static str,
    call: Box<dyn Fn()>,
    dependency: Dependency<Clock, NoHttp>,
    /// Nanoseconds a call, a sample each.
    samples: Vec<f64>,
}

impl Subject {
    fn seen(name: &'static str, set: impl FnOnce(Builder) -> Builder) -> Self {
        let dependency = dependency(set);
        let called = dependency.clone();
        Self { name, call: Box::new(move || call(&called)), dependency, samples: Vec::new() }
    }

    /// The function and the clock, without any call: what no build can save.
    fn floor(name: &'static str) -> Self {
        let dependency = dependency(|b| b);
        let call = || {
            let begin = clock();
            let function = pin!(ready(Ok::<_, HttpError>(())));
            let ended = function.poll(&mut Context::from_waker(Waker::noop()));
            black_box((ended.is_ready(), begin.elapsed()));
        };
        Self { name, call: Box::new(call), dependency, samples: Vec::new() }
    }

    /// The same lines, sent by hand.
    fn by_hand(
        name: &'static str,
        sink: impl MetricSink + Send + Sync + std::panic::RefUnwindSafe + 'static,
    ) -> Self {
        let (dependency, client) = (dependency(|b| b), StatsdClient::from_sink("dace", sink));
        let called = dependency.clone();
        let told = move || {
            let begin = clock();
            call(&called);
            let took = begin.elapsed();
            // Who counts does not look at the errors of the sink.
            let _ = client.count("servers.attempt.success", 1);
            let _ = client.time("servers.attempt", took);
            let _ = client.count("servers.call.success", 1);
            let _ = client.time("servers.call", took);
            let _ = client.gauge("servers.open", 0u64);
        };
        Self { name, call: Box::new(told), dependency, samples: Vec::new() }
    }

    /// Nanoseconds a call, of so many.
    fn take(&mut self, calls: u64) -> f64 {
        let begin = clock();
        for _ in 0..calls {
            (self.call)();
        }
        begin.elapsed().as_nanos() as f64 / calls as f64
    }

    fn sample(&mut self) {
        let sample = self.take(CALLS);
        self.samples.push(sample);
    }

    fn median(&self) -> f64 {
        let mut samples = self.samples.clone();
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    }

    fn least(&self) -> f64 {
        self.samples.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

/// A floor that is so much above the least one is of a machine that was slower then.
const DISTURBED: f64 = 1.05;

/// Leaves out the samples before which the floor was disturbed, and says how many. If that leaves too few of
/// anybody's, all count, and it is `None`.
fn leave_out_disturbed(subjects: &mut [Subject], floors: &[Vec<f64>]) -> Option<usize> {
    let least = floors.iter().flatten().copied().fold(f64::INFINITY, f64::min);
    let quiet = |floor: &&f64| **floor <= least * DISTURBED;
    if floors.iter().any(|floors| floors.iter().filter(quiet).count() * 10 < floors.len()) {
        return None;
    }
    let mut left_out = 0;
    for (subject, floors) in subjects.iter_mut().zip(floors) {
        let mut before = floors.iter();
        let all = subject.samples.len();
        subject.samples.retain(|_| before.next().as_ref().is_some_and(quiet));
        left_out += all - subject.samples.len();
    }
    Some(left_out)
}

/// Sends, and counts what tells of something that was not sent.
struct Watched(BufferedUdpMetricSink, Arc<AtomicU64>);

impl MetricSink for Watched {
    fn emit(&self, line: &str) -> std::io::Result<usize> {
        if line.contains(".dropped:") {
            self.1.fetch_add(1, Ordering::Relaxed);
        }
        self.0.emit(line)
    }

    fn flush(&self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn main() {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let rounds = match () {
        () if !has("--bench") => 1,
        () if has("--quick") => 51,
        () => 501,
    };
    let unread = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let server = unread.local_addr().expect("an address");
    let udp = || {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        BufferedUdpMetricSink::with_capacity(server, socket, 1_432).expect("an address")
    };
    let dropped = Arc::new(AtomicU64::new(0));
    let watched = || Watched(udp(), dropped.clone());
    let mut subjects = [
        Subject::floor("(floor)"),
        Subject::seen("no observer", |builder| builder),
        Subject::seen("no observer, once more", |builder| builder),
        Subject::seen("an observer that does nothing", |builder| {
            builder.observer(|_: &str, _: &Event| {})
        }),
        Subject::seen("statsd", |builder| builder.statsd(Statsd::sink(watched()))),
        Subject::seen("statsd, with tags", |builder| {
            builder.statsd(Statsd::sink(watched()).tags(true))
        }),
        Subject::seen("metrics, without a recorder", |builder| builder.observer(Metrics::new())),
        Subject::seen("logs, without a subscriber", |builder| builder.observer(Logs::new())),
        Subject::by_hand("cadence by hand, queued", QueuingMetricSink::from(udp())),
        Subject::by_hand("cadence by hand, at once", udp()),
    ];
    let mut floors: Vec<Vec<f64>> = subjects.iter().map(|_| Vec::new()).collect();
    let mut ground = Subject::floor("(floor)");
    for _ in 0..rounds {
        for (subject, floors) in subjects.iter_mut().zip(&mut floors) {
            floors.push(ground.take(CALLS / 4));
            subject.sample();
        }
    }
    let all = |name: &str| {
        let of = subjects.iter().find(|subject| subject.name == name).expect("it is there");
        of.median()
    };
    let unfiltered = all("statsd") - all("no observer");
    let samples = rounds * subjects.len();
    let left_out = match leave_out_disturbed(&mut subjects, &floors) {
        Some(left_out) => format!("{left_out} of {samples} samples were disturbed, and left out"),
        None => String::from("too few samples were not disturbed: all count"),
    };
    let of =
        |name: &str| subjects.iter().find(|subject| subject.name == name).expect("it is there");
    let median = |name: &str| of(name).median();
    let (floor, none) = (median("(floor)"), median("no observer"));
    println!(
        "| observer | ns a call | of the floor | more than none | least | allocations a call |"
    );
    println!("|---|---|---|---|---|---|");
    let mut allocated = Vec::new();
    for subject in &subjects {
        let allocations = allocation_counter::measure(|| {
            for _ in 0..CALLS {
                (subject.call)();
            }
        });
        // What was dropped cost nothing.
        subject.dependency.flush();
        assert_eq!(subject.dependency.snapshot().events_dropped, 0, "{}", subject.name);
        assert_eq!(dropped.load(Ordering::Relaxed), 0, "{}", subject.name);
        let (name, median, least) = (subject.name, subject.median(), subject.least());
        let allocations = allocations.count_total as f64 / CALLS as f64;
        println!(
            "| {name} | {median:.0} | {:.2} | {:+.0} | {least:.0} | {allocations:.2} |",
            median / floor,
            median - none,
        );
        allocated.push((name, allocations));
    }
    let noise = (median("no observer, once more") - none).abs();
    let ignored = median("an observer that does nothing") - none;
    let statsd = median("statsd") - none;
    let of =
        |name: &str| allocated.iter().find(|(known, _)| *known == name).map(|(_, count)| *count);
    let verdict = |kept: bool| if kept { "kept" } else { "BROKEN" };
    println!();
    println!(
        "{left_out}; with all of them statsd: {unfiltered:+.0} ns\n\
         no observer: {:.2} of the floor, noise {noise:.1} ns; being seen by one that does nothing costs \
         {ignored:.1} ns more, and more than noise: {}",
        none / floor,
        verdict(ignored > noise),
    );
    println!(
        "statsd: {statsd:+.0} ns of at most +250, allocations as without: {}",
        verdict(statsd <= 250.0 && of("statsd") <= of("no observer")),
    );
}
