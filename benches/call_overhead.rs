//! What a call costs around a future that is ready at once, beside its peers in the same run.
//!
//! ```text
//! cargo bench --all-features --bench call_overhead                # some 20 s, a Markdown table
//! cargo bench --all-features --bench call_overhead -- --quick     # some 3 s
//! cargo bench --all-features --bench call_overhead -- --json
//! ```
//!
//! Subjects: **dace** with everything on (three targets by peak-EWMA, both timeouts, retries with a
//! budget, a limit, breakers); **tower** (timeout, retry with a budget, concurrency limit) with
//! **failsafe**'s breaker, which has no balancer; and a **floor**, the least that a limit, a breaker,
//! a balancer over three and a lazy timer can cost, in a few atomics. Nothing is logged or observed;
//! the limit is 2^20 and retries do not wait.
//!
//! All subjects of a row take turns in short samples, so that whatever else the machine does hits all
//! of them alike: read the ratios. The median is the figure, the minimum says how quiet the machine
//! was. Allocations are counted on the calling thread, in a run of their own.

use std::fmt::Write as _;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::{Breaker, Budget};
use failsafe::failure_policy::{ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow};
use failsafe::futures::CircuitBreaker as _;
use failsafe::{FailurePolicy as _, StateMachine, backoff, failure_policy};
use tower::limit::ConcurrencyLimit;
use tower::retry::Retry;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::timeout::Timeout;
use tower::{Service, ServiceBuilder};

mod common;

use common::rows::{self, Row, rounds};
use common::{Failed, LIMIT, Nothing, RETRIES, TIMEOUT, clock, dace, now_or_never};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let rounds = rounds(&arguments);
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without a thread of its own");
    let _entered = tokio.enter();

    let mut rows = [
        happy_path(3),
        rejected(),
        second_attempt_succeeds(),
        two_threads(tokio.handle()),
        happy_path(1_000),
        waiting_once(),
        observed(),
        known_netlocs(10),
        known_netlocs(10_000),
    ];
    for row in &mut rows {
        row.measure(rounds);
    }
    println!("{}", told(&rows, has("--json")));
}

// Rows.

fn happy_path(targets: usize) -> Row {
    let dace = dace(targets, |builder| builder);
    let mut tower = tower(breaker(5, 0.8), succeed);
    let floor = Floor::new();
    Row::new(match targets {
        3 => "success at once",
        _ => "the same, dace with 1,000 targets",
    })
    .subject("dace", move || {
        now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
    })
    .subject("tower + failsafe", move || tower.call(true).expect("success"))
    .subject("floor", move || {
        now_or_never(floor.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
    })
}

/// The function is pending once: a timer is made, and dropped.
fn waiting_once() -> Row {
    let dace = dace(3, |builder| builder);
    let mut tower = tower(breaker(5, 0.8), |_| Once(true));
    let floor = Floor::new();
    Row::new("pending once, then success")
        .subject("dace", move || poll_twice(dace.call(|_| Once(true))).expect("success"))
        .subject("tower + failsafe", move || {
            now_or_never(poll_fn(|cx| tower.0.poll_ready(cx))).expect("ready");
            poll_twice(tower.0.call(true)).expect("success")
        })
        .subject("floor", move || poll_twice(floor.call(|_| Once(true))).expect("success"))
}

/// With somebody who looks, and does nothing.
fn observed() -> Row {
    let dace = dace(3, |builder| builder.observer(Nothing));
    Row::new("success at once, an observer that does nothing").subject("dace", move || {
        now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
    })
}

/// The dependency has met so many servers before.
fn known_netlocs(count: usize) -> Row {
    let dace = dace(3, |builder| builder.max_netlocs(20_000));
    let many = (0..count).map(|number| format!("http://met-{number}:80"));
    dace.set_targets(many.collect::<Vec<_>>()).expect("they are targets");
    dace.set_targets(["http://server-0:80", "http://server-1:80", "http://server-2:80"])
        .expect("they are targets");
    assert!(dace.snapshot().endpoints.len() >= count);
    Row::new(if count == 10 {
        "success, 10 netlocs known"
    } else {
        "success, 10,000 netlocs known"
    })
    .subject("dace", move || {
        now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
    })
}

/// A future that is pending once, and wakes nobody: whoever polls it polls again.
#[derive(Debug)]
struct Once(bool);

impl Future for Once {
    type Output = Result<u64, Failed>;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.0) { Poll::Pending } else { Poll::Ready(Ok(1)) }
    }
}

