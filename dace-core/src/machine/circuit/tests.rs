//! A table of state × event, and the times.

use super::*;

const HOUR: u64 = 3_600_000;

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A circuit with its rules and its dice.
struct Bench {
    circuit: Circuit,
    rules: CircuitRules,
    rng: fastrand::Rng,
}

impl Bench {
    fn new(breaker: Breaker, reset: Duration) -> Self {
        let rules = CircuitRules::new(&breaker, reset);
        Self { circuit: Circuit::new(), rules, rng: fastrand::Rng::with_seed(7) }
    }

    /// Two failures open it, two successes close it, one probe at a time, 10 s open.
    fn small() -> Self {
        Self::new(Breaker::new().consecutive_failures(2), secs(10))
    }

    fn admit(&mut self, now: Instant) -> Result<Admission, Refused> {
        self.circuit.try_admit(now, &self.rules, Instant::NEVER)
    }

    #[track_caller]
    fn pass(&mut self, now: Instant) -> Pass {
        self.admit(now).expect("somebody is let in").pass
    }

    fn result(&mut self, now: Instant, pass: Pass, verdict: Verdict) -> Option<Transition> {
        self.circuit.on_result(now, &self.rules, &mut self.rng, pass, verdict)
    }

    /// Fails as often as it takes.
    #[track_caller]
    fn trip(&mut self, now: Instant) {
        for _ in 0..self.rules.consecutive_failures {
            let pass = self.pass(now);
            let _ = self.result(now, pass, Verdict::Failure);
        }
        assert_eq!(self.circuit.state(), CircuitState::Open);
    }

    fn until(&self) -> Instant {
        self.circuit.until().expect("it is open")
    }

    /// Trips it, and takes the first probe.
    #[track_caller]
    fn probe(&mut self, now: Instant) -> (Pass, Instant) {
        self.trip(now);
        let until = self.until();
        let pass = self.pass(until);
        assert!(pass.is_probe());
        (pass, until)
    }
}

/// B10: a throttled probe does not close the circuit; while it is closed, throttles do not open it.
#[test]
fn every_state_answers_every_verdict() {
    use CircuitState::{Closed, Drained, ForcedClosed, ForcedOpen, HalfOpen, MetricsOnly, Open};
    use Verdict::{Failure, Neutral, Success, Throttled};
    // From, with one failure short of the trip and one success short of closing.
    for (from, verdict, to) in [
        (Closed, Success, Closed),
        (Closed, Failure, Open),
        (Closed, Throttled, Closed),
        (Closed, Neutral, Closed),
        (Open, Success, Open),
        (Open, Failure, Open),
        (Open, Throttled, Open),
        (Open, Neutral, Open),
        (HalfOpen, Success, Closed),
        (HalfOpen, Failure, Open),
        (HalfOpen, Throttled, Open),
        (HalfOpen, Neutral, HalfOpen),
        (ForcedOpen, Success, ForcedOpen),
        (ForcedOpen, Failure, ForcedOpen),
        (ForcedOpen, Throttled, ForcedOpen),
        (ForcedOpen, Neutral, ForcedOpen),
        (ForcedClosed, Success, ForcedClosed),
        (ForcedClosed, Failure, ForcedClosed),
        (ForcedClosed, Throttled, ForcedClosed),
        (ForcedClosed, Neutral, ForcedClosed),
        (MetricsOnly, Success, MetricsOnly),
        (MetricsOnly, Failure, MetricsOnly),
        (MetricsOnly, Throttled, MetricsOnly),
        (MetricsOnly, Neutral, MetricsOnly),
        (Drained, Success, Drained),
        (Drained, Failure, Drained),
        (Drained, Throttled, Drained),
        (Drained, Neutral, Drained),
    ] {
        let mut bench = Bench::small();
        let mut now = at(0);
        let pass = match from {
            Closed | Open => {
                let pass = bench.pass(now);
                let _ = bench.result(now, pass, Failure);
                if from == Open {
                    let _ = bench.result(now, pass, Failure);
                }
                // In `Open` this one is of the generation before, or of nobody.
                bench.circuit.bypass()
            }
            HalfOpen => {
                let (first, until) = bench.probe(now);
                now = until;
                let _ = bench.result(now, first, Success);
                bench.pass(now)
            }
            ForcedOpen | ForcedClosed | MetricsOnly | Drained => {
                let mode = match from {
                    ForcedOpen => Mode::ForcedOpen,
                    ForcedClosed => Mode::ForcedClosed,
                    Drained => Mode::Drained,
                    _ => Mode::MetricsOnly,
                };
                let _ = bench.circuit.set_mode(mode);
                let pass = bench.circuit.bypass();
                let _ = bench.result(now, pass, Failure);
                pass
            }
        };
        assert_eq!(bench.circuit.state(), from);
        let transition = bench.result(now, pass, verdict);
        assert_eq!(bench.circuit.state(), to, "{from:?} × {verdict:?}");
        let expected = (from != to).then_some(Transition { from, to });
        assert_eq!(transition, expected, "{from:?} × {verdict:?}");
    }
}

