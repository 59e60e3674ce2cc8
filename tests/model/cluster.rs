//! A whole dependency: calls that are started, polled, forgotten and dropped, servers that turn bad
//! and good again, lists that change, circuits that are forced, a clock that jumps.
//!
//! What must hold after every step:
//! - no server has more open than the limit, or than permits are held for;
//! - every count is within its bound;
//! - a call that is polled at its deadline or later is over, and its function is never polled then.
//!
//! And at the end, when every call is gone and every server is well:
//! - everything that was lent is back, and nothing is kept for anybody;
//! - every circuit has closed again by itself;
//! - a request that must not happen twice has arrived at most once;
//! - the events of each call and of each circuit are a history that can have happened.

use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dace::http::Method;
use dace::{
    Backoff, Breaker, Budget, CircuitState, Event, HttpError, Observer, RoundRobin, Snapshot, What,
};
use dace_sim::{Answer, Server, Sim, SimBackend, SimRuntime};
use proptest::prelude::*;

use crate::config;

type Dependency = dace::Dependency<SimRuntime, SimBackend>;
type Call = dace::Call<SimRuntime, SimBackend>;
type Response = dace::Response<SimRuntime, SimBackend>;
type Outcome = Result<Option<Response>, dace::Error<HttpError>>;

const HOSTS: [&str; 3] = ["a:80", "b:80", "c:80"];

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// What every case is made of.
#[derive(Clone, Debug)]
struct Settings {
    seed: u64,
    picker: Picker,
    limit: u32,
    queue: usize,
    pool: u32,
    retries: u32,
    retry_on_timeout: bool,
    attempt_timeout: Option<u64>,
    expected_in: Option<u64>,
    /// Milliseconds; 0 is off.
    reset: u64,
    trip: u32,
    probes: u32,
    successes: u32,
    banked: u32,
    base: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Picker {
    Function,
    PeakEwma,
    RoundRobin,
    Closure,
}

/// What the wrapped function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Post,
    MarkedPost,
    /// One server, then another.
    Two,
    /// Both at once.
    Both,
    /// Returns the answer before its body is read.
    Keep,
    /// Asks for another attempt whatever comes.
    Again,
    /// No exchange at all.
    Local,
    Panic,
    PanicAtOnce,
}

/// What a server does.
#[derive(Clone, Copy, Debug)]
enum Script {
    Answers(u16),
    Throttles(u64),
    Hangs(u64),
    Resets(u64),
    Down(u64),
}

#[derive(Clone, Copy, Debug)]
enum Hand {
    Drain,
    Reset,
    Open,
    Closed,
    Metrics,
    Automatic,
}

#[derive(Clone, Debug)]
enum Op {
    Start {
        kind: Kind,
        host: usize,
        timeout: Option<u64>,
    },
    /// Polls one call, woken or not.
    Poll(usize),
    /// Polls all that were woken, until none is.
    Run,
    Drop(usize),
    DropKept(usize),
    Pass(u64),
    Back(u64),
    Script(usize, Script),
    Targets(u8),
    Force(usize, Hand),
}

fn settings() -> impl Strategy<Value = Settings> {
    use Picker::{Closure, Function, PeakEwma, RoundRobin};
    let picker = prop::sample::select(vec![Function, PeakEwma, RoundRobin, Closure]);
    let places = (1..4u32, 0..4usize, 1..4u32);
    let times = (
        any::<bool>(),
        prop::option::of(10..300u64),
        prop::option::of(10..300u64),
        prop::sample::select(vec![0u64, 50, 300, 1000]),
    );
    let rest = (0..4u32, 1..4u32, 1..3u32, 1..3u32, 0..5u32, prop::sample::select(vec![0u64, 25]));
    (any::<u64>(), picker, places, times, rest).prop_map(|(seed, picker, places, times, rest)| {
        let (limit, queue, pool) = places;
        let (retry_on_timeout, attempt_timeout, expected_in, reset) = times;
        let (retries, trip, probes, successes, banked, base) = rest;
        Settings {
            seed,
            picker,
            limit,
            queue,
            pool,
            retries,
            retry_on_timeout,
            attempt_timeout,
            expected_in,
            reset,
            trip,
            probes,
            successes,
            banked,
            base,
        }
    })
}

