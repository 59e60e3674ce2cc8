//! Policies as they stand in a file.

use std::time::Duration;

use dace::{
    AdaptiveLimit, Backoff, Balancing, Breaker, Budget, Hedge, Member, Policy, RateLimit, Throttle,
};
use proptest::prelude::*;

fn toml(text: &str) -> Result<Policy, String> {
    toml::from_str(text).map_err(|error| error.to_string())
}

fn json(text: &str) -> Result<Policy, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

#[test]
fn a_file_says_what_the_setters_say() {
    let policy = toml(
        r#"
        timeout = "2s"
        attempt_timeout = "500ms"
        retry_attempts = 2
        retry_on_timeout = true
        idempotent = false
        max_open_per_netloc = 64
        queue = 100
        expected_in = "200 ms"
        hang_after = "1500us"
        connect_timeout = "never"
        circuit_reset_timeout = "0s"
        hint_max = "1m"
        https_only = true

        [breaker]
        failure_rate = 0.25
        max_open = "2h"

        [backoff]
        base = "0ms"

        [budget]
        deposit = 0.1
        unlimited = true

        [hedge]
        max_extra = 0.01

        [rate_limit]
        permits = 100
        per = "1s"

        [adaptive_limit]
        ceiling = 300

        [throttle]
        multiplier = 1.5
        "#,
    );
    let expected = Policy::new()
        .timeout(Duration::from_secs(2))
        .attempt_timeout(Duration::from_millis(500))
        .retry_attempts(2)
        .retry_on_timeout(true)
        .idempotent(false)
        .max_open_per_netloc(64)
        .queue(100)
        .expected_in(Duration::from_millis(200))
        .hang_after(Duration::from_micros(1500))
        .connect_timeout(Duration::MAX)
        .circuit_reset_timeout(Duration::ZERO)
        .hint_max(Duration::from_secs(60))
        .https_only(true)
        .breaker(Breaker::new().failure_rate(0.25).max_open(Duration::from_secs(7200)))
        .backoff(Backoff::new().base(Duration::ZERO))
        .budget(Budget::new().deposit(0.1).unlimited())
        .hedge(Hedge::new().max_extra(0.01))
        .rate_limit(RateLimit::new(100, Duration::from_secs(1)))
        .adaptive_limit(AdaptiveLimit::new().ceiling(300))
        .throttle(Throttle::new().multiplier(1.5));
    assert_eq!(policy, Ok(expected));
}

