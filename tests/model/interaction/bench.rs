//! The bench: dependencies, their servers and their callers, moved on one operation at a time.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dace::{
    Cache, CachePolicy, Group, LeastOpen, Member, PeakEwma, Rendezvous, RoundRobin, SharedLimit,
    Snapshot,
};
use dace_sim::{Answer, Server, Sim};

use super::calls::{self, Ended, Kind, Made, Means, Start};
use super::hooks::{Hook, Hooks, Log, Turns, safely};
use super::operations::{Hand, Op, Script};
use super::policy::{Picker, Plan, Setup};
use super::{Dependency, HOSTS, Response, ms};

#[derive(Default)]
pub(super) struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A call that somebody holds.
pub(super) struct Live {
    made: Made,
    woken: Arc<Flag>,
    pub(super) side: usize,
    number: usize,
    timeout: Option<u64>,
    /// Set by the first poll.
    pub(super) deadline: Option<Duration>,
    over: bool,
}

impl Live {
    /// Whether its deadline binds: that of a fallback does not.
    fn is_late(&self, now: Duration) -> bool {
        let late = self.deadline.is_some_and(|deadline| now >= deadline);
        late && !self.made.rescued.load(Ordering::Relaxed)
    }

    /// Whether it may be under way.
    pub(super) fn is_begun(&self) -> bool {
        self.deadline.is_some() && !self.over
    }
}

/// One dependency, and what is known of it.
pub(super) struct Side {
    pub(super) dependency: Dependency,
    pub(super) log: Log,
    pub(super) means: Means,
    pub(super) plan: Plan,
    pub(super) listed: Vec<usize>,
    /// The most netlocs that it was ever allowed.
    pub(super) netlocs: usize,
    pub(super) closed: bool,
    /// What its budget banks, unless that was changed.
    pub(super) banked: Option<u32>,
    /// As it was at the last check.
    pub(super) before: Snapshot,
}

/// What is remembered of each call, for the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) start: Start,
    pub(super) deadline: Option<Duration>,
}

type Closing = Pin<Box<dyn Future<Output = u32>>>;

pub(super) struct Bench {
    pub(super) picker: Picker,
    pub(super) sim: Sim,
    pub(super) servers: Vec<Server>,
    pub(super) sides: Vec<Side>,
    pub(super) shared: Option<SharedLimit>,
    pub(super) hooks: Hooks,
    pub(super) live: Vec<Live>,
    pub(super) kept: Vec<Arc<Mutex<Response>>>,
    pub(super) closing: Vec<Closing>,
    pub(super) records: BTreeMap<usize, Record>,
    /// How far the clock went back, all in all.
    pub(super) back: Duration,
}

fn member(host: usize) -> Member {
    Member::new(format!("http://{}", HOSTS[host]).as_str())
}

impl Bench {
    pub(super) fn new(setup: &Setup) -> Self {
        let sim = Sim::new(setup.seed);
        let servers: Vec<_> =
            HOSTS.iter().map(|host| sim.server(&format!("http://{host}"))).collect();
        let hooks = Hooks::default();
        let shared = setup.shared.map(|shared| shared.limit());
        // Netlocs without room share an entry called `other`.
        let names = ["test", "second"];
        let count = if shared.is_some() { 2 } else { 1 };
        let side = |name: &&str| Side::new(name, &sim, setup, shared.as_ref(), &hooks);
        let sides = names[..count].iter().map(side).collect();
        let mut bench = Self {
            picker: setup.picker,
            sim,
            servers,
            sides,
            shared,
            hooks,
            live: Vec::new(),
            kept: Vec::new(),
            closing: Vec::new(),
            records: BTreeMap::new(),
            back: Duration::ZERO,
        };
        if setup.warm {
            bench.warm(&setup.plan);
        }
        for (number, server) in bench.servers.iter().enumerate() {
            server.latency(ms(5 + 10 * number as u64)).jitter(ms(3));
        }
        bench
    }

