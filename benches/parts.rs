//! What the parts of a call cost, each alone: the circuit, the window, the budget, the balancer, a wait for
//! a permit, and each of the two sections that hold the lock. A permit that is free is a count in the
//! first of them.
//!
//! A section is timed from inside of its lock, which the runtime brings; the least that an empty one showed
//! is taken off. Nothing overlaps with what stands between two looks at the clock, so it is at the most that.
//!
//! ```text
//! cargo bench --all-features --bench parts
//! cargo bench --all-features --bench parts -- --json
//! ```

use std::cell::Cell;
use std::future::ready;
use std::hint::black_box;
use std::sync::Mutex;
use std::task::Waker;
use std::time::Duration;

use dace::machine::balancer::{Balance, Field, Load, Turns};
use dace::machine::circuit::{Circuit, CircuitRules, Verdict};
use dace::machine::queue::{Queue, Wakes, Want};
use dace::machine::tokens::Tokens;
use dace::machine::window::Window;
use dace::{Breaker, Budget, Instant, Lock, Runtime};

mod common;

use common::rows::{self, Row, rounds};
use common::{Failed, Tokio, clock, dace, dace_on, now_or_never};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without a thread of its own");
    let _entered = tokio.enter();
    let mut rows =
        [clocks(), circuit(), window(), budget(), balancer(), permit(), sections(), whole()];
    for row in &mut rows {
        row.measure(rounds(&arguments));
    }
    if arguments.iter().any(|argument| argument == "--json") {
        println!("[{}]", rows::json(&rows));
    } else {
        println!("{}", rows::table(&rows));
    }
}

/// A clock that moves by a microsecond.
fn ticking() -> impl FnMut() -> Instant {
    let mut nanos = 1_000_000_000;
    move || {
        nanos += 1_000;
        Instant::from_nanos(nanos)
    }
}

fn clocks() -> Row {
    Row::new("the ground: two looks at the clock").subject("std", || {
        let begin = clock();
        black_box(begin.elapsed()).as_nanos() as u64
    })
}

fn circuit() -> Row {
    let rules = CircuitRules::new(&Breaker::new(), Duration::from_secs(5));
    let (mut circuit, mut now) = (Circuit::new(), ticking());
    let mut rng = fastrand::Rng::with_seed(7);
    Row::new("circuit: let in, and settle a success").subject("dace", move || {
        let now = now();
        let admitted = circuit.try_admit(now, &rules, Instant::NEVER).expect("it is closed");
        let change = circuit.on_result(now, &rules, &mut rng, admitted.pass, Verdict::Success);
        u64::from(black_box(change).is_some())
    })
}

fn window() -> Row {
    let (mut window, mut now) = (Window::new(), ticking());
    Row::new("window: count a success").subject("dace", move || {
        window.on_success(now());
        1
    })
}

fn budget() -> Row {
    let mut tokens = Tokens::new(&Budget::new());
    Row::new("budget: a deposit, a token taken and given back").subject("dace", move || {
        tokens.on_first_try_success();
        let taken = black_box(tokens.try_take());
        tokens.give_back();
        u64::from(taken)
    })
}

/// Three endpoints that are well.
struct Three([Load; 3]);

impl Field for Three {
    fn len(&self) -> usize {
        3
    }

    fn admits(&self, _: usize) -> bool {
        true
    }

    fn is_full(&self, _: usize) -> bool {
        false
    }

    fn load(&self, index: usize) -> &Load {
        &self.0[index]
    }

    fn open(&self, index: usize) -> u32 {
        index as u32
    }

    fn weight(&self, _: usize) -> u32 {
        1
    }

    fn name(&self, index: usize) -> u64 {
        index as u64
    }
}

fn balancer() -> Row {
    let (mut three, mut now) = (Three(Default::default()), ticking());
    let (mut rng, mut turns) = (fastrand::Rng::with_seed(7), Turns::default());
    for (micros, load) in (100..).zip(&mut three.0) {
        load.on_end(now(), Some(Duration::from_micros(micros)));
    }
    Row::new("balancer: peak-EWMA picks one of three").subject("dace", move || {
        let picked = Balance::PeakEwma.pick(now(), &mut rng, &mut turns, &three, None);
        u64::from(black_box(picked).is_some())
    })
}

fn permit() -> Row {
    let (mut queue, mut now) = (Queue::new(), ticking());
    Row::new("permits: one waits, is offered a freed one and leaves with it").subject(
        "dace",
        move || {
            let (now, mut wakes) = (now(), Wakes::new());
            let id = queue.join(now, Want::Any, Waker::noop().clone());
            let offered = queue.try_offer(now, Want::Permit(7), |_| true, &mut wakes);
            wakes.wake();
            let taken = queue.on_poll(id, Waker::noop());
            let left = queue.leave(now, id);
            u64::from(black_box((offered, taken, left)).0)
        },
    )
}

thread_local! {
    static SPENT: Cell<Spent> = const { Cell::new(Spent { entered: 0, nanos: [0; 2] }) };
}

/// In sections, on this thread.
#[derive(Clone, Copy)]
struct Spent {
    entered: u64,
    /// In those before which an even number was entered, and in the others.
    nanos: [u64; 2],
}

/// A lock that times what is done under it.
struct Timed<T>(Mutex<T>);

impl<T> Lock<T> for Timed<T> {
    fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    fn with<O>(&self, f: impl FnOnce(&mut T) -> O) -> O {
        let (out, nanos) = self.0.with(|value| {
            let begin = clock();
            let out = f(value);
            (out, begin.elapsed().as_nanos() as u64)
        });
        let mut spent = SPENT.get();
        spent.nanos[spent.entered as usize % 2] += nanos;
        spent.entered += 1;
        SPENT.set(spent);
        out
    }
}

/// tokio's timer and its clock, and locks that time what is done under them.
struct Watched(Tokio);

impl Runtime for Watched {
    type Lock<T: Send + 'static> = Timed<T>;
    type Sleep = tokio::time::Sleep;

    fn now(&self) -> Instant {
        self.0.now()
    }

    fn sleep_until(&self, deadline: Instant) -> tokio::time::Sleep {
        self.0.sleep_until(deadline)
    }

    fn seed(&self) -> u64 {
        self.0.seed()
    }
}

/// What so many rounds of two sections spend in the first and in the second.
fn spent(rounds: u64, mut both: impl FnMut()) -> [u64; 2] {
    SPENT.set(Spent { entered: 0, nanos: [0; 2] });
    (0..rounds).for_each(|_| both());
    let Spent { entered, nanos } = SPENT.get();
    assert_eq!(entered, 2 * rounds, "a call has two sections");
    nanos
}

fn sections() -> Row {
    let section = |which: usize| {
        let dace = dace_on(Watched(Tokio::new()), 3, |builder| builder);
        let (empty, mut least) = (Timed::new(()), u64::MAX);
        move |calls| {
            let in_calls = spent(calls, || {
                let result = now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1))));
                black_box(result.expect("success"));
            });
            let in_none = spent(calls, || (0..2).for_each(|_| empty.with(|()| ())));
            least = least.min(in_none[which]);
            Duration::from_nanos(in_calls[which].saturating_sub(least))
        }
    };
    Row::new("under the lock, without it and the clock")
        .timed("the first section: a call is let in", section(0))
        .timed("the second section: a success is settled", section(1))
}

fn whole() -> Row {
    let dace = dace(3, |builder| builder);
    Row::new("the whole call, both sections with it").subject("dace", move || {
        now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
    })
}
