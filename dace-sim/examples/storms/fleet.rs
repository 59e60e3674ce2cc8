//! Many clients, each with a dependency of its own over some of the servers, and what is seen of them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::mem::discriminant;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace_core::{Event, Instant, Observer, Runtime as _, Target, What};
use dace_sim::Sim;
use foldhash::quality::{FixedState, FoldHasher};

use crate::backend::FleetBackend;
use crate::funding::{Client, Kind};
use crate::servers::{Health, Servers, Slow, TICK, lock};

type Dependency = dace_core::Dependency<dace_sim::SimRuntime, FleetBackend>;

/// Servers in a client's list.
pub(crate) const LIST: usize = 20;

/// How large a fleet is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    pub(crate) clients: usize,
    pub(crate) servers: usize,
    /// Calls a second, of all clients together.
    pub(crate) demand: f64,
    /// Of what the servers can do.
    pub(crate) utilisation: f64,
    /// Whether callers come by chance (Poisson), or evenly: in a small fleet, chance alone makes bursts.
    pub(crate) by_chance: bool,
}

impl Size {
    /// A fleet in which every client makes a call a second, and a server has ten clients.
    pub(crate) const fn fleet(clients: usize) -> Self {
        let (servers, demand) = (clients / 10, clients as f64);
        Self { clients, servers, demand, utilisation: 0.75, by_chance: clients >= 1000 }
    }

    /// The work of one request.
    fn work(self) -> Duration {
        Duration::from_secs_f64(self.utilisation * self.servers as f64 / self.demand)
    }
}

/// Something that happens to the servers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// To the servers from one number to another.
    Health(usize, usize, Health),
    /// All of them take so many times as long, for so long.
    Slow(u32, Duration),
    /// The names of all servers stand for others from now on; each client hears of it at some time in
    /// this many seconds.
    Move(u64),
}

/// What was seen in one second.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    /// Calls that began in it.
    pub(crate) calls: u32,
    /// Of those, that ended with a value.
    pub(crate) good: u32,
    /// Requests that reached a server in it.
    pub(crate) requests: u32,
    /// Targets that their clients pass over at its end: their circuits are not closed.
    pub(crate) ejected: u32,
    /// Connections open at its end.
    pub(crate) connections: u32,
}

/// A whole run.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) seconds: Vec<Second>,
    /// Requests by the [`TICK`].
    pub(crate) ticks: Vec<u32>,
    /// Of every event of every client, in order.
    pub(crate) hash: u64,
    /// The most connections from one client to one server.
    pub(crate) most_connections: u32,
    /// Connections when all calls are over, and what was idle has been closed.
    pub(crate) connections_left: u32,
}

/// What all observers write to.
struct Seen {
    hash: FoldHasher<'static>,
    ejected: u32,
}

/// The observer of one client.
struct Watch {
    client: u32,
    seen: Arc<Mutex<Seen>>,
}

impl Observer for Watch {
    fn on_event(&self, _: &str, event: &Event) {
        let mut seen = lock(&self.seen);
        match event.what {
            What::Ejected { .. } => seen.ejected += 1,
            What::Readmitted { .. } | What::Removed { .. } => seen.ejected -= 1,
            _ => {}
        }
        let hash = &mut seen.hash;
        (self.client, event.at, event.call, discriminant(&event.what)).hash(hash);
        (event.netloc(), event.attempt(), event.class(), event.took()).hash(hash);
        if let What::RetryDecided { wait, .. } = event.what {
            wait.hash(hash);
        }
    }
}

/// The clients and their servers.
pub(crate) struct Fleet {
    sim: Sim,
    size: Size,
    servers: Arc<Mutex<Servers>>,
    seen: Arc<Mutex<Seen>>,
    clients: Vec<Client<FleetBackend>>,
    /// Of all servers. Clients share them: names of their own would be a good part of their memory.
    names: Vec<Target>,
    /// The servers of each client, by their numbers.
    lists: Vec<Vec<usize>>,
    rng: RefCell<fastrand::Rng>,
    seconds: RefCell<Vec<Second>>,
    /// Those that have no call to make, the last one first.
    idle: RefCell<Vec<Rc<Caller>>>,
    /// No call begins any more.
    over: Cell<bool>,
}