fn op() -> impl Strategy<Value = Op> {
    use Kind::{Again, Both, Get, Keep, Local, MarkedPost, Panic, PanicAtOnce, Post, Two};
    let kinds = vec![
        Get,
        Get,
        Get,
        Post,
        Post,
        MarkedPost,
        Two,
        Both,
        Keep,
        Again,
        Local,
        Panic,
        PanicAtOnce,
    ];
    let start = (prop::sample::select(kinds), 0..3usize, prop::option::of(0..2000u64))
        .prop_map(|(kind, host, timeout)| Op::Start { kind, host, timeout });
    let script = prop_oneof![
        4 => prop::sample::select(vec![200u16, 200, 404, 500, 503]).prop_map(Script::Answers),
        1 => (0..3u64).prop_map(Script::Throttles),
        1 => (1..1500u64).prop_map(Script::Hangs),
        1 => (1..1500u64).prop_map(Script::Resets),
        1 => (1..1500u64).prop_map(Script::Down),
    ];
    let hand = prop::sample::select(vec![
        Hand::Drain,
        Hand::Reset,
        Hand::Open,
        Hand::Closed,
        Hand::Metrics,
        Hand::Automatic,
        Hand::Automatic,
    ]);
    prop_oneof![
        10 => start,
        4 => any::<usize>().prop_map(Op::Poll),
        12 => Just(Op::Run),
        3 => any::<usize>().prop_map(Op::Drop),
        1 => any::<usize>().prop_map(Op::DropKept),
        8 => prop_oneof![4 => 0..30u64, 1 => 0..1500u64].prop_map(Op::Pass),
        1 => (0..500u64).prop_map(Op::Back),
        4 => (0..3usize, script).prop_map(|(host, script)| Op::Script(host, script)),
        1 => (1..8u8).prop_map(Op::Targets),
        1 => (0..3usize, hand).prop_map(|(host, hand)| Op::Force(host, hand)),
    ]
}

/// What a panic of the wrapped function carries, so that no other passes for it.
struct OnPurpose;

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Event>>>);

impl Observer for Log {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }
}

struct Live {
    future: Pin<Box<dyn Future<Output = Outcome>>>,
    woken: Arc<Flag>,
    timeout: Duration,
    /// Set by the first poll.
    deadline: Option<Duration>,
}

/// A future that looks at the clock each time before it is polled.
struct Punctual<F> {
    inner: Pin<Box<F>>,
    call: Call,
}

impl<F: Future> Future for Punctual<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        assert!(!self.call.remaining().is_zero(), "the function is polled after its deadline");
        self.inner.as_mut().poll(cx)
    }
}

struct Bench {
    settings: Settings,
    sim: Sim,
    servers: Vec<Server>,
    dependency: Dependency,
    log: Log,
    live: Vec<Live>,
    kept: Vec<Response>,
    started: usize,
    listed: Vec<usize>,
    /// How far the clock went back, all in all.
    back: Duration,
}

async fn act(
    call: Call,
    sim: Sim,
    kind: Kind,
    base: String,
    other: String,
) -> Result<Option<Response>, HttpError> {
    let http = call.http();
    match kind {
        Kind::Get => {
            http.get(&base).send().await?.error_for_status()?.text().await?;
        }
        Kind::Post => {
            http.post(&base).body("x").send().await?.error_for_status()?.text().await?;
        }
        Kind::MarkedPost => {
            let request = http.post(&base).body("x").idempotent(true);
            request.send().await?.error_for_status()?.text().await?;
        }
        Kind::Two => {
            http.get(&base).send().await?.text().await?;
            http.post(&other).body("x").send().await?.error_for_status()?.text().await?;
        }
        Kind::Both => {
            let (one, two) =
                futures_util::future::join(http.get(&base).send(), http.get(&other).send()).await;
            one?.error_for_status()?.text().await?;
            two?.error_for_status()?.text().await?;
        }
        Kind::Keep => return Ok(Some(http.get(&base).send().await?.error_for_status()?)),
        Kind::Again => {
            let answer = http.get(&base).send().await?.error_for_status();
            return match answer {
                Ok(_) => Ok(None),
                Err(error) => call.retry(error),
            };
        }
        Kind::Local => sim.sleep(ms(7)).await,
        Kind::Panic => {
            http.get(&base).send().await?.text().await?;
            resume_unwind(Box::new(OnPurpose));
        }
        Kind::PanicAtOnce => resume_unwind(Box::new(OnPurpose)),
    }
    Ok(None)
}

