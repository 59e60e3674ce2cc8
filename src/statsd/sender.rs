//! The queue, and the thread that makes lines of it.
//!
//! The thread sleeps until something is queued, then lets more come for [`LINGER`]; so it is woken ten
//! times a second at most, and waking it costs a call nothing but for these times. It ends when the
//! last handle is gone, after it sent what was queued.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use dace_core::ConfigError;

use super::line::{self, Around};
use super::record::{Record, Value};
use super::{Outlet, Settings};
use crate::names::{self, ByNetloc};

/// How long the thread lets more come before it sends.
const LINGER: Duration = Duration::from_millis(100);

/// Events that are sent without lingering: what comes faster than the server reads, its kernel drops.
const BURST: usize = 512;

/// How long a flush waits at most.
const FLUSH: Duration = Duration::from_secs(1);

/// One dependency that sends here.
#[derive(Debug)]
pub(super) struct Source {
    /// Its place in the list of sources.
    index: usize,
    /// `PREFIX.<dependency_id>.`
    prefix: String,
    /// Attempts under way: only the last number counts, so it waits here, not in the queue.
    open: AtomicU32,
    open_changed: AtomicBool,
    dropped: AtomicU64,
}

/// A handle on queue and thread.
#[derive(Clone, Debug)]
pub(super) struct Sender(Arc<Handle>);

/// The last one of these ends the thread.
#[derive(Debug)]
struct Handle(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    /// Whether the names are complete without a prefix: a client has its own.
    is_client: bool,
    queue: Mutex<Queue>,
    /// Whether the thread has to be woken for what comes.
    asleep: AtomicBool,
    /// For the thread: something came.
    came: Condvar,
    /// For those who flush: something went.
    went: Condvar,
}

#[derive(Debug)]
struct Queue {
    records: Vec<(usize, Record)>,
    sources: Vec<Arc<Source>>,
    rng: fastrand::Rng,
    /// Flushes asked for, and done.
    flushes: u64,
    flushed: u64,
    over: bool,
}

impl Sender {
    pub(super) fn start(outlet: Outlet, settings: Settings) -> Result<Self, ConfigError> {
        let shared = Arc::new(Shared {
            settings,
            is_client: matches!(outlet, Outlet::Client(_)),
            queue: Mutex::new(Queue {
                records: Vec::with_capacity(settings.queue),
                sources: Vec::new(),
                rng: fastrand::Rng::with_seed(0x5eed),
                flushes: 0,
                flushed: 0,
                over: false,
            }),
            asleep: AtomicBool::new(false),
            came: Condvar::new(),
            went: Condvar::new(),
        });
        let thread = Thread {
            shared: shared.clone(),
            outlet,
            records: Vec::with_capacity(settings.queue),
            sources: Vec::new(),
            netlocs: ByNetloc::new(),
            room: String::new(),
        };
        thread::Builder::new()
            .name(String::from("dace-statsd"))
            .spawn(move || thread.run())
            .map_err(|error| ConfigError::new("statsd", format!("has no thread: {error}")))?;
        Ok(Self(Arc::new(Handle(shared))))
    }

