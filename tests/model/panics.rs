//! A thousand panics in each piece of user code, in each state of the circuit.

use std::sync::atomic::AtomicU32;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::{Breaker, Cache, CachePolicy, Class, Group};
use dace_sim::{Server, Sim};

use crate::interaction::calls::{Ended, Kind, Means, Parts, Start, make};
use crate::interaction::hooks::{Hook, Hooks, Log, Turns, safely};
use crate::interaction::{Dependency, chain};

const PANICS: u32 = 1_000;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open,
    HalfOpen,
    ForcedOpen,
    ForcedClosed,
    MetricsOnly,
}

struct Bench {
    sim: Sim,
    server: Server,
    dependency: Dependency,
    log: Log,
    means: Means,
    calls: usize,
}

impl Bench {
    fn new() -> Self {
        let sim = Sim::new(7);
        let server = sim.server("http://a:80");
        let hooks = Hooks::default();
        let log = Log { hooks: hooks.clone(), ..Log::default() };
        let turns = Turns { next: AtomicU32::new(0), hooks: hooks.clone() };
        let dependency = Dependency::builder("panics")
            .targets(["http://a:80"])
            .load_balancer(turns)
            .observer(log.clone())
            .breaker(Breaker::new().consecutive_failures(1))
            .circuit_reset_timeout(ms(100))
            .retry_attempts(0)
            .max_open_per_netloc(1)
            .build_with(sim.runtime(), sim.backend())
            .unwrap();
        let policy = CachePolicy::new().ttl(ms(50)).capacity(2);
        let means = Means {
            sim: sim.clone(),
            hooks,
            cache: Cache::new(policy).unwrap(),
            group: Group::new(),
            names: false,
        };
        Self { sim, server, dependency, log, means, calls: 0 }
    }

    /// One call to its end. `None` if it panicked.
    fn call(&mut self, start: &Start) -> Option<Ended> {
        self.calls += 1;
        let mut made = make(&self.dependency, &self.means, self.calls, start);
        for _ in 0..50 {
            let mut cx = Context::from_waker(Waker::noop());
            let polled = safely(|| made.future.as_mut().poll(&mut cx));
            match polled {
                Some(Poll::Pending) => self.sim.advance(ms(1)),
                Some(Poll::Ready(ended)) => return safely(|| drop(made)).map(|()| ended),
                None => {
                    let _dropped = safely(|| drop(made));
                    return None;
                }
            }
        }
        panic!("it never ends");
    }

    fn fail(&mut self) {
        self.server.handler(|_| dace_sim::Answer::status(503));
        assert!(self.call(&Start::get(0)).is_some_and(|ended| ended.is_err()));
        self.server.handler(|_| dace_sim::Answer::ok("ok"));
    }

    fn enter(&mut self, state: State) {
        let circuit = self.dependency.circuit("a:80").unwrap();
        assert!(circuit.automatic());
        match state {
            State::Closed => {}
            State::Open => self.fail(),
            State::HalfOpen => {
                self.fail();
                self.sim.advance(ms(120));
            }
            State::ForcedOpen => assert!(circuit.force_open()),
            State::ForcedClosed => assert!(circuit.force_closed()),
            State::MetricsOnly => assert!(circuit.metrics_only()),
        }
    }

    fn check(&mut self) {
        let snapshot = self.dependency.snapshot();
        assert_eq!((snapshot.calls, snapshot.attempts, snapshot.queued), (0, 0, 0), "{snapshot}");
        for one in &snapshot.endpoints {
            assert_eq!((one.open, one.connections, one.probes), (0, 0, 0), "{snapshot}");
        }
        assert!(self.means.group.is_empty() && self.means.cache.len() <= 2);
    }
}

/// A call that comes by this hook, if the circuit lets it.
fn start(hook: Hook) -> Start {
    let get = Start { kind: Kind::Get, ..Start::get(0) };
    match hook {
        Hook::Classify => Start { class: Some(Class::Success), ..get },
        // Of an odd key: its fallback fails.
        Hook::Fallback | Hook::FallbackPoll => {
            Start { parts: Parts::Fallback, class: Some(Class::Transient), key: 1, ..get }
        }
        Hook::Hash => Start { parts: Parts::Shared, ..get },
        Hook::Equal => Start { parts: Parts::SharedCached, ..get },
        Hook::Clone => Start { parts: Parts::Cached, key: 2, ..get },
        _ => get,
    }
}

