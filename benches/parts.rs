//! What the parts of a call cost, each alone: the circuit, the window, the budget, the balancer, and the
//! two sections that hold the lock, together.
//!
//! ```text
//! cargo bench --all-features --bench parts
//! cargo bench --all-features --bench parts -- --json
//! ```

use std::future::ready;
use std::hint::black_box;
use std::time::Duration;

use dace::machine::balancer::{Balance, Field, Load, Turns};
use dace::machine::circuit::{Circuit, CircuitRules, Verdict};
use dace::machine::tokens::Tokens;
use dace::machine::window::Window;
use dace::{Breaker, Budget, Instant};

mod common;

use common::rows::{self, Row, rounds};
use common::{Failed, clock, dace, now_or_never};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without a thread of its own");
    let _entered = tokio.enter();
    let mut rows = [clocks(), circuit(), window(), budget(), balancer(), whole()];
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

fn whole() -> Row {
    let dace = dace(3, |builder| builder);
    Row::new("the whole call, both sections with it").subject("dace", move || {
        now_or_never(dace.call(|_| ready(Ok::<_, Failed>(1)))).expect("success")
    })
}