    /// A dependency sends here from now on.
    pub(super) fn source(&self, prefix: &str, dependency_id: &str) -> Arc<Source> {
        let shared = &self.0.0;
        let prefix = match prefix {
            prefix if shared.is_client || prefix.is_empty() => format!("{dependency_id}."),
            prefix => format!("{prefix}.{dependency_id}."),
        };
        let mut queue = shared.queue();
        let source = Arc::new(Source {
            index: queue.sources.len(),
            prefix,
            open: AtomicU32::new(0),
            open_changed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        queue.sources.push(source.clone());
        source
    }

    pub(super) fn tags(&self) -> bool {
        self.0.0.settings.tags
    }

    pub(super) fn set_open(&self, source: &Source, open: u32) {
        source.open.store(open, Ordering::Relaxed);
        // Before the look at whether the thread sleeps, which looks at this before it does.
        if !source.open_changed.swap(true, Ordering::SeqCst) {
            self.0.0.wake();
        }
    }

    pub(super) fn push(&self, source: &Source, record: Record) {
        let shared = &self.0.0;
        let Settings { rate, queue: capacity, .. } = shared.settings;
        let mut queue = shared.queue();
        if rate < 1.0 && record.is_sampled() && queue.rng.f64() >= rate {
            return;
        }
        if queue.records.len() >= capacity {
            source.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.records.push((source.index, record));
        let urgent = queue.records.len() == shared.settings.burst() + 1;
        drop(queue);
        if urgent {
            shared.came.notify_one();
        }
        shared.wake();
    }

    /// Sends all that is queued, and waits until it is sent: at most a second.
    pub(super) fn flush(&self) {
        let shared = &self.0.0;
        let mut queue = shared.queue();
        queue.flushes += 1;
        let asked = queue.flushes;
        shared.came.notify_one();
        let waits = |queue: &mut Queue| queue.flushed < asked && !queue.over;
        // Whether the time was up makes no difference: the lines are on their way then.
        drop(shared.went.wait_timeout_while(queue, FLUSH, waits));
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.queue().over = true;
        self.0.came.notify_one();
    }
}

impl Settings {
    fn burst(&self) -> usize {
        BURST.min(self.queue / 2)
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the thread if it sleeps for want of anything to do.
    fn wake(&self) {
        if self.asleep.load(Ordering::SeqCst) && self.asleep.swap(false, Ordering::SeqCst) {
            // With the lock: the thread is then either before its look at the queue, or waits.
            drop(self.queue());
            self.came.notify_one();
        }
    }
}

struct Thread {
    shared: Arc<Shared>,
    outlet: Outlet,
    /// Takes turns with the queue's.
    records: Vec<(usize, Record)>,
    sources: Vec<Arc<Source>>,
    netlocs: ByNetloc<String>,
    room: String,
}

impl Thread {
    fn run(mut self) {
        loop {
            let (asked, over) = self.collect();
            self.send();
            let mut queue = self.shared.queue();
            queue.flushed = asked;
            self.shared.went.notify_all();
            if over && queue.records.is_empty() {
                return;
            }
        }
    }

    /// Waits for something to send, and takes it.
    fn collect(&mut self) -> (u64, bool) {
        let shared = self.shared.clone();
        let mut queue = shared.queue();
        let urgent = |queue: &Queue| {
            let burst = queue.records.len() > shared.settings.burst();
            queue.over || queue.flushes > queue.flushed || burst
        };
        while queue.records.is_empty() && !urgent(&queue) {
            shared.asleep.store(true, Ordering::SeqCst);
            if queue.sources.iter().any(|source| source.open_changed.load(Ordering::SeqCst)) {
                break;
            }
            queue = shared.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        shared.asleep.store(false, Ordering::SeqCst);
        let waited = shared.came.wait_timeout_while(queue, LINGER, |queue| !urgent(queue));
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut queue.records, &mut self.records);
        for source in &queue.sources[self.sources.len()..] {
            self.sources.push(source.clone());
        }
        (queue.flushes, queue.over)
    }

    fn send(&mut self) {
        let Self { shared, outlet, records, sources, netlocs, room } = self;
        for (index, record) in records.drain(..) {
            let source = &sources[index];
            let around = Around {
                prefix: &source.prefix,
                netloc: record
                    .netloc
                    .as_ref()
                    .map(|netloc| &**netlocs.of(netloc, names::host_port)),
                rate: Some(shared.settings.rate).filter(|rate| *rate < 1.0 && record.is_sampled()),
            };
            record.lines(|name, last, value| {
                if line::send(outlet, room, around, (name, last), value).is_err() {
                    source.dropped.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for source in sources {
            let around = Around { prefix: &source.prefix, netloc: None, rate: None };
            if source.open_changed.swap(false, Ordering::AcqRel) {
                let open = Value::Gauge(source.open.load(Ordering::Relaxed).into());
                // Only the latest number counts: the next one makes up for it.
                let _ = line::send(outlet, room, around, ("open", ""), open);
            }
            let dropped = source.dropped.swap(0, Ordering::Relaxed);
            let lost = Value::Counter(dropped);
            if dropped > 0 && line::send(outlet, room, around, ("dropped", ""), lost).is_err() {
                source.dropped.fetch_add(dropped, Ordering::Relaxed);
            }
        }
        // What could not be sent stays with the outlet, or is gone; there is nobody to tell.
        let _ = match outlet {
            Outlet::Lines(sink) => sink.flush().is_ok(),
            Outlet::Client(client) => client.flush().is_ok(),
        };
    }
}
