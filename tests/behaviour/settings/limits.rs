//! The setters of limits, and their tests.

/// Setter, and the test that fails when it is ignored.
pub(super) const TABLE: &[(&str, &str)] = &[
    (
        "DependencyBuilder::rate_limit",
        "rate_limit::so_many_begin_in_a_second_and_the_rest_is_told_exactly_when",
    ),
    (
        "DependencyBuilder::adaptive_limit",
        "adaptive_limit::it_finds_a_servers_capacity_in_ten_seconds_and_follows_when_it_halves",
    ),
    (
        "DependencyBuilder::throttle",
        "throttle::a_server_that_was_never_well_gets_less_than_a_tenth_from_the_start",
    ),
    (
        "DependencyBuilder::shared_limit",
        "shared_limit::two_dependencies_have_so_many_open_together_and_no_more",
    ),
    ("RateLimit::burst", "rate_limit::so_many_begin_in_a_second_and_the_rest_is_told_exactly_when"),
    (
        "AdaptiveLimit::floor",
        "gradient::floor_ceiling_start_smoothing_and_tolerance_are_what_they_are_set_to",
    ),
    (
        "AdaptiveLimit::ceiling",
        "gradient::floor_ceiling_start_smoothing_and_tolerance_are_what_they_are_set_to",
    ),
    (
        "AdaptiveLimit::start",
        "gradient::floor_ceiling_start_smoothing_and_tolerance_are_what_they_are_set_to",
    ),
    (
        "AdaptiveLimit::smoothing",
        "gradient::floor_ceiling_start_smoothing_and_tolerance_are_what_they_are_set_to",
    ),
    (
        "AdaptiveLimit::tolerance",
        "gradient::floor_ceiling_start_smoothing_and_tolerance_are_what_they_are_set_to",
    ),
    ("Throttle::multiplier", "throttle::multiplier_allowance_and_window_are_what_they_are_set_to"),
    ("Throttle::allowance", "throttle::multiplier_allowance_and_window_are_what_they_are_set_to"),
    ("Throttle::window", "throttle::multiplier_allowance_and_window_are_what_they_are_set_to"),
    (
        "SharedLimit::rate",
        "shared_limit::a_refusal_of_a_rate_says_exactly_when_and_what_was_not_sent_costs_nothing",
    ),
    (
        "SharedLimit::max_open",
        "shared_limit::two_dependencies_have_so_many_open_together_and_no_more",
    ),
];
