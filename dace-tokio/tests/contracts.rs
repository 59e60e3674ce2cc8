//! The contracts that every backend keeps, on tokio and hyper.

use std::future::Future;

use dace_tokio::HyperBackend;
use dace_wire::Expected;

/// hyper is what the seam was cut for.
const EXPECTED: Expected = Expected {
    watches_idle: true,
    resends_safe: false,
    reuses_for_bodiless: true,
    tells_refused: true,
    tells_bad_chunks: true,
    tells_cut_heads: true,
    limits_heads: true,
    tells_tunnel_status: true,
    reads_before_a_cut: true,
    resets_at_once: true,
    waits_for_streams: true,
    tells_cut_streams: true,
    tells_late_alerts: true,
    tells_refused_streams: true,
    tells_stream_errors: true,
    keeps_early_streams: true,
    insists_on_http2: true,
    gives_trailers: true,
    // None; with credentials those alone.
    socks_greeting: &[5, 1, 0],
    socks_greeting_with_credentials: &[5, 1, 2],
};

/// Contracts block on gates, so connections are driven by workers beside them.
fn block_on(contract: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(contract);
}

dace_wire::conform!(
    HyperBackend, EXPECTED, block_on;
    tls: any(feature = "rustls", feature = "rustls-ring"), http2: feature = "http2"
);
