//! Every parameter reaches the setter of its name, with its value, on both adapters.
//!
//! What a setter does has tests of its own (`docs/settings.md`), and `adapters.rs` and `held.rs` have every
//! parameter with the types that it really has.

use std::time::Duration;

use dace::HttpError;

/// Decorates a function with one parameter, and compares what reaches the builder.
macro_rules! said {
    ($($test:ident: [$($parameter:tt)*] => $said:literal, $text:literal;)*) => {
        $(
            #[test]
            fn $test() {
                #[dace::fault_tolerant(crate = crate::recorder, runtime = dace::tokio::Tokio, $($parameter)*)]
                async fn on_tokio() -> Result<(), HttpError> {
                    unreachable!("it is not called")
                }

                #[dace::fault_tolerant(crate = crate::recorder, runtime = dace::smol::Smol, $($parameter)*)]
                async fn on_smol() -> Result<(), HttpError> {
                    unreachable!("it is not called")
                }

                let expected = format!("`said` its own path; {}; {}", $said, $text);
                for result in [smol::block_on(on_tokio()), smol::block_on(on_smol())] {
                    let error = result.unwrap_err();
                    let dace::Error::Config(said) = error else { panic!("{error}") };
                    assert_eq!(said.to_string(), expected);
                }
            }
        )*

        const TESTED: &[&str] = &[$(stringify!($test)),*];
    };
}

const SECOND: Duration = Duration::from_secs(1);

said! {
    policy: [queue = 1, statsd = 2, policy = "p"] => "policy(\"p\")statsd(2)queue(1)", "queue = 1, statsd = 2, policy = \"p\"";
    timeout: [timeout = "200ms"] => "timeout(200ms)", "timeout = 200ms";
    no_timeout: [no_timeout] => "no_timeout()", "no_timeout = ";
    attempt_timeout: [attempt_timeout = "1m"] => "attempt_timeout(60s)", "attempt_timeout = 60s";
    retry_attempts: [retry_attempts = 7] => "retry_attempts(7)", "retry_attempts = 7";
    retry_on_timeout: [retry_on_timeout = true] => "retry_on_timeout(true)", "retry_on_timeout = true";
    idempotent: [idempotent = false] => "idempotent(false)", "idempotent = false";
    max_open_per_netloc: [max_open_per_netloc = 1_0] => "max_open_per_netloc(10)", "max_open_per_netloc = 10";
    queue: [queue = 0] => "queue(0)", "queue = 0";
    expected_in: [expected_in = "1h"] => "expected_in(3600s)", "expected_in = 3600s";
    hang_after: [hang_after = SECOND] => "hang_after(1s)", "hang_after = SECOND";
    connect_timeout: [connect_timeout = "500us"] => "connect_timeout(500µs)", "connect_timeout = 500µs";
    http_pool_size: [http_pool_size = 3] => "http_pool_size(3)", "http_pool_size = 3";
    stall_timeout: [stall_timeout = "9ns"] => "stall_timeout(9ns)", "stall_timeout = 9ns";
    body_limit: [body_limit = 0x10] => "body_limit(16)", "body_limit = 16";
    circuit_reset_timeout: [circuit_reset_timeout = "0s"] => "circuit_reset_timeout(0ns)", "circuit_reset_timeout = 0ns";
    breaker: [breaker = "b"] => "breaker(\"b\")", "breaker = \"b\"";
    backoff: [backoff = "b"] => "backoff(\"b\")", "backoff = \"b\"";
    budget: [budget = "b"] => "budget(\"b\")", "budget = \"b\"";
    hedge: [hedge = "h"] => "hedge(\"h\")", "hedge = \"h\"";
    rate_limit: [rate_limit = "r"] => "rate_limit(\"r\")", "rate_limit = \"r\"";
    adaptive_limit: [adaptive_limit = "a"] => "adaptive_limit(\"a\")", "adaptive_limit = \"a\"";
    throttle: [throttle = "t"] => "throttle(\"t\")", "throttle = \"t\"";
    shared_limit: [shared_limit = 1, shared_limit = 2] => "shared_limit(1)shared_limit(2)", "shared_limit = 1, shared_limit = 2";
    hint_max: [hint_max = "3s"] => "hint_max(3s)", "hint_max = 3s";
    max_netlocs: [max_netlocs = 4] => "max_netlocs(4)", "max_netlocs = 4";
    targets: [targets = ["http://a"]] => "targets([\"http://a\"])", "targets = [\"http://a\"]";
    load_balancer: [load_balancer = 1 + 1] => "load_balancer(2)", "load_balancer = 1 + 1";
    observer: [observer = 1, observer = 2] => "observer(1)observer(2)", "observer = 1, observer = 2";
    try_observer: [try_observer = 1] => "try_observer(1)", "try_observer = 1";
    https_only: [https_only = true] => "https_only(true)", "https_only = true";
    max_redirects: [max_redirects = 2] => "max_redirects(2)", "max_redirects = 2";
    user_agent: [user_agent = "me"] => "user_agent(\"me\")", "user_agent = \"me\"";
    default_header: [default_header = ("a", "b")] => "default_header(\"a\", \"b\")", "default_header = (\"a\", \"b\")";
    default_sensitive_header: [default_sensitive_header = ("a", 1)] => "default_sensitive_header(\"a\", 1)", "default_sensitive_header = (\"a\", 1)";
    use_proxy: [use_proxy = true] => "use_proxy(true)", "use_proxy = true";
    proxy: [proxy = "http://p:1"] => "proxy(\"http://p:1\")", "proxy = \"http://p:1\"";
    hints: [hints = 1] => "hints(1)", "hints = 1";
    deadline_header: [deadline_header = 1] => "deadline_header(1)", "deadline_header = 1";
    attempt_header: [attempt_header = "x"] => "attempt_header(\"x\")", "attempt_header = \"x\"";
    protocol: [protocol = 1] => "protocol(1)", "protocol = 1";
    http_idle_timeout: [http_idle_timeout = "4s"] => "http_idle_timeout(4s)", "http_idle_timeout = 4s";
    http_max_age: [http_max_age = "4s"] => "http_max_age(4s)", "http_max_age = 4s";
    resolve: [resolve = ("a", [1])] => "resolve(\"a\", [1])", "resolve = (\"a\", [1])";
    head_limit: [head_limit = 5] => "head_limit(5)", "head_limit = 5";
    statsd: [statsd = "h:1"] => "statsd(\"h:1\")", "statsd = \"h:1\"";
}

