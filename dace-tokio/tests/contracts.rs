//! The contracts that every backend keeps, on tokio and hyper.

use std::future::Future;

use dace_tokio::HyperBackend;
use dace_wire::Expected;

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
    HyperBackend, Expected::HYPER, block_on;
    tls: any(feature = "rustls", feature = "rustls-ring"), http2: feature = "http2"
);
