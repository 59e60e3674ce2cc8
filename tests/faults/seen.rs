//! All that the process writes while cells run: every library's `tracing`, metrics, statsd lines.

use std::io;
use std::sync::{Arc, Mutex};

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// What was written, by whomever.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl cadence::MetricSink for Lines {
    fn emit(&self, metric: &str) -> io::Result<usize> {
        let mut all = self.0.lock().unwrap();
        all.extend(metric.as_bytes());
        all.push(b'\n');
        Ok(metric.len())
    }
}

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Everything is listened to from here on, for the whole process.
pub(crate) struct Ears {
    logs: Lines,
    pub(crate) statsd: Lines,
    metrics: PrometheusHandle,
}

impl Ears {
    pub(crate) fn open() -> Self {
        let logs = Lines::default();
        let writer = logs.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
            .without_time()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::set_global_default(subscriber).expect("this test is alone");
        let recorder = PrometheusBuilder::new().build_recorder();
        let metrics = recorder.handle();
        assert!(metrics::set_global_recorder(recorder).is_ok(), "this test is alone");
        Self { logs, statsd: Lines::default(), metrics }
    }

    /// Everything that was heard: what it is, and its lines.
    pub(crate) fn heard(&self) -> [(&'static str, String); 3] {
        [
            ("logs", self.logs.text()),
            ("statsd", self.statsd.text()),
            ("metrics", self.metrics.render()),
        ]
    }
}
