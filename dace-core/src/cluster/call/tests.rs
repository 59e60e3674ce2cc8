//! What a call asks for, step by step.

use core::task::Waker;
use core::time::Duration;

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::str::FromStr as _;

use super::*;
use crate::balancer::{Options, Place};
use crate::cluster::Selection;
use crate::machine::balancer::Balance;
use crate::machine::retry::Outlook;
use crate::policy::{Backoff, Breaker, Hedge, Policy};
use crate::{Class, Target};

const NOW: Instant = Instant::EPOCH;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn target(text: &str) -> Target {
    Target::from_str(text).unwrap()
}

/// A cluster, and its calls.
struct World {
    rules: Rules,
    cluster: Cluster,
    wakes: Wakes,
}

impl World {
    fn new(policy: Policy, selection: Selection) -> Self {
        let rules = Rules::new(policy, false).unwrap();
        let cluster = Cluster::new(NOW, &rules, &Arc::from("servers"), selection, true, 7);
        Self { rules, cluster, wakes: Wakes::new() }
    }

    /// Attempts are hedged, after somewhat more than 10 ms.
    fn hedged(policy: Policy) -> Self {
        let place = |text| Place {
            target: target(text),
            options: Options { weight: 1, priority: 0, max_open: None },
        };
        let places: Vec<_> = ["http://a", "http://b", "http://c"].map(place).into();
        let selection = Selection::Balanced(Balance::RoundRobin, places);
        let mut world = Self::new(policy.hedge(Hedge::new()), selection);
        let hedging = world.cluster.hedging.as_mut().unwrap();
        for _ in 0..100 {
            hedging.on_call();
            hedging.on_latency(NOW, ms(10));
        }
        world
    }

    fn poll(&mut self, now: Instant, call: &mut CallMachine) -> Action {
        let Self { rules, cluster, wakes } = self;
        call.poll_action(now, rules, cluster, Waker::noop(), wakes)
    }

    fn end(&mut self, now: Instant, call: &mut CallMachine, slot: Slot, class: Class) {
        let Self { rules, cluster, wakes } = self;
        let returned = Returned { class, failed: class != Class::Success, error: None };
        call.on_returned(now, rules, cluster, slot, returned, wakes);
    }

    /// A call whose attempt has a hedge, as of `HEDGED`.
    fn pair(&mut self) -> CallMachine {
        let mut call = CallMachine::new(Start::new());
        let _ = self.poll(NOW, &mut call);
        let action = self.poll(HEDGED, &mut call);
        assert!(matches!(action, Action::Attempt { slot: Slot::Hedge, .. }), "{action:?}");
        call
    }
}

const HEDGED: Instant = Instant::from_nanos(20_000_000);

fn ids(call: &CallMachine) -> (AttemptId, AttemptId) {
    let id = |slot| call.attempt(slot).expect("it runs").0;
    (id(Slot::First), id(Slot::Hedge))
}

#[test]
fn a_pair_is_forgotten_with_either_of_its_attempts_and_other_pairs_are_not() {
    for ended in [Slot::First, Slot::Hedge] {
        let mut world = World::hedged(Policy::new());
        let (mut one, other) = (world.pair(), world.pair());
        assert_eq!(world.cluster.rivals, [ids(&one), ids(&other)]);
        world.end(HEDGED, &mut one, ended, Class::Success);
        assert_eq!(world.cluster.rivals, [ids(&other)], "{ended:?}");
    }
}

#[test]
fn a_hedge_has_the_whole_time_of_an_attempt_from_its_own_start() {
    let mut world = World::hedged(Policy::new().attempt_timeout(ms(100)));
    let mut call = world.pair();
    let until = |call: &CallMachine, slot| call.attempt(slot).expect("it runs").2;
    assert_eq!(until(&call, Slot::First), NOW.after(ms(100)));
    assert_eq!(until(&call, Slot::Hedge), HEDGED.after(ms(100)));
    world.end(HEDGED, &mut call, Slot::First, Class::Transient);
    let action = world.poll(HEDGED, &mut call);
    assert!(matches!(action, Action::WaitUntil(at) if at == HEDGED.after(ms(100))), "{action:?}");
}

