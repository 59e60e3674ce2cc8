//! Every setter has a test that fails when the setting is ignored, and a table says which.
//! The table is `docs/settings.md`; `DACE_BLESS=1 cargo test --test behaviour settings` writes it anew.

mod limits;

use std::fmt::Write as _;
use std::future::ready;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::{Breaker, Budget, CircuitState, HttpError, Instant, Runtime as _, Why};
use dace_sim::{Answer, Sim};

use crate::support::{Dependency, dependency, get, get_root, ms, secs, touchy};

/// Setter, and the test that fails when it is ignored.
const TABLE: &[(&str, &str)] = &[
    ("DependencyBuilder::timeout", "deadline::a_call_ends_exactly_at_its_timeout"),
    ("DependencyBuilder::policy", "settings::a_policy_is_taken_as_a_whole"),
    ("DependencyBuilder::no_timeout", "deadline::without_a_timeout_a_call_waits_for_ever"),
    (
        "DependencyBuilder::attempt_timeout",
        "deadline::an_attempt_timeout_ends_one_attempt_and_is_retried_only_if_asked",
    ),
    (
        "DependencyBuilder::retry_attempts",
        "retry::a_transient_failure_is_retried_until_the_attempts_are_used_up",
    ),
    (
        "DependencyBuilder::retry_on_timeout",
        "deadline::an_attempt_timeout_ends_one_attempt_and_is_retried_only_if_asked",
    ),
    (
        "DependencyBuilder::idempotent",
        "retry::a_function_without_exchanges_is_repeated_unless_it_says_otherwise",
    ),
    (
        "DependencyBuilder::max_open_per_netloc",
        "admission::a_call_that_finds_everything_full_is_refused_and_never_counts_against_the_server",
    ),
    ("DependencyBuilder::queue", "admission::the_queue_holds_so_many_and_no_more"),
    (
        "DependencyBuilder::expected_in",
        "breaker::an_attempt_that_takes_longer_than_expected_fails_the_circuit_alone",
    ),
    (
        "DependencyBuilder::hang_after",
        "cancellation::hang_after_follows_expected_in_or_is_set_or_is_off_without_a_timeout",
    ),
    ("DependencyBuilder::connect_timeout", "settings::the_connect_timeout_reaches_the_backend"),
    (
        "DependencyBuilder::http_pool_size",
        "charging::exchanges_beyond_the_pool_size_wait_for_a_connection_place",
    ),
    (
        "DependencyBuilder::stall_timeout",
        "retry::a_stalled_body_and_a_requests_own_timeout_are_timeouts",
    ),
    (
        "DependencyBuilder::body_limit",
        "http::a_body_beyond_the_limit_is_a_typed_error_and_pieces_are_not_limited",
    ),
    (
        "DependencyBuilder::circuit_reset_timeout",
        "settings::a_circuit_stays_open_as_long_as_it_is_told_and_longer_each_time",
    ),
    (
        "DependencyBuilder::breaker",
        "settings::a_circuit_stays_open_as_long_as_it_is_told_and_longer_each_time",
    ),
    ("DependencyBuilder::backoff", "retry::waits_grow_are_jittered_and_never_reach_beyond_the_cap"),
    ("DependencyBuilder::budget", "retry::an_empty_budget_makes_no_retries_and_kills_no_attempt"),
    (
        "DependencyBuilder::hint_max",
        "retry::a_hint_above_hint_max_pauses_for_hint_max_and_the_call_does_not_wait",
    ),
    (
        "DependencyBuilder::max_netlocs",
        "charging::netlocs_beyond_the_cap_share_one_entry_and_those_with_a_history_stay",
    ),
    (
        "DependencyBuilder::targets",
        "http::relative_urls_ride_on_the_picked_target_and_absolute_ones_go_where_they_say",
    ),
    ("Member::weight", "balancers::round_robin_holds_weights_within_five_per_cent"),
    ("Member::priority", "balancers::those_of_the_next_priority_take_what_the_primaries_cannot"),
    ("Member::max_open", "balancers::a_primary_that_is_full_is_relieved_by_the_next_priority"),
    ("Rendezvous::bounded_load", "balancers::no_target_is_above_the_bound_at_any_pick"),
    ("Policy::targets", "targets::a_reload_with_targets_is_all_or_nothing"),
    ("Policy::balancer", "balancers::a_policy_says_what_balances"),
    (
        "DependencyBuilder::load_balancer",
        "balancing::round_robin_takes_turns_and_passes_over_the_open_ones",
    ),
    ("DependencyBuilder::observer", "events::a_retried_call_tells_its_story_in_order"),
    (
        "DependencyBuilder::hedge",
        "hedging::a_slow_attempt_is_hedged_elsewhere_and_the_first_answer_wins",
    ),
    ("DependencyBuilder::https_only", "client::https_only_refuses_plain_http_whoever_asks"),
    (
        "DependencyBuilder::max_redirects",
        "redirects::a_loop_ends_after_so_many_redirects_as_are_set_and_is_not_retried",
    ),
    (
        "DependencyBuilder::user_agent",
        "client::a_request_says_who_calls_and_has_the_dependencys_headers_unless_it_has_its_own",
    ),
    (
        "DependencyBuilder::default_header",
        "client::a_request_says_who_calls_and_has_the_dependencys_headers_unless_it_has_its_own",
    ),
    (
        "DependencyBuilder::default_sensitive_header",
        "redirects::credentials_never_leave_their_origin_and_never_come_back",
    ),
    (
        "DependencyBuilder::use_proxy",
        "client::a_proxy_goes_along_with_every_request_and_the_environment_is_asked_only_if_told",
    ),
    (
        "DependencyBuilder::proxy",
        "client::a_proxy_goes_along_with_every_request_and_the_environment_is_asked_only_if_told",
    ),
    ("DependencyBuilder::hints", "hints::a_reset_is_the_pause_of_a_throttle_if_it_is_asked_for"),
    ("DependencyBuilder::deadline_header", "deadlines::what_is_left_goes_along_in_the_usual_forms"),
    (
        "DependencyBuilder::attempt_header",
        "deadlines::retries_and_redirects_say_anew_what_is_left_and_retries_say_which_they_are",
    ),
    ("DependencyBuilder::root_certificate", "config::settings_of_the_backend_reach_it"),
    ("DependencyBuilder::identity", "config::settings_of_the_backend_reach_it"),
    ("DependencyBuilder::verification", "config::settings_of_the_backend_reach_it"),
    ("DependencyBuilder::protocol", "config::settings_of_the_backend_reach_it"),
    ("DependencyBuilder::http_idle_timeout", "config::settings_of_the_backend_reach_it"),
    ("DependencyBuilder::http_max_age", "config::settings_of_the_backend_reach_it"),
    (
        "DependencyBuilder::try_observer",
        "events::an_observer_that_cannot_be_made_is_a_config_error",
    ),
    ("DependencyBuilder::tls", "config::an_http_setting_beside_a_ready_backend_is_named"),
    ("DependencyBuilder::resolve", "sockets::given_addresses_reach_the_backend"),
    ("DependencyBuilder::head_limit", "sockets::a_head_limit_binds_or_is_refused"),
    (
        "Breaker::consecutive_failures",
        "settings::a_circuit_stays_open_as_long_as_it_is_told_and_longer_each_time",
    ),
    ("Breaker::failure_rate", "settings::the_failure_rate_and_its_floor_are_what_they_are_set_to"),
    ("Breaker::min_calls", "settings::the_failure_rate_and_its_floor_are_what_they_are_set_to"),
    ("Breaker::probes", "settings::so_many_probes_and_successes_as_are_set"),
    ("Breaker::successes", "settings::so_many_probes_and_successes_as_are_set"),
    (
        "Breaker::max_open",
        "settings::a_circuit_stays_open_as_long_as_it_is_told_and_longer_each_time",
    ),
    ("Backoff::base", "retry::waits_grow_are_jittered_and_never_reach_beyond_the_cap"),
    ("Backoff::cap", "retry::waits_grow_are_jittered_and_never_reach_beyond_the_cap"),
    ("Hedge::max_extra", "hedging::the_share_says_when_a_hedge_begins_and_how_many_there_are"),
    ("Budget::deposit", "settings::successes_deposit_what_is_set"),
    ("Budget::banked", "retry::an_empty_budget_makes_no_retries_and_kills_no_attempt"),
    ("Budget::unlimited", "settings::an_unlimited_budget_pays_for_every_retry"),
    (
        "RequestBuilder::header",
        "sockets::a_get_has_status_headers_and_body_and_the_next_reuses_its_connection",
    ),
    ("RequestBuilder::headers", "client::several_headers_arrive_in_order"),
    (
        "RequestBuilder::sensitive_header",
        "redirects::credentials_never_leave_their_origin_and_never_come_back",
    ),
    (
        "RequestBuilder::query",
        "client::query_pairs_are_appended_in_order_and_what_the_url_has_stays",
    ),
    (
        "RequestBuilder::basic_auth",
        "client::credentials_become_one_authorization_and_two_are_an_error",
    ),
    (
        "RequestBuilder::bearer_auth",
        "client::credentials_become_one_authorization_and_two_are_an_error",
    ),
    ("RequestBuilder::body", "client::a_stream_is_sent_once_and_a_factory_again"),
    ("RequestBuilder::stream", "client::a_stream_is_sent_once_and_a_factory_again"),
    ("RequestBuilder::form", "client::a_form_and_json_say_what_they_are"),
    ("RequestBuilder::json", "client::json_goes_both_ways_and_what_is_none_is_a_typed_error"),
    ("RequestBuilder::timeout", "redirects::the_timeout_of_a_request_holds_for_all_its_hops"),
    (
        "RequestBuilder::persistent",
        "client::a_request_that_is_not_persistent_says_so_to_the_backend",
    ),
    (
        "RequestBuilder::allow_redirects",
        "redirects::a_loop_ends_after_so_many_redirects_as_are_set_and_is_not_retried",
    ),
    (
        "RequestBuilder::max_redirects",
        "redirects::a_loop_ends_after_so_many_redirects_as_are_set_and_is_not_retried",
    ),
    ("RequestBuilder::https_only", "client::https_only_refuses_plain_http_whoever_asks"),
    (
        "RequestBuilder::idempotent",
        "retry::an_unsafe_request_is_repeated_if_its_user_answers_for_it",
    ),
    ("Hints::rate_limit_reset", "hints::a_reset_is_the_pause_of_a_throttle_if_it_is_asked_for"),
    (
        "Hints::grpc_pushback",
        "hints::a_pushback_is_the_wait_or_forbids_the_retry_in_headers_and_in_trailers",
    ),
    (
        "Hints::no_retry",
        "hints::an_answer_that_says_do_not_try_again_ends_the_call_and_the_circuit_hears_the_same",
    ),
    ("CachePolicy::ttl", "cache::a_fresh_value_answers_without_a_call_until_its_ttl_is_over"),
    (
        "CachePolicy::stale_if_error",
        "cache::a_stale_value_answers_in_place_of_an_error_and_the_report_says_so",
    ),
    ("CachePolicy::capacity", "cache::the_least_recently_used_goes_when_the_room_is_used_up"),
    ("Execution::timeout", "admission::a_waiter_that_can_no_longer_start_in_time_leaves_at_once"),
    (
        "Execution::within",
        "deadline::the_earlier_of_timeout_and_what_is_left_of_a_callers_deadline_holds",
    ),
    (
        "Execution::idempotent",
        "retry::a_function_without_exchanges_is_repeated_unless_it_says_otherwise",
    ),
    ("Execution::connect_timeout", "settings::the_connect_timeout_reaches_the_backend"),
    (
        "Execution::priority",
        "priorities::when_the_queue_is_full_the_youngest_of_the_lowest_class_makes_room",
    ),
    ("Execution::shared", "shared::equal_calls_under_way_are_made_once_and_all_get_the_value"),
    ("Execution::cached", "cache::a_fresh_value_answers_without_a_call_until_its_ttl_is_over"),
    ("Execution::sticky", "balancing::a_balancer_of_ones_own_sees_targets_attempt_and_key"),
    ("Execution::report", "fallback::a_report_says_what_happened_attempt_by_attempt"),
    ("Execution::classify", "charging::the_attempts_own_class_is_heard_where_it_is_charged"),
    (
        "Execution::sources",
        "telling::a_classified_error_is_told_with_its_sources_if_that_is_asked_for",
    ),
    (
        "Execution::fallback",
        "fallback::a_fallback_gets_the_final_error_of_any_kind_and_its_value_is_the_calls",
    ),
    ("Coalesced::cached", "shared::a_shared_call_can_be_cached_have_a_fallback_and_be_spawned"),
    ("Coalesced::report", "shared::a_report_says_who_made_the_call_and_who_had_its_answer"),
    ("Coalesced::fallback", "shared::a_shared_call_can_be_cached_have_a_fallback_and_be_spawned"),
    (
        "Cached::fallback",
        "cache::a_stale_value_answers_in_place_of_an_error_and_the_report_says_so",
    ),
    ("Cached::report", "cache::a_stale_value_answers_in_place_of_an_error_and_the_report_says_so"),
    ("Rescued::report", "cache::a_stale_value_answers_in_place_of_an_error_and_the_report_says_so"),
];