    /// Quick answers, so many that a hedge begins soon.
    fn warm(&mut self, plan: &Plan) {
        let _changed = self.sides[0]
            .dependency
            .reload(Plan { rate: None, adaptive: None, throttle: None, ..plan.clone() }.policy());
        for server in &self.servers {
            server.latency(ms(1));
        }
        for number in 0..60 {
            self.start(&Start::get(number % HOSTS.len()));
            self.run();
            self.sim.advance(ms(2));
            self.run();
        }
        self.sides[0].dependency.reload(plan.policy()).unwrap();
    }

    pub(super) fn step(&mut self, op: &Op) {
        match op {
            Op::Start(start) => self.start(start),
            Op::Crowd(count) => {
                for host in 0..*count {
                    self.start(&Start::get(3 + host));
                }
            }
            Op::Poll(number) => {
                if !self.live.is_empty() {
                    self.poll(number % self.live.len());
                }
            }
            Op::Run => self.run(),
            Op::Drop(number) => {
                if !self.live.is_empty() {
                    let live = self.live.remove(number % self.live.len());
                    self.remember(&live);
                    let _dropped = safely(|| drop(live));
                }
            }
            Op::DropKept(number) => {
                if !self.kept.is_empty() {
                    let index = number % self.kept.len();
                    drop(self.kept.remove(index));
                }
            }
            Op::Pass(millis) => self.sim.advance(ms(*millis)),
            Op::Back(millis) => {
                self.back += ms(*millis).min(self.sim.elapsed());
                self.sim.turn_back(ms(*millis));
            }
            Op::Script(host, script) => self.script(*host, *script),
            Op::Arm(hook) => self.hooks.arm(*hook),
            Op::Flush => self.each(|side| side.dependency.flush()),
            Op::Close => self.close(),
            Op::Reload(plan) => {
                self.each(|side| {
                    side.netlocs = side.netlocs.max(plan.netlocs);
                    side.banked = side.banked.filter(|banked| *banked == plan.banked);
                    side.plan = Plan::clone(plan);
                    side.dependency.reload(plan.policy()).unwrap();
                });
            }
            Op::Force(host, hand) => {
                let host = *host;
                self.each(|side| {
                    let id = side.dependency.id().to_owned();
                    let netloc = HOSTS.get(host).map_or(id.as_str(), |host| host);
                    if let Some(circuit) = side.dependency.circuit(netloc) {
                        let _known = match hand {
                            Hand::Drain => circuit.drain(),
                            Hand::Reset => circuit.reset(),
                            Hand::Open => circuit.force_open(),
                            Hand::Closed => circuit.force_closed(),
                            Hand::Metrics => circuit.metrics_only(),
                            Hand::Automatic => circuit.automatic(),
                        };
                    }
                });
            }
            // A function that names its servers itself is left to do so.
            _ if self.picker == Picker::Function => {}
            Op::List(set, weight, last) => {
                let listed: Vec<_> =
                    (0..HOSTS.len()).filter(|host| set & (1 << host) != 0).collect();
                let reserve = listed.last().copied().filter(|_| *last && listed.len() > 1);
                let of = |host: usize| {
                    let priority = u32::from(reserve == Some(host));
                    member(host).weight(*weight + host as u32).priority(priority)
                };
                self.each(|side| {
                    side.listed.clone_from(&listed);
                    side.dependency.set_targets(listed.iter().map(|host| of(*host))).unwrap();
                });
            }
            Op::Add(host) => self.each(|side| {
                let known = side.listed.contains(host);
                if !known {
                    side.listed.push(*host);
                }
                assert_eq!(side.dependency.add_target(member(*host)).is_ok(), !known);
            }),
            Op::Remove(host) => self.each(|side| {
                let last = side.listed == [*host];
                let known = side.listed.contains(host);
                if !last {
                    side.listed.retain(|known| known != host);
                }
                let target = format!("http://{}", HOSTS[*host]).parse().unwrap();
                let removed = side.dependency.remove_target(&target).ok();
                assert_eq!(removed, (!last).then_some(known));
            }),
            Op::Weigh(host, weight) => self.each(|side| {
                let target = format!("http://{}", HOSTS[*host]).parse().unwrap();
                let known = side.dependency.set_weight(&target, *weight).unwrap();
                assert_eq!(known, side.listed.contains(host));
            }),
        }
        self.check();
    }

