//! What a call costs around a future that is ready at once, beside its peers in the same run.
//!
//! ```text
//! cargo bench --all-features --bench call_overhead                # some 30 s, a Markdown table
//! cargo bench --all-features --bench call_overhead -- --quick     # some 3 s
//! cargo bench --all-features --bench call_overhead -- --json
//! ```
//!
//! Subjects: **dace** with everything on (three targets by peak-EWMA, both timeouts, retries with a
//! budget, a limit, breakers); **tower** (timeout, retry with a budget, concurrency limit) with
//! **failsafe**'s breaker or with **tower-resilience**'s; **tower-resilience** alone (its time limiter,
//! retry with a budget, bulkhead and breaker), none of which has a balancer; and a **floor**, the least
//! that a limit, a breaker, a balancer over three and a lazy timer can cost, in a few atomics. Nothing is
//! logged or observed; the limit is 2^20 and retries do not wait, but that tower-resilience's go by a
//! timer all the same.
//!
//! All subjects of a row take turns in short samples, so that whatever else the machine does hits all
//! of them alike: read the ratios. The median is the figure, the minimum says how quiet the machine
//! was. Allocations are counted on the calling thread, in a run of their own.

use std::fmt::Write as _;
use std::future::{Future, poll_fn, ready};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use dace::{Breaker, Budget, Dependency, NoHttp, Runtime};
use tokio::runtime::Handle;
use tower::{BoxError, Service};

mod common;

use common::peers::{
    Floor, Tower, breaker, open, resilience, standard, succeed, tower, tower_and_resilience,
};
use common::rows::{self, Row, rounds};
use common::tails::{self, Tail};
use common::{Coarse, Failed, Nothing, Tokio, dace, dace_on, now_or_never};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    let rounds = rounds(&arguments);
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without a thread of its own");
    let _entered = tokio.enter();
    // For those who wait: its timers fire on a thread of its own.
    let driven = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime with a thread");
    let driven = driven.handle();

    let mut rows = [
        happy_path(),
        rejected(driven),
        second_attempt_succeeds(driven),
        two_threads(tokio.handle(), driven),
        waiting_once(),
        coarse_clock(),
        observed(),
        known_targets(),
        known_netlocs(),
    ];
    for row in &mut rows {
        row.measure(rounds);
    }
    let mut tails = rejected_by_two(tokio.handle(), driven);
    tails::measure(&mut tails, rounds);
    println!("{}", told(&rows, &tails, has("--json")));
}

// Rows.

/// A call that succeeds at once.
fn well(dace: Dependency<impl Runtime, NoHttp>) -> impl FnMut() -> u64 + 'static {
    move || now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
}

fn happy_path() -> Row {
    let mut failsafe = tower(breaker(5, 0.8), succeed);
    let closed = standard().build().expect("the settings are right");
    let mut both = tower_and_resilience(&closed, succeed);
    let mut resilience = resilience(&closed, succeed);
    Row::new("success at once")
        .subject("dace", well(dace(3, |builder| builder)))
        .subject("tower + failsafe", move || failsafe.call(true).expect("success"))
        .subject("tower + tower-resilience's breaker", move || both.call(true).expect("success"))
        .subject("tower-resilience", move || resilience.call(true).expect("success"))
        .slow(1_000)
        .subject("floor", on_floor(Floor::new(Tokio::new())))
}

fn on_floor(floor: Floor<impl Runtime>) -> impl FnMut() -> u64 + 'static {
    move || now_or_never(floor.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
}

/// With a clock that costs next to nothing.
fn coarse_clock() -> Row {
    Row::new("success at once, a coarse clock")
        .subject("dace", well(dace_on(Coarse::new(), 3, |builder| builder)))
        .subject("floor", on_floor(Floor::new(Coarse::new())))
}

/// The function is pending once: a timer is made, and dropped.
fn waiting_once() -> Row {
    let dace = dace(3, |builder| builder);
    let mut tower = tower(breaker(5, 0.8), |_| Once(true));
    let floor = Floor::new(Tokio::new());
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
    Row::new("success at once, and who looks")
        .subject("dace, nobody", well(dace(3, |builder| builder)))
        .subject(
            "dace, an observer that does nothing",
            well(dace(3, |builder| builder.observer(Nothing))),
        )
}

fn known_targets() -> Row {
    Row::new("success at once, and how many targets there are")
        .subject("dace, 3", well(dace(3, |builder| builder)))
        .subject("dace, 1,000", well(dace(1_000, |builder| builder)))
}

