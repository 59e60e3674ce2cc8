//! Places under very many calls: none is lost, and none is lent twice.
//!
//! On every run these are small; the numbers that the project holds itself to take minutes:
//!
//! ```text
//! DACE_DROPS=10000000 cargo test --release --test model dropped -- --nocapture
//! DACE_SCHEDULES=1000000 cargo test --release --test model schedule -- --nocapture
//! ```

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::{
    Backoff, Breaker, Budget, Cache, CachePolicy, Group, Hedge, PeakEwma, RoundRobin, SharedLimit,
};
use dace_sim::{Answer, Server, Sim, SimRuntime};

use crate::interaction::calls::{Ended, Kind, Means, Parts, Start, make};
use crate::interaction::hooks::Hooks;
use crate::interaction::{Dependency, HOSTS};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The number that a variable says, or what is enough for every run.
fn number(variable: &str, usual: u64) -> u64 {
    let said = std::env::var(variable).ok().and_then(|said| said.parse().ok());
    said.unwrap_or(usual)
}

type Held = Pin<Box<dyn Future<Output = Ended>>>;

fn poll(held: &mut Held) -> Poll<Ended> {
    held.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

fn means(sim: &Sim, names: bool) -> Means {
    let policy = CachePolicy::new().ttl(ms(3)).stale_if_error(ms(50)).capacity(2);
    Means {
        sim: sim.clone(),
        hooks: Hooks::default(),
        cache: Cache::new(policy).unwrap(),
        group: Group::new(),
        names,
    }
}

fn servers(sim: &Sim) -> Vec<Server> {
    HOSTS.iter().map(|host| sim.server(&format!("http://{host}"))).collect()
}

fn targets() -> [String; 3] {
    HOSTS.map(|host| format!("http://{host}"))
}

const KINDS: [Kind; 6] = [Kind::Get, Kind::Get, Kind::Post, Kind::Two, Kind::Keep, Kind::Local];
const PARTS: [Parts; 8] = [
    Parts::Plain,
    Parts::Plain,
    Parts::Plain,
    Parts::Fallback,
    Parts::Cached,
    Parts::Shared,
    Parts::SharedCached,
    Parts::Reported,
];

fn any_call(rng: &mut fastrand::Rng) -> Start {
    Start {
        kind: KINDS[rng.usize(..KINDS.len())],
        parts: PARTS[rng.usize(..PARTS.len())],
        key: rng.u8(..4),
        timeout: Some(rng.u64(20..400)),
        ..Start::get(rng.usize(..HOSTS.len()))
    }
}

/// So many calls that are dropped at whatever they were waiting for: a permit, a connection, an answer, its
/// body, a retry, a hedge, somebody else's answer, a fallback. Then everything has to be back.
fn drop_calls(seed: u64, count: u64) -> [u64; 4] {
    let mut rng = fastrand::Rng::with_seed(seed);
    let sim = Sim::new(seed);
    for server in servers(&sim) {
        let turn = std::sync::atomic::AtomicU32::new(0);
        server.latency(ms(2)).jitter(ms(4)).handler(move |_| {
            match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 16 {
                0..3 => Answer::status(503),
                3 => Answer::status(429).header("retry-after", "0"),
                4 => Answer::ok("late").latency(ms(60)),
                _ => Answer::ok("ok").piece(ms(2), "more"),
            }
        });
    }
    let limit = SharedLimit::on::<SimRuntime>().max_open(7);
    let balanced = seed % 2 == 0;
    let mut builder = Dependency::builder("drops")
        .max_open_per_netloc(3)
        .http_pool_size(2)
        .queue(6)
        .retry_attempts(2)
        .backoff(Backoff::new().base(ms(2)))
        .budget(Budget::new().unlimited())
        .circuit_reset_timeout(ms(20))
        .breaker(Breaker::new().consecutive_failures(3).probes(2))
        .hint_max(ms(20))
        .hedge(Hedge::new().max_extra(0.3))
        .shared_limit(&limit);
    if balanced {
        builder = builder.targets(targets());
    }
    let dependency = builder.build_with(sim.runtime(), sim.backend()).unwrap();
    let means = means(&sim, !balanced);
    let mut held: Vec<Held> = Vec::new();
    let (mut started, mut dropped) = (0, 0);
    while dropped < count {
        match rng.u8(..10) {
            0..3 if held.len() < 24 => {
                started += 1;
                held.push(make(&dependency, &means, started, &any_call(&mut rng)).future);
                let newest = held.len() - 1;
                if poll(&mut held[newest]).is_ready() {
                    held.pop();
                }
            }
            3..6 if !held.is_empty() => {
                let index = rng.usize(..held.len());
                if poll(&mut held[index]).is_ready() {
                    drop(held.swap_remove(index));
                }
            }
            6..8 if !held.is_empty() => {
                dropped += 1;
                drop(held.swap_remove(rng.usize(..held.len())));
            }
            _ => sim.advance(Duration::from_micros(rng.u64(..4_000))),
        }
    }
    drop(held);
    let snapshot = dependency.snapshot();
    let lent = (snapshot.calls, snapshot.attempts, snapshot.queued, limit.open());
    assert_eq!(lent, (0, 0, 0, 0), "{snapshot}");
    for one in &snapshot.endpoints {
        let lent = (one.open, one.connections, one.probes, one.queued);
        assert_eq!(lent, (0, 0, 0, 0), "{snapshot}");
    }
    assert!(means.group.is_empty());
    let totals = &snapshot.totals;
    let ended = totals.succeeded + totals.failed + totals.timed_out + totals.refused;
    assert!(totals.dropped <= dropped && ended > 0);
    [totals.dropped, ended, totals.retries, totals.hedges]
}

/// S1: none of the permits, connections, probes, queue places, tokens and shared grants of calls that are
/// dropped is lost.
#[test]
fn no_place_of_a_dropped_call_is_lost() {
    let count = number("DACE_DROPS", 20_000);
    let mut sums = [0; 4];
    let mut seed = 0;
    // What was counted: of the calls that were dropped, those that were under way themselves.
    while sums[0] < count {
        let round = drop_calls(seed, 2_000);
        sums.iter_mut().zip(round).for_each(|(sum, one)| *sum += one);
        seed += 1;
    }
    let [dropped, ended, retries, hedges] = sums;
    println!(
        "{dropped} dropped, {ended} ended, {retries} retries, {hedges} hedges: nothing is lost"
    );
    assert!(retries > 0 && hedges > 0);
}

/// One schedule of a few calls at a dependency of its own. Answers whether the limit was reached.
fn schedule(seed: u64) -> bool {
    let mut rng = fastrand::Rng::with_seed(seed);
    let sim = Sim::new(seed);
    let servers = servers(&sim);
    for server in &servers {
        server.latency(ms(2)).jitter(ms(2)).handler(|_| Answer::ok("ok").piece(ms(1), "more"));
    }
    let limit = rng.u32(1..4);
    let picker = rng.u8(..3);
    let builder = Dependency::builder("schedule")
        .max_open_per_netloc(limit)
        .http_pool_size(rng.u32(1..5))
        .queue(rng.usize(..4))
        .retry_attempts(rng.u32(..2));
    let builder = match picker {
        0 => builder,
        1 => builder.load_balancer(PeakEwma::new(targets())),
        _ => builder.load_balancer(RoundRobin::new(targets())),
    };
    let dependency = builder.build_with(sim.runtime(), sim.backend()).unwrap();
    let means = means(&sim, picker == 0);
    let (mut held, mut kept): (Vec<Held>, Vec<_>) = (Vec::new(), Vec::new());
    for step in 0..rng.usize(10..40) {
        match rng.u8(..8) {
            0..3 => {
                let parts = if rng.bool() { Parts::Plain } else { Parts::Fallback };
                let start = Start { parts, ..any_call(&mut rng) };
                held.push(make(&dependency, &means, step, &start).future);
            }
            3..6 if !held.is_empty() => {
                let index = rng.usize(..held.len());
                if let Poll::Ready(ended) = poll(&mut held[index]) {
                    kept.extend(ended.ok().and_then(|value| value.kept));
                    drop(held.swap_remove(index));
                }
            }
            6 if !held.is_empty() => drop(held.swap_remove(rng.usize(..held.len()))),
            6 => drop(kept.pop()),
            _ => sim.advance(Duration::from_micros(rng.u64(..3_000))),
        }
    }
    let peak = servers.iter().map(Server::peak).max().unwrap_or_default();
    assert!(peak <= limit, "{peak} open at a server, {limit} may be: schedule {seed}");
    peak == limit
}

/// S2: no order in which calls are started, polled, dropped and answered has more open at a server than the
/// limit.
#[test]
fn no_schedule_has_more_open_than_the_limit() {
    let count = number("DACE_SCHEDULES", 3_000);
    let reached = (0..count).filter(|seed| schedule(*seed)).count() as u64;
    println!("{count} schedules, {reached} of them reached their limit: none went above it");
    assert!(reached * 4 > count, "many of them have to come as far as the limit");
}
