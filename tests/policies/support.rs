//! What the tests of balancing share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::sim::{Sim, SimBackend, SimRuntime};
use dace::{Backoff, DependencyBuilder, Event, HttpError, Observer, Target};

pub(crate) type Dependency = dace::Dependency<SimRuntime, SimBackend>;
pub(crate) type Call = dace::Call<SimRuntime, SimBackend>;
pub(crate) type Builder = DependencyBuilder<SimRuntime, SimBackend>;
pub(crate) type Error = dace::Error<HttpError>;

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn dependency(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    let builder = Dependency::builder("a").backoff(Backoff::new().base(Duration::ZERO));
    set(builder).build_with(sim.runtime(), sim.backend()).unwrap()
}

pub(crate) fn target(text: &str) -> Target {
    text.parse().unwrap()
}

pub(crate) async fn get(dependency: &Dependency) -> Result<(), Error> {
    let get =
        |call: Call| async move { call.http().get("/").send().await?.error_for_status().map(drop) };
    dependency.call(get).await
}

/// So many calls, one every so often, each in a task of its own.
pub(crate) async fn many(sim: &Sim, dependency: &Dependency, calls: u32, every: Duration) -> u32 {
    let mut tasks = Vec::new();
    for _ in 0..calls {
        let dependency = dependency.clone();
        tasks.push(sim.spawn(async move { u32::from(get(&dependency).await.is_err()) }));
        sim.sleep(every).await;
    }
    futures_util::future::join_all(tasks).await.into_iter().sum()
}

/// How often each target was picked.
#[derive(Clone, Default)]
pub(crate) struct Picked(Arc<Mutex<BTreeMap<String, u32>>>);

impl Picked {
    pub(crate) fn note(&self, call: &Call) {
        let netloc = call.target().unwrap().netloc().to_string();
        *self.0.lock().unwrap().entry(netloc).or_default() += 1;
    }

    /// Those of `names` since it was asked last.
    pub(crate) fn take<const N: usize>(&self, names: [&str; N]) -> [u32; N] {
        let picked = std::mem::take(&mut *self.0.lock().unwrap());
        names.map(|name| picked.get(name).copied().unwrap_or(0))
    }
}

/// An observer that keeps what it sees.
#[derive(Clone, Default)]
pub(crate) struct Seen(pub(crate) Arc<Mutex<Vec<Event>>>);

impl Observer for Seen {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}