/// The dependency has met so many servers before.
fn known_netlocs() -> Row {
    let met = |count: usize| {
        let dace = dace(3, |builder| builder.max_netlocs(20_000));
        let many = (0..count).map(|number| format!("http://met-{number}:80"));
        dace.set_targets(many.collect::<Vec<_>>()).expect("they are targets");
        dace.set_targets(["http://server-0:80", "http://server-1:80", "http://server-2:80"])
            .expect("they are targets");
        assert!(dace.snapshot().endpoints.len() >= count);
        well(dace)
    };
    Row::new("success at once, and how many netlocs are known")
        .subject("dace, 10", met(10))
        .subject("dace, 10,000", met(10_000))
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

/// A dependency whose circuits are open.
fn all_open() -> Dependency<Tokio, NoHttp> {
    let dace = dace(3, |builder| builder);
    for number in 0..3 {
        let circuit = dace.circuit(&format!("server-{number}:80"));
        circuit.expect("the netloc is known").force_open();
    }
    dace
}

fn open_floor() -> Floor {
    let floor = Floor::new(Tokio::new());
    for endpoint in &floor.endpoints {
        endpoint.open_until.store(u64::MAX, Ordering::Relaxed);
    }
    floor
}

fn refused<T, E>(result: Result<T, E>) -> u64 {
    result.map_or_else(|_| 1, |_| unreachable!("the circuits are open"))
}

fn refuse(dace: &Dependency<Tokio, NoHttp>) -> u64 {
    now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).map_or_else(
        |error| u64::from(error.is_rejected()),
        |_| unreachable!("the circuits are open"),
    )
}

/// failsafe's breaker, which one failure opens, and that is let fail.
fn open_failsafe() -> Tower<impl Service<bool, Response = u64, Error = BoxError> + Clone + Send> {
    let mut tower = tower(breaker(1, 0.8), |works| ready(if works { Ok(1) } else { Err(Failed) }));
    tower.call(false).expect_err("the failure that opens it");
    tower
}

fn rejected(driven: &Handle) -> Row {
    let (dace, mut failsafe, floor) = (all_open(), open_failsafe(), open_floor());
    let mut both = tower_and_resilience(&open(driven), succeed);
    let mut resilience = resilience(&open(driven), succeed);
    Row::new("rejected by open circuits")
        .subject("dace", move || refuse(&dace))
        .subject("tower + failsafe", move || refused(failsafe.call(true)))
        .subject("tower + tower-resilience's breaker", move || refused(both.call(true)))
        .subject("tower-resilience", move || refused(resilience.call(true)))
        .slow(1_000)
        .subject("floor", move || refused(now_or_never(floor.call(|_| ready(Ok::<_, Failed>(1))))))
}

/// The same from two threads, and how long the slowest take.
fn rejected_by_two(tokio: &Handle, driven: &Handle) -> [Tail; 5] {
    let (dace, failsafe, floor) = (all_open(), open_failsafe(), Arc::new(open_floor()));
    let both = tower_and_resilience(&open(driven), succeed);
    let resilience = resilience(&open(driven), succeed);
    let (first, second) = (driven.clone(), driven.clone());
    [
        Tail::new("dace", tokio, move || dace.clone(), |dace| refuse(dace)),
        Tail::new(
            "tower + failsafe",
            tokio,
            move || failsafe.clone(),
            |tower| refused(tower.call(true)),
        ),
        Tail::new(
            "tower + tower-resilience's breaker",
            driven,
            move || both.clone(),
            move |tower| tower.wait(&first, true).map_or(0, refused),
        ),
        Tail::new(
            "tower-resilience",
            driven,
            move || resilience.clone(),
            move |tower| tower.wait(&second, true).map_or(0, refused),
        ),
        Tail::new(
            "floor",
            tokio,
            move || floor.clone(),
            |floor| refused(now_or_never(floor.call(|_| ready(Ok::<_, Failed>(1))))),
        ),
    ]
}

