//! Settings: a wrong one is a typed error at once that names it and says what would be right.

use std::time::Duration;

use dace::{Backoff, Breaker, Budget, ConfigError, RoundRobin};
use dace_sim::Sim;

use crate::support::{Builder, Dependency, dependency, get_root, ms, secs};

fn build(set: impl FnOnce(Builder) -> Builder) -> Result<Dependency, ConfigError> {
    let sim = Sim::new(1);
    set(Dependency::builder("test")).build_with(sim.runtime(), sim.backend())
}

/// C7: a period of zero is an error.
#[test]
fn a_zero_without_a_meaning_and_a_list_that_cannot_be_used_are_named() {
    type Set = fn(Builder) -> Builder;
    let cases: [(&str, Set); 26] = [
        ("timeout", |builder| builder.timeout(Duration::ZERO)),
        ("attempt_timeout", |builder| builder.attempt_timeout(Duration::ZERO)),
        ("connect_timeout", |builder| builder.connect_timeout(Duration::ZERO)),
        ("stall_timeout", |builder| builder.stall_timeout(Duration::ZERO)),
        ("hint_max", |builder| builder.hint_max(Duration::ZERO)),
        ("expected_in", |builder| builder.expected_in(Duration::ZERO)),
        ("hang_after", |builder| builder.hang_after(Duration::ZERO)),
        ("max_open_per_netloc", |builder| builder.max_open_per_netloc(0)),
        ("http_pool_size", |builder| builder.http_pool_size(0)),
        ("body_limit", |builder| builder.body_limit(0)),
        ("max_netlocs", |builder| builder.max_netlocs(0)),
        ("breaker.consecutive_failures", |b| b.breaker(Breaker::new().consecutive_failures(0))),
        ("breaker.min_calls", |builder| builder.breaker(Breaker::new().min_calls(0))),
        ("breaker.probes", |builder| builder.breaker(Breaker::new().probes(0))),
        ("breaker.successes", |builder| builder.breaker(Breaker::new().successes(0))),
        ("breaker.max_open", |builder| builder.breaker(Breaker::new().max_open(Duration::ZERO))),
        ("breaker.failure_rate", |builder| builder.breaker(Breaker::new().failure_rate(0.0))),
        ("breaker.failure_rate", |builder| builder.breaker(Breaker::new().failure_rate(1.1))),
        ("breaker.failure_rate", |builder| builder.breaker(Breaker::new().failure_rate(f64::NAN))),
        ("budget.deposit", |builder| builder.budget(Budget::new().deposit(-0.1))),
        ("budget.deposit", |builder| builder.budget(Budget::new().deposit(f64::INFINITY))),
        ("backoff.cap", |builder| builder.backoff(Backoff::new().cap(ms(1)))),
        ("targets", |builder| builder.targets::<[&str; 0]>([])),
        ("targets", |builder| builder.targets(["http://a:80", "http://A"])),
        ("targets", |builder| builder.targets(["a:80"])),
        ("load_balancer", |builder| builder.load_balancer(RoundRobin::new(["http://a/path"]))),
    ];
    for (setting, set) in cases {
        let error = build(set).expect_err(setting);
        assert_eq!(error.setting(), setting, "{error}");
        assert!(error.to_string().starts_with(&format!("`{setting}` ")), "{error}");
    }
    let named_twice =
        build(|builder| builder.targets(["http://a"]).load_balancer(RoundRobin::new(["http://a"])));
    assert_eq!(named_twice.unwrap_err().setting(), "targets");
}

#[test]
fn only_an_empty_id_is_refused_and_others_are_sanitised() {
    let sim = Sim::new(1);
    let id = |id: &str| {
        let built = Dependency::builder(id).build_with(sim.runtime(), sim.backend());
        built.map(|dependency| dependency.id().to_owned())
    };
    assert_eq!(id("").unwrap_err().setting(), "dependency_id");
    assert_eq!(id("my_app::users api").unwrap(), "my_app.users_api");
}

#[test]
fn an_http_setting_beside_a_ready_backend_is_named() {
    let address = ([127, 0, 0, 1], 80).into();
    let resolve = build(|builder| builder.resolve("a", [address]));
    assert_eq!(resolve.unwrap_err().setting(), "resolve");
    assert_eq!(build(|builder| builder.head_limit(10)).unwrap_err().setting(), "head_limit");
}

/// C6: the longest duration means never, everywhere.
#[test]
fn duration_max_means_never_everywhere() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1)).failing(0.5, 503);
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .timeout(Duration::MAX)
            .attempt_timeout(Duration::MAX)
            .connect_timeout(Duration::MAX)
            .stall_timeout(Duration::MAX)
            .expected_in(Duration::MAX)
            .hang_after(Duration::MAX)
            .hint_max(Duration::MAX)
            .circuit_reset_timeout(Duration::MAX)
            .breaker(Breaker::new().max_open(Duration::MAX))
            .backoff(Backoff::new().base(ms(1)).cap(Duration::MAX))
            .retry_attempts(u32::MAX)
            .max_open_per_netloc(u32::MAX)
            .http_pool_size(u32::MAX)
            .queue(usize::MAX)
            .max_netlocs(usize::MAX)
            .body_limit(usize::MAX)
    });
    for _ in 0..100 {
        let _ = sim.run(a.call(|call| crate::support::get(call, "/")).within(Duration::MAX));
    }
    sim.advance(Duration::from_secs(60 * 365 * 86_400));
    let _ = sim.run(get_root(&a));
}