#[cfg(any(feature = "rustls", feature = "rustls-ring"))]
mod secure {
    use dace::HttpError;

    said! {
        root_certificate: [root_certificate = 1, root_certificate = 2] => "root_certificate(1)root_certificate(2)", "root_certificate = 1, root_certificate = 2";
        identity: [identity = 1] => "identity(1)", "identity = 1";
        verification: [verification = 1] => "verification(1)", "verification = 1";
        tls: [tls = 1] => "tls(1)", "tls = 1";
    }

    #[test]
    fn every_setter_of_tls_is_a_parameter_with_a_test() {
        assert_eq!(TESTED, super::SECURE);
    }
}

/// Those that need a feature for TLS.
const SECURE: &[&str] = &["root_certificate", "identity", "verification", "tls"];

/// What is no setting.
const ACTS: &[&str] = &["build", "build_with"];

/// A setter of a feature, which is in a trait of its own.
const OF_FEATURES: &[&str] = &["statsd"];

fn setters() -> Vec<&'static str> {
    let sources = [
        include_str!("../../dace-core/src/driver/builder.rs"),
        include_str!("../../dace-core/src/driver/builder/http.rs"),
    ];
    let table = include_str!("../../dace-core/src/policy/settings.rs");
    let table = table.split_once("\nsettings! {\n").and_then(|(_, rest)| rest.split_once("\n}\n"));
    let in_table = table.unwrap().0.lines().filter_map(|line| {
        let (name, _) =
            line.strip_prefix("    ")?.split_once(": ").filter(|_| line.ends_with(';'))?;
        (!name.contains(' ')).then_some(name)
    });
    let functions = sources.into_iter().flat_map(|source| source.split("    pub fn ").skip(1));
    let setters = functions.filter(|function| {
        let arguments = function.split_once('(').map_or("", |(_, arguments)| arguments);
        arguments.starts_with("mut self") || arguments.starts_with("self")
    });
    let names = setters.filter_map(|function| function.split(['(', '<']).next());
    names
        .filter(|name| !ACTS.contains(name))
        .chain(in_table)
        .chain(["no_timeout", "policy"])
        .chain(OF_FEATURES.iter().copied())
        .collect()
}

#[test]
fn every_setter_of_the_builder_is_a_parameter_with_a_test() {
    let table = include_str!("../../dace-macros/src/parameters.rs");
    assert!(setters().len() > 35, "{:?}", setters());
    for setter in setters() {
        let entry = format!("(\"{setter}\", ");
        assert!(table.contains(&entry), "{setter} is missing in dace-macros/src/parameters.rs");
        assert!(TESTED.contains(&setter) || SECURE.contains(&setter), "{setter} has no test here");
    }
    for tested in TESTED {
        assert!(setters().contains(tested), "{tested} is no setter");
    }
}

#[test]
fn an_id_is_a_literal_or_a_constant() {
    const USERS: &str = "users";

    #[dace::fault_tolerant(crate = crate::recorder, dependency_id = USERS)]
    async fn decorated(_call: dace::smol::Call) -> Result<(), HttpError> {
        unreachable!("it is not called")
    }

    let error = smol::block_on(decorated()).unwrap_err();
    let dace::Error::Config(said) = error else { panic!("{error}") };
    assert_eq!(said.to_string(), "`said` users; ; ");
}