const SOURCES: &[(&str, &str)] = &[
    ("DependencyBuilder", include_str!("../../dace-core/src/driver/builder.rs")),
    ("DependencyBuilder", include_str!("../../dace-core/src/driver/builder/http.rs")),
    ("DependencyBuilder", SETTINGS),
    ("RateLimit", include_str!("../../dace-core/src/policy/rate_limit.rs")),
    ("AdaptiveLimit", include_str!("../../dace-core/src/policy/adaptive_limit.rs")),
    ("Throttle", include_str!("../../dace-core/src/policy/throttle.rs")),
    ("SharedLimit", include_str!("../../dace-core/src/shared_limit.rs")),
    ("RequestBuilder", include_str!("../../dace-core/src/driver/request.rs")),
    ("Breaker", include_str!("../../dace-core/src/policy/breaker.rs")),
    ("Backoff", include_str!("../../dace-core/src/policy/backoff.rs")),
    ("Budget", include_str!("../../dace-core/src/policy/budget.rs")),
    ("Hedge", include_str!("../../dace-core/src/policy/hedge.rs")),
    ("Execution", include_str!("../../dace-core/src/driver/execution.rs")),
    ("Coalesced", include_str!("../../dace-core/src/driver/coalesce.rs")),
    ("Cached", include_str!("../../dace-core/src/driver/cached.rs")),
    ("Rescued", include_str!("../../dace-core/src/driver/rescued.rs")),
    ("CachePolicy", include_str!("../../dace-core/src/policy/cache.rs")),
    ("Hints", include_str!("../../dace-core/src/policy/hints.rs")),
    ("Member", include_str!("../../dace-core/src/balancer/member.rs")),
    ("Rendezvous", include_str!("../../dace-core/src/balancer/shipped.rs")),
    ("Policy", include_str!("../../dace-core/src/policy/targets.rs")),
];