/// What a backend of one's own was made from.
struct Told(dace::http::HttpSettings<&'static str>);

thread_local! {
    /// The settings that the last `Told` got, on this thread.
    static LAST: std::cell::RefCell<Option<Told>> = const { std::cell::RefCell::new(None) };
}

/// A backend that remembers its settings, and does nothing else.
struct Remembering(dace::NoHttp);

impl dace::HttpBackend for Remembering {
    type Tls = &'static str;
    type Head = <dace::NoHttp as dace::HttpBackend>::Head;
    type Body = <dace::NoHttp as dace::HttpBackend>::Body;
    type Error = <dace::NoHttp as dace::HttpBackend>::Error;

    fn send(
        &self,
        request: dace::http::Request,
    ) -> impl Future<Output = Result<dace::http::Response<Self::Head, Self::Body>, Self::Error>> + Send
    {
        self.0.send(request)
    }

    fn fault(error: &Self::Error) -> dace::http::Fault {
        dace::NoHttp::fault(error)
    }
}

impl dace::http::Connect for Remembering {
    fn connect(settings: dace::http::HttpSettings<&'static str>) -> Result<Self, ConfigError> {
        LAST.set(Some(Told(settings)));
        Ok(Self(dace::NoHttp))
    }
}

/// A runtime that never runs anything.
#[derive(Default)]
struct Still;

impl dace::Runtime for Still {
    type Lock<T: Send + 'static> = std::sync::Mutex<T>;
    type Sleep = std::future::Pending<()>;

    fn now(&self) -> dace::Instant {
        dace::Instant::EPOCH
    }

    fn sleep_until(&self, _: dace::Instant) -> Self::Sleep {
        std::future::pending()
    }

    fn seed(&self) -> u64 {
        7
    }
}

#[test]
fn settings_of_the_backend_reach_it() {
    use dace::http::{Certificate, DangerouslyAcceptAnyCertificate, Identity, Protocol};
    type Builder = dace::DependencyBuilder<Still, Remembering>;
    let told = |set: fn(Builder) -> Builder| {
        let builder: Builder = dace::Dependency::builder("told");
        set(builder).build().expect("good settings");
        LAST.take().expect("it was connected").0
    };
    let default = told(|builder| builder);
    assert_eq!(default.idle_timeout, secs(4));
    assert_eq!(default.max_age, secs(300));
    assert_eq!(default.protocol, Protocol::Negotiated);
    assert!(!default.accept_any_certificate && default.roots.is_empty());
    let (pem, der) = (Certificate::pem("p"), Certificate::der("d"));
    let set = told(|builder| {
        let builder = builder.root_certificate(Certificate::pem("p"));
        let builder = builder.root_certificate(Certificate::der("d"));
        let builder = builder.identity(Identity::pem("chain", "key")).protocol(Protocol::Http2);
        let builder = builder.head_limit(7);
        let builder = builder.http_idle_timeout(secs(2)).http_max_age(secs(3)).http_pool_size(5);
        builder.resolve("Name", ["127.0.0.1:1".parse().unwrap()])
    });
    assert_eq!(set.roots, [pem, der]);
    assert_eq!(set.identity, Some(Identity::pem("chain", "key")));
    assert_eq!((set.protocol, set.head_limit, set.pool_size), (Protocol::Http2, 7, 5));
    assert_eq!((set.idle_timeout, set.max_age), (secs(2), secs(3)));
    assert_eq!(set.resolve, [("name".to_owned(), vec!["127.0.0.1:1".parse().unwrap()])]);
    assert_eq!(told(|builder| builder.tls("native")).tls, Some("native"));
    let any = told(|builder| builder.verification(DangerouslyAcceptAnyCertificate));
    assert!(any.accept_any_certificate);
}

#[test]
fn settings_that_would_do_nothing_are_refused() {
    use dace::http::{Certificate, DangerouslyAcceptAnyCertificate, Identity};
    type Builder = dace::DependencyBuilder<Still, Remembering>;
    type Set = fn(Builder) -> Builder;
    let cases: [(&str, Set); 7] = [
        ("use_proxy", |builder| builder.use_proxy(true)),
        ("root_certificate", |builder| {
            builder
                .root_certificate(Certificate::pem("s3cret"))
                .verification(DangerouslyAcceptAnyCertificate)
        }),
        ("root_certificate", |builder| {
            builder.root_certificate(Certificate::pem("s3cret")).tls("x")
        }),
        ("identity", |builder| builder.identity(Identity::pem("s3cret", "s3cret")).tls("x")),
        ("verification", |builder| builder.tls("x").verification(DangerouslyAcceptAnyCertificate)),
        ("http_idle_timeout", |builder| builder.http_idle_timeout(Duration::ZERO)),
        ("http_max_age", |builder| builder.http_max_age(Duration::ZERO)),
    ];
    for (setting, set) in cases {
        let error = set(dace::Dependency::builder("told")).build().unwrap_err();
        assert_eq!(error.setting(), setting);
        assert!(!format!("{error} {error:?}").contains("s3cret"), "{error}");
    }
}
