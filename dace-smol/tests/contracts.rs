//! The contracts that every backend keeps, on smol and isahc.

use dace_smol::IsahcBackend;
use dace_wire::Expected;

/// What libcurl does not do; the reasons are with the fields.
const EXPECTED: Expected = Expected {
    watches_idle: false,
    resends_safe: true,
    reuses_for_bodiless: false,
    tells_refused: false,
    tells_bad_chunks: false,
    tells_cut_heads: false,
    limits_heads: false,
    tells_tunnel_status: false,
    reads_before_a_cut: false,
    resets_at_once: false,
    waits_for_streams: false,
    tells_cut_streams: true,
    tells_late_alerts: false,
    tells_refused_streams: false,
    tells_stream_errors: true,
    keeps_early_streams: true,
    insists_on_http2: false,
    gives_trailers: true,
    socks_greeting: &[5, 1, 0],
    socks_greeting_with_credentials: &[5, 2, 0, 2],
};

dace_wire::conform!(
    IsahcBackend, EXPECTED, smol::block_on;
    tls: feature = "rustls", http2: feature = "http2"
);
