//! What a policy can cost at the worst, said and then done.

use std::cell::Cell;
use std::future::ready;
use std::time::Duration;

use dace::sim::Sim;
use dace::{Backoff, Breaker, Budget, Dependency, Policy};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn lints(policy: &Policy) -> Vec<String> {
    policy.bounds().lints.iter().map(ToString::to_string).collect()
}

/// F7: there is a timeout without asking for one, connecting included.
#[test]
fn the_defaults_have_bounds_and_no_contradiction() {
    let bounds = Policy::new().bounds();
    assert_eq!(bounds.attempts, 4);
    assert_eq!(bounds.wall_time, ms(5_000));
    assert_eq!((bounds.amplification, bounds.burst), (2.0, 50));
    assert_eq!(bounds.bytes, 10 * 64 * 1024 * 1024);
    assert_eq!(lints(&Policy::new()), [""; 0]);
}

#[test]
fn the_longest_time_is_the_timeout_or_that_of_all_attempts_and_waits() {
    let each = Policy::new().no_timeout().attempt_timeout(ms(500)).retry_attempts(2);
    let quick = each
        .clone()
        .hint_max(ms(100))
        .circuit_reset_timeout(ms(100))
        .breaker(Breaker::new().max_open(ms(100)))
        .backoff(Backoff::new().base(ms(10)).cap(ms(200)));
    assert_eq!(quick.bounds().wall_time, ms(3 * 500 + 2 * 200));
    assert_eq!(each.bounds().wall_time, ms(3 * 500 + 2 * 72_000), "a circuit is waited for");
    assert_eq!(quick.clone().timeout(ms(900)).bounds().wall_time, ms(900));
    assert_eq!(quick.clone().queue(1).bounds().wall_time, Duration::MAX, "a queue has no end");
    assert_eq!(Policy::new().no_timeout().bounds().wall_time, Duration::MAX);
    let huge = Policy::new().no_timeout().attempt_timeout(Duration::MAX - ms(1));
    assert_eq!(huge.retry_attempts(u32::MAX).bounds().wall_time, Duration::MAX);
}

#[test]
fn the_load_that_retries_make_is_what_the_budget_lets_pass() {
    let of = |budget: Budget| Policy::new().budget(budget).bounds();
    let unlimited = of(Budget::new().unlimited());
    assert_eq!((unlimited.amplification, unlimited.burst), (4.0, 0));
    let none = of(Budget::new().banked(0));
    assert_eq!((none.amplification, none.burst), (1.0, 0));
    assert_eq!(of(Budget::new().deposit(1.0)).amplification, 2.0);
    assert_eq!(Policy::new().retry_attempts(0).bounds().amplification, 1.0);
}

/// Calls whose attempts fail as `fails(attempt)` says, with the breaker off.
fn attempts_of(policy: Policy, calls: u32, fails: impl Fn(u32, &mut fastrand::Rng) -> bool) -> u32 {
    let sim = Sim::new(1);
    let policy = policy.circuit_reset_timeout(Duration::ZERO);
    let policy = policy.backoff(Backoff::new().base(Duration::ZERO));
    let dependency =
        Dependency::builder("a").policy(policy).build_with(sim.runtime(), sim.backend()).unwrap();
    let (attempts, mut rng) = (Cell::new(0), fastrand::Rng::with_seed(7));
    sim.run(async {
        for _ in 0..calls {
            let call = dependency.call(|call| {
                attempts.set(attempts.get() + 1);
                let failed = fails(call.attempt(), &mut rng);
                ready(if failed { Err(std::io::Error::other("no")) } else { Ok(()) })
            });
            let _ = call.await;
        }
    });
    attempts.get()
}

/// Whether an attempt of this number fails.
type Fails = dyn Fn(u32, &mut fastrand::Rng) -> bool;

