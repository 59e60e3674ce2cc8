//! Every order of what can happen to a circuit, ten steps deep, with up to four calls under way.
//!
//! A step is one of: somebody asks to pass (with a short or a long lease), somebody passes beside the
//! circuit as in panic mode, one of those under way ends with any verdict ([`Verdict::Neutral`] is what a
//! cancelled one says), the clock goes on to an instant at which something changes, somebody works the
//! circuit by hand, or other rules are loaded.
//!
//! Those are 5 × 10^11 orders, or 2 × 10^9 of eight steps, but few states: 3,700 with 50,000 transitions
//! between them, since most of what differs makes no difference. States are [compared](Walk::key) by what can
//! still matter, and an order is followed only to the first state that is known. That two states which are
//! taken for one are one is checked as well: whatever can happen to both leads to the same. The test prints
//! the numbers.
//!
//! What keeps it small, and exact all the same: open times of a few nanoseconds. A fifth of them is less
//! than one, so they have no jitter; and all results fall into one second, so the window is as old as its
//! only bucket. (Jitter, the window's slides and a clock that goes back are in `tests/model/circuit.rs`.)

use std::collections::HashMap;
use std::println;
use std::vec;

use super::*;

const DEPTH: usize = 10;
const UNDER_WAY: usize = 4;

/// After so long nothing is left in the window.
const WINDOW: Duration = Duration::from_secs(10);

/// The longest lease and the longest open time of all rules.
const LEASE: Duration = Duration::from_nanos(3);
const OPEN: Duration = Duration::from_nanos(4);

/// Two kinds of rules, and none.
fn rules() -> [CircuitRules; 3] {
    let breaker = |failures, min_calls, probes, successes| {
        Breaker::new()
            .consecutive_failures(failures)
            .min_calls(min_calls)
            .probes(probes)
            .successes(successes)
            .max_open(OPEN)
    };
    let wide = CircuitRules::new(&breaker(2, 4, 2, 2), Duration::from_nanos(2));
    let narrow = CircuitRules::new(&breaker(1, 2, 1, 1), LEASE);
    let off = CircuitRules::new(&breaker(1, 2, 1, 1), Duration::ZERO);
    [wide, narrow, off]
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// Asks to pass, for an attempt that ends so many nanoseconds later.
    Admit(u64),
    Bypass,
    /// One of those under way ends.
    End(usize, Verdict),
    /// The clock goes on to this instant.
    Tick(Instant),
    Hand(Mode),
    Reset,
    Load(usize),
}

/// Somebody who passed and is not back.
#[derive(Clone, Copy, Debug)]
struct Passed {
    pass: Pass,
    /// The period of the circuit that let it in, as the walk counts them.
    period: u32,
}

#[derive(Clone, Debug)]
struct Walk {
    circuit: Circuit,
    now: Instant,
    rules: usize,
    period: u32,
    passed: Vec<Passed>,
}

/// Whatever of a walk can still make a difference, relative to its clock.
type Key = [i8; 12];

/// Where nothing is.
const NOTHING: i8 = i8::MAX;

impl Walk {
    fn begin() -> Self {
        let now = Instant::from_nanos(1);
        Self { circuit: Circuit::new(), now, rules: 0, period: 0, passed: Vec::new() }
    }

    /// Nanoseconds until `until`; -1 if it is past. It is asked for those that are near.
    fn left(&self, until: Instant) -> i8 {
        if until < self.now { -1 } else { until.since(self.now).as_nanos() as i8 }
    }

    fn key(&self) -> Key {
        let mut key = [NOTHING; 12];
        // From the second reopening on, all open times are the longest.
        key[..3].copy_from_slice(&[
            self.circuit.mode as i8,
            self.rules as i8,
            self.circuit.reopenings.min(2) as i8,
        ]);
        key[3..7].copy_from_slice(&match &self.circuit.state {
            State::Closed { window, streak } => {
                let Counts { successes, failures } = window.clone().counts(self.now);
                [0, successes as i8, failures as i8, *streak as i8]
            }
            // Its time is over or not.
            State::Open { until } => [1, self.left(*until).max(0), NOTHING, NOTHING],
            State::HalfOpen { leases, successes, .. } => {
                let mut left = [NOTHING; 2];
                for (slot, lease) in left.iter_mut().zip(leases) {
                    *slot = self.left(lease.until);
                }
                left.sort_unstable();
                [2, *successes as i8, left[0], left[1]]
            }
        });
        for (slot, passed) in key[8..].iter_mut().zip(&self.passed) {
            *slot = match self.lease_of(passed.pass) {
                _ if passed.period != self.period => -3,
                Some(lease) => self.left(lease.until),
                None => -2,
            };
        }
        key[8..].sort_unstable();
        key
    }