/// A task that makes one call after the other: a new task for each call is a good part of what it costs.
#[derive(Default)]
struct Caller {
    /// What it is to do, if that is anything new.
    order: Cell<Option<Order>>,
    waker: Cell<Option<Waker>>,
}

#[derive(Clone, Copy)]
enum Order {
    /// A call by this client.
    Call(usize),
    End,
}

impl Caller {
    fn tell(&self, order: Order) {
        self.order.set(Some(order));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Order> {
        match self.order.take() {
            Some(order) => Poll::Ready(order),
            None => {
                self.waker.set(Some(cx.waker().clone()));
                Poll::Pending
            }
        }
    }
}

impl Fleet {
    /// What happens to a fleet of these clients, in which these changes come at their times.
    pub(crate) fn run(
        seed: u64,
        size: Size,
        kind: &Kind,
        seconds: u64,
        changes: &[(Duration, Change)],
    ) -> Record {
        let slow = changes.iter().filter_map(|&(at, change)| match change {
            Change::Slow(times, long) => {
                let from = Instant::EPOCH.after(at);
                Some(Slow { from, until: from.after(long), times })
            }
            _ => None,
        });
        let fleet = Rc::new(Self::new(seed, size, kind, slow.collect()));
        fleet.sim.run(fleet.clone().hours(seconds, changes.to_vec()));
        let mut servers = lock(&fleet.servers);
        servers.connections.expire(fleet.sim.runtime().now());
        let connections_left = servers.connections.open;
        Record {
            seconds: fleet.seconds.take(),
            ticks: std::mem::take(&mut servers.arrivals),
            hash: lock(&fleet.seen).hash.finish(),
            most_connections: servers.connections.most,
            connections_left,
        }
    }

