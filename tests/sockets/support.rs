//! What the scenarios share.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::http::HttpBackend;
use dace::{Adapter, Backoff, Event, HttpError, Observer, Runtime};
use dace_wire::{PATIENCE, Server};
use futures_util::future::{Either, select};

pub(crate) type Builder<A> =
    dace::DependencyBuilder<<A as Adapter>::Runtime, <A as Adapter>::Backend>;
pub(crate) type Dependency<A> = dace::Dependency<<A as Adapter>::Runtime, <A as Adapter>::Backend>;
pub(crate) type Error = dace::Error<HttpError>;

/// A test of every scenario on every adapter.
macro_rules! on_every_adapter {
    ($($scenario:ident)*) => {
        mod on_tokio {
            $(
                #[test]
                fn $scenario() {
                    crate::support::on_tokio(super::$scenario::<dace::tokio::Tokio>());
                }
            )*
        }

        mod on_smol {
            $(
                #[test]
                fn $scenario() {
                    crate::support::on_smol(super::$scenario::<dace::smol::Smol>());
                }
            )*
        }

        #[cfg(feature = "smol-hyper")]
        mod on_smol_and_hyper {
            $(
                #[test]
                fn $scenario() {
                    crate::support::on_smol(super::$scenario::<dace::smol::hyper::Smol>());
                }
            )*
        }
    };
}

/// Runs a scenario on a runtime with several threads.
pub(crate) fn on_tokio(scenario: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(patiently::<dace::tokio::Tokio>(scenario));
}

/// Runs a scenario on this thread.
pub(crate) fn on_smol(scenario: impl Future<Output = ()>) {
    smol::block_on(patiently::<dace::smol::Smol>(scenario));
}

/// Fails what hangs.
async fn patiently<A: Adapter>(scenario: impl Future<Output = ()>) {
    let runtime = A::Runtime::default();
    let patience = if is_long() { 60 * PATIENCE } else { 6 * PATIENCE };
    let patience = runtime.sleep_until(runtime.now().after(patience));
    match select(pin!(scenario), pin!(patience)).await {
        Either::Left(((), _)) => {}
        Either::Right(((), _)) => panic!("the scenario hangs"),
    }
}

/// Whether the scenarios whose worth is in their length are to be long: with `DACE_LONG=1`.
pub(crate) fn is_long() -> bool {
    std::env::var_os("DACE_LONG").is_some_and(|long| long == "1")
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A dependency without targets, which retries at once; all else by default.
pub(crate) fn dependency<A: Adapter>(set: impl FnOnce(Builder<A>) -> Builder<A>) -> Dependency<A> {
    let builder = Dependency::<A>::builder("test").backoff(Backoff::new().base(Duration::ZERO));
    set(builder).build().expect("the settings are good")
}

/// A dependency with one target.
pub(crate) fn on<A: Adapter>(
    server: &Server,
    set: impl FnOnce(Builder<A>) -> Builder<A>,
) -> Dependency<A> {
    dependency::<A>(|builder| set(builder.targets([server.url("")])))
}

/// `GET url`, any status of 400 and above an error.
pub(crate) async fn get<R: Runtime, B: HttpBackend>(
    call: dace::Call<R, B>,
    url: &str,
) -> Result<String, HttpError> {
    call.http().get(url).send().await?.error_for_status()?.text().await
}

/// One call that gets `/`.
pub(crate) async fn get_root<R: Runtime, B: HttpBackend>(
    dependency: &dace::Dependency<R, B>,
) -> Result<String, Error> {
    dependency.call(|call| get(call, "/")).await
}

/// What a future answers, and how long it took on the runtime's clock.
pub(crate) async fn timed<A: Adapter, F: Future>(work: F) -> (F::Output, Duration) {
    let runtime = A::Runtime::default();
    let start = runtime.now();
    let output = work.await;
    (output, runtime.now().since(start))
}

/// An error with all its causes.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut chain = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        chain.push_str(&format!(" <- {error}"));
        source = error.source();
    }
    chain
}

/// How many of the requests that arrived begin like this.
pub(crate) fn arrived(server: &Server, start: &str) -> usize {
    server.arrivals().iter().filter(|arrival| arrival.line().starts_with(start)).count()
}

/// An observer that keeps what it sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(Arc<Mutex<Vec<Event>>>);

impl Seen {
    /// All events so far.
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    /// How many events are like this.
    pub(crate) fn count(&self, like: impl Fn(&Event) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|event| like(event)).count()
    }

    /// Attempts that neither succeeded nor were dropped.
    pub(crate) fn failures(&self) -> Vec<Event> {
        use dace::{Class, What};
        let failed = |event: &&Event| match event.what {
            What::AttemptEnded { class, .. } => !matches!(class, Class::Success | Class::Cancelled),
            _ => false,
        };
        self.0.lock().unwrap().iter().filter(failed).cloned().collect()
    }
}

impl Observer for Seen {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// Everything that a dependency lends is back.
#[track_caller]
pub(crate) fn assert_all_back<R: Runtime, B>(dependency: &dace::Dependency<R, B>) {
    let snapshot = dependency.snapshot();
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.queued), (0, 0, 0), "{snapshot}");
    for endpoint in &snapshot.endpoints {
        let lent = (endpoint.open, endpoint.connections, endpoint.probes);
        assert_eq!(lent, (0, 0, 0), "{snapshot}");
    }
}