#[test]
fn a_file_names_targets_and_what_balances_over_them() {
    let text = r#"
        balancer = "least_open"
        targets = [
            "http://A:80/",
            { url = "http://b", weight = 3 },
            { url = "https://c:8443", priority = 1, max_open = 5 },
        ]
    "#;
    let expected = Policy::new().balancer(Balancing::LeastOpen).targets([
        Member::new("http://a:80"),
        Member::new(("http", "b")).weight(3),
        Member::new("https://c:8443").priority(1).max_open(5),
    ]);
    assert_eq!(toml(text), Ok(expected.clone()));
    assert_eq!(toml(&toml::to_string(&expected).unwrap()), Ok(expected.clone()));
    assert_eq!(json(&serde_json::to_string(&expected).unwrap()), Ok(expected));
    for (text, said) in [
        ("targets = []", "must name at least one target"),
        ("targets = [\"http://a\", \"http://A:80\"]", "names http://a:80 twice"),
        ("targets = [\"a\"]", "must name targets such as `http://10.0.0.1:8080`"),
        ("targets = [7]", "a target such as \"http://10.0.0.1:8080\", or a table with `url`"),
        ("targets = [{ url = \"http://a\", weight = 0 }]", "must be from 1 to 1000, not 0"),
        ("targets = [{ url = \"http://a\", max_open = 0 }]", "allow at least 1"),
        ("targets = [{ url = \"http://a\", wieght = 1 }]", "did you mean `weight`?"),
        ("targets = [{ weight = 1 }]", "must name targets such as"),
        (
            "balancer = \"round-robin\"",
            "unknown balancer `round-robin`; did you mean `round_robin`?",
        ),
    ] {
        let error = toml(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
    let bounds = Policy::new().body_limit(1).targets([Member::new("http://a").max_open(70)]);
    assert_eq!(bounds.bounds().bytes, 70);
}

#[test]
fn nothing_at_all_is_all_defaults() {
    assert_eq!(toml(""), Ok(Policy::new()));
    assert_eq!(json("{}"), Ok(Policy::new()));
}

#[test]
fn an_unknown_key_is_an_error_that_suggests_the_right_one() {
    for (text, said) in [
        ("retry_attempt = 3", "unknown setting `retry_attempt`; did you mean `retry_attempts`?"),
        ("timeuot = \"1s\"", "unknown setting `timeuot`; did you mean `timeout`?"),
        ("[breaker]\nprobe = 1", "unknown setting `probe`; did you mean `probes`?"),
        ("[budget]\nxyz = 1", "unknown setting `xyz`; known are deposit, banked, unlimited"),
    ] {
        let error = toml(text).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
    let long = format!("{{\"{}\": 1}}", "x".repeat(10_000));
    assert!(json(&long).unwrap_err().len() < 1_000);
}

#[test]
fn a_value_that_cannot_be_used_is_an_error_where_it_stands() {
    for (text, said) in [
        ("timeout = \"5\"", "`5` is no duration: write a whole number and a unit"),
        ("timeout = \"1.5s\"", "is no duration"),
        ("timeout = \"-1s\"", "is no duration"),
        ("timeout = \"99999999999999999h\"", "is no duration"),
        ("timeout = 5", "a duration with a unit, such as \"200ms\", or \"never\""),
        ("timeout = \"0s\"", "must be longer than zero; use `no_timeout()` to switch it off"),
        ("retry_attempts = -1", "-1"),
        ("[breaker]\nfailure_rate = 0.0", "must be above 0 and at most 1"),
        ("[breaker]\nfailure_rate = nan", "must be above 0 and at most 1"),
        ("[backoff]\nbase = \"2s\"", "must not be shorter than `backoff.base`"),
        ("[rate_limit]\nper = \"1s\"", "`rate_limit.permits` must not be zero"),
        ("[rate_limit]\npermits = 3", "`rate_limit.per` must be longer than zero"),
        ("max_open_per_netloc = 0", "must not be zero; allow at least 1"),
    ] {
        let error = toml(text).unwrap_err();
        assert!(error.contains(said), "{text}: {error}");
    }
    let twice = json(r#"{"queue": 1, "queue": 2}"#).unwrap_err();
    assert!(twice.contains("duplicate field `queue`"), "{twice}");
    assert!(json("[]").unwrap_err().contains("a table of settings"));
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::MAX),
        (1u64..u64::MAX).prop_map(Duration::from_nanos),
        (1u64..1_000_000).prop_map(Duration::from_millis),
        (1u64..1_000_000).prop_map(Duration::from_secs),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        timeout in durations(),
        hang_after in proptest::option::of(durations()),
        (queue, retries) in (0usize..1_000_000, 0u32..1_000_000),
        (rate, deposit) in (1u32..=1000, 0u32..=1000),
        flags in any::<[bool; 4]>(),
        base in durations(),
    ) {
        let mut policy = Policy::new()
            .timeout(timeout)
            .queue(queue)
            .retry_attempts(retries)
            .retry_on_timeout(flags[0])
            .idempotent(flags[1])
            .https_only(flags[2])
            .breaker(Breaker::new().failure_rate(f64::from(rate) / 1000.0))
            .budget(Budget::new().deposit(f64::from(deposit) / 1000.0))
            .backoff(Backoff::new().base(base).cap(Duration::MAX));
        if let Some(hang_after) = hang_after {
            policy = policy.hang_after(hang_after);
        }
        let as_toml = toml::to_string(&policy).unwrap();
        prop_assert_eq!(toml(&as_toml), Ok(policy.clone()), "{}", as_toml);
        let as_json = serde_json::to_string(&policy).unwrap();
        prop_assert_eq!(json(&as_json), Ok(policy), "{}", as_json);
    }
}
