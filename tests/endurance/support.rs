//! What the commands share.

use std::future::Future;
use std::time::Duration;

use dace::http::HttpBackend;
use dace::{Adapter, Backoff, HttpError, Runtime};

pub(crate) type Builder<A> =
    dace::DependencyBuilder<<A as Adapter>::Runtime, <A as Adapter>::Backend>;
pub(crate) type Dependency<A> = dace::Dependency<<A as Adapter>::Runtime, <A as Adapter>::Backend>;

/// What is wrong, in words, if anything is.
pub(crate) type Verdict = Result<(), String>;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Runs on a runtime with two threads.
pub(crate) fn on_tokio<O>(work: impl Future<Output = O>) -> O {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(work)
}

/// A dependency without targets, which retries at once; all else by default.
pub(crate) fn dependency<A: Adapter>(set: impl FnOnce(Builder<A>) -> Builder<A>) -> Dependency<A> {
    let builder =
        Dependency::<A>::builder("endurance").backoff(Backoff::new().base(Duration::ZERO));
    set(builder).build().expect("the settings are good")
}

/// `GET url`, any status of 400 and above an error.
pub(crate) async fn get<R: Runtime, B: HttpBackend>(
    call: dace::Call<R, B>,
    url: &str,
) -> Result<String, HttpError> {
    call.http().get(url).send().await?.error_for_status()?.text().await
}

/// What a dependency has lent out: permits, places, probes, and calls that are not over.
pub(crate) fn lent<R: Runtime, B>(dependency: &dace::Dependency<R, B>) -> usize {
    let snapshot = dependency.snapshot();
    let of_endpoints = snapshot.endpoints.iter().map(|endpoint| {
        endpoint.open as usize + endpoint.connections as usize + endpoint.probes + endpoint.queued
    });
    snapshot.calls as usize + snapshot.attempts + snapshot.queued + of_endpoints.sum::<usize>()
}

/// An error with a message, unless this holds.
pub(crate) fn ensure(holds: bool, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(what()) }
}
