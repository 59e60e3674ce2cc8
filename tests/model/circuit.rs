//! The circuit against a model that keeps a list of all results and decides from that.

use std::time::Duration;

use dace::machine::circuit::{Circuit, CircuitRules, Mode, Pass, Verdict};
use dace::{Breaker, CircuitState, Instant};
use proptest::prelude::*;

use crate::config;

const SECOND: u64 = 1_000_000_000;
/// Milliseconds.
const RESET: u64 = 3_000;
const MAX_OPEN: u64 = 9_000;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Asks to pass, for an attempt of so many milliseconds.
    Admit(u64),
    /// Settles one of those that passed.
    Settle(usize, Verdict),
    /// One that passed is never heard of again.
    Forget(usize),
    Pass(u64),
    Back(u64),
    Mode(Mode),
}

fn op() -> impl Strategy<Value = Op> {
    use Verdict::{Failure, Neutral, Success, Throttled};
    let verdicts = vec![Success, Success, Failure, Failure, Failure, Throttled, Neutral];
    let modes = vec![
        Mode::Automatic,
        Mode::ForcedOpen,
        Mode::ForcedClosed,
        Mode::MetricsOnly,
        Mode::Drained,
    ];
    prop_oneof![
        8 => (1..5_000u64).prop_map(Op::Admit),
        8 => (any::<usize>(), prop::sample::select(verdicts)).prop_map(|(n, v)| Op::Settle(n, v)),
        1 => any::<usize>().prop_map(Op::Forget),
        4 => prop_oneof![3 => 0..500u64, 1 => 0..12_000u64].prop_map(Op::Pass),
        1 => (0..2_000u64).prop_map(Op::Back),
        1 => prop::sample::select(modes).prop_map(Op::Mode),
    ]
}

/// What the model knows of one that passed.
#[derive(Clone, Copy, Debug)]
struct Passed {
    pass: Pass,
    /// The period of the circuit that let it in.
    period: u32,
    /// If it is a probe, when its lease ends.
    lease: Option<u64>,
    settled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    /// Since when, and how often it was opened in a row.
    Open {
        since: u64,
        times: u32,
    },
    HalfOpen {
        times: u32,
        successes: u32,
    },
}

struct Model {
    trip: u32,
    min_calls: usize,
    probes: usize,
    successes: u32,
    state: State,
    mode: Mode,
    period: u32,
    /// Second and verdict of every result that counts, of this period.
    results: Vec<(u64, bool)>,
    /// The latest second that a result was counted in or asked for.
    newest: u64,
    passed: Vec<Passed>,
}

impl Model {
    fn enter(&mut self, state: State) {
        self.state = state;
        self.period += 1;
        self.results.clear();
        self.newest = 0;
    }

    fn probes_out(&self) -> impl Iterator<Item = &Passed> {
        let period = self.period;
        self.passed.iter().filter(move |p| p.period == period && !p.settled && p.lease.is_some())
    }

    fn count(&mut self, now: u64, good: bool) -> bool {
        self.newest = self.newest.max(now / SECOND);
        self.results.push((self.newest, good));
        let window = |second: u64| second + 10 > self.newest;
        let recent: Vec<_> = self.results.iter().filter(|(s, _)| window(*s)).collect();
        let bad = recent.iter().filter(|(_, good)| !good).count();
        let row = self.results.iter().rev().take_while(|(_, good)| !good).count();
        let rate = recent.len() >= self.min_calls && bad * 2 >= recent.len();
        // What is known of the time before the row says how long a row is no accident.
        let (all, bad) = (recent.len() - bad + bad.saturating_sub(row), bad.saturating_sub(row));
        let usual = bad as f64 / all.max(1) as f64;
        let known = [0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0];
        let usual = known.into_iter().find(|share| (usual * 1000.0).floor() <= share * 1000.0);
        let longer = match usual {
            Some(1.0) => 43.71,
            Some(usual) => (0.01f64.ln() / usual.ln() * 100.0).ceil() / 100.0,
            None => 1.0,
        };
        let trip = if all < self.min_calls { 1.0 } else { longer } * f64::from(self.trip);
        !good && (row as f64 >= trip - 1e-9 || rate)
    }
}

const fn state_of(model: &Model) -> CircuitState {
    match (model.mode, model.state) {
        (Mode::ForcedOpen, _) => CircuitState::ForcedOpen,
        (Mode::ForcedClosed, _) => CircuitState::ForcedClosed,
        (Mode::MetricsOnly, _) => CircuitState::MetricsOnly,
        (Mode::Drained, _) => CircuitState::Drained,
        (Mode::Automatic, State::Closed) => CircuitState::Closed,
        (Mode::Automatic, State::Open { .. }) => CircuitState::Open,
        (Mode::Automatic, State::HalfOpen { .. }) => CircuitState::HalfOpen,
    }
}