    fn new(seed: u64, size: Size, kind: &Kind, slow: Vec<Slow>) -> Self {
        let sim = Sim::new(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        // Twice as many: when they move, the others take their places.
        let servers = Servers::new(seed, size.servers * 2, size.work(), slow);
        let names: Vec<Target> = (0..size.servers * 2).map(name).collect();
        let lists = subsets(&mut rng, size);
        let hash = FixedState::with_seed(0).build_hasher();
        let seen = Arc::new(Mutex::new(Seen { hash, ejected: 0 }));
        let clients = (0_u32..).zip(&lists).map(|(client, list)| {
            let dependency = Dependency::builder(format!("client{client}"))
                .policy(kind.policy.clone())
                .targets(list.iter().map(|&server| names[server].clone()))
                .observer(Watch { client, seen: seen.clone() })
                .build_with(
                    sim.runtime(),
                    FleetBackend { servers: servers.clone(), runtime: sim.runtime(), client },
                );
            let dependency = dependency.expect("the policy is good");
            Client::new(kind.funding, dependency, size.demand / size.clients as f64)
        });
        let clients = clients.collect();
        let (rng, seconds, idle) = (RefCell::new(rng), RefCell::default(), RefCell::default());
        let over = Cell::new(false);
        Self { clients, sim, size, servers, seen, names, lists, rng, seconds, idle, over }
    }

    async fn hours(self: Rc<Self>, seconds: u64, changes: Vec<(Duration, Change)>) {
        let _callers = self.sim.spawn(self.clone().callers(Duration::from_secs(seconds)));
        let _changes = self.sim.spawn(self.clone().trouble(changes));
        for second in 0..seconds {
            self.wait_until(Duration::from_secs(second + 1)).await;
            let ejected = lock(&self.seen).ejected;
            let mut servers = lock(&self.servers);
            servers.connections.expire(self.sim.runtime().now());
            let per_second = (1000 / TICK.as_millis()) as usize;
            let ticks = servers.arrivals.iter().skip(second as usize * per_second).take(per_second);
            let (requests, connections) = (ticks.sum(), servers.connections.open);
            self.note(second as usize, |this| {
                (this.requests, this.ejected, this.connections) = (requests, ejected, connections);
            });
        }
        // The last call ends, and what lies idle is closed a second after its time.
        self.sim.sleep(Duration::from_secs(10)).await;
    }

    async fn wait_until(&self, at: Duration) {
        self.sim.sleep(at.saturating_sub(self.sim.elapsed())).await;
    }

    /// Callers come until then.
    async fn callers(self: Rc<Self>, until: Duration) {
        let mut turn = 0;
        while self.sim.elapsed() < until {
            let (clients, by_chance) = (self.clients.len(), self.size.by_chance);
            let chance = self.rng.borrow_mut().f64();
            let wait = if by_chance { -(1.0 - chance).ln() } else { 0.9 + 0.2 * chance };
            self.sim.sleep(Duration::from_secs_f64(wait / self.size.demand)).await;
            turn = if by_chance { self.rng.borrow_mut().usize(..clients) } else { turn + 1 };
            let idle = self.idle.borrow_mut().pop();
            let caller = idle.unwrap_or_else(|| {
                let caller = Rc::<Caller>::default();
                let _task = self.sim.spawn(self.clone().calls(caller.clone()));
                caller
            });
            caller.tell(Order::Call(turn % clients));
        }
        // Each of them holds the fleet.
        self.over.set(true);
        self.idle.take().iter().for_each(|caller| caller.tell(Order::End));
    }

    async fn calls(self: Rc<Self>, caller: Rc<Caller>) {
        while let Order::Call(client) = poll_fn(|cx| caller.poll(cx)).await {
            let second = self.sim.elapsed().as_secs() as usize;
            self.note(second, |this| this.calls += 1);
            let good = self.clients[client].call(&self.sim, &self.rng).await;
            self.note(second, |this| this.good += u32::from(good));
            if self.over.get() {
                return;
            }
            self.idle.borrow_mut().push(caller.clone());
        }
    }

    async fn trouble(self: Rc<Self>, changes: Vec<(Duration, Change)>) {
        let mut moves = 0;
        for (at, change) in changes {
            self.wait_until(at).await;
            match change {
                Change::Slow(..) => {}
                Change::Health(from, to, health) => {
                    let now = self.sim.runtime().now();
                    let mut servers = lock(&self.servers);
                    (from..to).for_each(|server| servers.set(now, server, health));
                }
                Change::Move(seconds) => {
                    moves += 1;
                    for client in 0..self.clients.len() {
                        let wait = self.rng.borrow_mut().u64(0..=seconds * 1_000_000);
                        let (fleet, wait) = (self.clone(), Duration::from_micros(wait));
                        let _task = self.sim.spawn(async move {
                            fleet.sim.sleep(wait).await;
                            fleet.move_client(client, moves % 2 * fleet.size.servers);
                        });
                    }
                }
            }
        }
    }

    fn move_client(&self, client: usize, by: usize) {
        let list = self.lists[client].iter().map(|server| self.names[server + by].clone());
        self.clients[client].dependency.set_targets(list).expect("the list is good");
    }

    fn note(&self, second: usize, note: impl FnOnce(&mut Second)) {
        let mut seconds = self.seconds.borrow_mut();
        if seconds.len() <= second {
            seconds.resize(second + 1, Second::default());
        }
        note(&mut seconds[second]);
    }
}

fn name(server: usize) -> Target {
    format!("http://s{server}:80").parse().expect("it is a target")
}

/// The servers of each client, so that every server has as many clients as every other ("deterministic
/// subsetting", Site Reliability Engineering, chapter 20).
fn subsets(rng: &mut fastrand::Rng, size: Size) -> Vec<Vec<usize>> {
    let mut servers: Vec<usize> = (0..size.servers).collect();
    let mut lists = Vec::new();
    while lists.len() < size.clients {
        rng.shuffle(&mut servers);
        lists.extend(servers.chunks_exact(LIST.min(size.servers)).map(<[usize]>::to_vec));
    }
    lists.truncate(size.clients);
    lists
}
