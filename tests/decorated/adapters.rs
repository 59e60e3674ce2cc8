//! Every parameter with the type that it really has, on both adapters; and adapters of one's own.

use std::net::SocketAddr;
use std::time::Duration;

use dace::http::Protocol;
use dace::{
    AdaptiveLimit, Backoff, Breaker, Budget, ConfigError, DeadlineHeader, Event, Hedge, Hints,
    HttpError, Observer, Policy, RateLimit, SharedLimit, Statsd, Throttle,
};
use dace_wire::Server;

use crate::support::{alone, answers, on_tokio, statuses};

struct Quiet;

impl Observer for Quiet {
    fn on_event(&self, _: &str, _: &Event) {}
}

fn quiet() -> Result<Quiet, ConfigError> {
    Ok(Quiet)
}

const AT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 80);

/// Every parameter but `no_timeout`, `proxy`, `head_limit`, those of TLS, and `targets`, which the balancer here
/// brings itself.
macro_rules! everything {
    ($adapter:ident) => {
        #[dace::fault_tolerant(
                                            dependency_id = "everything",
                                            policy = Policy::new().max_netlocs(7).hang_after(Duration::from_secs(3)),
                                            timeout = "5s",
                                            attempt_timeout = "4s",
                                            retry_attempts = 2,
                                            retry_on_timeout = true,
                                            idempotent = true,
                                            max_open_per_netloc = 10,
                                            queue = 5,
                                            expected_in = "200ms",
                                            hang_after = Duration::from_secs(2),
                                            connect_timeout = "1s",
                                            http_pool_size = 10,
                                            stall_timeout = "20s",
                                            body_limit = 64 * 1024,
                                            circuit_reset_timeout = "10s",
                                            breaker = Breaker::new().consecutive_failures(9),
                                            backoff = Backoff::new().base(Duration::from_millis(1)),
                                            budget = Budget::new().unlimited(),
                                            hedge = Hedge::new(),
                                            rate_limit = RateLimit::new(1_000, Duration::from_secs(1)),
                                            adaptive_limit = AdaptiveLimit::new(),
                                            throttle = Throttle::new(),
                                            shared_limit = &SharedLimit::new().max_open(9),
                                            hint_max = "30s",
                                            max_netlocs = 100,
                                            load_balancer = || ("http", address()),
                                            observer = Quiet,
                                            observer = Quiet,
                                            try_observer = quiet(),
                                            https_only = false,
                                            max_redirects = 3,
                                            user_agent = "tests",
                                            default_header = ("x-own", "mine"),
                                            default_header = ("x-other", "other"),
                                            default_sensitive_header = ("authorization", "secret"),
                                            use_proxy = false,
                                            hints = Hints::new().no_retry("x-no-retry", "true"),
                                            deadline_header = DeadlineHeader::millis("x-left"),
                                            attempt_header = "x-attempt",
                                            protocol = Protocol::default(),
                                            http_idle_timeout = "4s",
                                            http_max_age = "5m",
                                            resolve = ("nowhere.invalid", [AT]),
                                            statsd = || Statsd::to("127.0.0.1:9"),
                                            fallback = nobody,
                                        )]
        async fn user(call: &dace::$adapter::Call, id: u32) -> Result<String, HttpError> {
            call.http().get(&format!("/users/{id}")).send().await?.error_for_status()?.text().await
        }

        async fn nobody(
            error: dace::Error<HttpError>,
            id: u32,
        ) -> Result<String, dace::Error<HttpError>> {
            Ok(format!("{id}: {}", error.into_source().ok_or(dace::Error::Closed)?))
        }

        fn address() -> String {
            SERVER.get().unwrap().address().to_string()
        }

        static SERVER: OnceLock<Server> = OnceLock::new();

        async fn every_parameter_is_taken() {
            let mut script = answers("ada", 1);
            script.truncate(2);
            script.extend(statuses(503, 4));
            SERVER.get_or_init(|| Server::start([script]));
            let server = SERVER.get().unwrap();
            assert_eq!(user(7).await.unwrap(), "ada");
            let arrived = &server.arrivals()[0];
            assert_eq!(arrived.line(), "GET /users/7 HTTP/1.1");
            assert_eq!(arrived.header("user-agent"), ["tests"]);
            assert_eq!(arrived.header("x-own"), ["mine"]);
            assert_eq!(arrived.header("x-other"), ["other"]);
            assert_eq!(arrived.header("authorization"), ["secret"]);
            assert_eq!(arrived.header("x-attempt"), ["1"]);
            let left: u64 = arrived.header("x-left")[0].parse().unwrap();
            assert!((1..=4_000).contains(&left), "{left} of the attempt's 4 s");
            let text = user(8).await.unwrap();
            assert!(text.starts_with("8: ") && text.contains("503"), "{text}");
            let arrivals = server.arrivals();
            assert_eq!(arrivals.len(), 4, "two retries");
            assert_eq!(arrivals[3].header("x-attempt"), ["3"]);
            let dependency = dace::$adapter::dependency("everything").unwrap();
            assert_eq!(dependency.snapshot().totals.succeeded, 1);
        }
    };
}

mod tokio_adapter {
    use super::*;
    use std::sync::OnceLock;
    everything!(tokio);

    #[test]
    fn every_parameter_is_taken_on_tokio() {
        let _alone = alone();
        on_tokio(every_parameter_is_taken());
    }
}

mod smol_adapter {
    use super::*;
    use std::sync::OnceLock;
    everything!(smol);

    #[test]
    fn every_parameter_is_taken_on_smol() {
        let _alone = alone();
        smol::block_on(every_parameter_is_taken());
    }
}

/// An adapter of one's own: tokio's clock, and no HTTP.
struct Own;

impl dace::Adapter for Own {
    type Runtime = dace::tokio::TokioRuntime;
    type Backend = dace::NoHttp;
}

#[dace::fault_tolerant(runtime = Own, retry_attempts = 0, timeout = "1h")]
async fn own(number: u32) -> Result<u32, HttpError> {
    tokio::task::yield_now().await;
    Ok(number)
}

#[test]
fn an_adapter_of_ones_own_works() {
    assert_eq!(on_tokio(own(7)).unwrap(), 7);
}

#[dace::fault_tolerant(timeout = "5s")]
async fn original(call: &dace::tokio::Call, url: &str) -> Result<String, HttpError> {
    call.http().get(url).send().await?.text().await
}

#[test]
fn the_originals_usage_works() {
    let server = Server::start([answers("page", 1)]);
    assert_eq!(on_tokio(original(&server.url("/"))).unwrap(), "page");
}
