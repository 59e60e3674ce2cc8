//! Who is measured beside dace: tower's middleware with failsafe's breaker or with tower-resilience's,
//! tower-resilience alone, and a floor. None of the peers but the floor has a balancer.

use std::fmt::Debug;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::Runtime;
use failsafe::failure_policy::{ConsecutiveFailures, OrElse, SuccessRateOverTimeWindow};
use failsafe::futures::CircuitBreaker as _;
use failsafe::{FailurePolicy as _, StateMachine, backoff, failure_policy};
use tower::limit::ConcurrencyLimit;
use tower::retry::Retry;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::timeout::Timeout;
use tower::{Service, ServiceBuilder, service_fn};
use tower_resilience::bulkhead::{BulkheadLayer, BulkheadServiceError};
use tower_resilience::circuitbreaker::{
    CircuitBreakerConfigBuilder, CircuitBreakerError, CircuitBreakerLayer, DefaultClassifier,
};
use tower_resilience::retry::{RetryBudgetBuilder, RetryLayer};
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::{Failed, LIMIT, RETRIES, TIMEOUT, Tokio, now_or_never};

const HOUR: Duration = Duration::from_secs(3600);

pub(crate) type Rate = SuccessRateOverTimeWindow<backoff::Constant>;
pub(crate) type Policy = OrElse<Rate, ConsecutiveFailures<backoff::Constant>>;
pub(crate) type FailsafeBreaker = StateMachine<Policy, ()>;

/// failsafe's breaker: by success rate over ten seconds, or by failures in a row.
pub(crate) fn breaker(failures: u32, success_rate: f64) -> FailsafeBreaker {
    let hour = || backoff::constant(HOUR);
    let window = Duration::from_secs(10);
    let rate = failure_policy::success_rate_over_time_window(success_rate, 20, window, hour());
    let either = rate.or_else(failure_policy::consecutive_failures(failures, hour()));
    failsafe::Config::new().failure_policy(either).build()
}

/// The service at the bottom: the request says whether this is the first attempt.
#[derive(Clone)]
pub(crate) struct Guarded<F> {
    breaker: FailsafeBreaker,
    function: F,
}

impl<F, Fut> Service<bool> for Guarded<F>
where
    F: FnMut(bool) -> Fut,
    Fut: Future<Output = Result<u64, Failed>>,
{
    type Response = u64;
    type Error = failsafe::Error<Failed>;
    type Future = failsafe::futures::ResponseFuture<Fut, Policy, (), failsafe::Any>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, first: bool) -> Self::Future {
        self.breaker.call((self.function)(first))
    }
}

/// What an open circuit answers.
pub(crate) trait Refusal {
    fn is_refused(&self) -> bool;
}

impl Refusal for failsafe::Error<Failed> {
    fn is_refused(&self) -> bool {
        matches!(self, Self::Rejected)
    }
}

impl Refusal for CircuitBreakerError<Failed> {
    fn is_refused(&self) -> bool {
        self.is_circuit_open()
    }
}

/// Retries at once, as long as there are attempts left and the budget pays.
#[derive(Clone)]
pub(crate) struct Again {
    left: u32,
    budget: Arc<TpsBudget>,
}

impl<E: Refusal> tower::retry::Policy<bool, u64, E> for Again {
    type Future = Ready<()>;

    fn retry(&mut self, first: &mut bool, result: &mut Result<u64, E>) -> Option<Ready<()>> {
        match result {
            Ok(_) => {
                self.budget.deposit();
                None
            }
            Err(error) => {
                if error.is_refused() || self.left == 0 || !self.budget.withdraw() {
                    return None;
                }
                self.left -= 1;
                *first = false;
                Some(ready(()))
            }
        }
    }

    fn clone_request(&mut self, first: &bool) -> Option<bool> {
        Some(*first)
    }
}

/// A service, and how it is called: one handle a thread, which is the cheapest way.
#[derive(Clone)]
pub(crate) struct Tower<S>(pub(crate) S);