#[test]
fn a_success_ends_the_row_of_failures() {
    let mut bench = Bench::new(Breaker::new(), secs(10));
    for verdict in [Verdict::Failure; 4].into_iter().chain([Verdict::Success]) {
        let pass = bench.pass(at(0));
        assert_eq!(bench.result(at(0), pass, verdict), None);
    }
    for _ in 0..4 {
        let pass = bench.pass(at(0));
        assert_eq!(bench.result(at(0), pass, Verdict::Failure), None);
    }
    let pass = bench.pass(at(0));
    assert!(bench.result(at(0), pass, Verdict::Failure).is_some());
}

#[test]
fn what_says_nothing_neither_lengthens_nor_ends_the_row() {
    let mut bench = Bench::small();
    for verdict in [Verdict::Failure, Verdict::Neutral, Verdict::Throttled] {
        let pass = bench.pass(at(0));
        assert_eq!(bench.result(at(0), pass, verdict), None);
    }
    assert_eq!(bench.circuit.counts(at(0)), Counts { successes: 0, failures: 1 });
    let pass = bench.pass(at(0));
    assert!(bench.result(at(0), pass, Verdict::Failure).is_some());
}

#[test]
fn the_rate_trips_at_exactly_so_many_results_and_such_a_share() {
    // Results before the failure that is watched, and whether that one trips.
    for (successes, failures, trips) in
        [(10, 9, true), (10, 8, false), (11, 9, false), (11, 10, true), (30, 28, false)]
    {
        let mut bench = Bench::new(Breaker::new().consecutive_failures(u32::MAX), secs(10));
        let pass = bench.pass(at(0));
        for _ in 0..successes {
            assert_eq!(bench.result(at(0), pass, Verdict::Success), None);
        }
        for _ in 0..failures {
            assert_eq!(bench.result(at(0), pass, Verdict::Failure), None);
        }
        let tripped = bench.result(at(0), pass, Verdict::Failure).is_some();
        assert_eq!(tripped, trips, "{successes} good, {failures} + 1 bad");
    }
}

#[test]
fn a_success_never_trips_however_bad_the_rate_is() {
    let mut bench = Bench::new(Breaker::new().consecutive_failures(u32::MAX), secs(10));
    let pass = bench.pass(at(0));
    for _ in 0..19 {
        assert_eq!(bench.result(at(0), pass, Verdict::Failure), None);
    }
    assert_eq!(bench.result(at(0), pass, Verdict::Success), None);
    assert_eq!(bench.circuit.state(), CircuitState::Closed);
}

