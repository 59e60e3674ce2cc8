//! Middleware around hyper-util's client: a timeout, retries with a budget, a limit and a breaker, of two
//! makes. An answer of 5xx is a failure to them, as it is to dace.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use failsafe::futures::CircuitBreaker as _;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{Response, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::{Service, ServiceBuilder, ServiceExt as _, service_fn};
use tower_resilience::bulkhead::{BulkheadLayer, BulkheadServiceError};
use tower_resilience::circuitbreaker::{CircuitBreakerError, CircuitBreakerLayer};
use tower_resilience::retry::{RetryBudgetBuilder, RetryLayer};
use tower_resilience::timelimiter::TimeLimiterLayer;

use crate::Request;

type Answer = Response<Incoming>;

const TIMEOUT: Duration = Duration::from_secs(5);

/// After the first attempt.
const RETRIES: usize = 3;

/// Before a retry.
const WAIT: Duration = Duration::from_millis(100);

/// tower's timeout, retries and limit, and failsafe's breaker.
pub(crate) fn failsafe(url: &str, concurrency: usize) -> Request {
    let (client, breaker) = (client(), failsafe::Config::new().build());
    let guarded = service_fn(move |uri| breaker.call(ask(&client, uri)));
    let budget = Arc::new(TpsBudget::default());
    let stack = ServiceBuilder::new()
        .timeout(TIMEOUT)
        .retry(Again { left: RETRIES, budget })
        .concurrency_limit(concurrency)
        .service(guarded);
    called(stack, url)
}

/// tower-resilience's time limiter, retries, bulkhead and breaker.
pub(crate) fn resilience(url: &str, concurrency: usize) -> Request {
    type Failed = BulkheadServiceError<CircuitBreakerError<io::Error>>;
    let failed = |error: &Failed| {
        matches!(error, BulkheadServiceError::Inner(CircuitBreakerError::Inner(_)))
    };
    let budget = RetryBudgetBuilder::new().token_bucket().build();
    let retry = RetryLayer::<Uri, Answer, Failed>::builder()
        .max_attempts(1 + RETRIES)
        .exponential_backoff(WAIT)
        .retry_on(failed)
        .budget(budget.expect("the settings are right"));
    let client = client();
    let bulkhead = BulkheadLayer::builder().max_concurrent_calls(concurrency).build();
    let stack = ServiceBuilder::new()
        .layer(TimeLimiterLayer::builder().timeout_duration(TIMEOUT).build())
        .layer(retry.build())
        .layer(bulkhead.expect("the settings are right"))
        .layer(CircuitBreakerLayer::standard().build().expect("the settings are right"))
        .service(service_fn(move |uri| ask(&client, uri)));
    called(stack, url)
}

type Client = legacy::Client<HttpConnector, Empty<Bytes>>;

fn client() -> Client {
    legacy::Client::builder(TokioExecutor::new()).build_http()
}

fn ask(
    client: &Client,
    uri: Uri,
) -> impl Future<Output = Result<Answer, io::Error>> + Send + use<> {
    let asked = client.get(uri);
    async move {
        let answer = asked.await.map_err(io::Error::other)?;
        match answer.status() {
            status if status.is_server_error() => Err(io::Error::other(status.to_string())),
            _ => Ok(answer),
        }
    }
}

/// Calls the service, and reads its answer to the end.
fn called<S>(stack: S, url: &str) -> Request
where
    S: Service<Uri, Response = Answer, Error: std::fmt::Debug> + Clone + 'static,
{
    let uri: Uri = url.parse().expect("a URL");
    Rc::new(move || {
        let called = stack.clone().oneshot(uri.clone());
        Box::pin(async move {
            let answer = called.await.expect("an answer");
            answer.into_body().collect().await.expect("a body").to_bytes().len()
        })
    })
}

/// Retries what failed, as long as there are attempts left and the budget pays.
#[derive(Clone)]
struct Again {
    left: usize,
    budget: Arc<TpsBudget>,
}

impl tower::retry::Policy<Uri, Answer, failsafe::Error<io::Error>> for Again {
    type Future = tokio::time::Sleep;

    fn retry(
        &mut self,
        _: &mut Uri,
        result: &mut Result<Answer, failsafe::Error<io::Error>>,
    ) -> Option<Self::Future> {
        match result {
            Ok(_) => {
                self.budget.deposit();
                None
            }
            Err(failsafe::Error::Rejected) => None,
            Err(failsafe::Error::Inner(_)) => {
                if self.left == 0 || !self.budget.withdraw() {
                    return None;
                }
                self.left -= 1;
                Some(tokio::time::sleep(WAIT))
            }
        }
    }

    fn clone_request(&mut self, uri: &Uri) -> Option<Uri> {
        Some(uri.clone())
    }
}