/// tower's timeout, retry with a budget and limit, and failsafe's breaker.
pub(crate) fn tower<F, Fut>(
    breaker: FailsafeBreaker,
    function: F,
) -> Tower<Timeout<Retry<Again, ConcurrencyLimit<Guarded<F>>>>>
where
    F: FnMut(bool) -> Fut + Clone,
    Fut: Future<Output = Result<u64, Failed>>,
{
    stack(Guarded { breaker, function })
}

/// The same with tower-resilience's breaker.
pub(crate) fn tower_and_resilience<F, Fut>(
    breaker: &CircuitBreakerLayer,
    function: F,
) -> Tower<impl Service<bool, Response = u64, Error = tower::BoxError> + Clone + Send + 'static>
where
    F: FnMut(bool) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<u64, Failed>> + Send + 'static,
{
    stack(breaker.layer_fn(service_fn(function)))
}

fn stack<S>(service: S) -> Tower<Timeout<Retry<Again, ConcurrencyLimit<S>>>> {
    let again = Again {
        left: RETRIES,
        // A deposit pays for a retry, so that it never runs out.
        budget: Arc::new(TpsBudget::new(Duration::from_secs(10), 10, 1.0)),
    };
    let stack = ServiceBuilder::new()
        .timeout(TIMEOUT)
        .retry(again)
        .concurrency_limit(LIMIT as usize)
        .service(service);
    Tower(stack)
}

/// tower-resilience's breaker by its standard, for an hour.
pub(crate) fn standard() -> CircuitBreakerConfigBuilder<DefaultClassifier> {
    CircuitBreakerLayer::standard().wait_duration_in_open(HOUR)
}

/// One that is open.
pub(crate) fn open(driven: &tokio::runtime::Handle) -> CircuitBreakerLayer {
    let (layer, handle) = standard().build_with_handle().expect("the settings are right");
    driven.block_on(handle.force_open());
    layer
}

type Bulkheaded = BulkheadServiceError<CircuitBreakerError<Failed>>;

/// tower-resilience: its time limiter, its retry with a budget, its bulkhead and its breaker.
pub(crate) fn resilience<F, Fut>(
    breaker: &CircuitBreakerLayer,
    function: F,
) -> Tower<impl Service<bool, Response = u64, Error: Debug> + Clone + Send + 'static>
where
    F: FnMut(bool) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<u64, Failed>> + Send + 'static,
{
    let limit = LIMIT as usize;
    let budget = RetryBudgetBuilder::new().token_bucket().tokens_per_second(1e9).max_tokens(limit);
    let failed = |error: &Bulkheaded| {
        matches!(error, BulkheadServiceError::Inner(CircuitBreakerError::Inner(Failed)))
    };
    let retry = RetryLayer::<bool, u64, Bulkheaded>::builder()
        .max_attempts(1 + RETRIES as usize)
        .fixed_backoff(Duration::ZERO)
        .retry_on(failed)
        .budget(budget.build().expect("the settings are right"));
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(limit).reject_when_full();
    let stack = ServiceBuilder::new()
        .layer(TimeLimiterLayer::builder().timeout_duration(TIMEOUT).build())
        .layer(retry.build())
        .layer(bulkhead.build().expect("the settings are right"))
        .layer(breaker.clone())
        .service(service_fn(function));
    Tower(stack)
}

impl<S: Service<bool, Response = u64>> Tower<S> {
    pub(crate) fn call(&mut self, first: bool) -> Result<u64, S::Error> {
        now_or_never(poll_fn(|cx| self.0.poll_ready(cx)))?;
        now_or_never(self.0.call(first))
    }

    /// A call that may wait for a lock or a timer, at most a second: one with tower-resilience's breaker.
    /// The runtime's timers have to fire though this thread waits. `None` if it still waits then.
    pub(crate) fn wait(
        &mut self,
        driven: &tokio::runtime::Handle,
        first: bool,
    ) -> Option<Result<u64, S::Error>> {
        let mut call = pin!(async {
            poll_fn(|cx| self.0.poll_ready(cx)).await?;
            self.0.call(first).await
        });
        match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(result) => Some(result),
            Poll::Pending => {
                let second = Duration::from_secs(1);
                driven.block_on(async { tokio::time::timeout(second, call).await.ok() })
            }
        }
    }
}

