//! What a call costs beside the function that it wraps: dace next to tower + failsafe, in one run.
//!
//!     cargo bench --bench call_overhead             (a minute)
//!     cargo bench --bench call_overhead -- --quick  (some seconds)
//!     cargo bench --bench call_overhead -- --json
//!     cargo bench --bench call_overhead -- --only dace      (rows whose name has it)
//!
//! The wrapped function is ready at once. Both sides have a timeout, retries with a budget, a limit
//! of open operations and a circuit breaker; dace balances over three targets as well. Rounds are
//! interleaved, so that a busy machine disturbs all alike; the table has the median of the rounds, and
//! what matters are the ratios.

use std::alloc::System;
use std::future::{Future, Ready, poll_fn, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant as Clock};

use dace::{Backoff, Breaker, Dependency, Instant, NoHttp, Runtime};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::{Service, ServiceExt};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// tokio's timers on the clock that tokio uses.
#[derive(Clone, Debug)]
struct BenchRuntime {
    epoch: Clock,
}

#[expect(clippy::disallowed_methods, reason = "this is the clock of the bench")]
fn clock() -> Clock {
    Clock::now()
}

impl Runtime for BenchRuntime {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        Instant::from_nanos(clock().duration_since(self.epoch).as_nanos() as u64)
    }

    fn sleep_until(&self, deadline: Instant) -> tokio::time::Sleep {
        let at = self.epoch + Duration::from_nanos(deadline.as_nanos());
        tokio::time::sleep_until(at.into())
    }

    fn seed(&self) -> u64 {
        7
    }
}

type Bench = Dependency<BenchRuntime, NoHttp>;

fn dependency(targets: usize) -> Bench {
    with_breaker(targets, Breaker::new())
}

fn with_breaker(targets: usize, breaker: Breaker) -> Bench {
    Dependency::builder("bench")
        .breaker(breaker)
        .targets((0..targets).map(|n| format!("http://10.0.{}.{}", n / 250, n % 250)))
        .timeout(Duration::from_secs(5))
        .retry_attempts(3)
        .max_open_per_netloc(1 << 20)
        .backoff(Backoff::new().base(Duration::ZERO))
        .build_with(BenchRuntime { epoch: clock() }, NoHttp)
        .expect("the settings are good")
}

/// Runs a future that never has to wait for anybody else.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
    }
}

#[derive(Debug)]
struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed")
    }
}

impl std::error::Error for Failed {}
impl dace::Classify for Failed {}

/// tower's retry policy with its budget, as its users write it.
#[derive(Clone)]
struct Retries {
    budget: Arc<TpsBudget>,
    left: u32,
}

impl<T> tower::retry::Policy<u32, T, tower::BoxError> for Retries {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut u32, result: &mut Result<T, tower::BoxError>) -> Option<Ready<()>> {
        match result {
            Ok(_) => {
                self.budget.deposit();
                None
            }
            Err(_) if self.left > 0 && self.budget.withdraw() => {
                self.left -= 1;
                Some(ready(()))
            }
            Err(_) => None,
        }
    }

    fn clone_request(&mut self, request: &u32) -> Option<u32> {
        Some(*request)
    }
}

/// A service behind failsafe's breaker.
struct Broken<S, P> {
    inner: S,
    breaker: failsafe::StateMachine<P, ()>,
}

/// Clones share the breaker, whatever its policy.
impl<S: Clone, P> Clone for Broken<S, P> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), breaker: self.breaker.clone() }
    }
}

impl<S, P> Service<u32> for Broken<S, P>
where
    S: Service<u32, Response = u32, Error = Failed>,
    P: failsafe::FailurePolicy,
    S::Future: Unpin,
{
    type Response = u32;
    type Error = tower::BoxError;
    type Future = Breaking<S::Future, P>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), tower::BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: u32) -> Self::Future {
        let permitted = self.breaker.is_call_permitted();
        let inner = permitted.then(|| self.inner.call(request));
        Breaking { inner, breaker: self.breaker.clone() }
    }
}

struct Breaking<F, P> {
    inner: Option<F>,
    breaker: failsafe::StateMachine<P, ()>,
}