/// S23, I1. Answers how many panics there were.
fn play(hook: Hook, state: State) -> u32 {
    let mut bench = Bench::new();
    assert!(bench.call(&Start::get(0)).is_some_and(|ended| ended.is_ok()));
    for round in 0..PANICS {
        bench.means.hooks.disarm();
        // What was kept is fresh no more.
        bench.sim.advance(ms(60));
        if hook == Hook::Equal {
            bench.enter(State::Closed);
            let _kept = bench.call(&start(hook));
        }
        bench.enter(state);
        if matches!(hook, Hook::Fallback | Hook::FallbackPoll) {
            bench.server.handler(|_| dace_sim::Answer::status(503));
        }
        bench.means.hooks.arm(hook);
        let ended = bench.call(&start(hook));
        bench.server.handler(|_| dace_sim::Answer::ok("ok"));
        let fired = bench.means.hooks.fired(hook);
        if fired <= round {
            // A circuit that lets nobody through keeps the call from coming by.
            assert!(
                matches!(state, State::Open | State::ForcedOpen),
                "{hook:?} {state:?} {ended:?}"
            );
            bench.means.hooks.disarm();
            bench.check();
            return fired;
        }
        assert!(ended.is_none(), "the panic is swallowed");
        bench.check();
        bench.enter(State::Closed);
        let next = bench.call(&Start::get(0));
        assert!(next.is_some_and(|ended| ended.is_ok()), "the next call");
    }
    bench.check();
    bench.dependency.flush();
    let events = bench.log.events.lock().unwrap();
    let known = chain::Known { straight: true, listed: 1, banked: Some(50) };
    chain::check(&events, &bench.dependency.snapshot(), &known).unwrap();
    PANICS
}

#[test]
fn a_thousand_panics_of_each_hook_in_each_state_leave_nothing_behind() {
    use State::{Closed, ForcedClosed, ForcedOpen, HalfOpen, MetricsOnly, Open};
    let mut sum = 0;
    for state in [Closed, Open, HalfOpen, ForcedOpen, ForcedClosed, MetricsOnly] {
        for hook in Hook::ALL {
            let panics = play(hook, state);
            let always =
                [Hook::Balance, Hook::Fallback, Hook::FallbackPoll, Hook::Observe, Hook::Hash];
            assert!(panics == PANICS || !always.contains(&hook), "{hook:?} {state:?}");
            sum += panics;
        }
    }
    println!("{sum} panics");
}

/// Found by `interaction`: what ran was dropped after the end of its attempt was told.
#[test]
fn a_span_that_panics_while_a_call_is_dropped_does_not_let_what_runs_outlive_it() {
    let sim = Sim::new(7);
    sim.server("http://a:80").latency(ms(100));
    let log = Log::default();
    let dependency = Dependency::builder("panics")
        .targets(["http://a:80"])
        .observer(log.clone())
        .http_pool_size(1)
        .build_with(sim.runtime(), sim.backend())
        .unwrap();
    let means = Means {
        sim,
        hooks: log.hooks.clone(),
        cache: Cache::new(CachePolicy::new().ttl(ms(1))).unwrap(),
        group: Group::new(),
        names: false,
    };
    let mut held = [1, 2].map(|number| make(&dependency, &means, number, &Start::get(0)));
    for made in &mut held {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(made.future.as_mut().poll(&mut cx).is_pending());
    }
    // The second one waits for the connection of the first.
    let [first, second] = held;
    log.hooks.arm(Hook::Within);
    assert!(safely(|| drop(second)).is_none());
    drop(first);
    dependency.flush();
    let events = log.events.lock().unwrap();
    let known = chain::Known { straight: true, listed: 1, banked: None };
    chain::check(&events, &dependency.snapshot(), &known).unwrap();
}