    /// Does something to each dependency. An observer that panics in it changes nothing.
    fn each(&mut self, mut act: impl FnMut(&mut Side)) {
        for side in &mut self.sides {
            let _done = safely(|| act(side));
        }
    }

    fn close(&mut self) {
        for side in &mut self.sides {
            side.closed = true;
            self.closing.push(Box::pin(side.dependency.close(ms(3_600_000))));
        }
        self.poll_closing();
    }

    pub(super) fn poll_closing(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        self.closing.retain_mut(|closing| {
            // Who panics at it has to try again, as any caller would.
            match safely(|| closing.as_mut().poll(&mut cx)) {
                Some(Poll::Ready(left)) => {
                    assert_eq!(left, 0, "it is closed, and calls are under way");
                    false
                }
                Some(Poll::Pending) | None => true,
            }
        });
    }

    fn script(&self, host: usize, script: Script) {
        let server = &self.servers[host];
        let now = self.sim.elapsed();
        match script {
            Script::Answers(200) => server.handler(|_| Answer::ok("ok").piece(ms(3), "more")),
            Script::Answers(status) => server.handler(move |_| Answer::status(status)),
            Script::Throttles(hint) => server
                .handler(move |_| Answer::status(429).header("retry-after", &hint.to_string())),
            Script::Hangs(span) => server.hangs(now..now + ms(span)),
            Script::Resets(span) => server.resets(now..now + ms(span)),
            Script::Down(span) => server.down(now..now + ms(span)),
            Script::Ends(ending) => server.handler(move |_| Answer::ok("ok").ending(ending)),
            Script::Stale(sent) => server.stale(sent),
            Script::Workers(count) => server.capacity(count),
            Script::Redirects => {
                let other = HOSTS[(host + 1) % HOSTS.len()];
                server.handler(move |request| match request.url.path_and_query() {
                    path if path.contains('?') => Answer::ok("ok"),
                    path => {
                        let location = format!("http://{other}{path}?moved");
                        Answer::status(307).header("location", &location)
                    }
                })
            }
        };
    }

    pub(super) fn start(&mut self, start: &Start) {
        let side = usize::from(start.other) % self.sides.len();
        let number = self.records.len() + 1;
        let Side { dependency, means, .. } = &self.sides[side];
        let made = calls::make(dependency, means, number, start);
        self.records.insert(number, Record { start: *start, deadline: None });
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let timeout = start.timeout;
        self.live.push(Live { made, woken, side, number, timeout, deadline: None, over: false });
    }

    fn remember(&mut self, live: &Live) {
        if let Some(record) = self.records.get_mut(&live.number) {
            record.deadline = live.deadline;
        }
    }

    /// Polls one call. Whatever ends is taken out.
    pub(super) fn poll(&mut self, index: usize) -> Option<Ended> {
        let now = self.sim.elapsed();
        let live = &mut self.live[index];
        live.woken.0.store(false, Ordering::Relaxed);
        let timeout = live.timeout.unwrap_or(self.sides[live.side].plan.timeout);
        live.deadline.get_or_insert(now + ms(timeout));
        let waker = Waker::from(live.woken.clone());
        let observed = self.hooks.fired(Hook::Observe);
        let poll = || live.made.future.as_mut().poll(&mut Context::from_waker(&waker));
        let polled = safely(poll);
        if let Some(Poll::Pending) = polled {
            assert!(!live.is_late(now), "a call outlives its deadline");
            return None;
        }
        // The future is kept for a while: a call that is over, or panicked, holds nothing. But a panic of an
        // observer is that of somebody who delivers, and the call goes on until it is dropped.
        live.over = self.hooks.fired(Hook::Observe) == observed;
        self.check();
        let live = self.live.remove(index);
        self.remember(&live);
        let _dropped = safely(|| drop(live));
        let Some(Poll::Ready(mut ended)) = polled else {
            return None;
        };
        if let Ok(value) = &mut ended {
            self.kept.extend(value.kept.take());
        }
        Some(ended)
    }

