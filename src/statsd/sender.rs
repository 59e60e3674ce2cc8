//! The queue, and the thread that makes lines of it.
//!
//! The thread looks at the queue by itself, every [`LINGER`], or every [`IDLE`] while nothing comes; so a call
//! wakes nobody, unless more waits than is good to send at once. It ends when the last handle is gone,
//! after it sent what was queued.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::mem;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
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

/// How long it does after [`QUIET`] times of nothing.
const IDLE: Duration = Duration::from_secs(1);
const QUIET: u32 = 10;

/// Events that are sent without lingering: what comes faster than the server reads, its kernel drops.
const BURST: usize = 512;

/// How long the thread lingers where that many have just come: as long as that goes on, calls need not wake it.
const BRIEFLY: Duration = Duration::from_micros(250);

/// How long a flush waits at most.
const FLUSH: Duration = Duration::from_secs(1);

/// One dependency that sends here. It is forgotten when only the thread knows it.
#[derive(Debug)]
pub(super) struct Source {
    /// Its records name it by that: a counted reference in each would cost both threads.
    number: u64,
    /// `PREFIX.<dependency_id>.`
    prefix: String,
    /// Attempts under way: only the last number counts, so it waits here, not in the queue. `UNTOLD` until there
    /// were any.
    open: AtomicU32,
    dropped: AtomicU64,
}