fn poll_twice<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    match future.poll(&mut cx) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("it waits once"),
    }
}

fn rejected() -> Row {
    let dace = dace(3, |builder| builder);
    for number in 0..3 {
        let circuit = dace.circuit(&format!("server-{number}:80"));
        circuit.expect("the netloc is known").force_open();
    }
    let mut tower = tower(breaker(1, 0.8), |works| ready(if works { Ok(1) } else { Err(Failed) }));
    tower.call(false).expect_err("the failure that opens it");
    let floor = Floor::new();
    for endpoint in &floor.endpoints {
        endpoint.open_until.store(u64::MAX, Ordering::Relaxed);
    }
    Row::new("rejected by open circuits")
        .subject("dace", move || {
            now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).map_or_else(
                |error| u64::from(error.is_rejected()),
                |_| unreachable!("the circuits are open"),
            )
        })
        .subject("tower + failsafe", move || {
            tower.call(true).map_or_else(|_| 1, |_| unreachable!("the circuit is open"))
        })
        .subject("floor", move || {
            now_or_never(floor.call(|_| ready(Ok::<_, Failed>(1))))
                .map_or_else(|_| 1, |_| unreachable!("the circuits are open"))
        })
}

fn second_attempt_succeeds() -> Row {
    // Every other result is a failure, for ever: count them, and never trip or run out.
    let never = Breaker::new().consecutive_failures(u32::MAX).min_calls(u32::MAX);
    let dace = dace(3, |builder| builder.breaker(never).budget(Budget::new().banked(u32::MAX)));
    let mut tower =
        tower(breaker(u32::MAX, 0.0), |first| ready(if first { Err(Failed) } else { Ok(1) }));
    let floor = Floor::new();
    Row::new("first attempt fails, second succeeds")
        .subject("dace", move || {
            now_or_never(dace.call(|call| {
                ready(match call.attempt() {
                    1 => Err(Failed),
                    _ => Ok(1),
                })
            }))
            .expect("success")
        })
        .subject("tower + failsafe", move || tower.call(true).expect("success"))
        .subject("floor", move || {
            now_or_never(floor.call(|attempt| {
                ready(match attempt {
                    1 => Err(Failed),
                    _ => Ok(1),
                })
            }))
            .expect("success")
        })
}

fn two_threads(tokio: &tokio::runtime::Handle) -> Row {
    let dace = dace(3, |builder| builder);
    let tower = tower(breaker(5, 0.8), succeed);
    let floor = Arc::new(Floor::new());
    Row::new("success at once, 2 threads on shared state")
        .shared(
            "dace",
            tokio,
            move || dace.clone(),
            |dace| now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).expect("success"),
        )
        .shared(
            "tower + failsafe",
            tokio,
            move || tower.clone(),
            |tower| tower.call(true).expect("success"),
        )
        .shared(
            "floor",
            tokio,
            move || floor.clone(),
            |floor| now_or_never(floor.call(|_| ready(Ok::<_, Failed>(1)))).expect("success"),
        )
}

/// The size of each subject's future around one of 16 bytes, tokio's timer inside.
fn sizes() -> [(&'static str, usize); 3] {
    let dace = dace(3, |builder| builder);
    let mut tower = tower(breaker(5, 0.8), |_| Sixteen([0; 2]));
    now_or_never(poll_fn(|cx| tower.0.poll_ready(cx))).expect("a permit");
    let floor = Floor::new();
    assert_eq!(size_of::<Sixteen>(), 16);
    [
        ("dace", size_of_val(&dace.call(|_| Sixteen([0; 2])))),
        ("tower + failsafe", size_of_val(&tower.0.call(true))),
        ("floor", size_of_val(&floor.call(|_| Sixteen([0; 2])))),
    ]
}

/// A future of 16 bytes.
struct Sixteen([u64; 2]);

impl Future for Sixteen {
    type Output = Result<u64, Failed>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(self.0[0]))
    }
}