pub(crate) fn succeed(_: bool) -> Ready<Result<u64, Failed>> {
    ready(Ok(1))
}

/// The least that the same can cost: no events, no budget, no fairness, no exact window.
pub(crate) struct Floor<R = Tokio> {
    pub(crate) endpoints: [Endpoint; 3],
    permits: AtomicU32,
    random: AtomicU64,
    runtime: R,
}

#[derive(Default)]
pub(crate) struct Endpoint {
    open: AtomicU32,
    failures: AtomicU32,
    /// Nanoseconds.
    latency: AtomicU64,
    /// Nanoseconds since the epoch.
    pub(crate) open_until: AtomicU64,
}

impl<R: Runtime> Floor<R> {
    pub(crate) fn new(runtime: R) -> Self {
        Self {
            endpoints: Default::default(),
            permits: AtomicU32::new(LIMIT),
            random: AtomicU64::new(7),
            runtime,
        }
    }

    fn now(&self) -> u64 {
        self.runtime.now().as_nanos()
    }

    pub(crate) async fn call<Fut>(
        &self,
        mut function: impl FnMut(u32) -> Fut,
    ) -> Result<u64, Option<Failed>>
    where
        Fut: Future<Output = Result<u64, Failed>>,
    {
        let mut now = self.now();
        let mut attempt = 1;
        loop {
            let endpoint = self.pick().filter(|it| it.open_until.load(Ordering::Acquire) <= now);
            let Some(endpoint) = endpoint else {
                return Err(None);
            };
            if self.permits.fetch_sub(1, Ordering::AcqRel) == 0 {
                self.permits.fetch_add(1, Ordering::AcqRel);
                return Err(None);
            }
            endpoint.open.fetch_add(1, Ordering::AcqRel);
            let result = in_time(function(attempt)).await;
            let end = self.now();
            endpoint.open.fetch_sub(1, Ordering::AcqRel);
            self.permits.fetch_add(1, Ordering::AcqRel);
            endpoint.latency.store(end - now, Ordering::Release);
            match result {
                Ok(value) => {
                    endpoint.failures.store(0, Ordering::Release);
                    return Ok(value);
                }
                Err(error) => {
                    if endpoint.failures.fetch_add(1, Ordering::AcqRel) == u32::MAX {
                        endpoint.open_until.store(u64::MAX, Ordering::Release);
                    }
                    if attempt > RETRIES {
                        return Err(Some(error));
                    }
                }
            }
            attempt += 1;
            now = end;
        }
    }

    /// The cheaper one of two.
    fn pick(&self) -> Option<&Endpoint> {
        let random = self.random.fetch_add(0x9E37_79B9_7F4A_7C15, Ordering::Relaxed);
        let mixed = random.wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let first = (mixed >> 32) as usize % 3;
        let second = (first + 1 + (mixed >> 20) as usize % 2) % 3;
        let cost = |index: usize| {
            let endpoint = self.endpoints.get(index)?;
            let open = u64::from(endpoint.open.load(Ordering::Relaxed));
            Some(endpoint.latency.load(Ordering::Relaxed) * (open + 1))
        };
        let cheaper = if cost(second) < cost(first) { second } else { first };
        self.endpoints.get(cheaper)
    }
}

/// A timeout whose timer is made when the future is pending.
async fn in_time<Fut: Future<Output = Result<u64, Failed>>>(future: Fut) -> Fut::Output {
    let mut future = pin!(future);
    let mut sleep = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(result) = future.as_mut().poll(cx) {
            return Poll::Ready(result);
        }
        if sleep.is_none() {
            sleep.set(Some(tokio::time::sleep(TIMEOUT)));
        }
        match sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.poll(cx).map(|()| Err(Failed)),
            None => Poll::Pending,
        }
    })
    .await
}
