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

dace_wire::conform!(HyperBackend, EXPECTED, block_on);
