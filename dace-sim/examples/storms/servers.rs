//! The servers of a fleet: each does one request after the other, works on those whose callers are gone as
//! well, and has connections, which are what calls hang on when it vanishes.

use std::collections::hash_map::{Entry, OccupiedEntry};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dace_core::Instant;
use foldhash::fast::FixedState;

/// How long a connection may lie idle: what dace's adapters have.
const IDLE: Duration = Duration::from_secs(4);

/// What requests are counted by.
pub(crate) const TICK: Duration = Duration::from_millis(10);

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Health {
    /// It answers.
    Well,
    /// It answers this share of its requests with 503, after the same work.
    Failing(f64),
    /// Nobody listens: connections are refused, and those that there were are reset.
    Down,
    /// It is off the network: no answer to anything.
    Lost,
}

/// A time in which every server takes so many times as long for its work. It is known from the start, so
/// that what waits when it begins or ends is worked on at the speed of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slow {
    pub(crate) from: Instant,
    pub(crate) until: Instant,
    pub(crate) times: u32,
}

/// A client and a server.
pub(crate) type Pair = (u32, u32);

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reception {
    /// The connection is refused.
    Refused,
    /// Nothing comes back.
    Silence,
    /// The connection turns out to have been reset.
    Reset,
    /// An answer, at that instant, if the server lives that long.
    Answer { at: Instant, life: u32 },
}

/// What became of a request that was being worked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered(u16),
    Reset,
    Silence,
}

#[derive(Clone, Copy, Debug)]
struct Server {
    health: Health,
    /// Counts its deaths.
    life: u32,
    /// When all that it has taken is done, by the [work clock](Servers::worked).
    free: Duration,
}

/// All servers, and all connections to them.
#[derive(Debug)]
pub(crate) struct Servers {
    servers: Vec<Server>,
    /// The work of one request.
    work: Duration,
    slow: Vec<Slow>,
    rng: fastrand::Rng,
    /// Requests that reached a server, by the [`TICK`].
    pub(crate) arrivals: Vec<u32>,
    pub(crate) connections: Connections,
}

impl Servers {
    pub(crate) fn new(
        seed: u64,
        count: usize,
        work: Duration,
        slow: Vec<Slow>,
    ) -> Arc<Mutex<Self>> {
        let server = Server { health: Health::Well, life: 0, free: Duration::ZERO };
        Arc::new(Mutex::new(Self {
            servers: vec![server; count],
            work,
            slow,
            rng: fastrand::Rng::with_seed(seed),
            arrivals: Vec::new(),
            connections: Connections::default(),
        }))
    }

    /// What one server could have worked until then: the clock, without what it was slow.
    fn worked(&self, at: Instant) -> Duration {
        let lost = |slow: &Slow| {
            let passed = at.min(slow.until).since(slow.from);
            passed - passed / slow.times
        };
        at.since(Instant::EPOCH) - self.slow.iter().map(lost).sum::<Duration>()
    }

    /// When the work clock stands there.
    fn when(&self, worked: Duration) -> Instant {
        let mut at = Instant::EPOCH.after(worked);
        for slow in &self.slow {
            let into = at.since(slow.from);
            let whole = slow.until.since(slow.from);
            at = at.after((into * (slow.times - 1)).min(whole - whole / slow.times));
        }
        at
    }

    pub(crate) fn set(&mut self, now: Instant, server: usize, health: Health) {
        let now = self.worked(now);
        let server = &mut self.servers[server];
        server.health = health;
        if matches!(health, Health::Down | Health::Lost) {
            // What it worked on is gone with it.
            server.life += 1;
            server.free = now;
        }
    }

    /// A request comes on a connection of that life, on a new one if there is none.
    pub(crate) fn receive(&mut self, now: Instant, server: u32, reused: Option<u32>) -> Reception {
        let worked = self.worked(now);
        let Server { health, life, free } = &mut self.servers[server as usize];
        match health {
            Health::Down => return Reception::Refused,
            Health::Lost => return Reception::Silence,
            _ if reused.is_some_and(|reused| reused != *life) => return Reception::Reset,
            _ => {}
        }
        let tick = (now.as_nanos() / TICK.as_nanos() as u64) as usize;
        if self.arrivals.len() <= tick {
            self.arrivals.resize(tick + 1, 0);
        }
        self.arrivals[tick] += 1;
        *free = worked.max(*free) + self.work;
        let (done, life) = (*free, *life);
        Reception::Answer { at: self.when(done), life }
    }

    /// What became of what was begun in that life.
    pub(crate) fn fate(&mut self, server: u32, life: u32) -> Fate {
        let server = self.servers[server as usize];
        match server.health {
            Health::Lost => Fate::Silence,
            _ if server.life != life => Fate::Reset,
            Health::Failing(share) if self.rng.f64() < share => Fate::Answered(503),
            _ => Fate::Answered(200),
        }
    }

    /// A connection that lies idle, by the life of the server that it was made in. Those to a server that
    /// is known to be down are gone.
    pub(crate) fn reuse(&mut self, now: Instant, pair: Pair) -> Option<u32> {
        let down = self.servers[pair.1 as usize].health == Health::Down;
        self.connections.open(now, pair, !down)
    }
}

/// The connections that clients have open.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// Pairs without a connection are not here.
    pairs: HashMap<Pair, Used, FixedState>,
    /// When idle ones are closed, in order.
    expiries: VecDeque<(Instant, Pair, u64)>,
    stamp: u64,
    /// Busy and idle.
    pub(crate) open: u32,
    /// The most that were open from one client to one server.
    pub(crate) most: u32,
}

#[derive(Debug, Default)]
struct Used {
    busy: u32,
    /// The last used comes last: its stamp, and the server's life.
    idle: Vec<(u64, u32)>,
}

impl Connections {
    fn open(&mut self, now: Instant, pair: Pair, reuse: bool) -> Option<u32> {
        self.expire(now);
        let used = self.pairs.entry(pair).or_default();
        if !reuse {
            self.open -= used.idle.drain(..).len() as u32;
        }
        let reused = used.idle.pop();
        self.open += u32::from(reused.is_none());
        used.busy += 1;
        self.most = self.most.max(used.busy + used.idle.len() as u32);
        reused.map(|(_, life)| life)
    }

    /// One that was busy is closed, or lies idle.
    pub(crate) fn leave(&mut self, now: Instant, pair: Pair, idle: Option<u32>) {
        let Entry::Occupied(mut used) = self.pairs.entry(pair) else {
            unreachable!("it was busy");
        };
        used.get_mut().busy -= 1;
        if let Some(life) = idle {
            self.stamp += 1;
            used.get_mut().idle.push((self.stamp, life));
            self.expiries.push_back((now.after(IDLE), pair, self.stamp));
        } else {
            self.open -= 1;
            forget_unused(used);
        }
    }

    /// Closes what has lain idle for too long.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some(&(_, pair, stamp)) = self.expiries.front().filter(|next| next.0 <= now) {
            self.expiries.pop_front();
            let Entry::Occupied(mut used) = self.pairs.entry(pair) else { continue };
            let idle = &mut used.get_mut().idle;
            if let Some(place) = idle.iter().position(|(own, _)| *own == stamp) {
                idle.remove(place);
                self.open -= 1;
                forget_unused(used);
            }
        }
    }
}

fn forget_unused(used: OccupiedEntry<'_, Pair, Used>) {
    if used.get().busy == 0 && used.get().idle.is_empty() {
        used.remove();
    }
}

/// Nobody panics while he holds it.
pub(crate) fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
