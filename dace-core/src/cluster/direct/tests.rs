extern crate std;

use core::task::Waker;
use core::time::Duration;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::str::FromStr as _;

use crate::balancer::{Options, Place};
use crate::cluster::{Action, CallMachine, Claim, Cluster, Returned, Selection, Slot, Start};
use crate::event::Control;
use crate::machine::balancer::Balance;
use crate::machine::queue::Wakes;
use crate::policy::{Balancing, Policy, Rules};
use crate::{Breaker, Class, Instant, Target};

/// A cluster, and the calls that are under way at it.
struct Side {
    rules: Rules,
    cluster: Cluster,
    calls: Vec<CallMachine>,
}

impl Side {
    fn new(policy: Policy, seed: u64, generally: bool) -> Self {
        let rules = Rules::new(policy, false).unwrap();
        let selection = match seed % 9 {
            8 => Selection::Function,
            _ => Selection::Balanced(Balance::PeakEwma, places(seed)),
        };
        let id = Arc::from("servers");
        let mut cluster = Cluster::new(Instant::EPOCH, &rules, &id, selection, true, 7);
        cluster.generally = generally;
        Self { rules, cluster, calls: Vec::new() }
    }

    /// What it did, in words, with all that it knows if it is to tell the `whole`.
    fn act(&mut self, now: Instant, step: Step, whole: bool) -> String {
        let Self { rules, cluster, calls } = self;
        let mut wakes = Wakes::new();
        let mut action = None;
        match step {
            Step::Start(timeout) => {
                let mut call = CallMachine::new(Start { timeout, ..Start::new() });
                action = Some(call.poll_action(now, rules, cluster, Waker::noop(), &mut wakes));
                calls.push(call);
            }
            Step::Return(index, class) if index < calls.len() => {
                let failed = !matches!(class, Class::Success | Class::Ignored);
                let returned = (Slot::First, Returned { class, failed, error: None });
                let (waker, call) = (Waker::noop(), &mut calls[index]);
                action = Some(call.returned(now, rules, cluster, returned, waker, &mut wakes));
            }
            Step::Poll(index) if index < calls.len() => {
                let (waker, call) = (Waker::noop(), &mut calls[index]);
                action = Some(call.poll_action(now, rules, cluster, waker, &mut wakes));
            }
            Step::Drop(index) if index < calls.len() => {
                let mut call = calls.swap_remove(index);
                call.on_abandoned(now, rules, cluster, false, &mut wakes);
            }
            Step::Control(control) => {
                cluster.control(now, "server-1:80", control, &mut wakes);
            }
            Step::Reload(breaker_off) => {
                let reset = Duration::from_secs(if breaker_off { 0 } else { 2 });
                let policy = Policy::new().circuit_reset_timeout(reset).max_open_per_netloc(3);
                *rules = Rules::new(policy, false).unwrap();
                cluster.reload(now, rules, &mut wakes);
            }
            Step::Targets(seed) => {
                let balance = (seed % 4 == 0).then_some(Balancing::PeakEwma);
                cluster.load_targets(now, Some(places(seed)), balance, &mut wakes).unwrap();
            }
            Step::Return(..) | Step::Poll(_) | Step::Drop(_) => {}
        }
        if let (Some(Action::Cancel(slot)), Step::Poll(index)) = (action, step) {
            let (waker, call) = (Waker::noop(), &mut calls[index]);
            call.on_cancelled(now, rules, cluster, slot, &mut wakes);
            action = Some(call.poll_action(now, rules, cluster, waker, &mut wakes));
        }
        calls.retain(|call| !call.is_idle());
        let mut events = Vec::new();
        if let Claim::Batch(batch) = cluster.claim_events() {
            events.extend(batch);
            cluster.stop_delivery(Default::default(), &mut wakes);
        }
        let snapshot = whole.then(|| cluster.snapshot(now, rules));
        format!("{action:?}\n{events:?}\n{snapshot:?}")
    }
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Start(Option<Duration>),
    Return(usize, Class),
    Poll(usize),
    Drop(usize),
    Control(Control),
    /// Other rules, with the breaker off or on.
    Reload(bool),
    /// Other targets.
    Targets(u64),
}

/// Targets of one weight in one level, or not.
fn places(seed: u64) -> Vec<Place> {
    let place = |number| Place {
        target: Target::from_str(&format!("http://server-{number}:80")).unwrap(),
        options: Options {
            weight: if seed % 7 == 3 { 1 + number as u32 } else { 1 },
            priority: if seed % 7 == 5 { number as u32 % 2 } else { 0 },
            max_open: (seed % 7 == 6).then_some(1 + number as u32),
        },
    };
    (0..1 + seed % 10).map(place).collect()
}

fn step(rng: &mut fastrand::Rng) -> Step {
    let index = rng.usize(..6);
    let controls = [
        Control::ForceOpen,
        Control::ForceClosed,
        Control::MetricsOnly,
        Control::Automatic,
        Control::Drain,
        Control::Reset,
    ];
    match rng.u8(..100) {
        0..35 => Step::Start(None),
        35..40 => Step::Start(Some(Duration::from_millis(rng.u64(..500)))),
        40..75 => Step::Return(index, Class::Success),
        75..85 => Step::Return(index, Class::Transient),
        85..88 => Step::Return(index, Class::Throttled(Some(Duration::from_millis(300)))),
        88..90 => Step::Return(index, Class::CallerFault),
        90..95 => Step::Poll(index),
        95..98 => Step::Drop(index),
        98 => Step::Control(*rng.choice(&controls).unwrap()),
        _ if rng.bool() => Step::Reload(rng.u8(..4) == 0),
        _ => Step::Targets(rng.u64(..)),
    }
}

#[test]
fn it_decides_what_the_general_way_decides() {
    let (mut direct, mut general) = (0, 0);
    for seed in 0..120 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let policy = || {
            Policy::new()
                .max_open_per_netloc(1 + seed as u32 % 4)
                .queue(seed as usize % 3)
                .expected_in(Duration::from_millis(if seed % 5 == 0 { 40 } else { 4000 }))
                .breaker(Breaker::new().consecutive_failures(3))
        };
        let mut one = Side::new(policy(), seed, false);
        let mut other = Side::new(policy(), seed, true);
        let mut now = Instant::EPOCH;
        for count in 0..250 {
            now = now.after(Duration::from_millis(rng.u64(..60)));
            let step = step(&mut rng);
            let whole = count % 25 == 24;
            let (this, that) = (one.act(now, step, whole), other.act(now, step, whole));
            assert_eq!(this, that, "seed {seed}, step {count}: {step:?}");
        }
        direct += one.cluster.went_directly;
        general += other.cluster.went_directly;
    }
    assert!(direct > 5_000 && general == 0, "the ways were taken: {direct}, {general}");
}
