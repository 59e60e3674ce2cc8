//! Both adapters for minutes, with 5 % of faults and 5 % of cancellation; and whether anything grows.
//!
//! Every few seconds the load pauses until all calls have ended. Then what is lent out has to be nothing,
//! and what there is of memory, descriptors, threads and tasks is a sample. Servers are another process's.

use std::alloc::System;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dace::http::{Body, Method};
use dace::{Adapter, Error, HttpError, Runtime, Statsd, StatsdExt as _};
use dace_wire::upload;
use futures_util::future::{Either, select};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

use crate::process::{self, Servers};
use crate::server::FAULTS;
use crate::slope::{Measure, Slope};
use crate::support::{Dependency, Verdict, dependency, ensure, lent, ms};

/// Counts what is allocated and not freed; what libcurl allocates is in the resident memory alone.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Who calls at once, on each adapter.
const WORKERS: u64 = 16;

/// Servers that are called. Under libcurl some connections to each lie idle when a sample is taken.
const SERVERS: u64 = 12;

/// How long a worker takes for a call, if the machine is fast enough: 1,000 calls a second on each adapter.
const PACE: Duration = ms(16);

/// Calls a second at the least: of fewer nothing would be seen that is lost once in a thousand.
const LEAST: u64 = 300;

/// How long the load runs between two samples.
const STRETCH: Duration = Duration::from_secs(4);

/// How long a connection may lie idle, so that those that are watched are gone when a sample is taken.
const IDLE: Duration = ms(300);

/// How long after the last call a sample is taken.
const QUIET: Duration = ms(1000);

const MEASURES: [Measure; 6] = [
    Measure { name: "live objects", per_thousand: 0.5, at_least: 24.0 },
    Measure { name: "live bytes", per_thousand: 256.0, at_least: 64.0 * 1024.0 },
    Measure { name: "resident KiB", per_thousand: 4.0, at_least: 2048.0 },
    Measure { name: "descriptors", per_thousand: 0.2, at_least: 24.0 },
    Measure { name: "threads", per_thousand: 0.2, at_least: 4.0 },
    Measure { name: "tokio tasks", per_thousand: 0.2, at_least: 4.0 },
];

pub(crate) struct Plan {
    pub(crate) time: Duration,
    /// What is leaked on purpose, once in a thousand calls.
    pub(crate) leak: Option<Leak>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leak {
    /// 256 bytes.
    Memory,
    /// A task that never ends.
    Task,
    /// An open file.
    Descriptor,
    /// A call that was begun and is never polled again.
    Place,
}

impl Leak {
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "memory" => Self::Memory,
            "task" => Self::Task,
            "descriptor" => Self::Descriptor,
            "place" => Self::Place,
            _ => return None,
        })
    }
}

/// What the workers share.
struct Load {
    servers: Servers,
    /// Whether to call, or to pause.
    on: AtomicBool,
    over: AtomicBool,
    /// Calls that have not ended.
    busy: AtomicUsize,
    calls: AtomicU64,
    good: AtomicU64,
    cut: AtomicU64,
    refused: AtomicU64,
    leak: Option<Leak>,
}