const TESTS: &[(&str, &str)] = &[
    ("admission", include_str!("admission.rs")),
    ("balancing", include_str!("balancing.rs")),
    ("breaker", include_str!("breaker.rs")),
    ("cache", include_str!("../policies/cache.rs")),
    ("cancellation", include_str!("cancellation.rs")),
    ("charging", include_str!("charging.rs")),
    ("client", include_str!("client.rs")),
    ("config", include_str!("config.rs")),
    ("deadline", include_str!("deadline.rs")),
    ("deadlines", include_str!("../policies/deadlines.rs")),
    ("events", include_str!("events.rs")),
    ("fallback", include_str!("fallback.rs")),
    ("hints", include_str!("../policies/hints.rs")),
    ("http", include_str!("http.rs")),
    ("priorities", include_str!("../policies/priorities.rs")),
    ("balancers", include_str!("../policies/balancers.rs")),
    ("targets", include_str!("../policies/targets.rs")),
    ("redirects", include_str!("redirects.rs")),
    ("retry", include_str!("retry.rs")),
    ("settings", include_str!("settings.rs")),
    ("hedging", include_str!("../policies/hedging.rs")),
    ("shared", include_str!("../policies/shared.rs")),
    ("telling", include_str!("telling.rs")),
    ("sockets", include_str!("../sockets/requests.rs")),
    ("rate_limit", include_str!("../policies/rate_limit.rs")),
    ("adaptive_limit", include_str!("../policies/adaptive_limit.rs")),
    ("throttle", include_str!("../policies/throttle.rs")),
    ("shared_limit", include_str!("../policies/shared_limit.rs")),
    ("gradient", include_str!("../../dace-core/src/machine/gradient/tests.rs")),
];

