//! What the tests share.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::{Backoff, Breaker, DependencyBuilder, Event, HttpError, Observer};
use dace_sim::{Sim, SimBackend, SimRuntime};

pub(crate) type Builder = DependencyBuilder<SimRuntime, SimBackend>;
pub(crate) type Dependency = dace::Dependency<SimRuntime, SimBackend>;
pub(crate) type Call = dace::Call<SimRuntime, SimBackend>;
pub(crate) type Error = dace::Error<HttpError>;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A dependency in a simulation: no targets, retries at once, all else by default.
pub(crate) fn dependency(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    let builder = Dependency::builder("test").backoff(Backoff::new().base(Duration::ZERO));
    set(builder).build_with(sim.runtime(), sim.backend()).expect("the settings are good")
}

/// A breaker that opens at the first failure and closes at the first success.
pub(crate) fn touchy() -> Breaker {
    Breaker::new().consecutive_failures(1).successes(1)
}

/// `GET path`, any status of 400 and above an error.
pub(crate) async fn get(call: Call, path: &str) -> Result<String, HttpError> {
    call.http().get(path).send().await?.error_for_status()?.text().await
}

/// One call that gets `/`.
pub(crate) async fn get_root(dependency: &Dependency) -> Result<String, Error> {
    dependency.call(|call| get(call, "/")).await
}

/// An observer that keeps what it sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(pub(crate) Arc<Mutex<Vec<Event>>>);

impl Seen {
    pub(crate) fn events(&self) -> Vec<Event> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn log(&self) -> String {
        self.events().iter().map(|event| format!("{event}\n")).collect()
    }
}

impl Observer for Seen {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A counter that many attempts share.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicU32>);

impl Count {
    pub(crate) fn next(&self) -> u32 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Everything that a dependency lends is back.
#[track_caller]
pub(crate) fn assert_all_back(dependency: &Dependency) {
    let snapshot = dependency.snapshot();
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.queued), (0, 0, 0), "{snapshot}");
    for endpoint in &snapshot.endpoints {
        assert_eq!((endpoint.open, endpoint.connections, endpoint.probes), (0, 0, 0), "{snapshot}");
    }
}