/// B9: a burst of failures weighs as much as the same ones spread out.
#[test]
fn a_burst_and_the_same_failures_spread_out_trip_alike() {
    let trips_at = |gap: u64| {
        let mut bench = Bench::new(Breaker::new().consecutive_failures(u32::MAX), secs(10));
        let pass = bench.pass(at(0));
        (0..40u64).find(|number| {
            let verdict = if number % 3 == 0 { Verdict::Success } else { Verdict::Failure };
            bench.result(at(number * gap), pass, verdict).is_some()
        })
    };
    for gap in [0, 1, 50, 250, 499] {
        assert_eq!(trips_at(gap), Some(19), "a result every {gap} ms");
    }
    assert_eq!(trips_at(600), None, "twenty results are never in one window");
}

#[test]
fn it_is_open_to_the_nanosecond() {
    let mut bench = Bench::small();
    bench.trip(at(5));
    let until = bench.until();
    let before = Instant::from_nanos(until.as_nanos() - 1);
    let refused = bench.admit(before).unwrap_err();
    assert_eq!(refused, Refused { again: Again::At(until), transition: None });
    let admission = bench.admit(until).unwrap();
    assert!(admission.pass.is_probe());
    let half_open = Transition { from: CircuitState::Open, to: CircuitState::HalfOpen };
    assert_eq!(admission.transition, Some(half_open));
}

/// B12: open times grow to a cap, and many clients do not come back at once.
#[test]
fn the_open_time_doubles_while_probes_fail_up_to_its_cap_and_starts_again_once_closed() {
    let mut bench = Bench::small();
    let mut now = at(0);
    for round in 0..2 {
        bench.trip(now);
        for seconds in [10, 20, 40, 60, 60, 60] {
            let open = bench.until().since(now);
            let most = secs(seconds) + secs(seconds) / 5;
            assert!(open >= secs(seconds) && open <= most, "round {round}: {open:?}");
            now = bench.until();
            let pass = bench.pass(now);
            assert!(bench.result(now, pass, Verdict::Failure).is_some());
        }
        now = bench.until();
        for _ in 0..2 {
            let pass = bench.pass(now);
            let _ = bench.result(now, pass, Verdict::Success);
        }
        assert_eq!(bench.circuit.state(), CircuitState::Closed);
    }
}

#[test]
fn a_cap_below_the_configured_open_time_does_not_shorten_it() {
    let mut bench = Bench::new(Breaker::new().consecutive_failures(1).max_open(secs(1)), secs(10));
    let mut now = at(0);
    bench.trip(now);
    for _ in 0..4 {
        let open = bench.until().since(now);
        assert!(open >= secs(10) && open <= secs(12), "{open:?}");
        now = bench.until();
        let pass = bench.pass(now);
        let _ = bench.result(now, pass, Verdict::Failure);
    }
}

/// B12: open times grow to a cap, and many clients do not come back at once.
#[test]
fn the_jitter_fills_its_fifth() {
    let open_times: Vec<_> = (0..1000)
        .map(|seed| {
            let mut bench = Bench::new(Breaker::new().consecutive_failures(1), secs(10));
            bench.rng = fastrand::Rng::with_seed(seed);
            bench.trip(at(0));
            bench.until().since(at(0))
        })
        .collect();
    let (least, most) = (open_times.iter().min().unwrap(), open_times.iter().max().unwrap());
    assert!(*least >= secs(10) && *least < ms(10_050), "{least:?}");
    assert!(*most <= secs(12) && *most > ms(11_950), "{most:?}");
}

/// B4: when the open time ends, exactly the probes get in, however many ask.
#[test]
fn no_more_probes_than_allowed_are_under_way() {
    for probes in 1..=5 {
        let mut bench = Bench::new(Breaker::new().consecutive_failures(1).probes(probes), secs(10));
        bench.trip(at(0));
        let until = bench.until();
        let admitted: Vec<_> = (0..10_000).filter_map(|_| bench.admit(until).ok()).collect();
        assert_eq!(admitted.len(), probes as usize);
        assert_eq!(bench.circuit.probes(), probes as usize);
        let refused = bench.admit(until).unwrap_err();
        assert_eq!(refused.again, Again::WhenFreed);
    }
}