/// Its table makes a setter of every line.
const SETTINGS: &str = include_str!("../../dace-core/src/policy/settings.rs");

/// The names in the table of settings: `name: Type = default;`.
fn in_table() -> impl Iterator<Item = &'static str> {
    let table =
        SETTINGS.split_once("\nsettings! {\n").and_then(|(_, rest)| rest.split_once("\n}\n"));
    let (table, _) = table.unwrap();
    table.lines().filter_map(|line| {
        let (name, _) =
            line.strip_prefix("    ")?.split_once(": ").filter(|_| line.ends_with(';'))?;
        (!name.contains(' ')).then_some(name)
    })
}

fn table() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    TABLE.iter().chain(limits::TABLE)
}

/// Public methods that take the value and give it back changed.
fn setters() -> Vec<String> {
    let mut setters = Vec::new();
    for (owner, source) in SOURCES {
        for line in source.lines() {
            let Some(rest) = line.trim_start().strip_prefix("pub fn ") else { continue };
            let Some((name, arguments)) = rest.split_once(['(', '<']) else { continue };
            let takes_self = rest.contains("(mut self") || rest.contains("(self");
            let several_lines = arguments.is_empty() || !rest.contains(')');
            if takes_self || several_lines && !rest.contains("&self") {
                setters.push(format!("{owner}::{name}"));
            }
        }
    }
    setters.extend(in_table().map(|name| format!("DependencyBuilder::{name}")));
    setters.retain(|setter| !setter.contains('$'));
    let acts = ["::build", "::build_with", "::send"];
    setters.retain(|setter| !acts.iter().any(|act| setter.ends_with(act)));
    setters
}

