//! Who pays for retries: the clients that are compared.

use std::cell::RefCell;
use std::time::Duration;

use dace_core::http::HttpBackend;
use dace_core::{Balancing, Budget, Call, Dependency, Policy};
use dace_sim::{Sim, SimRuntime};

/// Who pays for retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Funding {
    /// There are none.
    None,
    /// Nobody: every failure is retried.
    Naive,
    /// Every request, 0.2 each, and 10 a second, for 10 s (the shape of Finagle's).
    Requests,
    /// Successes: dace's own, without its breaker.
    DaceAlone,
    /// The same with its breaker.
    Dace,
}

/// A kind of client.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) funding: Funding,
    pub(crate) policy: Policy,
}

impl Kind {
    /// Waits for an attempt as long as for the call.
    fn patient(name: &'static str, funding: Funding) -> Self {
        Self { name, funding, policy: funding.policy(Policy::new()) }
    }

    /// Waits 1 s for an attempt, and retries it then.
    fn hasty(name: &'static str, funding: Funding) -> Self {
        let policy = Policy::new().attempt_timeout(Duration::from_secs(1)).retry_on_timeout(true);
        Self { name, funding, policy: funding.policy(policy) }
    }

    /// Those that fleets are made of.
    pub(crate) fn of_fleets() -> [Self; 5] {
        [
            Self::patient("no protection", Funding::None),
            Self::hasty("naive, 3 retries", Funding::Naive),
            Self::hasty("20 % of requests + 10/s", Funding::Requests),
            Self::dace(),
            Self::hasty("dace, 1 s an attempt, timeouts retried", Funding::Dace),
        ]
    }

    /// dace as it comes.
    pub(crate) fn dace() -> Self {
        Self::patient("dace", Funding::Dace)
    }

    /// One client that makes all the calls.
    pub(crate) fn alone(name: &'static str, funding: Funding) -> Self {
        let mut kind = Self::hasty(name, funding);
        let policy = kind.policy.timeout(Duration::from_secs(10));
        kind.policy = policy.max_open_per_netloc(1_000_000).http_pool_size(1_000_000);
        kind
    }
}

impl Funding {
    /// Those that are not dace's go round their servers, and have no breaker.
    fn policy(self, policy: Policy) -> Policy {
        let off = policy.clone().circuit_reset_timeout(Duration::ZERO);
        let bare = off.clone().balancer(Balancing::RoundRobin);
        match self {
            Self::None | Self::Requests => bare.retry_attempts(0),
            Self::Naive => bare.budget(Budget::new().unlimited()),
            Self::DaceAlone => off,
            Self::Dace => policy,
        }
    }
}

/// Tokens that requests pay for.
#[derive(Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
    most: f64,
}

impl Bucket {
    fn refill(&mut self, now: Duration, deposit: f64) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + 10.0 * since + deposit).min(self.most);
    }

    fn take(&mut self, now: Duration) -> bool {
        self.refill(now, 0.0);
        let there = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(there));
        there
    }
}

/// A dependency, and what pays for its retries if that is not dace's budget.
#[derive(Debug)]
pub(crate) struct Client<B> {
    pub(crate) dependency: Dependency<SimRuntime, B>,
    bucket: Option<RefCell<Bucket>>,
}

impl<B: HttpBackend> Client<B> {
    /// One that makes so many calls a second.
    pub(crate) fn new(
        funding: Funding,
        dependency: Dependency<SimRuntime, B>,
        demand: f64,
    ) -> Self {
        let most = (0.2 * demand + 10.0) * 10.0;
        let bucket = RefCell::new(Bucket { tokens: 0.0, at: Duration::ZERO, most });
        Self { dependency, bucket: (funding == Funding::Requests).then_some(bucket) }
    }

    async fn attempt(&self) -> bool {
        let get = |call: Call<SimRuntime, B>| async move {
            let answer = call.http().get("/").send().await?.error_for_status()?;
            answer.bytes().await
        };
        self.dependency.call(get).await.is_ok()
    }

    /// One call, to its end: whether it got a value.
    pub(crate) async fn call(&self, sim: &Sim, rng: &RefCell<fastrand::Rng>) -> bool {
        let Some(bucket) = &self.bucket else {
            return self.attempt().await;
        };
        bucket.borrow_mut().refill(sim.elapsed(), 0.2);
        for retry in 0..4 {
            if self.attempt().await {
                return true;
            }
            if retry == 3 || !bucket.borrow_mut().take(sim.elapsed()) {
                return false;
            }
            let wait = rng.borrow_mut().u64(0..=25_000 << retry);
            sim.sleep(Duration::from_micros(wait)).await;
        }
        false
    }
}