// Subjects.

type Rate = SuccessRateOverTimeWindow<backoff::Constant>;
type Policy = OrElse<Rate, ConsecutiveFailures<backoff::Constant>>;
type FailsafeBreaker = StateMachine<Policy, ()>;

/// failsafe's breaker: by success rate over ten seconds, or by failures in a row.
fn breaker(failures: u32, success_rate: f64) -> FailsafeBreaker {
    let hour = || backoff::constant(Duration::from_secs(3600));
    let window = Duration::from_secs(10);
    let rate = failure_policy::success_rate_over_time_window(success_rate, 20, window, hour());
    let either = rate.or_else(failure_policy::consecutive_failures(failures, hour()));
    failsafe::Config::new().failure_policy(either).build()
}

/// The service at the bottom: the request says whether this is the first attempt.
#[derive(Clone)]
struct Guarded<F> {
    breaker: FailsafeBreaker,
    function: F,
}

impl<F, Fut> Service<bool> for Guarded<F>
where
    F: FnMut(bool) -> Fut,
    Fut: Future<Output = Result<u64, Failed>>,
{
    type Response = u64;
    type Error = failsafe::Error<Failed>;
    type Future = failsafe::futures::ResponseFuture<Fut, Policy, (), failsafe::Any>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, first: bool) -> Self::Future {
        self.breaker.call((self.function)(first))
    }
}

/// Retries at once, as long as there are attempts left and the budget pays.
#[derive(Clone)]
struct Again {
    left: u32,
    budget: Arc<TpsBudget>,
}

impl tower::retry::Policy<bool, u64, failsafe::Error<Failed>> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        first: &mut bool,
        result: &mut Result<u64, failsafe::Error<Failed>>,
    ) -> Option<Ready<()>> {
        match result {
            Ok(_) => {
                self.budget.deposit();
                None
            }
            Err(failsafe::Error::Rejected) => None,
            Err(failsafe::Error::Inner(Failed)) => {
                if self.left == 0 || !self.budget.withdraw() {
                    return None;
                }
                self.left -= 1;
                *first = false;
                Some(ready(()))
            }
        }
    }

    fn clone_request(&mut self, first: &bool) -> Option<bool> {
        Some(*first)
    }
}

type Stack<F> = Timeout<Retry<Again, ConcurrencyLimit<Guarded<F>>>>;

/// A service, and how it is called: one handle a thread, which is the cheapest way.
#[derive(Clone)]
struct Tower<F>(Stack<F>);

fn tower<F, Fut>(breaker: FailsafeBreaker, function: F) -> Tower<F>
where
    F: FnMut(bool) -> Fut + Clone,
    Fut: Future<Output = Result<u64, Failed>>,
{
    let again = Again {
        left: RETRIES,
        // A deposit pays for a retry, so that it never runs out.
        budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 1.0)),
    };
    let stack = ServiceBuilder::new()
        .timeout(TIMEOUT)
        .retry(again)
        .concurrency_limit(LIMIT as usize)
        .service(Guarded { breaker, function });
    Tower(stack)
}

impl<F, Fut> Tower<F>
where
    F: FnMut(bool) -> Fut + Clone,
    Fut: Future<Output = Result<u64, Failed>>,
{
    fn call(&mut self, first: bool) -> Result<u64, tower::BoxError> {
        now_or_never(poll_fn(|cx| self.0.poll_ready(cx)))?;
        now_or_never(self.0.call(first))
    }
}

fn succeed(_: bool) -> Ready<Result<u64, Failed>> {
    ready(Ok(1))
}

