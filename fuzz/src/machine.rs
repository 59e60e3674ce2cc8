//! The call machine: whatever is done to calls, and whenever, everything that was lent comes back, and a
//! dependency whose servers are well serves again.
//!
//! `tests/model` goes through the same operations with the settings that every dependency has; here are all
//! the limits as well, and the coverage leads the way.
//!
//! Every input ends. A call that goes on and on at one instant is a livelock, and a find: within one poll
//! [`Watched`] sees it, and from poll to poll [`Bench::run`].

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use dace::sim::{Answer, Server, Sim, SimBackend, SimRuntime, SimSleep};
use dace::{
    AdaptiveLimit, Backoff, Balancing, Breaker, Budget, Hedge, HttpError, Instant, Policy,
    Priority, RateLimit, Runtime, Throttle,
};

type Dependency = dace::Dependency<Watched, SimBackend>;
type Call = dace::Call<Watched, SimBackend>;
type Response = dace::Response<Watched, SimBackend>;
type Outcome = Result<Option<Response>, dace::Error<HttpError>>;

const HOSTS: [&str; 3] = ["http://a", "http://b", "http://c"];
const MOST_OPS: usize = 200;

/// The longest that a call lasts, and that the clock goes back in all.
const TIMEOUT: Duration = Duration::from_secs(2);

/// How often a call may be polled at one instant: it waits for few things, and each of them wakes it a few
/// times at the most.
const POLLS: usize = 100;