#[test]
fn it_closes_after_successes_in_a_row_and_not_before() {
    let mut bench = Bench::new(Breaker::new().consecutive_failures(1).successes(3), secs(10));
    bench.trip(at(0));
    let now = bench.until();
    for _ in 0..2 {
        let pass = bench.pass(now);
        assert_eq!(bench.result(now, pass, Verdict::Success), None);
    }
    let pass = bench.pass(now);
    assert_eq!(bench.result(now, pass, Verdict::Neutral), None);
    let pass = bench.pass(now);
    let closed = Transition { from: CircuitState::HalfOpen, to: CircuitState::Closed };
    assert_eq!(bench.result(now, pass, Verdict::Success), Some(closed));
    assert_eq!(bench.circuit.counts(now), Counts::default(), "it starts with an empty window");
}

/// B1: half-open is left, whatever becomes of a probe.
#[test]
fn a_probe_that_decides_nothing_makes_room_for_the_next() {
    let mut bench = Bench::small();
    let (pass, now) = bench.probe(at(0));
    assert!(bench.admit(now).is_err());
    assert_eq!(bench.result(now, pass, Verdict::Neutral), None);
    assert_eq!(bench.circuit.probes(), 0);
    let next = bench.pass(now);
    assert!(next.is_probe());
    assert_eq!(bench.result(now, pass, Verdict::Failure), None, "a place is given back once");
    assert_eq!(bench.circuit.probes(), 1);
}

/// B2: a probe that never ends blocks the circuit no longer than its lease.
#[test]
fn a_lease_that_runs_out_is_a_failure_found_by_the_next_who_asks() {
    let mut bench = Bench::small();
    let (pass, now) = bench.probe(at(0));
    let end = now.after(secs(10));
    let before = Instant::from_nanos(end.as_nanos() - 1);
    assert!(bench.admit(before).is_err_and(|refused| refused.transition.is_none()));
    assert!(bench.circuit.check(before, &bench.rules).is_err());
    assert!(bench.circuit.check(end, &bench.rules).is_ok());
    let refused = bench.admit(end).unwrap_err();
    let reopened = Transition { from: CircuitState::HalfOpen, to: CircuitState::Open };
    assert_eq!(refused.transition, Some(reopened));
    assert_eq!(refused.again, Again::At(bench.until()));
    assert!(bench.until() >= end.after(secs(20)), "it counts as a failed probe");
    assert_eq!(bench.result(end, pass, Verdict::Success), None, "its result comes too late");
    let until = bench.until();
    assert!(bench.pass(until).is_probe());
}

#[test]
fn a_probe_that_is_settled_after_its_lease_has_failed() {
    for verdict in [Verdict::Success, Verdict::Neutral, Verdict::Throttled, Verdict::Failure] {
        let mut bench = Bench::small();
        let (pass, now) = bench.probe(at(0));
        let late = Instant::from_nanos(now.after(secs(10)).as_nanos() + 1);
        let transition = bench.result(late, pass, verdict).unwrap();
        assert_eq!(transition.to, CircuitState::Open, "{verdict:?}");
    }
}

#[test]
fn a_lease_ends_with_its_attempt_with_the_open_time_or_after_half_a_minute() {
    for (reset, attempt, lease) in [
        (secs(10), Duration::MAX, secs(10)),
        (secs(300), Duration::MAX, secs(30)),
        (secs(10), secs(3), secs(3)),
        (Duration::from_nanos(1), secs(3), Duration::from_nanos(1)),
    ] {
        let mut bench = Bench::new(Breaker::new().consecutive_failures(1), reset);
        bench.trip(at(0));
        let now = bench.until();
        let lease_until = now.after(attempt);
        let _probe = bench.circuit.try_admit(now, &bench.rules, lease_until).unwrap();
        let end = now.after(lease);
        let before = Instant::from_nanos(end.as_nanos() - 1);
        assert!(bench.circuit.check(before, &bench.rules).is_err(), "{reset:?}, {attempt:?}");
        assert!(bench.circuit.check(end, &bench.rules).is_ok(), "{reset:?}, {attempt:?}");
    }
}

