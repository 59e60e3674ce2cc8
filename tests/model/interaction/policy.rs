//! Random policies: whatever can be built, a running dependency can be given as well.

use std::time::Duration;

use dace::{
    AdaptiveLimit, Backoff, Breaker, Budget, Hedge, Policy, RateLimit, SharedLimit, Throttle,
};
use dace_sim::SimRuntime;
use proptest::prelude::*;

use super::ms;

/// What a case has from its start to its end.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    pub(super) seed: u64,
    pub(super) picker: Picker,
    /// A second dependency shares a limit with the first one.
    pub(super) shared: Option<Shared>,
    /// Calls that are made before anything happens, so that latencies are known and hedges begin.
    pub(super) warm: bool,
    pub(super) plan: Plan,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Picker {
    Function,
    PeakEwma,
    RoundRobin,
    LeastOpen,
    Rendezvous,
    Own,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    pub(super) max_open: u32,
    /// Attempts in 100 ms.
    pub(super) rate: Option<u32>,
}

impl Shared {
    pub(super) fn limit(self) -> SharedLimit {
        let limit = SharedLimit::on::<SimRuntime>().max_open(self.max_open);
        match self.rate {
            Some(rate) => limit.rate(RateLimit::new(rate, ms(100))),
            None => limit,
        }
    }
}

/// A policy, as data. Times are in milliseconds.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) limit: u32,
    pub(super) queue: usize,
    pub(super) pool: u32,
    pub(super) retries: u32,
    pub(super) retry_on_timeout: bool,
    pub(super) idempotent: bool,
    pub(super) timeout: u64,
    pub(super) attempt_timeout: Option<u64>,
    pub(super) expected_in: Option<u64>,
    pub(super) hang_after: Option<u64>,
    /// 0 is off.
    pub(super) reset: u64,
    pub(super) trip: u32,
    pub(super) min_calls: u32,
    pub(super) probes: u32,
    pub(super) successes: u32,
    pub(super) banked: u32,
    pub(super) base: u64,
    pub(super) netlocs: usize,
    /// Attempts in 100 ms, and the burst.
    pub(super) rate: Option<(u32, u32)>,
    pub(super) adaptive: Option<u32>,
    /// The allowance.
    pub(super) throttle: Option<u32>,
    /// Thousandths.
    pub(super) hedge: Option<u32>,
}

/// The longest that anything in a plan keeps anybody out: an open circuit with its jitter, a pause with
/// its jitter, what a throttle remembers, the wait for a token.
pub(super) const LONGEST: Duration = ms(MAX_OPEN * 6 / 5 + HINT_MAX * 5 / 4 + WINDOW + 100);
const MAX_OPEN: u64 = 2_000;
const HINT_MAX: u64 = 1_000;
/// How long a throttle remembers.
pub(super) const WINDOW: u64 = 1_000;

impl Plan {
    pub(super) fn policy(&self) -> Policy {
        let breaker = Breaker::new()
            .consecutive_failures(self.trip)
            .min_calls(self.min_calls)
            .probes(self.probes)
            .successes(self.successes)
            .max_open(ms(MAX_OPEN));
        let mut policy = Policy::new()
            .timeout(ms(self.timeout))
            .max_open_per_netloc(self.limit)
            .queue(self.queue)
            .http_pool_size(self.pool)
            .retry_attempts(self.retries)
            .retry_on_timeout(self.retry_on_timeout)
            .idempotent(self.idempotent)
            .circuit_reset_timeout(ms(self.reset))
            .breaker(breaker)
            .budget(Budget::new().banked(self.banked))
            .backoff(Backoff::new().base(ms(self.base)))
            .hint_max(ms(HINT_MAX))
            .stall_timeout(ms(200))
            .max_netlocs(self.netlocs);
        if let Some(timeout) = self.attempt_timeout {
            policy = policy.attempt_timeout(ms(timeout));
        }
        if let Some(expected_in) = self.expected_in {
            policy = policy.expected_in(ms(expected_in));
        }
        if let Some(hang_after) = self.hang_after {
            policy = policy.hang_after(ms(hang_after));
        }
        if let Some((permits, burst)) = self.rate {
            policy = policy.rate_limit(RateLimit::new(permits, ms(100)).burst(burst));
        }
        if let Some(start) = self.adaptive {
            policy = policy.adaptive_limit(AdaptiveLimit::new().start(start).ceiling(8));
        }
        if let Some(allowance) = self.throttle {
            policy = policy.throttle(Throttle::new().allowance(allowance).window(ms(WINDOW)));
        }
        if let Some(share) = self.hedge {
            policy = policy.hedge(Hedge::new().max_extra(f64::from(share) / 1000.0));
        }
        policy
    }

    /// The same without what may keep somebody out although all is well, such as the circuit that netlocs
    /// without room share.
    pub(super) fn without_limits(&self) -> Self {
        let netlocs = 10_000;
        Self { rate: None, adaptive: None, throttle: None, hedge: None, netlocs, ..self.clone() }
    }
}

pub(super) fn setup() -> impl Strategy<Value = Setup> {
    use Picker::{Function, LeastOpen, Own, PeakEwma, Rendezvous, RoundRobin};
    let pickers =
        vec![Function, Function, PeakEwma, PeakEwma, RoundRobin, LeastOpen, Rendezvous, Own];
    let shared = (1..6u32, prop::option::of(1..10u32))
        .prop_map(|(max_open, rate)| Shared { max_open, rate });
    let shared = prop::option::weighted(0.25, shared);
    let picker = prop::sample::select(pickers);
    let warm = prop::bool::weighted(0.5);
    (any::<u64>(), picker, shared, warm, plan())
        .prop_map(|(seed, picker, shared, warm, plan)| Setup { seed, picker, shared, warm, plan })
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    let limits = (
        1..4u32,
        0..4usize,
        1..4u32,
        prop::sample::select(vec![2usize, 3, 4, 10_000, 10_000]),
        prop::option::weighted(0.2, (1..20u32, 1..5u32)),
        prop::option::weighted(0.2, 1..8u32),
        prop::option::weighted(0.2, 0..10u32),
    );
    let times = (
        prop::sample::select(vec![100u64, 1000, 1000, 2000]),
        prop::option::weighted(0.3, 10..300u64),
        prop::option::weighted(0.3, 10..300u64),
        // Who takes as long as that hangs, and those who are well take a millisecond.
        prop::option::weighted(0.2, 2..500u64),
        prop::sample::select(vec![0u64, 50, 300, 300, 1000]),
        prop::sample::select(vec![0u64, 25]),
    );
    let breaker = (1..4u32, 1..8u32, 1..3u32, 1..3u32);
    let retry = (
        0..4u32,
        any::<bool>(),
        prop::bool::weighted(0.8),
        0..5u32,
        prop::option::weighted(0.4, 20..1000u32),
    );
    (limits, times, breaker, retry).prop_map(|(limits, times, breaker, retry)| {
        let (limit, queue, pool, netlocs, rate, adaptive, throttle) = limits;
        let (timeout, attempt_timeout, expected_in, hang_after, reset, base) = times;
        let (trip, min_calls, probes, successes) = breaker;
        let (retries, retry_on_timeout, idempotent, banked, hedge) = retry;
        Plan {
            limit,
            queue,
            pool,
            retries,
            retry_on_timeout,
            idempotent,
            timeout,
            attempt_timeout,
            expected_in,
            hang_after,
            reset,
            trip,
            min_calls,
            probes,
            successes,
            banked,
            base,
            netlocs,
            rate,
            adaptive,
            throttle,
            hedge,
        }
    })
}