impl<F, P> Future for Breaking<F, P>
where
    F: Future<Output = Result<u32, Failed>> + Unpin,
    P: failsafe::FailurePolicy,
{
    type Output = Result<u32, tower::BoxError>;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(inner) = &mut self.inner else { return Poll::Ready(Err("open".into())) };
        let result = std::task::ready!(std::pin::Pin::new(inner).poll(cx));
        match result {
            Ok(value) => {
                self.breaker.on_success();
                Poll::Ready(Ok(value))
            }
            Err(error) => {
                self.breaker.on_error();
                Poll::Ready(Err(error.into()))
            }
        }
    }
}

type Inner = fn(u32) -> Ready<Result<u32, Failed>>;

/// Timeout, retries with a budget, limit, breaker: tower with failsafe.
fn peer(
    inner: Inner,
    failures: u32,
) -> impl Service<u32, Response = u32, Error = tower::BoxError> + Clone {
    let backoff = failsafe::backoff::constant(Duration::from_secs(10));
    let policy = failsafe::failure_policy::consecutive_failures(failures, backoff);
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    let service = Broken { inner: tower::service_fn(inner), breaker };
    tower::ServiceBuilder::new()
        .timeout(Duration::from_secs(5))
        .retry(Retries {
            budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 1_000_000, 1.0)),
            left: 3,
        })
        .concurrency_limit(1 << 20)
        .service(service)
}

fn ok(n: u32) -> Ready<Result<u32, Failed>> {
    ready(Ok(n))
}

fn fail(_: u32) -> Ready<Result<u32, Failed>> {
    ready(Err(Failed))
}

/// Fails every other time.
fn every_other(_: u32) -> Ready<Result<u32, Failed>> {
    thread_local!(static TURN: std::cell::Cell<bool> = const { std::cell::Cell::new(false) });
    TURN.with(|turn| {
        turn.set(!turn.get());
        ready(if turn.get() { Err(Failed) } else { Ok(1) })
    })
}

struct Row {
    name: &'static str,
    rounds: Vec<f64>,
    allocations: f64,
    run: Box<dyn FnMut(u32) -> Duration>,
}

impl Row {
    /// `act` is one call.
    fn new(name: &'static str, mut act: impl FnMut() + 'static) -> Self {
        Self::timed(name, move |calls| {
            let begin = clock();
            for _ in 0..calls {
                act();
            }
            begin.elapsed()
        })
    }

    fn timed(name: &'static str, run: impl FnMut(u32) -> Duration + 'static) -> Self {
        Self { name, rounds: Vec::new(), allocations: 0.0, run: Box::new(run) }
    }

    /// Two threads at once: the time of a call as each of them sees it.
    fn two_threads<S: Clone + Send + 'static>(
        name: &'static str,
        shared: S,
        act: fn(&mut S),
    ) -> Self {
        Self::timed(name, move |calls| {
            let barrier = Arc::new(Barrier::new(2));
            let threads: Vec<_> = (0..2)
                .map(|_| {
                    let (mut shared, barrier) = (shared.clone(), barrier.clone());
                    let tokio = tokio::runtime::Handle::current();
                    std::thread::spawn(move || {
                        let _context = tokio.enter();
                        barrier.wait();
                        let begin = clock();
                        for _ in 0..calls {
                            act(&mut shared);
                        }
                        begin.elapsed()
                    })
                })
                .collect();
            let times = threads.into_iter().map(|thread| thread.join().expect("no panic"));
            times.max().unwrap_or_default()
        })
    }

    fn median(&self) -> f64 {
        let mut rounds = self.rounds.clone();
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    }

    fn least(&self) -> f64 {
        self.rounds.iter().copied().fold(f64::INFINITY, f64::min)
    }
}

fn one_call(dependency: &Bench) {
    let result = finish(dependency.call(|_| ready(Ok::<_, Failed>(1u32))));
    black_box(result).expect("it succeeds");
}