/// B5: results from before a change of state do not count after it.
#[test]
fn results_of_an_older_generation_change_nothing() {
    for verdict in [Verdict::Success, Verdict::Failure, Verdict::Throttled, Verdict::Neutral] {
        let mut bench = Bench::small();
        let old = bench.pass(at(0));
        let (probe, now) = bench.probe(at(0));
        let untouched = bench.circuit.clone();
        for _ in 0..10 {
            assert_eq!(bench.result(now, old, verdict), None);
        }
        assert_eq!(bench.circuit, untouched, "{verdict:?}");
        assert!(bench.result(now, probe, Verdict::Failure).is_some());
        let open = bench.circuit.clone();
        assert_eq!(bench.result(now, probe, verdict), None);
        assert_eq!(bench.circuit, open, "{verdict:?}");
    }
}

/// B5: results from before a change of state do not count after it.
#[test]
fn a_pass_from_before_the_circuit_closed_again_does_not_count_in_the_new_window() {
    let mut bench = Bench::small();
    let old = bench.pass(at(0));
    let (first, now) = bench.probe(at(0));
    let _ = bench.result(now, first, Verdict::Success);
    let second = bench.pass(now);
    let _ = bench.result(now, second, Verdict::Success);
    assert_eq!(bench.circuit.state(), CircuitState::Closed);
    for _ in 0..10 {
        assert_eq!(bench.result(now, old, Verdict::Failure), None);
        assert_eq!(bench.result(now, first, Verdict::Failure), None);
    }
    assert_eq!(bench.circuit.counts(now), Counts::default());
}

#[test]
fn a_bypass_of_an_open_or_half_open_circuit_decides_nothing() {
    let mut bench = Bench::small();
    bench.trip(at(0));
    let bypass = bench.circuit.bypass();
    assert!(!bypass.is_probe());
    assert_eq!(bench.result(at(0), bypass, Verdict::Success), None);
    let until = bench.until();
    let probe = bench.pass(until);
    let bypass = bench.circuit.bypass();
    for verdict in [Verdict::Success, Verdict::Failure, Verdict::Throttled, Verdict::Neutral] {
        assert_eq!(bench.result(until, bypass, verdict), None);
    }
    assert_eq!(bench.circuit.probes(), 1);
    assert!(bench.result(until, probe, Verdict::Failure).is_some());
}

#[test]
fn modes_by_hand_decide_until_automatic_starts_from_nothing() {
    for (mode, state, admits, counts) in [
        (Mode::ForcedOpen, CircuitState::ForcedOpen, false, 0),
        (Mode::ForcedClosed, CircuitState::ForcedClosed, true, 10),
        (Mode::MetricsOnly, CircuitState::MetricsOnly, true, 10),
    ] {
        let mut bench = Bench::small();
        bench.trip(at(0));
        let from = CircuitState::Open;
        assert_eq!(bench.circuit.set_mode(mode), Some(Transition { from, to: state }));
        assert_eq!(bench.circuit.set_mode(mode), None, "nothing changes twice");
        for _ in 0..10 {
            match bench.admit(at(HOUR)) {
                Ok(admission) => {
                    assert!(admits && !admission.pass.is_probe());
                    let pass = admission.pass;
                    assert_eq!(bench.result(at(HOUR), pass, Verdict::Failure), None);
                }
                Err(refused) => {
                    assert!(!admits);
                    assert_eq!(refused.again, Again::Never);
                }
            }
        }
        assert_eq!(bench.circuit.counts(at(HOUR)).failures, counts);
        assert_eq!(bench.circuit.until(), None);
        let to = CircuitState::Closed;
        let back = bench.circuit.set_mode(Mode::Automatic);
        assert_eq!(back, Some(Transition { from: state, to }));
        assert!(bench.circuit.is_unsuspected(at(HOUR)));
    }
}

