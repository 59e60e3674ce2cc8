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
    /// More records than this wake the thread: half of the queue.
    half: usize,
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
                half: settings.queue / 2,
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
        let urgent = queue.records.len() == queue.half + 1;
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
}

impl Queue {
    /// Whether there is something that cannot wait.
    fn is_urgent(&self) -> bool {
        self.over || self.flushes > self.flushed || self.records.len() > self.half
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets so much time pass, unless there is something that cannot wait.
    fn wait<'a>(&'a self, queue: MutexGuard<'a, Queue>, time: Duration) -> MutexGuard<'a, Queue> {
        let waited = self.came.wait_timeout_while(queue, time, |queue| !queue.is_urgent());
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
            if queue.is_urgent() || !queue.records.is_empty() || self.has_said() {
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
mod tests {
    use std::sync::mpsc;

    use dace_core::CircuitState;

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
        let told = Told::Attempt(dace_core::Class::Success, Duration::ZERO.into());
        Sender::set_open(&source, 0);
        sender.push(&source, told, None);
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
            sender.push(&source, Told::Retry, None);
        }
        sender.flush();
        let expected = ["first", "second", "third"].map(|name| format!("dace.{name}.retry:1|c"));
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }

    /// The thread looks when it is asked to, or woken.
    const NEVER: Pace = Pace {
        linger: Duration::from_secs(3_600),
        idle: Duration::from_secs(3_600),
        quiet: u32::MAX,
        pause: Duration::from_secs(3_600),
    };

    #[test]
    fn the_number_of_attempts_under_way_is_told_though_all_else_is_left_out_by_sampling() {
        let lines = Lines::default();
        let settings = Settings { rate: 1e-300, ..SETTINGS };
        let sender = Sender::at(NEVER, Outlet::Lines(Box::new(lines.clone())), settings).unwrap();
        let source = sender.source("dace", "users");
        sender.flush();
        assert!(lines.0.lock().unwrap().is_empty(), "there were none");
        for open in [0, 100] {
            sender.push(&source, Told::Retry, None);
            Sender::set_open(&source, open);
        }
        sender.flush();
        // And so it is when it is the same again.
        Sender::set_open(&source, 100);
        sender.flush();
        sender.flush();
        assert_eq!(*lines.0.lock().unwrap(), ["dace.users.open:100|g"; 2]);
    }

    #[test]
    fn a_number_of_attempts_under_way_that_the_sink_refuses_is_told_again_and_the_latest() {
        struct Shy(Lines);
        impl cadence::MetricSink for Shy {
            fn emit(&self, line: &str) -> std::io::Result<usize> {
                self.0.emit(line)?;
                match self.0.0.lock().unwrap().len() {
                    1 => Err(std::io::ErrorKind::WouldBlock.into()),
                    _ => Ok(line.len()),
                }
            }
        }
        let lines = Lines::default();
        let shy = Outlet::Lines(Box::new(Shy(lines.clone())));
        let sender = Sender::at(NEVER, shy, SETTINGS).unwrap();
        let source = sender.source("dace", "users");
        Sender::set_open(&source, 1);
        for _ in 0..3 {
            sender.flush();
        }
        assert_eq!(*lines.0.lock().unwrap(), ["dace.users.open:1|g"; 2]);
    }

    /// Hands the lines to the test.
    struct Teller(Mutex<mpsc::Sender<String>>);

    impl cadence::MetricSink for Teller {
        fn emit(&self, line: &str) -> std::io::Result<usize> {
            self.0.lock().unwrap().send(line.to_owned()).map_err(std::io::Error::other)?;
            Ok(line.len())
        }
    }

    fn told() -> (Outlet, mpsc::Receiver<String>) {
        let (told, lines) = mpsc::channel();
        (Outlet::Lines(Box::new(Teller(Mutex::new(told)))), lines)
    }

    const SOON: Duration = Duration::from_secs(10);

    #[test]
    fn a_queue_that_is_half_full_wakes_the_thread() {
        let (sink, lines) = told();
        let sender = Sender::at(NEVER, sink, SETTINGS).unwrap();
        let source = sender.source("dace", "users");
        // Often enough that it waits at least once before the last of them comes.
        for _ in 0..100 {
            for _ in 0..=SETTINGS.queue / 2 {
                thread::yield_now();
                sender.push(&source, Told::Retry, None);
            }
            for _ in 0..=SETTINGS.queue / 2 {
                let line = lines.recv_timeout(SOON);
                assert_eq!(line.as_deref(), Ok("dace.users.retry:1|c"));
            }
        }
    }

    #[test]
    fn between_two_bursts_the_server_has_a_pause_unless_somebody_flushes() {
        let (sink, lines) = told();
        let settings = Settings { queue: 2 * BURST, ..SETTINGS };
        let sender = Sender::at(NEVER, sink, settings).unwrap();
        let source = sender.source("dace", "users");
        for _ in 0..=BURST {
            sender.push(&source, Told::Retry, None);
        }
        for _ in 0..BURST {
            lines.recv_timeout(SOON).expect("the first burst");
        }
        // It would come at once.
        let none = lines.recv_timeout(Duration::from_millis(50));
        assert_eq!(none, Err(mpsc::RecvTimeoutError::Timeout));
        sender.flush();
        lines.recv_timeout(SOON).expect("the second");
    }

    #[test]
    fn the_last_handle_ends_a_pause_and_everything_is_sent() {
        let (sink, lines) = told();
        let settings = Settings { queue: 2 * BURST, ..SETTINGS };
        let sender = Sender::at(NEVER, sink, settings).unwrap();
        let source = sender.source("dace", "users");
        for _ in 0..=BURST {
            sender.push(&source, Told::Retry, None);
        }
        lines.recv_timeout(SOON).expect("the first burst");
        drop((sender, source));
        assert_eq!(lines.iter().count(), BURST, "and then there is no sink any more");
    }

    #[test]
    fn a_netloc_stays_with_its_record_whatever_is_left_out() {
        let (sink, lines) = told();
        let settings = Settings { tags: true, rate: 1e-300, queue: 8 };
        let sender = Sender::at(NEVER, sink, settings).unwrap();
        let source = sender.source("dace", "users");
        let target = |host: &str| format!("http://{host}").parse::<dace_core::Target>().unwrap();
        let (a, b) = (target("a"), target("b"));
        for round in 0..2 {
            // Retries are left out.
            for (told, target) in [
                (Told::Retry, Some(&a)),
                (Told::Circuit(CircuitState::Open), Some(&b)),
                (Told::Retry, None),
                (Told::Lost(7), None),
                (Told::Circuit(CircuitState::Closed), Some(&a)),
                (Told::Circuit(CircuitState::Closed), Some(&b)),
            ] {
                sender.push(&source, told, target.map(dace_core::Target::netloc));
            }
            sender.flush();
            let told: Vec<String> = lines.try_iter().collect();
            let expected = [
                "dace.users.circuit.opened:1|c|#netloc:b_80",
                "dace.users.events.dropped:7|c",
                "dace.users.circuit.closed:1|c|#netloc:a_80",
                "dace.users.circuit.closed:1|c|#netloc:b_80",
            ];
            assert_eq!(told, expected, "{round}");
        }
    }

    #[test]
    fn the_thread_looks_less_often_while_nothing_comes() {
        let Pace { linger, idle, quiet, .. } = Pace::USUAL;
        assert_eq!(Pace::USUAL.patience(0), linger);
        assert_eq!(Pace::USUAL.patience(quiet - 1), linger);
        assert_eq!(Pace::USUAL.patience(quiet), idle);
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
        sender.push(&source, Told::Retry, None);
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