fn play(trip: u32, min_calls: u32, probes: u32, successes: u32, ops: &[Op]) {
    let breaker = Breaker::new()
        .consecutive_failures(trip)
        .min_calls(min_calls)
        .probes(probes)
        .successes(successes)
        .max_open(Duration::from_millis(MAX_OPEN));
    let rules = CircuitRules::new(&breaker, Duration::from_millis(RESET));
    let mut circuit = Circuit::new();
    let mut rng = fastrand::Rng::with_seed(7);
    let mut model = Model {
        trip,
        min_calls: min_calls as usize,
        probes: probes as usize,
        successes,
        state: State::Closed,
        mode: Mode::Automatic,
        period: 0,
        results: Vec::new(),
        newest: 0,
        passed: Vec::new(),
    };
    let mut now = 0u64;
    for op in ops {
        let instant = Instant::from_nanos(now);
        match *op {
            Op::Pass(millis) => now += millis * 1_000_000,
            Op::Back(millis) => now = now.saturating_sub(millis * 1_000_000),
            Op::Mode(mode) => {
                let _ = circuit.set_mode(mode);
                model.mode = mode;
                model.enter(State::Closed);
            }
            Op::Admit(millis) => {
                let end = now + millis * 1_000_000;
                let admitted = circuit.try_admit(instant, &rules, Instant::from_nanos(end));
                let lease = Some(end.min(now + RESET * 1_000_000));
                let expected = match (model.mode, model.state) {
                    (Mode::ForcedOpen | Mode::Drained, _) => None,
                    (Mode::ForcedClosed | Mode::MetricsOnly, _) | (_, State::Closed) => Some(None),
                    (_, State::Open { since, times }) => {
                        let least = RESET.saturating_mul(1 << times.min(20)).min(MAX_OPEN);
                        let least = since + least * 1_000_000;
                        let most = least + (least - since) / 5;
                        if admitted.is_ok() {
                            assert!(now >= least, "let in after {:?}", now - since);
                            model.enter(State::HalfOpen { times, successes: 0 });
                            Some(lease)
                        } else {
                            assert!(now <= most, "still open");
                            None
                        }
                    }
                    (_, State::HalfOpen { times, .. }) => {
                        if model.probes_out().any(|probe| probe.lease <= Some(now)) {
                            model.enter(State::Open { since: now, times: times + 1 });
                            None
                        } else {
                            (model.probes_out().count() < model.probes).then_some(lease)
                        }
                    }
                };
                assert_eq!(admitted.is_ok(), expected.is_some(), "{admitted:?}");
                if let (Ok(admission), Some(lease)) = (admitted, expected) {
                    assert_eq!(admission.pass.is_probe(), lease.is_some());
                    let (pass, period) = (admission.pass, model.period);
                    model.passed.push(Passed { pass, period, lease, settled: false });
                }
            }
            Op::Forget(number) => {
                if !model.passed.is_empty() {
                    let index = number % model.passed.len();
                    // A probe keeps its lease though nobody will settle it.
                    if model.passed[index].lease.is_none() {
                        model.passed.remove(index);
                    }
                }
            }
            Op::Settle(number, verdict) => {
                if model.passed.is_empty() {
                    continue;
                }
                let index = number % model.passed.len();
                let passed = model.passed[index];
                let _ = circuit.on_result(instant, &rules, &mut rng, passed.pass, verdict);
                model.passed[index].settled = true;
                if passed.period != model.period {
                    // Too late to say anything.
                } else if let State::HalfOpen { times, successes } = model.state {
                    let late = passed.lease.is_some_and(|lease| now > lease);
                    match (passed.settled || passed.lease.is_none(), verdict) {
                        (true, _) => {}
                        (false, Verdict::Neutral) if !late => {}
                        (false, Verdict::Success) if !late => {
                            if successes + 1 >= model.successes {
                                model.enter(State::Closed);
                            } else {
                                model.state = State::HalfOpen { times, successes: successes + 1 };
                            }
                        }
                        _ => model.enter(State::Open { since: now, times: times + 1 }),
                    }
                } else if matches!(verdict, Verdict::Success | Verdict::Failure) {
                    let trips = model.count(now, verdict == Verdict::Success);
                    if trips && model.mode == Mode::Automatic {
                        model.enter(State::Open { since: now, times: 0 });
                    }
                }
            }
        }
        assert_eq!(circuit.state(), state_of(&model), "{op:?}");
        assert_eq!(circuit.probes(), model.probes_out().count(), "{op:?}");
    }
    // Whatever it was, it lets somebody in within an open time and a lease.
    if model.mode == Mode::Automatic {
        let lease = now + RESET * 1_000_000;
        let _ = circuit.try_admit(Instant::from_nanos(lease), &rules, Instant::NEVER);
        if circuit.state() == CircuitState::Open {
            let open = Duration::from_millis(MAX_OPEN + MAX_OPEN / 5);
            let back: u64 = ops.iter().map(|op| if let Op::Back(ms) = op { *ms } else { 0 }).sum();
            let later = Instant::from_nanos(lease).after(open).after(Duration::from_millis(back));
            assert!(circuit.try_admit(later, &rules, Instant::NEVER).is_ok());
        }
    }
}

proptest! {
    #![proptest_config(config())]

    /// B1: half-open is left, whatever becomes of a probe.
    #[test]
    fn the_circuit_does_what_its_history_says(
        trip in 1..6u32,
        min_calls in 2..12u32,
        probes in 1..4u32,
        successes in 1..4u32,
        ops in prop::collection::vec(op(), 100..=150),
    ) {
        play(trip, min_calls, probes, successes, &ops);
    }
}