#[test]
fn a_probe_from_before_a_mode_was_set_changes_nothing() {
    for mode in [Mode::Automatic, Mode::ForcedClosed, Mode::MetricsOnly, Mode::ForcedOpen] {
        let mut bench = Bench::small();
        let (probe, now) = bench.probe(at(0));
        let _ = bench.circuit.set_mode(mode);
        let set = bench.circuit.clone();
        assert_eq!(bench.result(now, probe, Verdict::Failure), None);
        assert_eq!(bench.circuit, set);
    }
}

#[test]
fn an_open_time_of_zero_switches_the_breaker_off() {
    let mut bench = Bench::new(Breaker::new().consecutive_failures(1), Duration::ZERO);
    for _ in 0..1000 {
        let pass = bench.pass(at(0));
        assert!(!pass.is_probe());
        assert_eq!(bench.result(at(0), pass, Verdict::Failure), None);
    }
    assert_eq!(bench.circuit.state(), CircuitState::Closed);
    let _ = bench.circuit.set_mode(Mode::ForcedOpen);
    assert!(bench.admit(at(0)).is_err(), "by hand it can still be opened");
}

/// Found by fuzzing: the probe's place stayed taken until its lease ran out, and then counted as a failure.
#[test]
fn a_probe_that_is_under_way_when_the_breaker_is_switched_off_gives_its_place_back() {
    let mut bench = Bench::small();
    let (pass, began) = bench.probe(at(0));
    let on = std::mem::replace(&mut bench.rules, CircuitRules::new(&Breaker::new(), ms(0)));
    assert_eq!(bench.result(began, pass, Verdict::Success), None);
    assert_eq!(bench.circuit.probes(), 0);
    bench.rules = on;
    assert!(bench.admit(began.after(secs(3600))).is_ok(), "no lease has run out");
}

#[test]
fn sixty_idle_years_later_it_lets_a_probe_in() {
    let now = at(60 * 365 * 24 * HOUR);
    let mut bench = Bench::small();
    bench.trip(at(0));
    let first = bench.pass(now);
    assert!(first.is_probe());
    assert_eq!(bench.result(now, first, Verdict::Success), None);
    let second = bench.pass(now);
    assert!(bench.result(now, second, Verdict::Success).is_some());
    let much_later = now.after(now.since(at(0)));
    let pass = bench.pass(much_later);
    assert_eq!(bench.result(much_later, pass, Verdict::Failure), None);
    assert_eq!(bench.circuit.counts(much_later), Counts { successes: 0, failures: 1 });
}

#[test]
fn a_clock_that_goes_back_lets_nobody_in_early_and_panics_nowhere() {
    let mut bench = Bench::small();
    bench.trip(at(HOUR));
    let until = bench.until();
    assert_eq!(bench.admit(at(0)).unwrap_err().again, Again::At(until));
    let pass = bench.pass(until);
    assert!(bench.admit(at(0)).is_err(), "the probe's place is still taken");
    assert_eq!(bench.result(at(0), pass, Verdict::Success), None);
    let pass = bench.pass(at(0));
    assert!(bench.result(at(0), pass, Verdict::Failure).is_some());
    assert!(bench.until().since(at(0)) >= secs(20));
}

#[test]
fn an_open_time_without_end_never_ends() {
    let mut bench = Bench::new(Breaker::new().consecutive_failures(1), Duration::MAX);
    bench.trip(at(HOUR));
    assert!(bench.until().is_never());
    let refused = bench.admit(at(1000 * 365 * 24)).unwrap_err();
    assert_eq!(refused.again, Again::At(Instant::NEVER));
}