    fn leases(&self) -> &[Lease] {
        match &self.circuit.state {
            State::HalfOpen { leases, .. } => leases,
            State::Closed { .. } | State::Open { .. } => &[],
        }
    }

    fn lease_of(&self, pass: Pass) -> Option<Lease> {
        self.leases().iter().find(|lease| lease.probe == pass.probe).copied()
    }

    /// Everything that can happen next.
    fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        if self.passed.len() < UNDER_WAY {
            steps.extend([Step::Admit(1), Step::Admit(9), Step::Bypass]);
        }
        for index in 0..self.passed.len() {
            use Verdict::{Failure, Neutral, Success, Throttled};
            let ends = [Success, Failure, Throttled, Neutral];
            steps.extend(ends.map(|verdict| Step::End(index, verdict)));
        }
        let leases = self.leases().iter().map(|lease| lease.until);
        let nano = Duration::from_nanos(1);
        let changes = leases.flat_map(|until| [until, until.after(nano)]);
        let changes = changes.chain(self.circuit.until()).filter(|at| *at > self.now);
        steps.extend(changes.chain([self.now.after(WINDOW)]).map(Step::Tick));
        use Mode::{Automatic, Drained, ForcedClosed, ForcedOpen, MetricsOnly};
        let modes = [Automatic, Drained, ForcedClosed, ForcedOpen, MetricsOnly];
        steps.extend(modes.map(Step::Hand));
        steps.push(Step::Reset);
        steps.extend((0..3).filter(|rules| *rules != self.rules).map(Step::Load));
        steps
    }

    /// What comes of one step, and that it is what may come of it.
    fn step(&self, step: Step) -> Self {
        let mut next = self.clone();
        let all = rules();
        let (now, rules) = (self.now, &all[self.rules]);
        let before = self.circuit.state();
        let told = match step {
            Step::Admit(length) => {
                let until = now.after(Duration::from_nanos(length));
                let admitted = next.circuit.try_admit(now, rules, until);
                self.check_admitted(rules, &admitted, next.circuit.state());
                match admitted {
                    Ok(Admission { pass, transition }) => {
                        next.note(transition);
                        next.passed.push(Passed { pass, period: next.period });
                        transition
                    }
                    Err(Refused { transition, .. }) => {
                        next.note(transition);
                        transition
                    }
                }
            }
            Step::Bypass => {
                let pass = next.circuit.bypass();
                next.passed.push(Passed { pass, period: next.period });
                None
            }
            Step::End(index, verdict) => {
                let Passed { pass, period } = next.passed.swap_remove(index);
                let mut rng = fastrand::Rng::with_seed(7);
                let told = next.circuit.on_result(now, rules, &mut rng, pass, verdict);
                next.note(told);
                if period != self.period {
                    assert_eq!(next.circuit, self.circuit, "an old result changed something");
                }
                let late = self.lease_of(pass).is_some_and(|lease| self.now > lease.until);
                if late && period == self.period && !rules.is_off() {
                    let open = next.circuit.state() == CircuitState::Open;
                    assert!(open, "a probe that is late has failed: {step:?}, {self:?}");
                }
                told
            }
            Step::Tick(at) => {
                next.now = at;
                None
            }
            Step::Hand(mode) => {
                let told = next.circuit.set_mode(mode);
                next.period += 1;
                told
            }
            Step::Reset => {
                let told = next.circuit.reset();
                next.period += 1;
                told
            }
            Step::Load(rules) => {
                next.rules = rules;
                None
            }
        };
        let after = next.circuit.state();
        let changed = (before != after).then_some(Transition { from: before, to: after });
        assert_eq!(told, changed, "what is told is what changed");
        let admitted = next.passed.len() > self.passed.len();
        next.check_probes(step, admitted);
        next
    }

    fn note(&mut self, transition: Option<Transition>) {
        self.period += u32::from(transition.is_some());
    }

    /// Who is let in, and as what.
    fn check_admitted(
        &self,
        rules: &CircuitRules,
        admitted: &Result<Admission, Refused>,
        after: CircuitState,
    ) {
        use CircuitState::{Drained, ForcedOpen, HalfOpen, Open};
        let before = self.circuit.state();
        let is_early = self.circuit.until().is_some_and(|until| self.now < until);
        if matches!(before, ForcedOpen | Drained) || before == Open && is_early && !rules.is_off() {
            assert!(admitted.is_err(), "a shut circuit let somebody in");
        }
        if let (Ok(admission), false) = (admitted, rules.is_off()) {
            let expected = after == HalfOpen;
            assert_eq!(admission.pass.is_probe(), expected, "who is let in half-open is a probe");
        }
        if before.lets_all() {
            assert!(admitted.is_ok(), "a closed circuit kept somebody out");
        }
    }

    /// As many probes as are out, and a new one only if it is allowed.
    fn check_probes(&self, step: Step, admitted: bool) {
        let out = |passed: &&Passed| passed.pass.is_probe() && passed.period == self.period;
        let out = self.passed.iter().filter(out).count();
        assert_eq!(self.circuit.probes(), out, "a probe is lost: {step:?}, {self:?}");
        let newest = self.passed.last().filter(|_| admitted);
        if newest.is_some_and(|newest| newest.pass.is_probe()) {
            let allowed = rules()[self.rules].probes as usize;
            assert!(out <= allowed, "{out} probes, {allowed} are allowed: {step:?}, {self:?}");
        }
    }

    /// The server is well and nobody who is under way comes back: callers that ask again when they are told
    /// get in soon, and close the circuit.
    fn check_recovery(&self) {
        let mut circuit = self.circuit.clone();
        let all = rules();
        let rules = &all[self.rules];
        let mut rng = fastrand::Rng::with_seed(7);
        let mut now = self.now;
        if matches!(circuit.mode, Mode::ForcedOpen | Mode::Drained) {
            assert!(circuit.try_admit(now, rules, Instant::NEVER).is_err());
            let _ = circuit.set_mode(Mode::Automatic);
        }
        let first_lease = self.leases().iter().map(|lease| lease.until.since(now)).min();
        let bound = match circuit.state {
            State::Closed { .. } => Duration::ZERO,
            State::Open { until } => until.since(now),
            State::HalfOpen { .. } => first_lease.map_or(Duration::ZERO, |left| left + OPEN),
        };
        assert!(bound <= LEASE + OPEN);
        let bound = now.after(if rules.is_off() { Duration::ZERO } else { bound });
        for _ in 0..rules.successes.max(1) {
            let pass = loop {
                match circuit.try_admit(now, rules, Instant::NEVER) {
                    Ok(admission) => break admission.pass,
                    Err(Refused { again: Again::At(at), .. }) => now = at,
                    // Nobody comes back; they try it again now and then.
                    Err(_) => now = now.after(Duration::from_nanos(1)),
                }
                assert!(now <= bound, "nobody is let in: {circuit:?}");
            };
            let _ = circuit.on_result(now, rules, &mut rng, pass, Verdict::Success);
        }
        assert!(rules.is_off() || circuit.state().lets_all(), "it does not close: {circuit:?}");
    }

    /// Where every step leads, in order.
    fn successors(&self) -> Vec<Self> {
        self.steps().into_iter().map(|step| self.step(step)).collect()
    }
}

