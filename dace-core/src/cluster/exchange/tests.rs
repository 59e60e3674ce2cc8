//! What is counted where, as attempts go from server to server.

use core::task::Waker;
use core::time::Duration;

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::str::FromStr as _;

use super::*;
use crate::balancer::{Options, Place};
use crate::cluster::{Action, CallMachine, Returned, Selection, Slot, Start};
use crate::machine::balancer::Balance;
use crate::policy::{AdaptiveLimit, Policy};
use crate::{Breaker, Target};

const NOW: Instant = Instant::EPOCH;

/// A cluster, and an ordinary way through it.
struct World {
    rules: Rules,
    cluster: Cluster,
    wakes: Wakes,
}

impl World {
    /// Functions name their servers themselves.
    fn new(policy: Policy) -> Self {
        Self::with(policy, Selection::Function)
    }

    fn with(policy: Policy, selection: Selection) -> Self {
        let rules = Rules::new(policy, false).unwrap();
        let cluster = Cluster::new(NOW, &rules, &Arc::from("servers"), selection, true, 7);
        Self { rules, cluster, wakes: Wakes::new() }
    }

    fn call(&mut self, now: Instant) -> (CallMachine, Action) {
        let mut call = CallMachine::new(Start::new());
        let Self { rules, cluster, wakes } = self;
        let action = call.poll_action(now, rules, cluster, Waker::noop(), wakes);
        (call, action)
    }

    /// A call whose attempt runs.
    fn attempt(&mut self, now: Instant) -> (CallMachine, AttemptId) {
        let (call, _) = self.call(now);
        let (id, ..) = call.attempt(Slot::First).expect("it runs");
        (call, id)
    }

    fn drop(&mut self, now: Instant, mut call: CallMachine) {
        call.on_abandoned(now, &self.rules, &mut self.cluster, false, &mut self.wakes);
    }

    fn finish(&mut self, now: Instant, mut call: CallMachine, returned: Returned) {
        let Self { rules, cluster, wakes } = self;
        call.on_returned(now, rules, cluster, Slot::First, returned, wakes);
    }

    fn ask(&mut self, now: Instant, id: AttemptId, to: &str) -> (Begin, Option<TicketId>) {
        let target = Target::from_str(to).unwrap();
        let until = now.after(self.rules.attempt_timeout);
        let wish = Wish { to: target.netloc().clone(), replay_safe: true, until };
        let (waker, mut ticket) = (Waker::noop(), None);
        let Self { rules, cluster, wakes } = self;
        let begin = cluster.begin_exchange(now, rules, id, &wish, &mut ticket, waker, wakes);
        (begin, ticket)
    }

    /// An exchange that may begin.
    fn begin(&mut self, now: Instant, id: AttemptId, to: &str) -> EndpointId {
        match self.ask(now, id, to).0 {
            Begin::Go(endpoint) => endpoint,
            other => panic!("{to}: {other:?}"),
        }
    }

    /// The answer to an exchange, read.
    fn end(&mut self, now: Instant, id: AttemptId, endpoint: EndpointId, class: Class) {
        let Self { rules, cluster, wakes } = self;
        let end = End {
            class,
            sent: Sent::Sent,
            answered: true,
            replay_safe: true,
            multiplexed: false,
            advice: Advice::default(),
        };
        cluster.on_answer(now, rules, id, endpoint, end, wakes);
        cluster.leave_exchange(now, rules, id, endpoint, None, wakes);
        cluster.release_connection(now, rules, endpoint, wakes);
    }

    /// There and back.
    fn visit(&mut self, now: Instant, id: AttemptId, to: &str) -> EndpointId {
        let endpoint = self.begin(now, id, to);
        self.end(now, id, endpoint, Class::Success);
        endpoint
    }
}

fn places() -> Vec<Place> {
    let place = |text| Place {
        target: Target::from_str(text).unwrap(),
        options: Options { weight: 1, priority: 0, max_open: None },
    };
    ["http://a", "http://b"].map(place).into()
}

#[test]
fn who_returns_to_a_server_is_one_holder_of_it_and_charged_to_it() {
    let mut world = World::new(Policy::new());
    let (call, id) = world.attempt(NOW);
    let a = world.visit(NOW, id, "http://a");
    let b = world.visit(NOW, id, "http://b");
    let c = world.visit(NOW, id, "http://c");
    assert_eq!(world.visit(NOW, id, "http://a"), a);
    let holders = |world: &World| [a, b, c].map(|at| world.cluster.table[at].holders);
    let open = |world: &World| [a, b, c].map(|at| world.cluster.table[at].open);
    assert_eq!(world.cluster.attempts[id].charged.endpoint, a);
    assert_eq!((holders(&world), open(&world)), ([1, 1, 1], [1, 0, 0]));
    world.drop(NOW, call);
    assert_eq!((holders(&world), open(&world)), ([0, 0, 0], [0, 0, 0]), "they may be forgotten");
}