    pub(super) fn run(&mut self) {
        let _ended = self.run_all();
    }

    /// Polls all that were woken, until none is.
    pub(super) fn run_all(&mut self) -> Vec<Ended> {
        let mut ended = Vec::new();
        for _ in 0..20_000 {
            let woken = |live: &Live| live.woken.0.load(Ordering::Relaxed);
            let Some(index) = self.live.iter().position(woken) else {
                // Nobody was woken, so nobody is late.
                let now = self.sim.elapsed();
                let late = self.live.iter().any(|live| live.is_late(now));
                assert!(!late, "nobody woke a late call");
                return ended;
            };
            ended.extend(self.poll(index));
        }
        panic!("calls wake each other for ever");
    }
}

impl Side {
    fn new(
        name: &str,
        sim: &Sim,
        setup: &Setup,
        shared: Option<&SharedLimit>,
        hooks: &Hooks,
    ) -> Self {
        let log = Log { hooks: hooks.clone(), ..Log::default() };
        let mut builder =
            Dependency::builder(name).policy(setup.plan.policy()).observer(log.clone());
        if let Some(shared) = shared {
            builder = builder.shared_limit(shared);
        }
        let all = || (0..HOSTS.len()).map(member);
        builder = match setup.picker {
            Picker::Function => builder,
            Picker::PeakEwma => builder.load_balancer(PeakEwma::new(all())),
            Picker::RoundRobin => builder.load_balancer(RoundRobin::new(all())),
            Picker::LeastOpen => builder.load_balancer(LeastOpen::new(all())),
            Picker::Rendezvous => builder.load_balancer(Rendezvous::new(all()).bounded_load(1.25)),
            Picker::Own => {
                let turns = Turns { next: AtomicU32::new(0), hooks: hooks.clone() };
                builder.targets(all()).load_balancer(turns)
            }
        };
        let dependency = builder.build_with(sim.runtime(), sim.backend()).unwrap();
        let policy = CachePolicy::new().ttl(ms(30)).stale_if_error(ms(200)).capacity(3);
        let names = setup.picker == Picker::Function;
        let means = Means {
            sim: sim.clone(),
            hooks: hooks.clone(),
            cache: Cache::new(policy).unwrap(),
            group: Group::new(),
            names,
        };
        let before = dependency.snapshot();
        let (plan, netlocs) = (setup.plan.clone(), setup.plan.netlocs);
        let listed = if names { Vec::new() } else { vec![0, 1, 2] };
        let banked = Some(plan.banked);
        Self { dependency, log, means, plan, listed, netlocs, closed: false, banked, before }
    }

    /// How it is. An observer may panic while it is told what happened before.
    pub(super) fn snapshot(&self) -> Snapshot {
        for _ in 0..8 {
            if let Some(snapshot) = safely(|| self.dependency.snapshot()) {
                return snapshot;
            }
        }
        panic!("an observer panics again and again");
    }

    /// A call as it is made when all is well.
    pub(super) fn plain(&self, index: usize, turn: usize) -> Start {
        // Scattered: whatever comes in turn is in step with some rate.
        let turn = ((turn as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize;
        let own = turn % 4 == 3;
        let kind = if own { Kind::Local } else { Kind::Get };
        Start { other: index == 1, kind, ..Start::get(turn % 4 % HOSTS.len()) }
    }
}