/// What is the same to all who are compared by it.
fn keys(walks: &[Walk]) -> Vec<Key> {
    let mut keys: Vec<_> = walks.iter().map(Walk::key).collect();
    keys.sort_unstable();
    keys
}

/// B1, I1: no order of events leaves a circuit that lets nobody in, or lets in more probes than it may.
#[test]
fn no_order_of_events_leaves_a_circuit_stuck_or_lets_too_many_probes_in() {
    let begin = Walk::begin();
    begin.check_recovery();
    let mut known = HashMap::from([(begin.key(), 0)]);
    // What each state leads to, for all that are less than `DEPTH` steps away.
    let mut leads: Vec<Vec<usize>> = Vec::new();
    let mut ends: Vec<Vec<Key>> = Vec::new();
    let mut twins = Vec::new();
    let mut level = vec![begin];
    for depth in 0..DEPTH {
        let mut next_level = Vec::new();
        for walk in level {
            let successors = walk.successors();
            ends.push(keys(&successors));
            let mut to = Vec::new();
            for next in successors {
                let number = known.len();
                let found = *known.entry(next.key()).or_insert(number);
                to.push(found);
                if known.len() > number {
                    next.check_recovery();
                    next_level.push(next);
                } else if depth + 1 < DEPTH {
                    twins.push((found, next));
                }
            }
            leads.push(to);
        }
        level = next_level;
    }
    // Two that are taken for one can do the same, and become the same by it.
    for (found, twin) in twins {
        twin.check_recovery();
        assert_eq!(keys(&twin.successors()), ends[found], "taken for one: {twin:?}");
    }
    let transitions: usize = leads.iter().map(Vec::len).sum();
    // How many orders lead to each state, level by level.
    let mut orders = HashMap::from([(0, 1u64)]);
    for _ in 0..DEPTH {
        let mut next = HashMap::new();
        for (state, count) in orders {
            for to in &leads[state] {
                *next.entry(*to).or_insert(0) += count;
            }
        }
        orders = next;
    }
    let orders: u64 = orders.values().sum();
    println!("{} states, {transitions} transitions, {orders} orders", known.len());
    assert!(known.len() > 1_000, "it did not go far");
}