#[test]
fn who_returns_to_a_server_in_probation_is_one_probe_of_it() {
    let breaker = Breaker::new().consecutive_failures(1).successes(5).probes(2);
    let mut world = World::new(Policy::new().breaker(breaker));
    let (call, id) = world.attempt(NOW);
    let a = world.begin(NOW, id, "http://a");
    world.end(NOW, id, a, Class::Failure);
    world.drop(NOW, call);
    let later = NOW.after(Duration::from_secs(600));
    let (_call, id) = world.attempt(later);
    for to in ["http://a", "http://b", "http://a"] {
        world.visit(later, id, to);
        assert_eq!(world.cluster.table[a].circuit.probes(), 1, "after {to}");
    }
}

#[test]
fn the_place_of_an_extra_exchange_is_kept_until_the_last_one_there_ends() {
    let mut world = World::new(Policy::new());
    let (_call, id) = world.attempt(NOW);
    let a = world.begin(NOW, id, "http://a");
    let b = world.begin(NOW, id, "http://b");
    world.begin(NOW, id, "http://b");
    let open = |world: &World| [a, b].map(|at| world.cluster.table[at].open);
    world.end(NOW, id, b, Class::Success);
    assert_eq!(open(&world), [1, 1], "one is under way");
    world.end(NOW, id, b, Class::Success);
    assert_eq!(open(&world), [1, 0]);
    world.end(NOW, id, a, Class::Success);
    assert_eq!(open(&world), [1, 0], "the attempt goes on, and may return");
}

#[test]
fn who_leaves_the_queue_for_a_server_waits_and_holds_no_more() {
    let mut world = World::new(Policy::new().max_open_per_netloc(1).queue(1));
    let own = world.cluster.own;
    let _held = world.attempt(NOW);
    let holders = world.cluster.table[own].holders;
    let (waiter, action) = world.call(NOW);
    assert!(matches!(action, Action::Queue(_)), "{action:?}");
    assert_eq!((world.cluster.waiting_calls, world.cluster.table[own].holders), (1, holders + 1));
    world.drop(NOW, waiter);
    assert_eq!((world.cluster.waiting_calls, world.cluster.table[own].holders), (0, holders));
}

#[test]
fn who_leaves_the_queue_for_any_server_waits_no_more() {
    let policy = Policy::new().max_open_per_netloc(1).queue(1);
    let mut world = World::with(policy, Selection::Balanced(Balance::LeastOpen, places()));
    let _held = [world.attempt(NOW), world.attempt(NOW)];
    let (waiter, action) = world.call(NOW);
    assert!(matches!(action, Action::Queue(_)), "{action:?}");
    assert_eq!(world.cluster.waiting_calls, 1);
    world.drop(NOW, waiter);
    assert_eq!(world.cluster.waiting_calls, 0);
}

#[test]
fn who_leaves_the_queue_for_a_connection_holds_the_server_no_more() {
    let mut world = World::new(Policy::new().http_pool_size(1));
    let (_held, id) = world.attempt(NOW);
    let a = world.begin(NOW, id, "http://a");
    let (call, id) = world.attempt(NOW);
    let (begin, ticket) = world.ask(NOW, id, "http://a");
    assert!(matches!(begin, Begin::Wait(_)), "{begin:?}");
    assert_eq!((world.cluster.waiting_calls, world.cluster.table[a].holders), (0, 3));
    let World { rules, cluster, wakes } = &mut world;
    cluster.abandon_exchange(NOW, rules, id, ticket.expect("it waits"), wakes);
    assert_eq!(world.cluster.table[a].holders, 2, "two attempts");
    world.drop(NOW, call);
    assert_eq!(world.cluster.table[a].holders, 1);
}

#[test]
fn a_success_in_an_attempt_that_was_cut_off_proves_nothing_good() {
    for servers in [&["http://a"][..], &["http://a", "http://b"]] {
        let mut world = World::new(Policy::new());
        let (call, id) = world.attempt(NOW);
        let visited: Vec<_> = servers.iter().map(|to| world.visit(NOW, id, to)).collect();
        world.drop(NOW, call);
        for at in visited {
            assert_eq!(world.cluster.table[at].circuit.counts(NOW).successes, 0, "{servers:?}");
        }
    }
}

#[test]
fn a_server_whose_adaptive_limit_is_low_is_not_forgotten() {
    let policy = Policy::new().circuit_reset_timeout(Duration::ZERO);
    let mut world = World::new(policy.adaptive_limit(AdaptiveLimit::new()));
    let mut now = NOW;
    for (class, fresh) in [(Class::Success, true), (Class::Failure, false)] {
        for _ in 0..1_000 {
            now = now.after(Duration::from_millis(1));
            let (call, id) = world.attempt(now);
            let a = world.begin(now, id, "http://a");
            world.end(now, id, a, class);
            world.finish(now, call, Returned { class, failed: !fresh, error: None });
        }
        let a = world.cluster.known("a:80").unwrap();
        let limits = world.cluster.table[a].has_fresh_limits(now, &world.rules);
        assert_eq!(limits, fresh, "{class:?}");
    }
}