impl Bench {
    fn new(settings: Settings) -> Self {
        let sim = Sim::new(settings.seed);
        let servers: Vec<_> =
            HOSTS.iter().map(|host| sim.server(&format!("http://{host}"))).collect();
        for (number, server) in servers.iter().enumerate() {
            server.latency(ms(5 + 10 * number as u64)).jitter(ms(3));
        }
        let log = Log::default();
        let mut builder = Dependency::builder("test")
            .timeout(ms(1000))
            .max_open_per_netloc(settings.limit)
            .queue(settings.queue)
            .http_pool_size(settings.pool)
            .retry_attempts(settings.retries)
            .retry_on_timeout(settings.retry_on_timeout)
            .circuit_reset_timeout(ms(settings.reset))
            .breaker(
                Breaker::new()
                    .consecutive_failures(settings.trip)
                    .probes(settings.probes)
                    .successes(settings.successes)
                    .max_open(ms(2000)),
            )
            .budget(Budget::new().banked(settings.banked))
            .backoff(Backoff::new().base(ms(settings.base)))
            .hint_max(ms(1000))
            .observer(log.clone());
        if let Some(timeout) = settings.attempt_timeout {
            builder = builder.attempt_timeout(ms(timeout));
        }
        if let Some(expected_in) = settings.expected_in {
            builder = builder.expected_in(ms(expected_in));
        }
        let urls = HOSTS.map(|host| format!("http://{host}"));
        let urls = urls.iter().map(String::as_str);
        builder = match settings.picker {
            Picker::Function => builder,
            Picker::PeakEwma => builder.targets(urls),
            Picker::RoundRobin => builder.load_balancer(RoundRobin::new(urls)),
            Picker::Closure => {
                let turn = std::sync::atomic::AtomicUsize::new(0);
                let next = move || turn.fetch_add(1, Ordering::Relaxed) % HOSTS.len();
                builder.load_balancer(move || ("http", HOSTS[next()]))
            }
        };
        let dependency = builder.build_with(sim.runtime(), sim.backend()).unwrap();
        Self {
            settings,
            sim,
            servers,
            dependency,
            log,
            live: Vec::new(),
            kept: Vec::new(),
            started: 0,
            listed: vec![0, 1, 2],
            back: Duration::ZERO,
        }
    }

    fn is_function(&self) -> bool {
        self.settings.picker == Picker::Function
    }

