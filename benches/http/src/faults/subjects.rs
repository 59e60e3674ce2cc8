//! Who calls the backends, each set up as its users would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tower::ServiceExt as _;

use crate::{CALLERS, Call};

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_millis(500);

/// After the first attempt.
const RETRIES: usize = 3;

/// Whether the call was answered with 200.
type Answered = std::pin::Pin<Box<dyn Future<Output = bool>>>;

/// Its name, and what makes calls to these backends.
type Subject = (&'static str, fn(&[SocketAddr]) -> Call);

/// The first one is the oracle: it is given the backends that are well.
pub(crate) const SUBJECTS: [Subject; 5] = [
    ("the oracle", reqwest_in_turns),
    ("dace", dace),
    ("reqwest, in turns", reqwest_in_turns),
    ("reqwest-retry, to the next", reqwest_retry),
    ("tower, p2c of peak-EWMA", tower_p2c),
];

fn dace(backends: &[SocketAddr]) -> Call {
    let dependency = dace::tokio::Dependency::builder("backends")
        .targets(backends.iter().map(|address| format!("http://{address}")))
        .attempt_timeout(ATTEMPT)
        .timeout(Duration::from_secs(5))
        .retry_attempts(RETRIES as u32)
        .retry_on_timeout(true)
        .max_open_per_netloc(CALLERS as u32)
        .http_pool_size(CALLERS as u32)
        .build()
        .expect("the settings are right");
    Box::new(move || {
        let called = dependency.call(|call: dace::tokio::Call| async move {
            let answer = call.http().get("/").send().await?.error_for_status()?;
            answer.bytes().await.map(drop)
        });
        Box::pin(async move { called.await.is_ok() }) as Answered
    })
}

/// The next backend.
fn next(turn: &AtomicUsize, backends: &[SocketAddr]) -> SocketAddr {
    backends[turn.fetch_add(1, Ordering::Relaxed) % backends.len()]
}

fn client() -> reqwest::Client {
    let builder = reqwest::Client::builder().timeout(ATTEMPT).no_proxy();
    builder.build().expect("a client")
}

async fn is_good<E>(asked: impl Future<Output = Result<reqwest::Response, E>>) -> bool {
    match asked.await {
        Ok(answer) => answer.status().is_success() && answer.bytes().await.is_ok(),
        Err(_) => false,
    }
}

fn reqwest_in_turns(backends: &[SocketAddr]) -> Call {
    let (client, backends, turn) = (client(), backends.to_vec(), AtomicUsize::new(0));
    Box::new(move || {
        let asked = client.get(format!("http://{}/", next(&turn, &backends))).send();
        Box::pin(is_good(asked)) as Answered
    })
}

/// Sends each attempt to the next backend.
struct InTurns {
    backends: Vec<SocketAddr>,
    turn: AtomicUsize,
}

#[async_trait::async_trait]
impl reqwest_middleware::Middleware for InTurns {
    async fn handle(
        &self,
        mut request: reqwest::Request,
        extensions: &mut http::Extensions,
        rest: reqwest_middleware::Next<'_>,
    ) -> reqwest_middleware::Result<reqwest::Response> {
        let to = next(&self.turn, &self.backends);
        request.url_mut().set_port(Some(to.port())).expect("it has a host");
        rest.run(request, extensions).await
    }
}

fn reqwest_retry(backends: &[SocketAddr]) -> Call {
    use reqwest_retry::RetryTransientMiddleware;
    use reqwest_retry::policies::ExponentialBackoff;

    let policy = ExponentialBackoff::builder()
        .retry_bounds(Duration::from_millis(1), Duration::from_millis(100))
        .build_with_max_retries(RETRIES as u32);
    let url = format!("http://{}/", backends[0]);
    let client = reqwest_middleware::ClientBuilder::new(client())
        .with(RetryTransientMiddleware::new_with_policy(policy))
        .with(InTurns { backends: backends.to_vec(), turn: AtomicUsize::new(0) })
        .build();
    Box::new(move || Box::pin(is_good(client.get(&url).send())) as Answered)
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Retries what failed, while there is a budget.
#[derive(Clone)]
struct Retry {
    left: usize,
    budget: Arc<tower::retry::budget::TpsBudget>,
}

impl tower::retry::Policy<(), bool, Failure> for Retry {
    type Future = std::future::Ready<()>;

    fn retry(&mut self, (): &mut (), result: &mut Result<bool, Failure>) -> Option<Self::Future> {
        use tower::retry::budget::Budget as _;

        if matches!(result, Ok(true)) {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, (): &()) -> Option<()> {
        Some(())
    }
}

fn tower_p2c(backends: &[SocketAddr]) -> Call {
    use tower::balance::p2c::Balance;
    use tower::discover::ServiceList;
    use tower::load::{CompleteOnResponse, PeakEwma};

    let client: legacy::Client<HttpConnector, Empty<Bytes>> =
        legacy::Client::builder(TokioExecutor::new()).build_http();
    let services = backends.iter().map(|address| {
        let (client, uri) = (client.clone(), format!("http://{address}/"));
        let uri: hyper::Uri = uri.parse().expect("a URL");
        let service = tower::service_fn(move |()| {
            let asked = client.get(uri.clone());
            async move {
                let answer = asked.await?;
                let good = answer.status().is_success();
                answer.into_body().collect().await?;
                Ok::<_, Failure>(good)
            }
        });
        let decay = Duration::from_secs(10).as_nanos() as f64;
        PeakEwma::new(service, Duration::from_millis(5), decay, CompleteOnResponse::default())
    });
    let list: ServiceList<Vec<_>> = ServiceList::new(services.collect::<Vec<_>>());
    let balance = tower::buffer::Buffer::new(Balance::new(list), CALLERS * 2);
    let retry = Retry { left: RETRIES, budget: Arc::default() };
    let stack = tower::ServiceBuilder::new().retry(retry).timeout(ATTEMPT).service(balance);
    Box::new(move || {
        let asked = stack.clone().oneshot(());
        Box::pin(async move { matches!(asked.await, Ok(true)) }) as Answered
    })
}