fn second_attempt_succeeds(driven: &Handle) -> Row {
    // Every other result is a failure, for ever: count them, and never trip or run out.
    let never = Breaker::new().consecutive_failures(u32::MAX).min_calls(u32::MAX);
    let dace = dace(3, |builder| builder.breaker(never).budget(Budget::new().banked(u32::MAX)));
    let first_fails = |first| ready(if first { Err(Failed) } else { Ok(1) });
    let mut failsafe = tower(breaker(u32::MAX, 0.0), first_fails);
    let never = standard().failure_rate_threshold(1.0).build().expect("the settings are right");
    let mut both = tower_and_resilience(&never, first_fails);
    // Its retry sends the same request again.
    let (failed, driven) = (Arc::new(AtomicBool::new(false)), driven.clone());
    let mut resilience = resilience(&never, move |_| {
        ready(if failed.fetch_xor(true, Ordering::Relaxed) { Ok(1) } else { Err(Failed) })
    });
    let floor = Floor::new(Tokio::new());
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
        .subject("tower + failsafe", move || failsafe.call(true).expect("success"))
        .subject("tower + tower-resilience's breaker", move || both.call(true).expect("success"))
        .subject("tower-resilience", move || {
            let _entered = driven.enter();
            resilience.wait(&driven, true).expect("a timer fires").expect("success")
        })
        .slow(5)
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

fn two_threads(tokio: &Handle, driven: &Handle) -> Row {
    let dace = dace(3, |builder| builder);
    let failsafe = tower(breaker(5, 0.8), succeed);
    let closed = standard().build().expect("the settings are right");
    let both = tower_and_resilience(&closed, succeed);
    let resilience = resilience(&closed, succeed);
    let floor = Arc::new(Floor::new(Tokio::new()));
    let (first, second) = (driven.clone(), driven.clone());
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
            move || failsafe.clone(),
            |tower| tower.call(true).expect("success"),
        )
        .shared(
            "tower + tower-resilience's breaker",
            driven,
            move || both.clone(),
            move |tower| tower.wait(&first, true).map_or(0, |result| result.expect("success")),
        )
        .slow(250)
        .shared(
            "tower-resilience",
            driven,
            move || resilience.clone(),
            move |tower| tower.wait(&second, true).map_or(0, |result| result.expect("success")),
        )
        .slow(250)
        .shared(
            "floor",
            tokio,
            move || floor.clone(),
            |floor| now_or_never(floor.call(|_| ready(Ok::<_, Failed>(1)))).expect("success"),
        )
}

/// The size of each subject's future around one of 16 bytes, tokio's timer inside.
fn sizes() -> [(&'static str, usize); 4] {
    let dace = dace(3, |builder| builder);
    let mut failsafe = tower(breaker(5, 0.8), |_| Sixteen([0; 2]));
    now_or_never(poll_fn(|cx| failsafe.0.poll_ready(cx))).expect("a permit");
    let closed = standard().build().expect("the settings are right");
    let mut resilience = resilience(&closed, |_| Sixteen([0; 2]));
    now_or_never(poll_fn(|cx| resilience.0.poll_ready(cx))).expect("the circuit is closed");
    // It puts one box into the other as it is polled.
    let mut held = None;
    let boxes = allocation_counter::measure(|| {
        let mut call = Box::pin(resilience.0.call(true));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        held = Some(call);
    });
    let floor = Floor::new(Tokio::new());
    assert_eq!(size_of::<Sixteen>(), 16);
    [
        ("dace", size_of_val(&dace.call(|_| Sixteen([0; 2])))),
        ("tower + failsafe", size_of_val(&failsafe.0.call(true))),
        ("tower-resilience, with its boxes", boxes.bytes_current as usize),
        ("floor", size_of_val(&floor.call(|_| Sixteen([0; 2])))),
    ]
}

/// A future of 16 bytes, which never ends.
struct Sixteen([u64; 2]);

impl Future for Sixteen {
    type Output = Result<u64, Failed>;

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Self::Output> {
        std::hint::black_box(self.0);
        Poll::Pending
    }
}

/// The rows, then the tails and the sizes.
fn told(rows: &[Row], tails: &[Tail], as_json: bool) -> String {
    let mut out = String::new();
    if as_json {
        let sizes =
            sizes().map(|(name, bytes)| format!(r#"{{"subject":"{name}","bytes":{bytes}}}"#));
        let _ = write!(
            out,
            r#"{{"calls":[{}],"tails":[{}],"future_sizes":[{}]}}"#,
            rows::json(rows),
            tails::json(tails),
            sizes.join(","),
        );
        return out;
    }
    out.push_str(&rows::table(rows));
    out.push('\n');
    out.push_str(&tails::table(tails));
    out.push_str("\n| future around one of 16 bytes | bytes |\n|---|---:|\n");
    for (name, bytes) in sizes() {
        let _ = writeln!(out, "| {name} | {bytes} |");
    }
    out
}