/// C12: no setting is taken and ignored.
#[test]
fn every_setter_has_a_test_that_fails_when_it_is_ignored() {
    for setter in setters() {
        assert!(table().any(|(known, _)| *known == setter), "{setter} has no test");
    }
    let mut page = String::from(
        "# Settings, and the tests that fail when they are ignored\n\n\
         Written by `DACE_BLESS=1 cargo test --test behaviour settings`.\n\n\
         | setting | test in `tests/behaviour`, `tests/policies` or `tests/sockets`, or of a machine |\n|---|---|\n",
    );
    for (setter, test) in table() {
        assert!(setters().iter().any(|known| known == setter), "{setter} is no setter");
        let (module, name) = test.split_once("::").unwrap();
        let source = TESTS.iter().find(|(known, _)| *known == module).map(|(_, source)| source);
        let found = source.is_some_and(|source| source.contains(&format!("fn {name}")));
        assert!(found, "{test} does not exist");
        writeln!(page, "| `{setter}` | `{test}` |").unwrap();
    }
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
    if std::env::var_os("DACE_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/settings.md is not what the table says: bless it");
}

#[test]
fn a_policy_is_taken_as_a_whole() {
    let sim = Sim::new(1);
    let policy = dace::Policy::new().timeout(ms(300)).retry_attempts(7);
    let a = dependency(&sim, |builder| builder.queue(9).policy(policy.clone()).hint_max(secs(1)));
    assert_eq!(
        a.policy(),
        policy.hint_max(secs(1)),
        "what is set later holds, what was before not"
    );
}

#[test]
fn the_connect_timeout_reaches_the_backend() {
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    sim.server("http://a:80").handler(move |request| {
        log.lock().unwrap().push(request.options.connect_timeout);
        Answer::ok("ok")
    });
    for set in [None, Some(ms(300))] {
        let a = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]);
            set.map_or(builder, |timeout| {
                Dependency::builder("test").targets(["http://a:80"]).connect_timeout(timeout)
            })
        });
        sim.run(get_root(&a)).unwrap();
        sim.run(a.call(|call| get(call, "/")).connect_timeout(ms(200))).unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [secs(1), ms(200), ms(300), ms(200)]);
}

/// A backend that is not told when an exchange is dropped has to know.
#[test]
fn a_backend_is_told_when_the_attempt_ends_and_when_all_of_the_exchange_does() {
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    sim.server("http://a:80").handler(move |request| {
        log.lock().unwrap().push((request.options.deadline, request.options.ends));
        Answer::ok("ok")
    });
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).timeout(secs(9)).attempt_timeout(secs(3))
    });
    let begin = sim.runtime().now();
    for own in [Duration::MAX, secs(5), secs(1)] {
        let call = a.call(|call| async move {
            call.http().get("/").timeout(own).send().await?.bytes().await.map(drop)
        });
        sim.run(call).unwrap();
    }
    assert_eq!(sim.runtime().now(), begin, "it takes no time");
    let at = |seconds| begin.after(secs(seconds));
    let told = [(at(3), Instant::NEVER), (at(3), at(5)), (at(1), at(1))];
    assert_eq!(*seen.lock().unwrap(), told);
}

