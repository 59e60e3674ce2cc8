//! A scripted raw-socket server, and the contracts that every backend of dace keeps on it.
//!
//! A contract is written once, in `contracts.rs`, for any backend. [`conform!`] makes a test of every
//! one of them, so an adapter cannot leave one out; a contract that the list below forgets is dead
//! code. Where a backend cannot do what the others do, the difference is a field of [`Expected`] with
//! its reason, and the contract checks it too.

mod address;
mod client;
mod contracts;
mod server;

pub use address::{Hanging, Refusing};
pub use client::{Answer, Failure, get, post, race, read, run, upload};
pub use server::{Arrival, Gate, PATIENCE, Server, Step, keep_alive, ok, send};

/// What is allowed to differ between backends.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Whether idle connections are watched: closed at `idle_timeout`, and as soon as a byte arrives
    /// on them. libcurl looks at them with the next request only.
    pub watches_idle: bool,
    /// Whether a replay-safe request without a body is sent again, below the seam, if the reused
    /// connection that it went out on died. libcurl cannot be kept from it; the core may do the same.
    pub resends_safe: bool,
    /// Whether a request without a body that must not arrive twice may use a connection again. Under
    /// libcurl it may not, or libcurl would send it again.
    pub reuses_for_bodiless: bool,
    /// Whether the system's reason for a failed connect reaches the caller. libcurl has one code for
    /// all of them.
    pub tells_refused: bool,
    /// Whether a body that breaks its framing is told from one that was reset. libcurl has one code
    /// for both.
    pub tells_bad_chunks: bool,
    /// Whether a head that is cut off after its `Content-Length: 0` is noticed. libcurl takes it for
    /// whole, and nothing is left by which to tell.
    pub tells_cut_heads: bool,
}

macro_rules! contracts {
    ($dollar:tt $($name:ident)*) => {
        /// The contracts, one function each.
        #[doc(hidden)]
        pub mod run {
            use dace_core::http::Connect;
            $(
                pub async fn $name<B: Connect>(expected: &super::Expected) {
                    super::contracts::$name::<B>(expected).await;
                }
            )*
        }

        /// A test for every contract: `conform!(Backend, Expected { … }, block_on)`.
        #[macro_export]
        macro_rules! conform {
            ($dollar backend:ty, $dollar expected:expr, $dollar block_on:path) => {
                $(
                    #[test]
                    fn $name() {
                        $dollar block_on($crate::run::$name::<$dollar backend>(&$dollar expected));
                    }
                )*
            };
        }
    };
}

contracts! {
    $
    a_get_reads_head_and_body
    answers_without_a_body_end_at_once
    a_request_is_origin_form_with_one_host
    a_post_of_bytes_has_one_length
    a_post_without_a_body_has_length_zero
    a_stream_of_known_length_has_that_length
    a_stream_of_unknown_length_is_chunked
    a_large_post_expects_nothing
    two_requests_share_a_connection
    a_status_does_not_cost_the_connection
    not_persistent_means_closed
    a_server_that_says_close_is_believed
    a_dropped_body_closes_its_connection
    a_dropped_exchange_closes_its_connection
    refused_is_unsent
    an_unknown_name_is_unsent
    a_hanging_connect_times_out_unsent
    https_without_tls_is_unsupported
    given_addresses_are_used
    a_close_before_the_answer_may_have_been_sent
    a_reset_before_the_answer_may_have_been_sent
    half_a_head_is_no_answer
    garbage_is_malformed
    a_body_may_end_with_its_connection
    a_body_shorter_than_its_length_is_an_error
    chunks_without_an_end_are_an_error
    a_bad_chunk_size_is_malformed
    contradicting_lengths_are_there_to_see
    informational_answers_are_skipped
    endless_informational_answers_end
    a_post_cut_at_any_byte_arrives_once
    a_stale_connection_gets_bytes_once
    a_stale_connection_gets_an_empty_post_once
    a_stale_connection_gets_a_stream_once
    a_stale_connection_and_a_safe_request
    idle_connections_close
    bytes_on_an_idle_connection_are_no_answer
    a_second_answer_is_no_answer
    a_failing_stream_is_the_users_fault
    a_panicking_stream_harms_no_other
    a_stream_of_the_wrong_length_is_the_users_fault
    an_early_answer_is_an_answer
    a_slow_body_arrives_piece_by_piece
}