#[test]
fn a_balancer_of_ones_own_that_names_what_was_tried_is_asked_four_times_and_then_obeyed() {
    let policy = Policy::new().backoff(Backoff::new().base(Duration::ZERO));
    let mut world = World::new(policy, Selection::Custom(Vec::new()));
    let mut call = CallMachine::new(Start::new());
    for expected in [1, 4] {
        let mut asked = 0;
        while let Action::Propose = world.poll(NOW, &mut call) {
            asked += 1;
            call.on_proposal(Proposal::Target(target("http://a")));
        }
        assert!(call.attempt(Slot::First).is_some());
        assert_eq!(asked, expected);
        world.end(NOW, &mut call, Slot::First, Class::Transient);
    }
}

#[test]
fn an_attempt_after_the_first_waits_for_places_as_a_retry_does() {
    let policy = Policy::new().backoff(Backoff::new().base(Duration::ZERO));
    let mut world = World::new(policy, Selection::Function);
    let priority = Priority::High;
    let mut call = CallMachine::new(Start::new());
    call.set_priority(priority);
    for retry in [false, true, true] {
        let _ = world.poll(NOW, &mut call);
        let (id, ..) = call.attempt(Slot::First).expect("it runs");
        assert_eq!(world.cluster.attempts[id].rank, Priority::rank(Some(priority), retry));
        world.end(NOW, &mut call, Slot::First, Class::Transient);
    }
}

#[test]
fn in_panic_a_failure_may_be_retried_at_once_and_what_all_refused_may_not() {
    let mut world = World::hedged(Policy::new());
    let all: Vec<_> = ["a:80", "b:80", "c:80"].map(|at| world.cluster.known(at).unwrap()).into();
    world.cluster.targets.panic = true;
    let outlook =
        |world: &World, class| world.cluster.outlook(NOW, &world.rules, class, &all, all[0]);
    assert_eq!(outlook(&world, Class::Rejected), Outlook::Nobody);
    let World { cluster, wakes, .. } = &mut world;
    for at in ["a:80", "b:80", "c:80"] {
        cluster.control(NOW, at, crate::event::Control::ForceOpen, wakes);
    }
    world.cluster.targets.panic = true;
    assert_eq!(outlook(&world, Class::Transient), Outlook::Open);
}

#[test]
fn where_no_circuit_lets_anybody_in_whoever_opens_first_is_named() {
    for waits in [[10, 3, 7], [3, 10, 7], [7, 10, 3]] {
        let place = |text| Place {
            target: target(text),
            options: Options { weight: 1, priority: 0, max_open: None },
        };
        let places: Vec<_> = ["http://a", "http://b", "http://c"].map(place).into();
        let breaker = Breaker::new().consecutive_failures(1);
        let policy = Policy::new().breaker(breaker).retry_attempts(0);
        let mut world = World::new(policy, Selection::Balanced(Balance::PeakEwma, places));
        // Each of them fails, and so its circuit opens; then, since that is ignored where all have, each asks
        // for a pause.
        let pauses = waits.map(|seconds| Class::Throttled(Some(Duration::from_secs(seconds))));
        let mut paused = Vec::new();
        for class in [Class::Transient; 3].into_iter().chain(pauses) {
            let mut call = CallMachine::new(Start::new());
            let action = world.poll(NOW, &mut call);
            assert!(matches!(action, Action::Attempt { .. }), "{action:?}");
            let (id, ..) = call.attempt(Slot::First).expect("it runs");
            let endpoint = world.cluster.attempts[id].charged.endpoint;
            world.end(NOW, &mut call, Slot::First, class);
            let _ = world.poll(NOW, &mut call);
            if let Class::Throttled(_) = class {
                let endpoint = &world.cluster.table[endpoint];
                paused.push((endpoint.paused_until.since(NOW), endpoint.netloc.clone()));
            }
        }
        assert_eq!(world.cluster.targets.suspects, 3);
        let mut call = CallMachine::new(Start::new());
        assert!(matches!(world.poll(NOW, &mut call), Action::Finish));
        let Some(Verdict::Refused(refusal)) = call.take_verdict() else { panic!("{call:?}") };
        let (wait, netloc) = paused.into_iter().min_by_key(|(wait, _)| *wait).unwrap();
        assert_eq!((refusal.netloc, refusal.retry_after), (netloc, Some(wait)), "{waits:?}");
    }
}