#[test]
fn a_cap_without_end_doubles_until_never() {
    let breaker = Breaker::new().consecutive_failures(1).max_open(Duration::MAX);
    let mut bench = Bench::new(breaker, secs(10));
    let mut now = at(0);
    bench.trip(now);
    let mut last = Duration::ZERO;
    for _ in 0..100 {
        let open = bench.until().since(now);
        assert!(bench.until().is_never() || open > last, "{open:?} after {last:?}");
        last = open;
        now = bench.until();
        let pass = bench.pass(now);
        let _ = bench.result(now, pass, Verdict::Failure);
    }
    assert!(bench.until().is_never());
}

#[test]
fn it_is_unsuspected_only_when_closed_and_without_a_failure_in_the_window() {
    let mut bench = Bench::new(Breaker::new(), secs(10));
    assert!(bench.circuit.is_unsuspected(at(0)));
    let pass = bench.pass(at(0));
    let _ = bench.result(at(0), pass, Verdict::Failure);
    let _ = bench.result(at(0), pass, Verdict::Success);
    assert!(!bench.circuit.is_unsuspected(at(9_999)));
    assert!(bench.circuit.is_unsuspected(at(10_000)));
    let _ = bench.circuit.set_mode(Mode::MetricsOnly);
    assert!(!bench.circuit.is_unsuspected(at(10_000)));
}

#[test]
fn a_probe_that_ends_while_the_breaker_is_off_gives_its_place_back() {
    let mut bench = Bench::new(Breaker::new().consecutive_failures(1), secs(10));
    let (on, off) = (bench.rules, CircuitRules::new(&Breaker::new(), Duration::ZERO));
    let pass = bench.admit(at(0)).unwrap().pass;
    let _opened =
        bench.circuit.on_result(at(0), &on, &mut bench.rng, pass, Verdict::Failure).unwrap();
    let probe = bench.admit(at(HOUR)).unwrap().pass;
    assert_eq!(bench.circuit.probes(), 1);
    let told = bench.circuit.on_result(at(HOUR), &off, &mut bench.rng, probe, Verdict::Failure);
    assert_eq!((told, bench.circuit.probes()), (None, 0));
    // It is on again: the place is free, and nobody's lease runs out.
    assert!(bench.admit(at(2 * HOUR)).unwrap().pass.is_probe());
}

#[test]
fn a_server_that_fails_now_and_then_opens_it_with_a_longer_row() {
    let mut bench = Bench::new(Breaker::new().consecutive_failures(5), secs(10));
    for call in 0..100 {
        let verdict = if call % 10 == 0 { Verdict::Failure } else { Verdict::Success };
        let pass = bench.pass(at(call));
        assert_eq!(bench.result(at(call), pass, verdict), None);
    }
    let mut row = 1;
    loop {
        let pass = bench.pass(at(100));
        match bench.result(at(100), pass, Verdict::Failure) {
            Some(_) => break,
            None => row += 1,
        }
    }
    assert_eq!(row, 10);
}

/// B12: nor if all of them find out by a lease that ran out, where nothing is drawn.
#[test]
fn a_lease_that_ran_out_opens_for_a_time_of_its_own() {
    let open = |found: u64| {
        let mut bench = Bench::small();
        let _ = bench.probe(at(0));
        let _ = bench.admit(at(found)).unwrap_err();
        bench.until().since(at(found))
    };
    assert_ne!(open(HOUR), open(HOUR + 1));
}

#[test]
fn what_spreads_them_is_the_finalizer_of_splitmix64() {
    // The first number of a generator that is seeded with 0.
    assert_eq!(spread(0x9e37_79b9_7f4a_7c15), 0xe220_a839_7b1d_cdaf);
}