/// How often the clock may be read within one poll. Every turn of a loop in dace reads it.
const READS: u32 = 10_000;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Settings {
    limit: u8,
    queue: u8,
    pool: u8,
    retries: u8,
    on_timeout: bool,
    attempt_timeout: Option<u8>,
    expected_in: Option<u8>,
    reset: u8,
    trip: u8,
    probes: u8,
    banked: u8,
    base: u8,
    rate: Option<u8>,
    adaptive: bool,
    throttle: bool,
    hedge: bool,
    balancer: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Kind {
    Get,
    Post,
    Two,
    Both,
    Keep,
    Again,
    Local,
    Forever,
    Panic,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Script {
    Answers(u8),
    Throttles(u8),
    Hangs(u8),
    Resets(u8),
    Down(u8),
    Stalls,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Hand {
    Drain,
    Reset,
    Open,
    Closed,
    Metrics,
    Automatic,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Op {
    Start { kind: Kind, host: u8, timeout: Option<u8>, priority: u8, sticky: bool },
    Poll(u8),
    Run,
    Drop(u8),
    DropKept(u8),
    Pass(u8),
    PassLong(u8),
    Back(u8),
    Script(u8, Script),
    Targets(u8),
    Force(u8, Hand),
    Reload(Settings),
}

/// Settings, then operations.
pub fn machine(data: &[u8]) {
    let mut data = Unstructured::new(data);
    let Ok(settings) = Settings::arbitrary(&mut data) else { return };
    let mut bench = Bench::new(settings);
    for _ in 0..MOST_OPS {
        match Op::arbitrary(&mut data) {
            Ok(op) if !data.is_empty() => bench.step(op),
            _ => break,
        }
    }
    bench.end();
}

impl Settings {
    fn balances(&self) -> bool {
        self.balancer % 4 > 0
    }

    fn policy(&self) -> Policy {
        let small = |value: u8| 1 + u32::from(value % 3);
        let mut policy = Policy::new()
            .timeout(TIMEOUT)
            .max_open_per_netloc(small(self.limit))
            .queue(usize::from(self.queue % 4))
            .http_pool_size(small(self.pool))
            .retry_attempts(u32::from(self.retries % 4))
            .retry_on_timeout(self.on_timeout)
            .circuit_reset_timeout(ms([0, 50, 300, 1000][usize::from(self.reset % 4)]))
            .breaker(
                Breaker::new()
                    .consecutive_failures(small(self.trip))
                    .probes(small(self.probes))
                    .max_open(TIMEOUT),
            )
            .budget(Budget::new().banked(u32::from(self.banked % 5)))
            .backoff(Backoff::new().base(ms(u64::from(self.base % 64))))
            .hint_max(ms(1000));
        if let Some(millis) = self.attempt_timeout {
            policy = policy.attempt_timeout(ms(1 + u64::from(millis)));
        }
        if let Some(millis) = self.expected_in {
            policy = policy.expected_in(ms(1 + u64::from(millis)));
        }
        if let Some(rate) = self.rate {
            policy = policy.rate_limit(RateLimit::new(1 + u32::from(rate), ms(1000)));
        }
        if self.adaptive {
            policy = policy.adaptive_limit(AdaptiveLimit::new().floor(1).ceiling(3).start(2));
        }
        if self.throttle {
            policy = policy.throttle(Throttle::new().window(ms(1000)));
        }
        if self.hedge {
            policy = policy.hedge(Hedge::new().max_extra(0.1));
        }
        policy
    }
}

/// The simulation's runtime, which counts how often its clock is read.
struct Watched {
    inner: SimRuntime,
    /// Since the last poll began.
    reads: Arc<AtomicU32>,
}

impl Runtime for Watched {
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = SimSleep;

    fn now(&self) -> Instant {
        let reads = self.reads.fetch_add(1, Ordering::Relaxed);
        assert!(reads < READS, "a livelock: one poll asks for the time again and again");
        self.inner.now()
    }

    fn sleep_until(&self, deadline: Instant) -> SimSleep {
        self.inner.sleep_until(deadline)
    }

    fn seed(&self) -> u64 {
        self.inner.seed()
    }

    fn unix_time(&self) -> Option<Duration> {
        self.inner.unix_time()
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What a panic of the wrapped function carries, so that no other passes for it.
struct OnPurpose;

struct Live {
    future: Pin<Box<dyn Future<Output = Outcome>>>,
    woken: Arc<Flag>,
}

struct Bench {
    settings: Settings,
    sim: Sim,
    reads: Arc<AtomicU32>,
    servers: Vec<Server>,
    dependency: Dependency,
    live: Vec<Live>,
    kept: Vec<Response>,
    back: Duration,
    /// The servers that were listed last.
    listed: Vec<usize>,
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let sim = Sim::new(u64::from(settings.limit));
        let servers: Vec<_> = HOSTS.iter().map(|host| sim.server(host)).collect();
        for (number, server) in servers.iter().enumerate() {
            server.latency(ms(5 + 10 * number as u64)).jitter(ms(3));
        }
        let mut policy = settings.policy();
        if settings.balances() {
            let balancing = [Balancing::PeakEwma, Balancing::RoundRobin, Balancing::LeastOpen];
            policy =
                policy.balancer(balancing[usize::from(settings.balancer % 4 - 1)]).targets(HOSTS);
        }
        let reads = Arc::new(AtomicU32::new(0));
        let watched = Watched { inner: sim.runtime(), reads: reads.clone() };
        let dependency = Dependency::builder("test")
            .policy(policy)
            .build_with(watched, sim.backend())
            .expect("the settings are right");
        let (live, kept, back) = (Vec::new(), Vec::new(), Duration::ZERO);
        let listed = vec![0, 1, 2];
        Self { settings, sim, reads, servers, dependency, live, kept, back, listed }
    }

    fn step(&mut self, op: Op) {
        self.reads.store(0, Ordering::Relaxed);
        match op {
            Op::Start { kind, host, timeout, priority, sticky } => {
                self.start(
                    kind,
                    host.into(),
                    timeout.map(|millis| ms(millis.into())),
                    priority,
                    sticky,
                );
            }
            Op::Poll(number) if !self.live.is_empty() => {
                let _ended = self.poll(usize::from(number) % self.live.len());
            }
            Op::Drop(number) if !self.live.is_empty() => {
                let index = usize::from(number) % self.live.len();
                drop(self.live.remove(index));
            }
            Op::DropKept(number) if !self.kept.is_empty() => {
                let index = usize::from(number) % self.kept.len();
                drop(self.kept.remove(index));
            }
            Op::Poll(_) | Op::Drop(_) | Op::DropKept(_) => {}
            Op::Run => {
                let _good = self.run();
            }
            Op::Pass(millis) => self.sim.advance(ms(millis.into())),
            Op::PassLong(tenths) => self.sim.advance(ms(100 * u64::from(tenths))),
            Op::Back(millis) if self.back < TIMEOUT => {
                let by = ms(millis.into()).min(self.sim.elapsed());
                self.back += by;
                self.sim.turn_back(by);
            }
            Op::Back(_) => {}
            Op::Script(host, script) => self.script(usize::from(host) % HOSTS.len(), script),
            Op::Targets(mask) if self.settings.balances() && mask % 8 > 0 => {
                self.listed = (0..HOSTS.len()).filter(|host| mask & (1 << host) != 0).collect();
                let targets = self.listed.iter().map(|host| HOSTS[*host]);
                self.dependency.set_targets(targets).expect("the targets are right");
            }
            Op::Targets(_) => {}
            Op::Force(host, hand) => self.force(usize::from(host) % HOSTS.len(), hand),
            Op::Reload(settings) => {
                self.dependency.reload(settings.policy()).expect("the settings are right");
            }
        }
        self.check();
    }

    fn start(
        &mut self,
        kind: Kind,
        host: usize,
        timeout: Option<Duration>,
        priority: u8,
        sticky: bool,
    ) {
        let url = |host: usize| match self.settings.balances() {
            true => String::from("/path"),
            false => format!("{}/path", HOSTS[host % HOSTS.len()]),
        };
        let (one, two, sim) = (url(host), url(host + 1), self.sim.clone());
        let priorities = [Priority::Low, Priority::Normal, Priority::High];
        let mut call = self
            .dependency
            .call(move |call: Call| act(call, sim.clone(), kind, one.clone(), two.clone()))
            .priority(priorities[usize::from(priority) % priorities.len()]);
        if let Some(timeout) = timeout {
            call = call.timeout(timeout);
        }
        if sticky {
            call = call.sticky("key");
        }
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.live.push(Live { future: Box::pin(call), woken });
    }

    fn script(&self, host: usize, script: Script) {
        let (server, now) = (&self.servers[host], self.sim.elapsed());
        let until = |span: u8| now..now + ms(6 * u64::from(span));
        match script {
            Script::Answers(kind) => {
                let status = [200, 404, 500, 503][usize::from(kind % 4)];
                server.handler(move |_| Answer::status(status).piece(ms(3), "more"))
            }
            Script::Throttles(seconds) => server.handler(move |_| {
                Answer::status(429).header("retry-after", &(seconds % 4).to_string())
            }),
            Script::Hangs(span) => server.hangs(until(span)),
            Script::Resets(span) => server.resets(until(span)),
            Script::Down(span) => server.down(until(span)),
            Script::Stalls => {
                server.handler(|_| Answer::ok("some").ending(dace::sim::Ending::Stalled))
            }
        };
    }

    fn force(&self, host: usize, hand: Hand) {
        let netloc = format!("{}:80", &HOSTS[host]["http://".len()..]);
        if let Some(circuit) = self.dependency.circuit(&netloc) {
            let _known = match hand {
                Hand::Drain => circuit.drain(),
                Hand::Reset => circuit.reset(),
                Hand::Open => circuit.force_open(),
                Hand::Closed => circuit.force_closed(),
                Hand::Metrics => circuit.metrics_only(),
                Hand::Automatic => circuit.automatic(),
            };
        }
    }

    /// Whether the call had a value, if it ended well.
    fn poll(&mut self, index: usize) -> Option<bool> {
        self.reads.store(0, Ordering::Relaxed);
        let live = &mut self.live[index];
        live.woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(live.woken.clone());
        let mut cx = Context::from_waker(&waker);
        match catch_unwind(AssertUnwindSafe(|| live.future.as_mut().poll(&mut cx))) {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(outcome)) => {
                drop(self.live.remove(index));
                let good = outcome.is_ok();
                self.kept.extend(outcome.ok().flatten());
                Some(good)
            }
            Err(panic) if panic.is::<OnPurpose>() => {
                drop(self.live.remove(index));
                Some(false)
            }
            Err(panic) => resume_unwind(panic),
        }
    }

    /// Polls all that were woken, until none is. Answers whether the last one that ended did so well.
    fn run(&mut self) -> bool {
        let mut good = false;
        for _ in 0..=POLLS * self.live.len() {
            let woken = |live: &Live| live.woken.0.load(Ordering::Relaxed);
            let Some(index) = self.live.iter().position(woken) else { return good };
            good = self.poll(index).unwrap_or(good);
        }
        let left = self.live.len();
        panic!("a livelock: {left} calls wake themselves, or each other, again and again");
    }

    fn check(&self) {
        let snapshot = self.dependency.snapshot();
        assert!(snapshot.calls as usize <= self.live.len(), "{snapshot}");
        for endpoint in &snapshot.endpoints {
            // Reloads change the limit, but never beyond this.
            assert!(endpoint.open <= 3 && endpoint.connections <= 3, "{snapshot}");
        }
        for (server, host) in self.servers.iter().zip(HOSTS) {
            let name = &host["http://".len()..];
            let of = |netloc: &dace::Netloc| netloc.as_str().starts_with(name);
            let known = snapshot.endpoints.iter().find(|known| of(&known.netloc));
            let open = known.map_or(0, |known| known.open);
            assert!(
                server.open() <= open.max(known.map_or(0, |known| known.connections)),
                "{snapshot}"
            );
        }
    }

    /// Everybody who is left runs to the end; nothing is lent; and the servers, being well, are used.
    fn end(mut self) {
        self.kept.clear();
        self.run_to_the_end(2 * TIMEOUT + self.back);
        let snapshot = self.dependency.snapshot();
        assert_eq!((snapshot.calls, snapshot.attempts, snapshot.queued), (0, 0, 0), "{snapshot}");
        for endpoint in &snapshot.endpoints {
            let lent = (endpoint.open, endpoint.connections, endpoint.probes);
            assert_eq!(lent, (0, 0, 0), "{snapshot}");
        }
        for server in &self.servers {
            assert_eq!(server.open(), 0, "{snapshot}");
        }
        self.recover();
        self.reads.store(0, Ordering::Relaxed);
        let close = self.dependency.close(Duration::ZERO);
        self.sim.run(close);
    }

    /// Until no call is left, which is within `bound`. Answers whether the last one ended well.
    fn run_to_the_end(&mut self, bound: Duration) -> bool {
        let mut waited = Duration::ZERO;
        let mut good = self.run();
        while !self.live.is_empty() {
            assert!(waited <= bound, "a call never ends: {}", self.dependency.snapshot());
            self.kept.clear();
            self.sim.advance(ms(10));
            waited += ms(10);
            good = self.run();
        }
        self.kept.clear();
        good
    }

    fn recover(&mut self) {
        // Whatever was scripted is over.
        self.sim.advance(ms(6 * 256) + self.back);
        for (number, server) in self.servers.iter().enumerate() {
            server.handler(|_| Answer::ok("ok")).latency(Duration::ZERO).jitter(Duration::ZERO);
            self.force(number, Hand::Automatic);
        }
        for host in self.listed.clone() {
            let mut served = false;
            // Pauses, open circuits and leases end; a call in 250 ms for 20 s is more than enough.
            for _ in 0..80 {
                self.start(Kind::Get, host, None, 1, false);
                served = self.run_to_the_end(TIMEOUT);
                if served {
                    break;
                }
                self.sim.advance(ms(250));
            }
            assert!(served, "it serves again: {}", self.dependency.snapshot());
        }
    }
}

async fn act(
    call: Call,
    sim: Sim,
    kind: Kind,
    one: String,
    two: String,
) -> Result<Option<Response>, HttpError> {
    let http = call.http();
    match kind {
        Kind::Get => drop(http.get(&one).send().await?.error_for_status()?.text().await?),
        Kind::Post => {
            drop(http.post(&one).body("x").send().await?.error_for_status()?.text().await?)
        }
        Kind::Two => {
            http.get(&one).send().await?.text().await?;
            http.post(&two).body("x").send().await?.error_for_status()?.text().await?;
        }
        Kind::Both => {
            // The second answer waits while the first is read.
            let (one, two) = (http.get(&one).send().await?, http.get(&two).send().await?);
            drop((one.text().await?, two.text().await?));
        }
        Kind::Keep => return Ok(Some(http.get(&one).send().await?.error_for_status()?)),
        Kind::Again => {
            return match http.get(&one).send().await?.error_for_status() {
                Ok(_) => Ok(None),
                Err(error) => call.retry(error),
            };
        }
        Kind::Local => sim.sleep(ms(7)).await,
        Kind::Forever => pending().await,
        Kind::Panic => {
            http.get(&one).send().await?.text().await?;
            resume_unwind(Box::new(OnPurpose));
        }
    }
    Ok(None)
}