    fn step(&mut self, op: &Op) {
        match *op {
            Op::Start { kind, host, timeout } => self.start(kind, host, timeout.map(ms)),
            Op::Poll(number) => {
                if !self.live.is_empty() {
                    self.poll(number % self.live.len());
                }
            }
            Op::Run => self.run(),
            Op::Drop(number) => {
                if !self.live.is_empty() {
                    let index = number % self.live.len();
                    drop(self.live.remove(index));
                }
            }
            Op::DropKept(number) => {
                if !self.kept.is_empty() {
                    let index = number % self.kept.len();
                    drop(self.kept.remove(index));
                }
            }
            Op::Pass(millis) => self.sim.advance(ms(millis)),
            Op::Back(millis) => {
                self.back += ms(millis).min(self.sim.elapsed());
                self.sim.turn_back(ms(millis));
            }
            Op::Script(host, script) => self.script(host, script),
            Op::Targets(mask) => self.list(mask),
            Op::Force(host, hand) => {
                if let Some(circuit) = self.dependency.circuit(HOSTS[host]) {
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
        }
        self.check();
    }

    /// Another list. A function that names its servers itself is left to do so.
    fn list(&mut self, mask: u8) {
        if self.is_function() {
            return;
        }
        let listed: Vec<_> = (0..HOSTS.len()).filter(|host| mask & (1 << host) != 0).collect();
        let urls = listed.iter().map(|host| format!("http://{}", HOSTS[*host]));
        let urls: Vec<_> = urls.collect();
        self.dependency.set_targets(urls.iter().map(String::as_str)).unwrap();
        if self.settings.picker != Picker::Closure {
            self.listed = listed;
        }
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
        };
    }

    fn start(&mut self, kind: Kind, host: usize, timeout: Option<Duration>) {
        self.started += 1;
        let path = format!("/{}", self.started);
        let kind = match kind {
            // Two at one server at once share their attempt's permit: not what is counted here.
            Kind::Both if !self.is_function() => Kind::Two,
            kind => kind,
        };
        let absolute = |host: usize| format!("http://{}{path}", HOSTS[host % HOSTS.len()]);
        let base = if self.is_function() { absolute(host) } else { path.clone() };
        let other = absolute(host + 1);
        let sim = self.sim.clone();
        let call = self.dependency.call(move |call: Call| Punctual {
            call: call.clone(),
            inner: Box::pin(act(call, sim.clone(), kind, base.clone(), other.clone())),
        });
        let (call, timeout) = match timeout {
            Some(timeout) => (call.timeout(timeout), timeout),
            None => (call, ms(1000)),
        };
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        self.live.push(Live { future: Box::pin(call), woken, timeout, deadline: None });
    }

    /// Polls one call. Whatever ends is taken out.
    fn poll(&mut self, index: usize) -> Option<Outcome> {
        let now = self.sim.elapsed();
        let live = &mut self.live[index];
        live.woken.0.store(false, Ordering::Relaxed);
        let deadline = *live.deadline.get_or_insert(now + live.timeout);
        let waker = Waker::from(live.woken.clone());
        let poll = || live.future.as_mut().poll(&mut Context::from_waker(&waker));
        match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Poll::Pending) => {
                assert!(now < deadline, "a call outlives its deadline");
                None
            }
            Ok(Poll::Ready(outcome)) => {
                // The future is kept for a while: a call that is over holds nothing.
                self.check();
                drop(self.live.remove(index));
                Some(match outcome {
                    Ok(Some(response)) => {
                        self.kept.push(response);
                        Ok(None)
                    }
                    outcome => outcome,
                })
            }
            Err(panic) if panic.is::<OnPurpose>() => {
                drop(self.live.remove(index));
                None
            }
            Err(panic) => resume_unwind(panic),
        }
    }

    fn run(&mut self) {
        let mut outcomes = Vec::new();
        self.run_into(&mut outcomes);
    }

    fn run_into(&mut self, outcomes: &mut Vec<Outcome>) {
        for _ in 0..10_000 {
            let Some(index) =
                self.live.iter().position(|live| live.woken.0.load(Ordering::Relaxed))
            else {
                return self.check_all_in_time();
            };
            outcomes.extend(self.poll(index));
        }
        panic!("calls wake each other for ever");
    }

    /// Nobody was woken, so nobody is late.
    fn check_all_in_time(&self) {
        let now = self.sim.elapsed();
        for live in &self.live {
            assert!(live.deadline.is_none_or(|deadline| now < deadline), "nobody woke a late call");
        }
    }

    fn check(&self) {
        let snapshot = self.dependency.snapshot();
        let Settings { limit, queue, pool, probes, banked, .. } = self.settings;
        for endpoint in &snapshot.endpoints {
            assert!(endpoint.open <= limit, "{snapshot}");
            assert!(endpoint.connections <= pool, "{snapshot}");
            assert!(endpoint.probes <= probes as usize, "{snapshot}");
        }
        assert!(snapshot.queued <= queue + 2 * snapshot.attempts, "{snapshot}");
        assert!(snapshot.budget_thousandths <= u64::from(banked) * 1000, "{snapshot}");
        let begun = self.live.iter().filter(|live| live.deadline.is_some()).count();
        assert!(snapshot.calls as usize <= begun, "{snapshot}");
        for (server, host) in self.servers.iter().zip(HOSTS) {
            let known = snapshot.endpoints.iter().find(|known| known.netloc.as_str() == host);
            let open = known.map_or(0, |known| known.open);
            assert!(server.open() <= open, "{} at {host}, {open} permits", server.open());
            assert!(server.peak() <= limit, "{host} had {} open", server.peak());
        }
    }

    /// Everybody who is left runs to the end.
    fn drain(&mut self) {
        self.kept.clear();
        let mut outcomes = Vec::new();
        let bound = ms(2500) + self.back;
        let mut waited = Duration::ZERO;
        self.run_into(&mut outcomes);
        while !self.live.is_empty() {
            assert!(waited <= bound, "a call never ends");
            self.sim.advance(ms(10));
            waited += ms(10);
            self.kept.clear();
            self.run_into(&mut outcomes);
        }
        self.kept.clear();
        self.check();
    }

    fn snapshot_when_idle(&self) -> Snapshot {
        let snapshot = self.dependency.snapshot();
        let totals = (snapshot.calls, snapshot.attempts, snapshot.queued);
        assert_eq!(totals, (0, 0, 0), "{snapshot}");
        for endpoint in &snapshot.endpoints {
            let lent = (endpoint.open, endpoint.connections, endpoint.probes);
            assert_eq!(lent, (0, 0, 0), "{snapshot}");
        }
        snapshot
    }

    /// Every server is well: circuits close by themselves, a call in 20 ms is enough.
    fn recover(&mut self) {
        for (server, host) in self.servers.iter().zip(HOSTS) {
            server.answers(.., 200).latency(ms(1)).jitter(Duration::ZERO);
            if let Some(circuit) = self.dependency.circuit(host) {
                let state = self.snapshot_of(host).unwrap();
                if !matches!(
                    state,
                    CircuitState::Closed | CircuitState::Open | CircuitState::HalfOpen
                ) {
                    circuit.automatic();
                }
            }
        }
        // A pause, an open circuit, a lease that nobody settles, and a second open time.
        let bound = ms(1250) + 2 * ms(2400) + ms(1000) + ms(1000) + self.back;
        let begun = self.sim.elapsed();
        let mut host = 0;
        while !self.is_recovered() {
            let waited = self.sim.elapsed() - begun;
            assert!(waited <= bound, "{}", self.dependency.snapshot());
            host += 1;
            self.start(Kind::Get, host, None);
            self.run();
            for _ in 0..10 {
                self.sim.advance(ms(2));
                self.run();
            }
        }
        self.drain();
    }

    fn snapshot_of(&self, host: &str) -> Option<CircuitState> {
        let snapshot = self.dependency.snapshot();
        snapshot.endpoints.iter().find(|known| known.netloc.as_str() == host).map(|k| k.circuit)
    }

    fn is_recovered(&self) -> bool {
        let snapshot = self.dependency.snapshot();
        let listed =
            |host: &str| host == "test" || self.listed.iter().any(|index| HOSTS[*index] == host);
        snapshot
            .endpoints
            .iter()
            .filter(|known| listed(known.netloc.as_str()))
            .all(|known| known.circuit == CircuitState::Closed && known.paused_for.is_none())
    }

    /// All places can be had at once: none is kept for somebody who left.
    fn fill(&mut self) {
        let limit = self.settings.limit as usize;
        let count = match self.settings.picker {
            Picker::Closure => return,
            Picker::Function => limit,
            Picker::PeakEwma | Picker::RoundRobin => limit * self.listed.len(),
        };
        for _ in 0..count {
            self.start(Kind::Get, 0, None);
        }
        let mut outcomes = Vec::new();
        while !self.live.is_empty() {
            self.run_into(&mut outcomes);
            self.sim.advance(ms(1));
        }
        let good = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(good, count, "{outcomes:?}");
    }

    fn check_arrivals(&self, kinds: &BTreeMap<usize, Kind>) {
        let mut posts = BTreeMap::new();
        for arrival in self.servers.iter().flat_map(Server::arrivals) {
            if arrival.method == Method::POST {
                *posts.entry(arrival.path).or_insert(0u32) += 1;
            }
        }
        for (path, count) in posts {
            let number: usize = path[1..].parse().unwrap();
            let marked = kinds.get(&number) == Some(&Kind::MarkedPost);
            assert!(marked || count == 1, "POST {path} arrived {count} times");
        }
    }

    fn check_events(&self) {
        self.dependency.flush();
        assert_eq!(self.dependency.snapshot().events_dropped, 0);
        let events = self.log.0.lock().unwrap();
        let mut calls = BTreeMap::<u64, Vec<&What>>::new();
        let mut circuits = BTreeMap::new();
        for event in events.iter() {
            if let What::CircuitChanged { netloc, from, to, .. } = &event.what {
                let before = circuits.insert(netloc.clone(), *to).unwrap_or(CircuitState::Closed);
                assert_eq!(before, *from, "{event}");
                assert_ne!(from, to, "{event}");
            } else if event.call != 0
                && !matches!(
                    event.what,
                    What::Paused { .. }
                        | What::PanicMode { .. }
                        | What::Ejected { .. }
                        | What::Readmitted { .. }
                )
            {
                calls.entry(event.call).or_default().push(&event.what);
            }
        }
        let numbers: Vec<_> = calls.keys().copied().collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
        for (call, story) in &calls {
            check_story(story).unwrap_or_else(|wrong| panic!("call {call}: {wrong}: {story:#?}"));
        }
        let retries =
            events.iter().filter(|event| event.attempt().is_some_and(|number| number > 1));
        let retries =
            retries.filter(|event| matches!(event.what, What::AttemptStarted { .. })).count();
        let least = (u64::from(self.settings.banked) * 1000).saturating_sub(retries as u64 * 1000);
        let left = self.dependency.snapshot().budget_thousandths;
        assert!(left >= least, "{left} left, {retries} retries were made");
    }
}