pub(crate) fn run(plan: &Plan) -> Verdict {
    let load = Arc::new(Load {
        servers: Servers::start(),
        on: AtomicBool::new(true),
        over: AtomicBool::new(false),
        busy: AtomicUsize::new(0),
        calls: AtomicU64::new(0),
        good: AtomicU64::new(0),
        cut: AtomicU64::new(0),
        refused: AtomicU64::new(0),
        leak: plan.leak,
    });
    let tokio = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let on_tokio = soaked::<dace::tokio::Tokio>();
    let on_smol = soaked::<dace::smol::Smol>();
    for seed in 0..WORKERS {
        tokio.spawn(work::<dace::tokio::Tokio>(load.clone(), on_tokio.clone(), seed));
        smol::spawn(work::<dace::smol::Smol>(load.clone(), on_smol.clone(), seed)).detach();
    }
    let samples =
        smol::block_on(samples(plan, &load, &tokio, || lent(&on_tokio) + lent(&on_smol)))?;
    println!("{}\n{}", on_tokio.snapshot().totals, on_smol.snapshot().totals);
    let slopes: Vec<Slope> = (0..MEASURES.len())
        .map(|at| {
            let of = samples.iter().map(|(calls, values)| (*calls, values[at]));
            Slope::of(MEASURES[at], &of.collect::<Vec<_>>())
        })
        .collect();
    for slope in &slopes {
        println!("{slope}");
    }
    let [calls, good, cut, refused] = [&load.calls, &load.good, &load.cut, &load.refused]
        .map(|count| count.load(Ordering::Relaxed));
    println!(
        "{calls} calls in {} samples: {good} good, {cut} dropped, {refused} refused",
        samples.len()
    );
    let few = plan.time.as_secs() * LEAST;
    ensure(calls >= few && good > calls / 2 && cut > calls / 100, || {
        String::from("this was no load to speak of")
    })?;
    drop((on_tokio, on_smol));
    end(&load, &tokio)?;
    ensure(!slopes.iter().any(Slope::grows), || String::from("something grows"))
}

/// When nobody calls any more, no task is left but the workers', which end.
fn end(load: &Load, tokio: &tokio::runtime::Runtime) -> Verdict {
    load.over.store(true, Ordering::SeqCst);
    load.on.store(true, Ordering::SeqCst);
    smol::block_on(async {
        for _ in 0..100 {
            if tokio.metrics().num_alive_tasks() == 0 {
                return Ok(());
            }
            pause::<dace::smol::Smol>(ms(50)).await;
        }
        Err(format!("{} tasks are left", tokio.metrics().num_alive_tasks()))
    })
}

fn soaked<A: Adapter>() -> Dependency<A> {
    dependency::<A>(|builder| {
        builder
            .http_idle_timeout(IDLE)
            .circuit_reset_timeout(ms(100))
            .max_netlocs(5)
            .queue(8)
            .statsd(Statsd::sink(cadence::NopMetricSink))
    })
}

async fn pause<A: Adapter>(time: Duration) {
    let runtime = A::Runtime::default();
    runtime.sleep_until(runtime.now().after(time)).await;
}

/// Pauses the load again and again, and looks what there is: calls so far, and the measures.
async fn samples(
    plan: &Plan,
    load: &Load,
    tokio: &tokio::runtime::Runtime,
    lent: impl Fn() -> usize,
) -> Result<Vec<(f64, [f64; MEASURES.len()])>, String> {
    let runtime = dace::smol::SmolRuntime;
    let (begin, mut samples) = (runtime.now(), Vec::new());
    while samples.len() < 8 || runtime.now().since(begin) < plan.time {
        load.on.store(true, Ordering::SeqCst);
        pause::<dace::smol::Smol>(STRETCH).await;
        load.on.store(false, Ordering::SeqCst);
        let asked = runtime.now();
        while load.busy.load(Ordering::SeqCst) > 0 {
            ensure(runtime.now().since(asked) < Duration::from_secs(20), || {
                format!("{} calls do not end", load.busy.load(Ordering::SeqCst))
            })?;
            pause::<dace::smol::Smol>(ms(10)).await;
        }
        ensure(lent() == 0, || format!("{} are lent out, and nobody calls", lent()))?;
        pause::<dace::smol::Smol>(QUIET).await;
        let stats = ALLOCATOR.stats();
        let values = [
            stats.allocations as f64 - stats.deallocations as f64,
            stats.bytes_allocated as f64 - stats.bytes_deallocated as f64,
            (process::memory() >> 10) as f64,
            process::descriptors() as f64,
            process::threads() as f64,
            tokio.metrics().num_alive_tasks() as f64,
        ];
        samples.push((load.calls.load(Ordering::SeqCst) as f64, values));
        if samples.len() % 5 == 0 {
            println!(
                "{:>4.0} s, {} calls: {values:?}",
                runtime.now().since(begin).as_secs_f64(),
                load.calls.load(Ordering::SeqCst)
            );
        }
    }
    Ok(samples)
}