const UNTOLD: u32 = u32::MAX;

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
    /// For the thread: there is something that cannot wait.
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
    /// So many records wake the thread.
    burst: usize,
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
                burst: settings.burst(),
                flushes: 0,
                flushed: 0,
                over: false,
            }),
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
            hurries: false,
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
            open: AtomicU32::new(UNTOLD),
            dropped: AtomicU64::new(0),
        });
        queue.newcomers.push(source.clone());
        source
    }

    pub(super) fn tags(&self) -> bool {
        self.0.0.settings.tags
    }

    /// The number of attempts under way. The thread sees it when it looks next.
    pub(super) fn set_open(source: &Source, open: u32) {
        source.open.store(open, Ordering::Relaxed);
    }

    pub(super) fn push(&self, source: &Source, record: Record) {
        let shared = &self.0.0;
        let Settings { rate, queue: capacity, .. } = shared.settings;
        let mut queue = shared.queue();
        if rate < 1.0 && record.is_sampled() && queue.rng.f64() >= rate {
            return;
        }
        if queue.over || queue.records.len() >= capacity {
            source.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.records.push((source.number, record));
        let urgent = queue.records.len() == queue.burst + 1;
        drop(queue);
        if urgent {
            shared.came.notify_one();
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
        BURST.min(self.most())
    }

    /// What wakes the thread in any case.
    fn most(&self) -> usize {
        self.queue / 2
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Thread {
    shared: Arc<Shared>,
    outlet: Outlet,
    /// Takes turns with the queue's.
    records: Vec<(u64, Record)>,
    sources: BTreeMap<u64, Known>,
    /// Those of them that nobody else knew when the records were taken: they send no more.
    gone: Vec<u64>,
    netlocs: ByNetloc<String>,
    room: String,
    /// Whether records come faster than one can linger.
    hurries: bool,
}

/// A source as the thread knows it.
struct Known {
    source: Arc<Source>,
    /// The number of attempts under way that was sent last.
    told: u32,
    /// Whether attempts have ended since: then it is sent though it may be the same.
    stirred: bool,
}

impl Known {
    /// The number of attempts under way, if it is to be sent.
    fn news(&self) -> Option<u32> {
        let open = self.source.open.load(Ordering::Relaxed);
        (open != self.told || self.stirred && open != UNTOLD).then_some(open)
    }
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
        let (most, mut wait) = match self.hurries {
            true => (shared.settings.most(), BRIEFLY),
            false => (shared.settings.burst(), LINGER),
        };
        queue.burst = most;
        let urgent = |queue: &Queue| {
            queue.over || queue.flushes > queue.flushed || queue.records.len() > most
        };
        let mut quiet = 0;
        loop {
            let waited = shared.came.wait_timeout_while(queue, wait, |queue| !urgent(queue));
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
            self.welcome(&mut queue);
            let has_news = || self.sources.values().any(|known| known.news().is_some());
            if !queue.records.is_empty() || urgent(&queue) || has_news() {
                break;
            }
            quiet += 1;
            wait = if quiet < QUIET { LINGER } else { IDLE };
        }
        let alone = |(_, known): &(&u64, &Known)| Arc::strong_count(&known.source) == 1;
        self.gone.extend(self.sources.iter().filter(alone).map(|(number, _)| *number));
        mem::swap(&mut queue.records, &mut self.records);
        self.hurries = self.records.len() > shared.settings.burst();
        (queue.flushes, queue.over)
    }

    fn welcome(&mut self, queue: &mut Queue) {
        let newcomers = queue.newcomers.drain(..);
        let known = |source: Arc<Source>| Known { source, told: UNTOLD, stirred: false };
        self.sources.extend(newcomers.map(|source| (source.number, known(source))));
    }

    fn send(&mut self) {
        let Self { shared, outlet, records, sources, gone, netlocs, room, .. } = self;
        for (number, record) in records.drain(..) {
            let Some(Known { source, stirred, .. }) = sources.get_mut(&number) else {
                continue;
            };
            *stirred |= record.says_open();
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
        for known in sources.values_mut() {
            let source = &known.source;
            let around = Around { prefix: &source.prefix, netloc: None, rate: None };
            if let Some(open) = known.news() {
                let level = Value::Gauge(open.into());
                // Only the latest number counts, so that is what is tried again.
                if line::send(outlet, room, around, ("open", ""), level).is_ok() {
                    (known.told, known.stirred) = (open, false);
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
        Sender::set_open(&source, 1);
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
        Sender::set_open(&source, 1);
        sender.flush();
        let told = super::super::record::Told::Attempt(dace_core::Class::Success, Duration::ZERO);
        Sender::set_open(&source, 0);
        sender.push(&source, Record { told, netloc: None });
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
            sender.push(&source, retry());
        }
        sender.flush();
        let expected = ["first", "second", "third"].map(|name| format!("dace.{name}.retry:1|c"));
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }

    #[test]
    fn the_number_of_attempts_under_way_is_told_though_all_else_is_left_out_by_sampling() {
        let lines = Lines::default();
        let settings = Settings { rate: 1e-300, ..SETTINGS };
        let sender = Sender::start(Outlet::Lines(Box::new(lines.clone())), settings).unwrap();
        let source = sender.source("dace", "users");
        sender.flush();
        assert!(lines.0.lock().unwrap().is_empty(), "there were none");
        for open in 1..=100 {
            sender.push(&source, retry());
            Sender::set_open(&source, open);
        }
        sender.flush();
        assert_eq!(*lines.0.lock().unwrap(), ["dace.users.open:100|g"]);
    }

    #[test]
    fn the_number_of_attempts_under_way_is_told_again_when_attempts_have_ended() {
        let lines = Lines::default();
        let sender = Sender::start(Outlet::Lines(Box::new(lines.clone())), SETTINGS).unwrap();
        let source = sender.source("dace", "users");
        let told = super::super::record::Told::Attempt(dace_core::Class::Success, Duration::ZERO);
        let gauges = || {
            let lines = lines.0.lock().unwrap();
            lines.iter().filter(|line| line.ends_with("open:2|g")).count()
        };
        Sender::set_open(&source, 2);
        for count in [1, 1] {
            sender.flush();
            assert_eq!(gauges(), count);
        }
        sender.push(&source, Record { told, netloc: None });
        for count in [2, 2] {
            sender.flush();
            assert_eq!(gauges(), count);
        }
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
        Sender::set_open(&source, 1);
        // A flush waits a second at most, and telling a panic may take longer. Those after it do not wait.
        while !sender.0.0.queue().over {
            sender.flush();
        }
        sender.push(&source, retry());
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
