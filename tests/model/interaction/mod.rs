//! Whole dependencies under everything at once, through what users have: every policy, every part around a
//! call, every hook.
//!
//! What is random: the policy, and others that are loaded later ([`policy`]); what happens ([`operations`]);
//! what the wrapped functions do, and what is around their calls ([`calls`]); which piece of user code
//! panics ([`hooks`]). What must hold is in [`invariants`], and in [`chain`], which reads the events and knows
//! nothing else.

mod bench;
pub(crate) mod calls;
pub(crate) mod chain;
pub(crate) mod hooks;
mod invariants;
mod operations;
mod policy;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use dace_sim::{SimBackend, SimRuntime};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::config;
use bench::Bench;
use operations::{Op, op};
use policy::{Setup, setup};

pub(crate) type Dependency = dace::Dependency<SimRuntime, SimBackend>;
pub(crate) type Call = dace::Call<SimRuntime, SimBackend>;
pub(crate) type Response = dace::Response<SimRuntime, SimBackend>;

pub(crate) const HOSTS: [&str; 3] = ["a:80", "b:80", "c:80"];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// One case from its start to its end.
fn play(setup: &Setup, ops: &[Op], reached: &mut Reached) {
    let mut bench = Bench::new(setup);
    for op in ops {
        bench.step(op);
    }
    bench.drain();
    bench.check_idle();
    bench.recover();
    bench.fill();
    bench.check_idle();
    bench.check_arrivals();
    bench.check_events();
    bench.tell(reached);
}

/// How often what may go wrong was there to go wrong.
type Reached = BTreeMap<&'static str, u64>;

/// B1, D1, I1.
#[test]
fn whatever_happens_to_whatever_policy_everything_comes_back() {
    let config = config();
    // Of the rarest there are half a dozen in 256 cases.
    let enough = config.cases >= 1_000;
    let cases = (setup(), prop::collection::vec(op(), 1..=150));
    let reached = RefCell::new(Reached::new());
    let played = TestRunner::new(config).run(&cases, |(setup, ops)| {
        play(&setup, &ops, &mut reached.borrow_mut());
        Ok(())
    });
    played.unwrap_or_else(|wrong| panic!("{wrong}"));
    let reached = reached.into_inner();
    println!("{reached:?}");
    let never = reached.iter().find(|(_, count)| enough && **count == 0);
    assert_eq!(never, None, "it never came to that: {reached:?}");
}

/// A fault of the model, found in a long run: it asked its servers in an order that was in step with two rates,
/// so one of them was never asked when there was a token.
#[test]
fn two_rates_keep_no_server_from_being_asked_again() {
    let setup = Setup {
        seed: 0,
        picker: policy::Picker::Function,
        shared: Some(policy::Shared { max_open: 1, rate: Some(3) }),
        warm: true,
        plan: policy::Plan {
            limit: 1,
            queue: 0,
            pool: 1,
            retries: 0,
            retry_on_timeout: false,
            idempotent: false,
            timeout: 100,
            attempt_timeout: None,
            expected_in: Some(10),
            hang_after: None,
            reset: 50,
            trip: 1,
            min_calls: 1,
            probes: 1,
            successes: 1,
            banked: 0,
            base: 0,
            netlocs: 2,
            rate: Some((2, 1)),
            adaptive: None,
            throttle: None,
            hedge: None,
        },
    };
    let get = || Op::Start(calls::Start::get(0));
    let ops =
        [Op::Pass(16), get(), Op::Poll(0), Op::Pass(11), get(), Op::Arm(hooks::Hook::Function)];
    play(&setup, &ops, &mut Reached::new());
}