/// The least that the same can cost: no events, no budget, no fairness, no exact window.
struct Floor {
    endpoints: [Endpoint; 3],
    permits: AtomicU32,
    random: AtomicU64,
    epoch: std::time::Instant,
}

#[derive(Default)]
struct Endpoint {
    open: AtomicU32,
    failures: AtomicU32,
    /// Nanoseconds.
    latency: AtomicU64,
    /// Nanoseconds since the epoch.
    open_until: AtomicU64,
}

impl Floor {
    fn new() -> Self {
        Self {
            endpoints: Default::default(),
            permits: AtomicU32::new(LIMIT),
            random: AtomicU64::new(7),
            epoch: clock(),
        }
    }

    fn now(&self) -> u64 {
        clock().duration_since(self.epoch).as_nanos() as u64
    }

    async fn call<Fut>(&self, mut function: impl FnMut(u32) -> Fut) -> Result<u64, Option<Failed>>
    where
        Fut: Future<Output = Result<u64, Failed>>,
    {
        let mut now = self.now();
        let mut attempt = 1;
        loop {
            let endpoint = self.pick().filter(|it| it.open_until.load(Ordering::Acquire) <= now);
            let Some(endpoint) = endpoint else {
                return Err(None);
            };
            if self.permits.fetch_sub(1, Ordering::AcqRel) == 0 {
                self.permits.fetch_add(1, Ordering::AcqRel);
                return Err(None);
            }
            endpoint.open.fetch_add(1, Ordering::AcqRel);
            let result = in_time(function(attempt)).await;
            let end = self.now();
            endpoint.open.fetch_sub(1, Ordering::AcqRel);
            self.permits.fetch_add(1, Ordering::AcqRel);
            endpoint.latency.store(end - now, Ordering::Release);
            match result {
                Ok(value) => {
                    endpoint.failures.store(0, Ordering::Release);
                    return Ok(value);
                }
                Err(error) => {
                    if endpoint.failures.fetch_add(1, Ordering::AcqRel) == u32::MAX {
                        endpoint.open_until.store(u64::MAX, Ordering::Release);
                    }
                    if attempt > RETRIES {
                        return Err(Some(error));
                    }
                }
            }
            attempt += 1;
            now = end;
        }
    }

    /// The cheaper one of two.
    fn pick(&self) -> Option<&Endpoint> {
        let random = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = random.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let first = (mixed >> 32) as usize % 3;
        let second = (first + 1 + (mixed >> 20) as usize % 2) % 3;
        let cost = |index: usize| {
            let endpoint = self.endpoints.get(index)?;
            let open = u64::from(endpoint.open.load(Ordering::Relaxed));
            Some(endpoint.latency.load(Ordering::Relaxed) * (open + 1))
        };
        let cheaper = if cost(second) < cost(first) { second } else { first };
        self.endpoints.get(cheaper)
    }
}

/// A timeout whose timer is made when the future is pending.
async fn in_time<Fut: Future<Output = Result<u64, Failed>>>(future: Fut) -> Fut::Output {
    let mut future = pin!(future);
    let mut sleep = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if sleep.is_none() {
            sleep.set(Some(tokio::time::sleep(TIMEOUT)));
        }
        match sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll(cx).map(|()| Err(Failed)),
            None => Poll::Pending,
        }
    })
    .await
}

/// What is said of the futures, after the rows.
fn told(rows: &[Row], as_json: bool) -> String {
    let mut out = String::new();
    if as_json {
        let sizes =
            sizes().map(|(name, bytes)| format!(r#"{{"subject":"{name}","bytes":{bytes}}}"#));
        let _ = write!(
            out,
            r#"{{"calls":[{}],"future_sizes":[{}]}}"#,
            rows::json(rows),
            sizes.join(","),
        );
        return out;
    }
    out.push_str(&rows::table(rows));
    out.push_str("\n| future around one of 16 bytes | bytes |\n|---|---:|\n");
    for (name, bytes) in sizes() {
        let _ = writeln!(out, "| {name} | {bytes} |");
    }
    out
}
