//! A scripted raw-socket server, and the contracts that every backend of dace keeps on it.
//!
//! A contract is written once, in `contracts`, for any backend. [`conform!`] makes a test of every
//! one of them, so an adapter cannot leave one out; a contract that the list below forgets is dead
//! code. Where a backend cannot do what the others do, the difference is a field of [`Expected`] with
//! its reason, and the contract checks it too.

mod address;
mod arrival;
mod certificates;
mod client;
mod contracts;
mod expected;
pub mod frames;
mod gate;
mod player;
mod server;
mod socket;
mod step;
#[cfg(test)]
mod table;

pub use address::{Hanging, Refusing};
pub use arrival::{Arrival, request_length};
pub use certificates::{Authority, Handshake, ServerTls, trusting_nobody};
pub use client::{Answer, Failure, get, post, race, read, run, upload};
pub use expected::Expected;
pub use gate::{Gate, PATIENCE};
pub use server::Server;
pub use step::{Step, keep_alive, ok, send, streams};

/// Keeps an item if the backend has what it is about.
#[doc(hidden)]
#[macro_export]
macro_rules! when {
    (always [$tls:meta] [$http2:meta] $item:item) => {
        $item
    };
    (without_tls [$tls:meta] [$http2:meta] $item:item) => {
        #[cfg(not($tls))]
        $item
    };
    (without_http2 [$tls:meta] [$http2:meta] $item:item) => {
        #[cfg(not($http2))]
        $item
    };
    (with_tls [$tls:meta] [$http2:meta] $item:item) => {
        #[cfg($tls)]
        $item
    };
    (with_http2 [$tls:meta] [$http2:meta] $item:item) => {
        #[cfg($http2)]
        $item
    };
    (with_both [$tls:meta] [$http2:meta] $item:item) => {
        #[cfg(all($tls, $http2))]
        $item
    };
}

macro_rules! contracts {
    ($dollar:tt $($when:ident $subject:ident { $($name:ident)* })*) => {
        /// Every contract: when it holds, what it is about, and its name.
        pub const CONTRACTS: &[(&str, &str, &str)] = &[
            $($((stringify!($when), stringify!($subject), stringify!($name)),)*)*
        ];

        /// The contracts, one function each.
        #[doc(hidden)]
        pub mod run {
            use dace_core::http::Connect;
            $($(
                pub async fn $name<B: Connect>(expected: &super::Expected) {
                    super::contracts::$subject::$name::<B>(expected).await;
                }
            )*)*
        }

        /// A test for every contract, under the conditions under which the backend has TLS and HTTP/2:
        /// `conform!(Backend, Expected { … }, block_on; tls: feature = "rustls", http2: feature = "http2")`.
        #[macro_export]
        macro_rules! conform {
            (
                $dollar backend:ty, $dollar expected:expr, $dollar block_on:path;
                tls: $dollar tls:meta, http2: $dollar http2:meta
            ) => {
                $($(
                    $crate::when! {
                        $when [$dollar tls] [$dollar http2]
                        #[test]
                        fn $name() {
                            $dollar block_on(
                                $crate::run::$name::<$dollar backend>(&$dollar expected),
                            );
                        }
                    }
                )*)*
            };
        }
    };
}

