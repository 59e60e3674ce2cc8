//! What a decorated function's dependency was built with, parameter by parameter, on both adapters.
//!
//! A setting that is data is in the policy that the dependency holds. Any other is given what the builder
//! refuses: a parameter that is ignored, on one adapter, is one that is not refused.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use dace::{
    AdaptiveLimit, Backoff, Breaker, Budget, ConfigError, DeadlineHeader, Hedge, Hints, HttpError,
    Observer, Policy, RateLimit, SharedLimit, Throttle,
};
use smol::block_on;

use crate::support::{alone, on_tokio};

const ZERO: Duration = Duration::ZERO;
const NO_BYTES: usize = 0;
const NOWHERE: [SocketAddr; 0] = [];

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

struct Nobody;

impl Observer for Nobody {
    fn on_event(&self, _: &str, _: &dace::Event) {}
}

/// Always the same limit.
fn one() -> SharedLimit {
    static ONE: LazyLock<SharedLimit> = LazyLock::new(|| SharedLimit::new().max_open(1));
    ONE.clone()
}

fn nobody() -> Result<Nobody, ConfigError> {
    Err(ConfigError::new("nobody", "is there"))
}

/// One test for each row and adapter: what the policy of the dependency is.
macro_rules! held {
    ($($name:ident: [$($parameter:tt)*] => $policy:expr;)*) => {
        mod held_on_tokio {
            use super::*;
            $(held!(@one on_tokio tokio Tokio $name [$($parameter)*] $policy);)*
        }

        mod held_on_smol {
            use super::*;
            $(held!(@one block_on smol Smol $name [$($parameter)*] $policy);)*
        }
    };
    (@one $run:ident $adapter:ident $runtime:ident $name:ident [$($parameter:tt)*] $policy:expr) => {
        #[test]
        fn $name() {
            #[dace::fault_tolerant(
                dependency_id = concat!("held ", stringify!($name)),
                runtime = dace::$adapter::$runtime,
                $($parameter)*
            )]
            async fn decorated() -> Result<(), HttpError> {
                Ok(())
            }

            let _alone = alone();
            $run(decorated()).unwrap();
            let dependency = dace::$adapter::dependency(concat!("held ", stringify!($name)));
            let (held, expected) = (dependency.unwrap().policy(), $policy);
            assert_eq!(held, expected);
            assert_ne!(held, Policy::new(), "the default proves nothing");
        }
    };
}

held! {
    policy: [queue = 1, policy = Policy::new().queue(9).max_netlocs(7)] => Policy::new().queue(1).max_netlocs(7);
    timeout: [timeout = "7s"] => Policy::new().timeout(secs(7));
    no_timeout: [no_timeout] => Policy::new().no_timeout();
    attempt_timeout: [attempt_timeout = "6s"] => Policy::new().attempt_timeout(secs(6));
    retry_attempts: [retry_attempts = 7] => Policy::new().retry_attempts(7);
    retry_on_timeout: [retry_on_timeout = true] => Policy::new().retry_on_timeout(true);
    idempotent: [idempotent = false] => Policy::new().idempotent(false);
    max_open_per_netloc: [max_open_per_netloc = 7] => Policy::new().max_open_per_netloc(7);
    queue: [queue = 7] => Policy::new().queue(7);
    expected_in: [expected_in = "3s"] => Policy::new().expected_in(secs(3));
    hang_after: [hang_after = "3s"] => Policy::new().hang_after(secs(3));
    connect_timeout: [connect_timeout = "3s"] => Policy::new().connect_timeout(secs(3));
    http_pool_size: [http_pool_size = 7] => Policy::new().http_pool_size(7);
    stall_timeout: [stall_timeout = "3s"] => Policy::new().stall_timeout(secs(3));
    body_limit: [body_limit = 7] => Policy::new().body_limit(7);
    circuit_reset_timeout: [circuit_reset_timeout = "3s"] => Policy::new().circuit_reset_timeout(secs(3));
    breaker: [breaker = Breaker::new().consecutive_failures(9)] => Policy::new().breaker(Breaker::new().consecutive_failures(9));
    backoff: [backoff = Backoff::new().base(Duration::from_millis(7))] => Policy::new().backoff(Backoff::new().base(Duration::from_millis(7)));
    budget: [budget = Budget::new().unlimited()] => Policy::new().budget(Budget::new().unlimited());
    hint_max: [hint_max = "3s"] => Policy::new().hint_max(secs(3));
    max_netlocs: [max_netlocs = 7] => Policy::new().max_netlocs(7);
    hedge: [hedge = Hedge::new()] => Policy::new().hedge(Hedge::new());
    rate_limit: [rate_limit = RateLimit::new(7, secs(1))] => Policy::new().rate_limit(RateLimit::new(7, secs(1)));
    adaptive_limit: [adaptive_limit = AdaptiveLimit::new()] => Policy::new().adaptive_limit(AdaptiveLimit::new());
    throttle: [throttle = Throttle::new()] => Policy::new().throttle(Throttle::new());
    https_only: [https_only = true] => Policy::new().https_only(true);
    max_redirects: [max_redirects = 7] => Policy::new().max_redirects(7);
}