#[test]
fn whatever_fails_no_more_attempts_are_made_than_the_bounds_say() {
    let budgets = [
        Budget::new(),
        Budget::new().deposit(0.0),
        Budget::new().deposit(1.0).banked(3),
        Budget::new().banked(0),
        Budget::new().unlimited(),
    ];
    for budget in budgets {
        let policy = Policy::new().budget(budget.clone()).retry_attempts(5);
        let bounds = policy.bounds();
        let most = 2_000.0 * bounds.amplification + f64::from(bounds.burst);
        let kinds: [&Fails; 4] =
            [&|_, _| true, &|attempt, _| attempt == 1, &|attempt, _| attempt < 6, &|_, rng| {
                rng.bool()
            }];
        let counts = kinds.map(|fails| attempts_of(policy.clone(), 2_000, fails));
        assert!(counts.iter().all(|count| f64::from(*count) <= most), "{counts:?}, {budget:?}");
        // The bound is no idle one: somebody reaches it.
        let reached = counts.iter().any(|count| f64::from(*count) > 0.99 * most - 50.0);
        assert!(reached, "{counts:?}, {most}, {budget:?}");
    }
}

/// E4: a timeout that leaves no time for the attempts inside of it is told.
#[test]
fn every_contradiction_names_its_setting_and_what_it_contradicts() {
    let each = |timeout, attempt| Policy::new().timeout(ms(timeout)).attempt_timeout(ms(attempt));
    let cases = [
        (
            each(15_000, 10_000).retry_on_timeout(true).retry_attempts(2),
            "`timeout`: 3 attempts of 10s do not fit into 15s",
        ),
        (
            each(5_000, 5_000),
            "`attempt_timeout`: 5s is not shorter than `timeout` (5s), which ends the attempt first",
        ),
        (
            Policy::new().expected_in(ms(5_000)),
            "`expected_in`: no attempt takes longer than 5s, it never counts",
        ),
        (
            each(5_000, 2_000).hang_after(ms(2_001)),
            "`hang_after`: no attempt takes longer than 2s: a hung server that every caller leaves is \
             never noticed",
        ),
        (
            each(5_000, 1_000),
            "`connect_timeout`: a server that cannot be reached takes all of the 1s, and nothing is left \
             for another",
        ),
        (
            Policy::new().backoff(Backoff::new().base(ms(5_000)).cap(ms(9_000))),
            "`backoff.base`: the waits between attempts may not fit into 5s",
        ),
        (
            Policy::new().budget(Budget::new().banked(0)),
            "`budget.banked`: pays for no retry: `retry_attempts` has no effect",
        ),
        (
            Policy::new().http_pool_size(9),
            "`http_pool_size`: 10 operations share 9 connections: unless the server speaks HTTP/2, some \
             wait",
        ),
        (
            Policy::new().hedge(dace::Hedge::new()).idempotent(false),
            "`hedge`: needs a function that may run twice: `idempotent`, and at least one of \
             `retry_attempts`",
        ),
        (
            Policy::new().retry_attempts(0).retry_on_timeout(true),
            "`retry_on_timeout`: there are no retries: `retry_attempts` is 0",
        ),
    ];
    for (policy, lint) in cases {
        assert_eq!(lints(&policy), [lint]);
    }
    // One step away from each, nothing is said.
    for policy in [
        each(15_000, 5_000).retry_on_timeout(true).retry_attempts(2),
        each(15_000, 10_000).retry_attempts(2),
        Policy::new().expected_in(ms(4_999)),
        each(5_000, 2_000).hang_after(ms(2_000)),
        each(5_000, 1_001),
        Policy::new().hang_after(Duration::MAX),
        Policy::new().no_timeout().expected_in(ms(60_000)),
        Policy::new().retry_attempts(0).budget(Budget::new().banked(0)),
    ] {
        assert_eq!(lints(&policy), [""; 0]);
    }
}

#[test]
fn bounds_can_be_read() {
    let policy = Policy::new().timeout(ms(900)).retry_attempts(0).retry_on_timeout(true);
    assert_eq!(
        policy.bounds().to_string(),
        "attempts per call     at most 1\n\
         time per call         at most 900ms\n\
         load on the servers   at most 1.00 x, and 0 attempts once\n\
         bytes held per netloc at most 671088640\n\
         `connect_timeout`: a server that cannot be reached takes all of the 900ms, and nothing is left \
         for another\n\
         `retry_on_timeout`: there are no retries: `retry_attempts` is 0\n"
    );
}