contracts! {
    $
    always answers {
        a_get_reads_head_and_body
        answers_without_a_body_end_at_once
        a_slow_body_arrives_piece_by_piece
        contradicting_lengths_are_there_to_see
        informational_answers_are_skipped
        endless_informational_answers_end
        a_body_may_end_with_its_connection
        a_body_where_there_can_be_none_is_no_answer
        a_head_that_drips_is_read
    }
    always requests {
        a_request_is_origin_form_with_one_host
        a_post_of_bytes_has_one_length
        a_post_without_a_body_has_length_zero
        a_stream_of_known_length_has_that_length
        a_stream_of_unknown_length_is_chunked
        a_large_post_expects_nothing
        a_failing_stream_is_the_users_fault
        a_panicking_stream_harms_no_other
        a_stream_of_the_wrong_length_is_the_users_fault
        an_early_answer_is_an_answer
        an_early_answer_does_not_wait_for_a_large_post
    }
    always connections {
        two_requests_share_a_connection
        a_status_does_not_cost_the_connection
        not_persistent_means_closed
        a_server_that_says_close_is_believed
        a_dropped_body_closes_its_connection
        a_dropped_exchange_closes_its_connection
        idle_connections_close
        bytes_on_an_idle_connection_are_no_answer
        a_second_answer_is_no_answer
        given_addresses_are_used
        idle_connections_are_bounded_over_all_servers
    }
    always faults {
        refused_is_unsent
        an_unknown_name_is_unsent
        a_hanging_connect_times_out_unsent
        a_close_before_the_answer_may_have_been_sent
        a_reset_before_the_answer_may_have_been_sent
        a_reset_after_the_head_is_an_error
        half_a_head_is_no_answer
        garbage_is_malformed
        a_body_shorter_than_its_length_is_an_error
        chunks_without_an_end_are_an_error
        a_bad_chunk_size_is_malformed
        a_post_cut_at_any_byte_arrives_once
    }
    always stale {
        a_stale_connection_gets_bytes_once
        a_stale_connection_gets_an_empty_post_once
        a_stale_connection_gets_a_stream_once
        a_stale_connection_and_a_safe_request
    }
    without_tls faults {
        https_without_tls_is_unsupported
        tls_settings_without_tls_are_config_errors
    }
    always bounds {
        an_old_connection_is_replaced
        a_connection_may_grow_old
        trailers_come_after_the_end
        an_over_long_head_is_malformed
        a_long_body_after_a_short_head_is_read
        an_answer_cut_at_any_byte_is_an_error
        a_post_cut_at_every_byte_is_sent_once
        a_failed_connect_says_where_and_no_secret
    }
    always proxies {
        a_forwarded_request_is_in_absolute_form
        an_answer_of_a_forwarding_proxy_is_an_answer
        ways_are_not_mixed
        a_proxy_that_is_not_there_is_unsent
    }
    always socks {
        a_socks_proxy_resolves_names
        a_socks_proxy_may_be_given_addresses
        a_socks_proxy_is_told_user_and_password
        a_socks_proxy_that_refuses_is_unsent
        a_socks_proxy_that_hangs_times_out_unsent
        a_socks_reply_may_be_cut_at_any_byte
    }
    with_tls tls {
        a_trusted_server_is_spoken_to
        names_are_indicated_and_addresses_are_not
        a_certificate_of_nobody_known_is_refused
        a_certificate_of_another_authority_is_refused
        a_certificate_of_another_host_is_refused
        an_expired_certificate_is_refused
        any_certificate_can_be_accepted
        a_client_shows_its_certificate
        a_client_without_certificate_is_told
        a_server_without_tls_is_found_out
        a_handshake_that_stalls_times_out_unsent
        a_handshake_cut_short_is_unsent
        a_secure_body_cut_short_is_an_error
        a_secure_body_may_end_with_a_goodbye
        a_secure_close_before_the_answer_may_have_been_sent
        bytes_on_an_idle_secure_connection_are_no_answer
        http1_alone_is_agreed_upon
        what_is_no_certificate_is_a_config_error
        what_is_no_identity_is_a_config_error
    }
    with_tls tunnels {
        a_tunnel_reaches_the_origin
        a_tunnel_is_asked_for_without_secrets
        a_proxy_that_opens_no_tunnel_is_unsent
        a_proxy_that_closes_is_unsent
        a_proxy_without_http_is_unsent
        an_endless_head_of_a_proxy_ends
        a_proxy_that_hangs_times_out_unsent
        a_tunnel_to_somebody_else_is_refused
        a_tunnels_reply_may_be_cut_at_any_byte
    }
    with_http2 http2 {
        a_get_over_http2
        bodies_over_http2
        an_http2_answer_arrives_piece_by_piece
        two_exchanges_share_an_http2_connection
        a_limit_of_streams_is_kept
        a_refused_stream_is_unsent
        a_reset_stream_may_have_been_sent
        a_stream_reset_in_its_body_is_an_error
        an_http2_close_before_the_answer_may_have_been_sent
        an_http2_body_cut_short_is_an_error
        an_http2_body_of_the_wrong_length_is_an_error
        a_failing_http2_stream_is_the_users_fault
        an_early_http2_answer_is_an_answer
        a_head_without_a_body_ends_an_http2_stream
    }
    with_http2 streams {
        a_stream_above_the_last_is_unsent
        a_stream_up_to_the_last_may_have_been_sent
        a_broken_http2_connection_is_left_at_once
        a_goaway_is_not_quoted
        a_server_that_leaves_finishes_its_streams
        a_dropped_stream_harms_no_other
        a_dropped_http2_body_resets_its_stream
        a_silent_http2_connection_is_replaced
        not_persistent_is_alone_on_its_http2_connection
        idle_http2_connections_close
        an_old_http2_connection_is_replaced
        an_over_long_http2_head_is_malformed
        endless_informational_http2_answers_end
        informational_http2_answers_are_skipped
        a_server_without_http2_is_found_out
    }
    with_both alpn {
        a_server_may_choose_http2
        a_server_may_choose_http1
        a_server_may_change_to_http2
        http2_alone_over_tls
        http2_alone_is_not_to_be_had_everywhere
        a_tunnel_may_carry_http2
    }
    without_http2 faults {
        http2_without_the_feature_is_a_config_error
    }
}
