//! The queue, and the thread that makes lines of it.
//!
//! The thread sleeps until something is queued, then lets more come for [`LINGER`]; so it is woken ten
//! times a second at most, and waking it costs a call nothing but for these times. It ends when the
//! last handle is gone, after it sent what was queued.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
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

/// One dependency that sends here. It is forgotten when only the thread knows it.
#[derive(Debug)]
pub(super) struct Source {
    /// Its records name it by that: a counted reference in each would cost both threads.
    number: u64,
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
    /// Of which source, and what.
    records: Vec<(u64, Record)>,
    /// Those that the thread does not know yet.
    newcomers: Vec<Arc<Source>>,
    /// The number of the next one.
    next: u64,
    rng: fastrand::Rng,
    /// Flushes asked for, and done.
    flushes: u64,
    flushed: u64,
    /// Nobody sends any more.
    over: bool,
}

/// Those to addresses: dependencies that name the same one, in the same way, share a thread.
static TO_ADDRESSES: Mutex<Vec<(String, Settings, Weak<Handle>)>> = Mutex::new(Vec::new());

impl Sender {
    /// The one to this address, started if there is none.
    pub(super) fn to(
        address: &str,
        settings: Settings,
        outlet: impl FnOnce() -> Result<Outlet, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let mut known = TO_ADDRESSES.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, _, sender)| sender.strong_count() > 0);
        let same = |(to, with, _): &&(String, Settings, _)| to == address && *with == settings;
        // The last handle may have gone since.
        if let Some(handle) = known.iter().find(same).and_then(|(_, _, handle)| handle.upgrade()) {
            return Ok(Self(handle));
        }
        let sender = Self::start(outlet()?, settings)?;
        known.push((address.to_owned(), settings, Arc::downgrade(&sender.0)));
        Ok(sender)
    }

    pub(super) fn start(outlet: Outlet, settings: Settings) -> Result<Self, ConfigError> {
        let shared = Arc::new(Shared {
            settings,
            is_client: matches!(outlet, Outlet::Client(_)),
            queue: Mutex::new(Queue {
                records: Vec::with_capacity(settings.queue),
                newcomers: Vec::new(),
                next: 0,
                // Else all processes would leave out the same.
                rng: fastrand::Rng::with_seed(RandomState::new().hash_one(settings.queue)),
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
            sources: BTreeMap::new(),
            gone: Vec::new(),
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
        let number = queue.next;
        queue.next += 1;
        let source = Arc::new(Source {
            number,
            prefix,
            open: AtomicU32::new(0),
            open_changed: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        queue.newcomers.push(source.clone());
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

    /// `open`: the number of attempts under way, if it changed.
    pub(super) fn push(&self, source: &Source, record: Record, open: Option<u32>) {
        let shared = &self.0.0;
        let Settings { rate, queue: capacity, .. } = shared.settings;
        let mut queue = shared.queue();
        let left_out = rate < 1.0 && record.is_sampled() && queue.rng.f64() >= rate;
        let has_room = !queue.over && queue.records.len() < capacity;
        let queued = !left_out && has_room;
        let says_open = record.says_open();
        if let Some(open) = open {
            source.open.store(open, Ordering::Relaxed);
            if !(queued && says_open) {
                // The thread looks at it after it had this lock, or was woken; with a record it knows.
                source.open_changed.store(true, Ordering::SeqCst);
            }
        }
        if queued {
            queue.records.push((source.number, record));
        } else if !left_out {
            source.dropped.fetch_add(1, Ordering::Relaxed);
        }
        let urgent = queued && queue.records.len() == shared.settings.burst() + 1;
        drop(queue);
        if urgent {
            shared.came.notify_one();
        }
        if queued || open.is_some() {
            shared.wake();
        }
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
    records: Vec<(u64, Record)>,
    sources: BTreeMap<u64, Arc<Source>>,
    /// Those of them that nobody else knew when the records were taken: they send no more.
    gone: Vec<u64>,
    netlocs: ByNetloc<String>,
    room: String,
}

impl Thread {
    fn run(mut self) {
        let _ended = Ended(self.shared.clone());
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
        loop {
            self.welcome(&mut queue);
            if !queue.records.is_empty() || urgent(&queue) {
                break;
            }
            shared.asleep.store(true, Ordering::SeqCst);
            if self.sources.values().any(|source| source.open_changed.load(Ordering::SeqCst)) {
                break;
            }
            queue = shared.came.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        shared.asleep.store(false, Ordering::SeqCst);
        let waited = shared.came.wait_timeout_while(queue, LINGER, |queue| !urgent(queue));
        let (mut queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        self.welcome(&mut queue);
        let alone = |(_, source): &(&u64, &Arc<Source>)| Arc::strong_count(source) == 1;
        self.gone.extend(self.sources.iter().filter(alone).map(|(number, _)| *number));
        mem::swap(&mut queue.records, &mut self.records);
        (queue.flushes, queue.over)
    }

    fn welcome(&mut self, queue: &mut Queue) {
        let newcomers = queue.newcomers.drain(..);
        self.sources.extend(newcomers.map(|source| (source.number, source)));
    }

    fn send(&mut self) {
        let Self { shared, outlet, records, sources, gone, netlocs, room } = self;
        for (number, record) in records.drain(..) {
            let source = &sources[&number];
            if record.says_open() {
                // Not stored: what was stored with a flag that this one replaces has to be seen too.
                source.open_changed.swap(true, Ordering::AcqRel);
            }
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
        for source in sources.values() {
            let around = Around { prefix: &source.prefix, netloc: None, rate: None };
            if source.open_changed.swap(false, Ordering::AcqRel) {
                let open = Value::Gauge(source.open.load(Ordering::Relaxed).into());
                if line::send(outlet, room, around, ("open", ""), open).is_err() {
                    // Only the latest number counts, so that is what is tried again.
                    source.open_changed.store(true, Ordering::Release);
                }
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
        gone.drain(..).for_each(|number| drop(sources.remove(&number)));
    }
}

/// Tells those who flush, and those who queue, that nobody sends any more: also if the sink panics.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        queue.over = true;
        queue.records.clear();
        self.0.went.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings { tags: false, rate: 1.0, queue: 8 };

    fn nowhere() -> Outlet {
        Outlet::Lines(Box::new(cadence::NopMetricSink))
    }

    #[test]
    fn a_source_that_nobody_uses_is_forgotten_with_what_it_sent_last() {
        let sender = Sender::start(nowhere(), SETTINGS).unwrap();
        let source = sender.source("dace", "users");
        sender.set_open(&source, 1);
        let known = Arc::downgrade(&source);
        drop(source);
        sender.flush();
        sender.flush();
        assert_eq!(known.strong_count(), 0);
    }

    fn retry() -> Record {
        Record { told: super::super::record::Told::Retry, netloc: None }
    }

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl cadence::MetricSink for Lines {
        fn emit(&self, line: &str) -> std::io::Result<usize> {
            self.0.lock().unwrap().push(line.to_owned());
            Ok(line.len())
        }
    }

    #[test]
    fn the_end_of_an_attempt_tells_how_many_are_under_way_though_the_last_number_was_sent() {
        let lines = Lines::default();
        let sender = Sender::start(Outlet::Lines(Box::new(lines.clone())), SETTINGS).unwrap();
        let source = sender.source("dace", "users");
        sender.set_open(&source, 1);
        sender.flush();
        let told = super::super::record::Told::Attempt(dace_core::Class::Success, Duration::ZERO);
        sender.push(&source, Record { told, netloc: None }, Some(0));
        sender.flush();
        let lines = lines.0.lock().unwrap();
        assert_eq!(lines.last().map(String::as_str), Some("dace.users.open:0|g"), "{lines:?}");
    }

    #[test]
    fn what_a_source_sent_last_goes_out_under_its_own_name() {
        let lines = Lines::default();
        let sender = Sender::start(Outlet::Lines(Box::new(lines.clone())), SETTINGS).unwrap();
        for name in ["first", "second", "third"] {
            let source = sender.source("dace", name);
            sender.push(&source, retry(), None);
        }
        sender.flush();
        let expected = ["first", "second", "third"].map(|name| format!("dace.{name}.retry:1|c"));
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }

    #[test]
    fn what_is_left_out_by_sampling_wakes_nobody() {
        let sender = Sender::start(nowhere(), Settings { rate: 1e-300, ..SETTINGS }).unwrap();
        let source = sender.source("dace", "users");
        sender.flush();
        while !sender.0.0.asleep.load(Ordering::SeqCst) {
            thread::yield_now();
        }
        for _ in 0..100 {
            sender.push(&source, retry(), None);
        }
        assert!(sender.0.0.asleep.load(Ordering::SeqCst));
        sender.push(&source, retry(), Some(1));
        assert!(!sender.0.0.asleep.load(Ordering::SeqCst), "the gauge is told");
    }

    #[test]
    fn a_sink_that_panics_leaves_nobody_waiting() {
        struct Trap;
        impl cadence::MetricSink for Trap {
            fn emit(&self, _: &str) -> std::io::Result<usize> {
                panic!("the sink's own")
            }
        }
        let sender = Sender::start(Outlet::Lines(Box::new(Trap)), SETTINGS).unwrap();
        let source = sender.source("dace", "users");
        sender.set_open(&source, 1);
        // A flush waits a second at most, and telling a panic may take longer. Those after it do not wait.
        while !sender.0.0.queue().over {
            sender.flush();
        }
        sender.push(&source, retry(), None);
        assert_eq!(source.dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn clients_that_sample_leave_out_different_ones() {
        let drawn = || {
            let sender = Sender::start(nowhere(), SETTINGS).unwrap();
            sender.0.0.queue().rng.u64(..)
        };
        assert_ne!(drawn(), drawn());
    }

    #[test]
    fn those_who_send_to_one_address_in_one_way_share_a_thread() {
        let to = |address, settings| Sender::to(address, settings, || Ok(nowhere())).unwrap();
        let first = to("a:8125", SETTINGS);
        assert!(Arc::ptr_eq(&first.0, &to("a:8125", SETTINGS).0));
        assert!(!Arc::ptr_eq(&first.0, &to("b:8125", SETTINGS).0));
        assert!(!Arc::ptr_eq(&first.0, &to("a:8125", Settings { tags: true, ..SETTINGS }).0));
        let known = Arc::downgrade(&first.0);
        drop(first);
        assert_eq!(known.strong_count(), 0, "the list keeps none alive");
    }
}