fn rows() -> Vec<Row> {
    let mut happy_peer = peer(ok, 5);
    let mut open_peer = peer(fail, 1);
    let mut retried_peer = peer(every_other, 1000);
    let (three, thousand) = (dependency(3), dependency(1000));
    let open = dependency(1);
    finish(open.call(|_| ready(Err::<u32, _>(Failed)))).expect_err("it fails");
    open.circuit("10.0.0.0:80").expect("it is listed").force_open();
    // Half of the attempts fail in that row: the circuits stay closed all the same, as the peer's.
    let patient = Breaker::new().consecutive_failures(1000).min_calls(u32::MAX);
    let retried = with_breaker(3, patient);
    let waiting = dependency(3);
    let shared = dependency(3);
    vec![
        Row::new("happy path: tower + failsafe", move || {
            let ready = finish(happy_peer.ready()).expect("it is ready");
            black_box(finish(ready.call(1))).expect("it succeeds");
        }),
        Row::new("happy path: dace, 3 targets", move || one_call(&three)),
        Row::new("happy path: dace, 1,000 targets", move || one_call(&thousand)),
        Row::new("waits once: dace", move || {
            let call = waiting.call(|_| {
                let mut polled = false;
                poll_fn(move |_| {
                    polled = !polled;
                    if polled { Poll::Pending } else { Poll::Ready(Ok::<_, Failed>(1u32)) }
                })
            });
            black_box(finish(call)).expect("it succeeds");
        }),
        Row::new("rejected by an open circuit: tower + failsafe", move || {
            let ready = finish(open_peer.ready()).expect("it is ready");
            black_box(finish(ready.call(1))).expect_err("it is rejected");
        }),
        Row::new("rejected by an open circuit: dace", move || {
            let result = finish(open.call(|_| ready(Ok::<_, Failed>(1u32))));
            black_box(result).expect_err("it is rejected");
        }),
        Row::new("first attempt fails: tower + failsafe", move || {
            let ready = finish(retried_peer.ready()).expect("it is ready");
            black_box(finish(ready.call(1))).expect("the second attempt succeeds");
        }),
        Row::new("first attempt fails: dace", move || {
            let result = finish(
                retried
                    .call(|call| ready(if call.attempt() == 1 { Err(Failed) } else { Ok(1u32) })),
            );
            black_box(result).expect("the second attempt succeeds");
        }),
        Row::two_threads("two threads: tower + failsafe", peer(ok, 5), |service| {
            let ready = finish(service.ready()).expect("it is ready");
            black_box(finish(ready.call(1))).expect("it succeeds");
        }),
        Row::two_threads("two threads: dace", shared, |dependency| one_call(dependency)),
    ]
}

/// A function's future of 16 bytes.
fn future_size() -> usize {
    let dependency = dependency(3);
    let call = dependency.call(|_| {
        let state = (1u64, false);
        poll_fn(move |_| Poll::Ready(Ok::<_, Failed>(black_box(state).0)))
    });
    size_of_val(&call)
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let (rounds, calls) = if has("--quick") { (5, 20_000) } else { (31, 100_000) };
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().build();
    let tokio = tokio.expect("a runtime for the timers");
    let _context = tokio.enter();
    let mut rows = rows();
    if let Some(at) = arguments.iter().position(|argument| argument == "--only") {
        let wanted = arguments.get(at + 1).map_or("", String::as_str);
        rows.retain(|row| row.name.contains(wanted));
    }
    for row in &mut rows {
        (row.run)(calls / 10);
        let region = Region::new(ALLOCATOR);
        (row.run)(1000);
        row.allocations = region.change().allocations as f64 / 1000.0;
    }
    for _ in 0..rounds {
        for row in &mut rows {
            let time = (row.run)(calls);
            row.rounds.push(time.as_nanos() as f64 / f64::from(calls));
        }
    }
    print(&rows, has("--json"));
}

fn print(rows: &[Row], json: bool) {
    if json {
        let rows: Vec<String> = rows
            .iter()
            .map(|row| {
                let (name, median, least) = (row.name, row.median(), row.least());
                let allocations = row.allocations.floor();
                format!(
                    r#"{{"name":"{name}","median_ns":{median:.1},"least_ns":{least:.1},"allocations":{allocations}}}"#
                )
            })
            .collect();
        println!(r#"{{"future_bytes":{},"rows":[{}]}}"#, future_size(), rows.join(","));
        return;
    }
    println!("| | median ns | least ns | to the peer | allocations |");
    println!("|---|---:|---:|---:|---:|");
    let mut peer = f64::NAN;
    for row in rows {
        if row.name.contains("tower") {
            peer = row.median();
        }
        println!(
            "| {} | {:.0} | {:.0} | {:.2} | {:.0} |",
            row.name,
            row.median(),
            row.least(),
            row.median() / peer,
            row.allocations.floor(),
        );
    }
    println!("\na call's future around a function's future of 16 bytes: {} bytes", future_size());
}
