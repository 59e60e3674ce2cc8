//! Every setting that the builder knows, and how its value is written here.
//!
//! `tests/decorated` compares the table with the builder's setters, so one that is new there is missed
//! here.

/// How a setting's value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `"10s"`, or an expression.
    Duration { zero: bool },
    /// `3`, or an expression.
    Integer { zero: bool },
    /// `true`, `false`, or an expression.
    Switch,
    /// The name alone.
    Flag,
    /// Any expression.
    Value,
    /// A tuple of two: the setter takes two arguments.
    Pair,
}

use Kind::{Duration, Flag, Integer, Pair, Switch, Value};

/// A setting of the builder.
pub(crate) struct Setting {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    /// Whether it may be given several times: the builder then adds.
    pub(crate) several: bool,
}

const fn one(name: &'static str, kind: Kind) -> Setting {
    Setting { name, kind, several: false }
}

const fn several(name: &'static str, kind: Kind) -> Setting {
    Setting { name, kind, several: true }
}

pub(crate) const SETTINGS: &[Setting] = &[
    // All settings that are data at once: the others are set on top of it.
    one("policy", Value),
    one("timeout", Duration { zero: false }),
    one("no_timeout", Flag),
    one("attempt_timeout", Duration { zero: false }),
    one("retry_attempts", Integer { zero: true }),
    one("retry_on_timeout", Switch),
    one("idempotent", Switch),
    one("max_open_per_netloc", Integer { zero: false }),
    one("queue", Integer { zero: true }),
    one("expected_in", Duration { zero: false }),
    one("hang_after", Duration { zero: false }),
    one("connect_timeout", Duration { zero: false }),
    one("http_pool_size", Integer { zero: false }),
    one("stall_timeout", Duration { zero: false }),
    one("body_limit", Integer { zero: false }),
    one("circuit_reset_timeout", Duration { zero: true }),
    one("breaker", Value),
    one("backoff", Value),
    one("budget", Value),
    one("hedge", Value),
    one("rate_limit", Value),
    one("adaptive_limit", Value),
    one("throttle", Value),
    several("shared_limit", Value),
    one("hint_max", Duration { zero: false }),
    one("max_netlocs", Integer { zero: false }),
    one("targets", Value),
    one("load_balancer", Value),
    several("observer", Value),
    several("try_observer", Value),
    one("https_only", Switch),
    one("max_redirects", Integer { zero: false }),
    one("user_agent", Value),
    several("default_header", Pair),
    several("default_sensitive_header", Pair),
    one("use_proxy", Switch),
    one("proxy", Value),
    one("hints", Value),
    one("deadline_header", Value),
    one("attempt_header", Value),
    several("root_certificate", Value),
    one("identity", Value),
    one("verification", Value),
    one("protocol", Value),
    one("http_idle_timeout", Duration { zero: false }),
    one("http_max_age", Duration { zero: false }),
    one("tls", Value),
    several("resolve", Pair),
    one("head_limit", Integer { zero: false }),
    several("statsd", Value),
];

/// What is no setting of the builder.
pub(crate) const OTHERS: &[&str] =
    &["dependency_id", "runtime", "fallback", "classify", "dependency", "crate"];

/// What the original, or another library, calls a parameter that is here.
pub(crate) const ELSEWHERE: &[(&str, &str)] = &[
    ("reactor", "runtime"),
    ("context_factory", "tls"),
    ("id", "dependency_id"),
    ("name", "dependency_id"),
    ("retries", "retry_attempts"),
    ("max_retries", "retry_attempts"),
    ("circuit_breaker", "breaker"),
    ("balancer", "load_balancer"),
];

pub(crate) fn setting(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
