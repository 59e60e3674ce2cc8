//! Sinks that keep what they get, and how to read them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::{Backoff, DependencyBuilder, Event, HttpError, Observer};
use dace_sim::{Sim, SimBackend, SimRuntime};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

pub(crate) type Builder = DependencyBuilder<SimRuntime, SimBackend>;
pub(crate) type Dependency = dace::Dependency<SimRuntime, SimBackend>;
pub(crate) type Call = dace::Call<SimRuntime, SimBackend>;

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

pub(crate) async fn get(call: Call, path: &str) -> Result<String, HttpError> {
    call.http().get(path).send().await?.error_for_status()?.text().await
}

/// An observer that keeps what it sees.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen(pub(crate) Arc<Mutex<Vec<Event>>>);

impl Observer for Seen {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

/// A statsd sink that keeps the lines.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }

    /// The sum of each counter, and how often each timer and gauge was told.
    pub(crate) fn sums(&self) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for line in self.all() {
            let (name, rest) = line.split_once(':').expect("a value");
            let (value, rest) = rest.split_once('|').expect("a type");
            let count = if rest.starts_with('c') { value.parse().expect("a number") } else { 1.0 };
            *sums.entry(name.to_owned()).or_default() += count;
        }
        sums
    }
}

impl cadence::MetricSink for Lines {
    fn emit(&self, metric: &str) -> io::Result<usize> {
        self.0.lock().unwrap().push(metric.to_owned());
        Ok(metric.len())
    }
}

/// Runs with a Prometheus recorder, and a subscriber that writes lines; answers the page and the lines.
pub(crate) fn recorded<O>(run: impl FnOnce(&PrometheusHandle) -> O) -> (O, Vec<String>) {
    let written = Written::default();
    let writer = written.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .without_time()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let recorder: PrometheusRecorder = PrometheusBuilder::new()
        .set_buckets(&[0.01, 0.1, 1.0])
        .expect("there are buckets")
        .build_recorder();
    let handle = recorder.handle();
    let out = tracing::subscriber::with_default(subscriber, || {
        metrics::with_local_recorder(&recorder, || run(&handle))
    });
    let text = String::from_utf8(written.0.lock().unwrap().clone()).expect("text");
    (out, text.lines().map(|line| line.trim_end().to_owned()).collect())
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The values on a Prometheus page, summed over all labels but one: `name{label="value"}` or `name`.
pub(crate) fn values(page: &str, label: &str) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::new();
    for line in page.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, value) = line.rsplit_once(' ').expect("a value");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let wanted = format!("{label}=\"");
        let value_of = labels.split_once(&wanted).and_then(|(_, rest)| rest.split_once('"'));
        let key = match value_of {
            Some((of, _)) => format!("{name} {of}"),
            None => name.to_owned(),
        };
        *values.entry(key).or_default() += value.parse::<f64>().expect("a number");
    }
    values
}
