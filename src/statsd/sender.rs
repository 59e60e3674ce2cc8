//! The queue, and the thread that makes lines of it.
//!
//! The thread looks at the queue by itself, at its [`Pace`]; so a call wakes nobody, unless the queue is half
//! full. It ends when the last handle is gone, after it sent what was queued.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use dace_core::{ConfigError, Netloc};

use super::line::{self, Around};
use super::record::{Record, Told, Value};
use super::{Outlet, Settings};
use crate::names::{self, ByNetloc};

/// So many events are sent at once: what comes faster than the server reads, its kernel drops.
const BURST: usize = 512;

/// How long the thread waits before it looks again, if nothing urgent comes.
#[derive(Clone, Copy, Debug)]
struct Pace {
    linger: Duration,
    /// In place of that, after so many looks at nothing.
    idle: Duration,
    quiet: u32,
    /// Between two [bursts](BURST).
    pause: Duration,
}

impl Pace {
    const USUAL: Self = Self {
        linger: Duration::from_millis(100),
        idle: Duration::from_secs(1),
        quiet: 10,
        pause: Duration::from_millis(2),
    };

    /// How long it waits after so many looks at nothing.
    fn patience(self, looks: u32) -> Duration {
        if looks < self.quiet { self.linger } else { self.idle }
    }
}

/// How long a flush waits at most.
const FLUSH: Duration = Duration::from_secs(1);

/// One dependency that sends here. It is forgotten when only the thread knows it.
#[derive(Debug)]
pub(super) struct Source {
    /// Its records name it by that: a counted reference in each would cost both threads.
    number: u32,
    /// `PREFIX.<dependency_id>.`
    prefix: String,
    /// Attempts under way: only the last number counts, so it waits here, not in the queue.
    open: AtomicU32,
    /// Whether that was said since it was sent. It is sent again though it may be the same, since servers may
    /// forget what they do not hear of.
    open_said: AtomicBool,
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
    pace: Pace,
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
    records: Vec<Record>,
    /// Of those of them that have one, in their order.
    netlocs: Vec<Netloc>,
    /// Those that the thread does not know yet.
    newcomers: Vec<Arc<Source>>,
    /// The number of the next one.
    next: u32,
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
        Self::at(Pace::USUAL, outlet, settings)
    }

    fn at(pace: Pace, outlet: Outlet, settings: Settings) -> Result<Self, ConfigError> {
        let shared = Arc::new(Shared {
            settings,
            pace,
            is_client: matches!(outlet, Outlet::Client(_)),
            queue: Mutex::new(Queue {
                records: Vec::with_capacity(settings.queue),
                netlocs: Vec::with_capacity(settings.netlocs()),
                newcomers: Vec::new(),
                next: 0,
                // Else all processes would leave out the same.
                rng: fastrand::Rng::with_seed(RandomState::new().hash_one(settings.queue)),
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
            places: Vec::with_capacity(settings.netlocs()),
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
        // One for each dependency that is made: no process makes 2^32 of them.
        queue.next += 1;
        let source = Arc::new(Source {
            number,
            prefix,
            open: AtomicU32::new(0),
            open_said: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        queue.newcomers.push(source.clone());
        source
    }

    /// The number of attempts under way. The thread sees it when it looks next.
    pub(super) fn set_open(source: &Source, open: u32) {
        source.open.store(open, Ordering::Relaxed);
        // Who sees this sees the number, or a later one.
        source.open_said.store(true, Ordering::Release);
    }

    pub(super) fn push(&self, source: &Source, told: Told, netloc: Option<&Netloc>) {
        let shared = &self.0.0;
        let Settings { rate, queue: capacity, tags } = shared.settings;
        let netloc = netloc.filter(|_| tags);
        let mut queue = shared.queue();
        if rate < 1.0 && told.is_sampled() && queue.rng.f64() >= rate {
            return;
        }
        if queue.over || queue.records.len() >= capacity {
            source.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.records.push(Record { source: source.number, has_netloc: netloc.is_some(), told });
        queue.netlocs.extend(netloc.cloned());
        let urgent = queue.records.len() == shared.settings.half() + 1;
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
    /// How many netlocs can wait.
    fn netlocs(&self) -> usize {
        if self.tags { self.queue } else { 0 }
    }

    /// More records than this wake the thread.
    fn half(&self) -> usize {
        self.queue / 2
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is something that cannot wait.
    fn is_urgent(&self, queue: &Queue) -> bool {
        let records = queue.records.len();
        queue.over || queue.flushes > queue.flushed || records > self.settings.half()
    }

    /// Lets so much time pass, unless there is something that cannot wait.
    fn wait<'a>(&'a self, queue: MutexGuard<'a, Queue>, time: Duration) -> MutexGuard<'a, Queue> {
        let waited = self.came.wait_timeout_while(queue, time, |queue| !self.is_urgent(queue));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Thread {
    shared: Arc<Shared>,
    outlet: Outlet,
    /// Take turns with the queue's.
    records: Vec<Record>,
    places: Vec<Netloc>,
    sources: BTreeMap<u32, Arc<Source>>,
    /// Those of them that nobody else knew when the records were taken: they send no more.
    gone: Vec<u32>,
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
        let mut looks = 0;
        loop {
            queue = shared.wait(queue, shared.pace.patience(looks));
            self.welcome(&mut queue);
            if shared.is_urgent(&queue) || !queue.records.is_empty() || self.has_said() {
                break;
            }
            looks += 1;
        }
        let alone = |(_, source): &(&u32, &Arc<Source>)| Arc::strong_count(source) == 1;
        self.gone.extend(self.sources.iter().filter(alone).map(|(number, _)| *number));
        // What those said who are gone.
        fence(Ordering::Acquire);
        mem::swap(&mut queue.records, &mut self.records);
        mem::swap(&mut queue.netlocs, &mut self.places);
        (queue.flushes, queue.over)
    }

    /// Whether the number of attempts under way is to be sent, of any source.
    fn has_said(&self) -> bool {
        self.sources.values().any(|source| source.open_said.load(Ordering::Relaxed))
    }

    fn welcome(&mut self, queue: &mut Queue) {
        let newcomers = queue.newcomers.drain(..);
        self.sources.extend(newcomers.map(|source| (source.number, source)));
    }

    fn send(&mut self) {
        let Self { shared, outlet, records, places, sources, gone, netlocs, room } = self;
        let mut places = places.drain(..);
        for (sent, Record { source, has_netloc, told }) in records.drain(..).enumerate() {
            if sent > 0 && sent % BURST == 0 {
                drop(shared.wait(shared.queue(), shared.pace.pause));
            }
            let source = &sources[&source];
            let place = has_netloc.then(|| places.next()).flatten();
            let around = Around {
                prefix: &source.prefix,
                netloc: place.as_ref().map(|place| &**netlocs.of(place, names::host_port)),
                rate: Some(shared.settings.rate).filter(|rate| *rate < 1.0 && told.is_sampled()),
            };
            told.lines(|name, last, value| {
                if line::send(outlet, room, around, (name, last), value).is_err() {
                    source.dropped.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for source in sources.values() {
            let around = Around { prefix: &source.prefix, netloc: None, rate: None };
            if source.open_said.swap(false, Ordering::AcqRel) {
                let open = Value::Gauge(source.open.load(Ordering::Relaxed).into());
                if line::send(outlet, room, around, ("open", ""), open).is_err() {
                    // Only the latest number counts, so that is what is tried again.
                    source.open_said.store(true, Ordering::Release);
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
        queue.netlocs.clear();
        self.0.went.notify_all();
    }
}

#[cfg(test)]
mod tests;