/// One test for each row and adapter: the setting that the builder refuses.
macro_rules! refused {
    ($tokio:ident $smol:ident: $($name:ident: [$($parameter:tt)*] => $setting:literal;)*) => {
        mod $tokio {
            use super::*;
            type On = dace::tokio::Tokio;
            $(refused!(@one on_tokio $name [$($parameter)*] $setting);)*
        }

        mod $smol {
            use super::*;
            type On = dace::smol::Smol;
            $(refused!(@one block_on $name [$($parameter)*] $setting);)*
        }
    };
    (@one $run:ident $name:ident [$($parameter:tt)*] $setting:literal) => {
        #[test]
        fn $name() {
            #[dace::fault_tolerant(runtime = On, $($parameter)*)]
            async fn decorated() -> Result<(), HttpError> {
                Ok(())
            }

            let _alone = alone();
            let error = $run(decorated()).expect_err("the builder refuses it");
            let dace::Error::Config(error) = error else { panic!("{error}") };
            assert_eq!(error.setting(), $setting, "{error}");
        }
    };
}

refused! {
    refused_on_tokio refused_on_smol:
    targets: [targets = ["http://a", "http://b c"]] => "targets";
    load_balancer: [load_balancer = dace::RoundRobin::new(["http://b c"])] => "load_balancer";
    try_observer: [try_observer = nobody()] => "nobody";
    user_agent: [user_agent = "a\nb"] => "user_agent";
    default_header: [default_header = ("host", "a")] => "default_header";
    default_sensitive_header: [default_sensitive_header = ("host", "a")] => "default_header";
    use_proxy: [use_proxy = true, proxy = "http://127.0.0.1:1"] => "proxy";
    proxy: [proxy = "no proxy"] => "proxy";
    shared_limit: [shared_limit = &one(), shared_limit = &one()] => "shared_limit";
    hints: [hints = Hints::new().no_retry("a b", "false")] => "hints.no_retry";
    deadline_header: [deadline_header = DeadlineHeader::millis("a b")] => "deadline_header";
    attempt_header: [attempt_header = "a b"] => "attempt_header";
    http_idle_timeout: [http_idle_timeout = ZERO] => "http_idle_timeout";
    http_max_age: [http_max_age = ZERO] => "http_max_age";
    resolve: [resolve = ("a.invalid", NOWHERE)] => "resolve";
    head_limit: [head_limit = NO_BYTES] => "head_limit";
    statsd: [statsd = "no address"] => "statsd";
}

#[cfg(feature = "rustls")]
mod secure {
    use dace::http::{Certificate, DangerouslyAcceptAnyCertificate, Identity};
    use dace::{Adapter, HttpBackend};

    use super::*;

    /// A backend with TLS settings of its own.
    trait Secure: HttpBackend {
        fn tls() -> Self::Tls;
    }

    impl Secure for dace::smol::IsahcBackend {
        fn tls() -> Self::Tls {
            Self::Tls::builder().build()
        }
    }

    impl Secure for dace::tokio::HyperBackend {
        fn tls() -> Self::Tls {
            dace_wire::trusting_nobody()
        }
    }

    fn own<A: Adapter<Backend: Secure>>() -> <A::Backend as HttpBackend>::Tls {
        A::Backend::tls()
    }

    refused! {
        refused_on_tokio refused_on_smol:
        root_certificate: [root_certificate = Certificate::pem("no certificate")] => "root_certificate";
        identity: [identity = Identity::pem("no chain", "no key")] => "identity";
        verification: [verification = DangerouslyAcceptAnyCertificate, tls = own::<On>()] => "verification";
        tls: [tls = own::<On>(), identity = Identity::pem("no chain", "no key"), root_certificate = Certificate::pem("x")] => "root_certificate";
    }
}