#[test]
fn a_circuit_stays_open_as_long_as_it_is_told_and_longer_each_time() {
    let sim = Sim::new(1);
    sim.server("http://a:80").down(..);
    let a = dependency(&sim, |builder| {
        let breaker = Breaker::new().consecutive_failures(3).max_open(secs(7));
        let builder = builder.targets(["http://a:80"]).retry_attempts(0);
        builder.circuit_reset_timeout(secs(2)).breaker(breaker)
    });
    sim.run(async {
        for failures in 1..=3 {
            assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::Closed, "{failures}");
            get_root(&a).await.unwrap_err();
        }
        for seconds in [2, 4, 7, 7] {
            let open = a.snapshot().endpoints[1].reopens_in.unwrap();
            let most = secs(seconds) + secs(seconds) / 5;
            assert!(open >= secs(seconds) && open <= most, "{seconds}: {open:?}");
            sim.sleep(open).await;
            get_root(&a).await.unwrap_err();
        }
    });
}

#[test]
fn the_failure_rate_and_its_floor_are_what_they_are_set_to() {
    for (rate, floor, opens_at) in [(0.25, 8, 8), (0.5, 8, 20), (0.25, 12, 12)] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        let a = dependency(&sim, |builder| {
            let breaker = Breaker::new().consecutive_failures(1000);
            let builder = builder.targets(["http://a:80"]).retry_attempts(0);
            builder.breaker(breaker.failure_rate(rate).min_calls(floor))
        });
        let mut calls = 0;
        sim.run(async {
            while a.snapshot().endpoints[1].circuit == CircuitState::Closed {
                calls += 1;
                // A quarter fails up to the twelfth, then all.
                let fails = calls % 4 == 0 || calls > 12;
                server.answers(.., if fails { 500 } else { 200 });
                let _ = get_root(&a).await;
            }
        });
        // 3 of 12, then 11 of 20 when all fail: half is reached at 18.
        let expected = if rate == 0.5 { 18 } else { opens_at };
        assert_eq!(calls, expected, "{rate} {floor}");
    }
}

#[test]
fn so_many_probes_and_successes_as_are_set() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(5)).down(..ms(1));
    let a = dependency(&sim, |builder| {
        let breaker = Breaker::new().consecutive_failures(1).probes(3).successes(5);
        builder.targets(["http://a:80"]).retry_attempts(0).breaker(breaker)
    });
    sim.run(async {
        get_root(&a).await.unwrap_err();
        sim.sleep(secs(13)).await;
        let results = futures_util::future::join_all((0..10).map(|_| get_root(&a))).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 3);
        assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::HalfOpen);
        get_root(&a).await.unwrap();
        assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::HalfOpen);
        get_root(&a).await.unwrap();
        assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::Closed);
    });
}

/// D8: the budget is used, and refilled.
#[test]
fn successes_deposit_what_is_set() {
    let sim = Sim::new(1);
    for (deposit, left) in [(0.2, 600), (1.0, 3000), (0.0, 0)] {
        let a = dependency(&sim, |builder| {
            let builder = builder.circuit_reset_timeout(Duration::ZERO);
            builder.budget(Budget::new().banked(9).deposit(deposit))
        });
        sim.run(async {
            let fail = || a.call(|_| ready(Err::<(), _>(std::io::Error::other("no"))));
            for why in [Why::NoAttempts, Why::NoAttempts, Why::NoAttempts, Why::Budget] {
                assert_eq!(fail().await.unwrap_err().why(), Some(why));
            }
            for _ in 0..3 {
                a.call(|_| ready(Ok::<_, HttpError>(()))).await.unwrap();
            }
        });
        assert_eq!(a.snapshot().budget_thousandths, left);
    }
}

#[test]
fn an_unlimited_budget_pays_for_every_retry() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).budget(Budget::new().unlimited());
        builder.circuit_reset_timeout(Duration::ZERO).breaker(touchy())
    });
    for _ in 0..100 {
        sim.run(get_root(&a)).unwrap_err();
    }
    assert_eq!(server.requests(), 400);
}