/// Whether the events of one call can have happened.
fn check_story(story: &[&What]) -> Result<(), &'static str> {
    let Some((What::CallStarted, rest)) = story.split_first() else {
        return Err("does not begin with its start");
    };
    let Some((What::CallEnded { attempts, .. }, rest)) = rest.split_last() else {
        return Err("does not end with its end");
    };
    let (mut begun, mut running, mut queued, mut decided) = (0, false, 0i32, false);
    for what in rest {
        match what {
            What::CallStarted | What::CallEnded { .. } => return Err("begins or ends twice"),
            What::Queued { .. } => queued += 1,
            What::Dequeued { .. } => queued -= 1,
            What::AttemptStarted { attempt, .. } => {
                if running || *attempt != begun + 1 || (begun > 0 && !decided) || queued != 0 {
                    return Err("an attempt begins out of turn");
                }
                (begun, running, decided) = (*attempt, true, false);
            }
            What::AttemptEnded { attempt, .. } => {
                if !running || *attempt != begun || queued != 0 {
                    return Err("an attempt ends out of turn");
                }
                running = false;
            }
            What::RetryDecided { .. } => {
                if running || decided || begun == 0 {
                    return Err("a retry is decided out of turn");
                }
                decided = true;
            }
            What::RetrySuppressed { .. } if running || decided => {
                return Err("a retry is suppressed out of turn");
            }
            _ => {}
        }
        if queued < 0 {
            return Err("it leaves a queue that it is not in");
        }
    }
    if running || queued != 0 {
        return Err("it holds something to the end");
    }
    if *attempts != begun {
        return Err("attempts are miscounted");
    }
    Ok(())
}

/// One case from its start to its end.
fn play(settings: &Settings, ops: &[Op]) {
    let mut bench = Bench::new(settings.clone());
    let mut kinds = BTreeMap::new();
    for op in ops {
        bench.step(op);
        if let Op::Start { kind, .. } = op {
            kinds.insert(bench.started, *kind);
        }
    }
    bench.drain();
    bench.snapshot_when_idle();
    bench.recover();
    bench.fill();
    bench.snapshot_when_idle();
    bench.check_arrivals(&kinds);
    bench.check_events();
}

proptest! {
    #![proptest_config(config())]

    /// B1, D1, A6, C2, I1.
    #[test]
    fn whatever_happens_everything_comes_back(
        settings in settings(),
        ops in prop::collection::vec(op(), 1..=150),
    ) {
        play(&settings, &ops);
    }
}
