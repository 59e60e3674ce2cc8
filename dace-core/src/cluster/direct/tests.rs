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
use crate::policy::{Policy, Rules};
use crate::{Breaker, Class, Instant, Target};

/// A cluster, and the calls that are under way at it.
struct Side {
    rules: Rules,
    cluster: Cluster,
    calls: Vec<CallMachine>,
}

impl Side {
    fn new(policy: Policy, targets: usize, generally: bool) -> Self {
        let place = |number| Place {
            target: Target::from_str(&format!("http://server-{number}:80")).unwrap(),
            options: Options { weight: 1, priority: 0, max_open: None },
        };
        let rules = Rules::new(policy, false).unwrap();
        let targets = (0..targets).map(place).collect();
        let selection = Selection::Balanced(Balance::PeakEwma, targets);
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
            Step::Start => {
                let mut call = CallMachine::new(Start::new());
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
            Step::Return(..) | Step::Poll(_) | Step::Drop(_) => {}
        }
        if let Some(Action::Cancel(slot)) = action {
            let call = calls.last_mut().unwrap();
            call.on_cancelled(now, rules, cluster, slot, &mut wakes);
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
    Start,
    Return(usize, Class),
    Poll(usize),
    Drop(usize),
    Control(Control),
}

fn step(rng: &mut fastrand::Rng) -> Step {
    let index = rng.usize(..6);
    match rng.u8(..100) {
        0..40 => Step::Start,
        40..75 => Step::Return(index, Class::Success),
        75..85 => Step::Return(index, Class::Transient),
        85..88 => Step::Return(index, Class::Throttled(Some(Duration::from_millis(300)))),
        88..90 => Step::Return(index, Class::CallerFault),
        90..95 => Step::Poll(index),
        95..98 => Step::Drop(index),
        98 => Step::Control(Control::ForceOpen),
        _ => Step::Control(Control::Automatic),
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
        let targets = 1 + seed as usize % 10;
        let mut one = Side::new(policy(), targets, false);
        let mut other = Side::new(policy(), targets, true);
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