/// Calls, at its pace, until it is over.
async fn work<A: Adapter>(load: Arc<Load>, dependency: Dependency<A>, seed: u64) {
    let runtime = A::Runtime::default();
    let mut rng = fastrand::Rng::with_seed(seed);
    while !load.over.load(Ordering::SeqCst) {
        let next = runtime.now().after(PACE);
        load.busy.fetch_add(1, Ordering::SeqCst);
        if load.on.load(Ordering::SeqCst) && !load.over.load(Ordering::SeqCst) {
            one_call::<A>(&load, &dependency, &mut rng).await;
        }
        load.busy.fetch_sub(1, Ordering::SeqCst);
        runtime.sleep_until(next).await;
    }
}

async fn one_call<A: Adapter>(load: &Load, dependency: &Dependency<A>, rng: &mut fastrand::Rng) {
    let (path, timeout) = match rng.u8(0..100) {
        0..5 => (*rng.choice(&FAULTS).expect("there are some"), ms(150)),
        5..10 => ("large", Duration::from_secs(10)),
        _ => ("fine", Duration::from_secs(10)),
    };
    // Most to one server, the rest to all, more than are accounted one by one.
    let others = SERVERS.min(load.servers.addresses.len() as u64);
    let to = if rng.u8(0..10) == 0 { rng.u64(0..others) } else { rng.u64(0..4) };
    let url = format!("http://{}/{path}", load.servers.addresses[to as usize]);
    let kind = rng.u8(0..10);
    let call = dependency.call(|call| {
        let url = &url;
        async move {
            let (method, body) = match kind {
                0 => (Method::POST, upload(vec![Ok("hello"), Ok("hello")], None)),
                1..3 => (Method::POST, Body::from("hello")),
                _ => (Method::GET, Body::empty()),
            };
            let request = call.http().request(method, url).body(body);
            request.send().await?.error_for_status()?.bytes().await.map(drop)
        }
    });
    let call = call.timeout(timeout);
    let number = load.calls.fetch_add(1, Ordering::Relaxed);
    let result: Option<Result<(), Error<HttpError>>> = match rng.u8(0..100) {
        // Wherever it waits, however fast the machine is,
        0..3 => first(call, waits(rng.u8(1..=3))).await,
        // and wherever it is by then.
        3..5 => {
            let runtime = A::Runtime::default();
            let enough = runtime.now().after(Duration::from_micros(rng.u64(0..2000)));
            first(call, runtime.sleep_until(enough)).await
        }
        _ => Some(call.await),
    };
    match result {
        Some(Ok(())) => &load.good,
        None => &load.cut,
        Some(Err(error)) if error.is_rejected() => &load.refused,
        Some(Err(_)) => return,
    }
    .fetch_add(1, Ordering::Relaxed);
    if number % 1000 == 999 {
        leak::<A>(load, dependency);
    }
}

/// What `work` answers, unless `enough` is ready before.
async fn first<O>(work: impl Future<Output = O>, enough: impl Future<Output = ()>) -> Option<O> {
    match select(pin!(work), pin!(enough)).await {
        Either::Left((output, _)) => Some(output),
        Either::Right(_) => None,
    }
}

/// Ready when it is polled for the given time: what is polled before it has waited as often.
fn waits(count: u8) -> impl Future<Output = ()> {
    let mut left = count;
    std::future::poll_fn(move |_| {
        left -= 1;
        if left == 0 { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
}

/// The protection taken away: what the soak has to find.
fn leak<A: Adapter>(load: &Load, dependency: &Dependency<A>) {
    match load.leak {
        None => {}
        Some(Leak::Memory) => std::mem::forget(vec![0_u8; 256]),
        Some(Leak::Task) => {
            if let Ok(handle) = tokio::runtime::Handle::try_current() {
                handle.spawn(std::future::pending::<()>());
            }
        }
        Some(Leak::Descriptor) => std::mem::forget(std::fs::File::open("/dev/null")),
        Some(Leak::Place) => {
            let call = dependency.call(|_| std::future::pending::<Result<(), HttpError>>());
            let mut call = Box::pin(call);
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let _ = call.as_mut().poll(&mut cx);
            std::mem::forget(call);
        }
    }
}
