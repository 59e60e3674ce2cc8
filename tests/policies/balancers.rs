//! Which target gets how much.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::sim::Sim;
use dace::{
    Balancing, Breaker, HttpError, LeastOpen, LoadBalancer, Member, PeakEwma, Policy, Rendezvous,
    RoundRobin, What,
};

use crate::support::{Call, Dependency, Picked, Seen, dependency, get, many, ms, target};

const ABC: [&str; 3] = ["http://a:80", "http://b:80", "http://c:80"];

type Make = fn(Vec<Member>) -> LoadBalancer;

const ALL: [Make; 4] = [
    |list| RoundRobin::new(list).into(),
    |list| LeastOpen::new(list).into(),
    |list| PeakEwma::new(list).into(),
    |list| Rendezvous::new(list).into(),
];

/// Calls of 5 to 15 ms, one every so often, each with a key of its own.
async fn spread(sim: &Sim, all: &Dependency, picked: &Picked, calls: u32, every: Duration) {
    let mut tasks = Vec::new();
    for number in 0..calls {
        let (all, picked, sleeper) = (all.clone(), picked.clone(), sim.runtime());
        let took = ms(5 + u64::from(number.wrapping_mul(2_654_435_761) >> 16) % 11);
        tasks.push(sim.spawn(async move {
            let call = all.call(|call: Call| {
                picked.note(&call);
                let until = dace::Runtime::now(&sleeper).after(took);
                let sleep = dace::Runtime::sleep_until(&sleeper, until);
                async move {
                    sleep.await;
                    Ok::<_, HttpError>(())
                }
            });
            call.sticky(format!("user-{number}")).await.unwrap();
        }));
        if number % 64 == 63 {
            tasks.clear();
        }
        sim.sleep(every).await;
    }
    sim.sleep(ms(100)).await;
}

fn weights_hold(make: Make) {
    let weights = [1, 2, 3, 6];
    let names = ["a:80", "b:80", "c:80", "d:80"];
    let sim = Sim::new(7);
    let list = names.iter().zip(weights).map(|(name, w)| Member::new(("http", *name)).weight(w));
    let balancer = make(list.collect());
    let all = dependency(&sim, |b| b.load_balancer(balancer).max_open_per_netloc(100));
    let picked = Picked::default();
    sim.run(spread(&sim, &all, &picked, 100_000, ms(2)));
    let counts = picked.take(names);
    assert_eq!(counts.iter().sum::<u32>(), 100_000);
    for (count, weight) in counts.iter().zip(weights) {
        let off = f64::from(*count) * 12.0 / f64::from(weight) / 100_000.0;
        assert!((0.95..1.05).contains(&off), "{counts:?}");
    }
}

#[test]
fn round_robin_holds_weights_within_five_per_cent() {
    weights_hold(ALL[0]);
}

#[test]
fn least_open_holds_weights_within_five_per_cent() {
    weights_hold(ALL[1]);
}

#[test]
fn peak_ewma_holds_weights_within_five_per_cent() {
    weights_hold(ALL[2]);
}

#[test]
fn rendezvous_holds_weights_within_five_per_cent() {
    weights_hold(ALL[3]);
}

#[test]
fn a_failing_target_gets_less_than_five_per_cent_whatever_it_weighs() {
    for (index, make) in ALL.into_iter().enumerate() {
        for weight in [1, 5] {
            let sim = Sim::new(11);
            let servers = ABC.map(|target| sim.server(target));
            servers[0].latency(ms(10));
            servers[1].latency(ms(10));
            servers[2].latency(ms(1)).answers(.., 500);
            let list = ABC.map(Member::new);
            let [a, b, c] = list;
            let balancer = make(vec![a, b, c.weight(weight)]);
            // Peak-EWMA does it alone, the others have the circuits for it.
            let circuits = if index == 2 { Duration::ZERO } else { Duration::from_secs(10) };
            let all = dependency(&sim, |builder| {
                builder.load_balancer(balancer).circuit_reset_timeout(circuits)
            });
            let failed = sim.run(many(&sim, &all, 5_000, ms(2)));
            let counts = servers.each_ref().map(|server| server.requests());
            let bad = counts[2] * 20 < counts.iter().sum();
            assert!(bad, "{index}, weight {weight}: {counts:?}, {failed} failed");
        }
    }
}

#[test]
fn no_target_is_above_the_bound_at_any_pick() {
    let sim = Sim::new(7);
    let names: Vec<String> = (0..8).map(|n| format!("http://s{n}:80")).collect();
    let all = dependency(&sim, |builder| {
        builder.load_balancer(Rendezvous::new(&names).bounded_load(1.25)).max_open_per_netloc(1000)
    });
    let seen = Arc::new(Mutex::new((0, BTreeMap::<String, u32>::new())));
    sim.run(async {
        let mut tasks = Vec::new();
        for _ in 0..3_000 {
            let (all, seen, runtime) = (all.clone(), seen.clone(), sim.runtime());
            tasks.push(sim.spawn(async move {
                let call = all.call(|call: Call| {
                    // Nothing happened since the pick.
                    let (views, picked) = (all.targets(), call.target().unwrap());
                    let open: u32 = views.iter().map(|view| view.open).sum();
                    let here = views.iter().find(|view| view.target == picked).unwrap().open;
                    assert!(here <= (open * 5).div_ceil(4 * 8), "{here} of {open}");
                    let mut seen = seen.lock().unwrap();
                    seen.0 = seen.0.max(open);
                    *seen.1.entry(picked.to_string()).or_default() += 1;
                    let until = dace::Runtime::now(&runtime).after(ms(40));
                    let sleep = dace::Runtime::sleep_until(&runtime, until);
                    async move {
                        sleep.await;
                        Ok::<_, HttpError>(())
                    }
                });
                call.sticky("everybody").await.unwrap();
            }));
            sim.sleep(ms(1)).await;
        }
        futures_util::future::join_all(tasks).await;
    });
    let (peak, counts) = &*seen.lock().unwrap();
    assert!(*peak >= 40 && counts.len() >= 7, "{peak}, {counts:?}");
}

/// The target of each of 2,000 keys.
async fn homes(all: &Dependency) -> Vec<String> {
    let mut homes = Vec::new();
    for key in 0..2_000 {
        let call =
            all.call(
                |call: Call| async move { Ok::<_, HttpError>(call.target().unwrap().to_string()) },
            );
        homes.push(call.sticky(format!("user-{key}")).await.unwrap());
    }
    homes
}

#[test]
fn removing_one_of_ten_targets_moves_its_keys_alone_and_they_come_back() {
    let sim = Sim::new(7);
    let names: Vec<String> = (0..10).map(|n| format!("http://s{n}:80")).collect();
    let all = dependency(&sim, |builder| builder.load_balancer(Rendezvous::new(&names)));
    let again = dependency(&Sim::new(8), |builder| builder.load_balancer(Rendezvous::new(&names)));
    sim.run(async {
        let before = homes(&all).await;
        assert_eq!(homes(&again).await, before, "in every process");
        let gone = target("http://s3:80");
        assert!(all.remove_target(&gone).unwrap());
        let after = homes(&all).await;
        let moved = before.iter().zip(&after).filter(|(was, is)| was != is).count();
        let its = before.iter().filter(|home| **home == gone.to_string()).count();
        assert_eq!(moved, its);
        assert!(moved <= 2_000 * 11 / 100, "{moved} of 2,000");
        all.add_target(gone).unwrap();
        assert_eq!(homes(&all).await, before);
    });
}

#[test]
fn a_sticky_call_waits_for_its_own_target_and_goes_on_when_that_is_ill() {
    let sim = Sim::new(7);
    let all = dependency(&sim, |builder| {
        builder.load_balancer(Rendezvous::new(ABC)).max_open_per_netloc(1).queue(1)
    });
    let sticky = || {
        let sleeper = sim.runtime();
        let call = all.call(move |call: Call| {
            let until = dace::Runtime::now(&sleeper).after(ms(10));
            let (sleep, home) = (dace::Runtime::sleep_until(&sleeper, until), call.target());
            async move {
                sleep.await;
                Ok::<_, HttpError>(home.unwrap())
            }
        });
        call.sticky("user-1")
    };
    sim.run(async {
        let (one, two, three) = futures_util::future::join3(sticky(), sticky(), sticky()).await;
        let home = one.unwrap();
        assert_eq!((two.unwrap(), sim.elapsed()), (home.clone(), ms(20)), "it waited");
        let error = three.unwrap_err();
        assert!(error.to_string().contains(home.netloc().as_str()), "{error}");
        all.circuit(home.netloc().as_str()).unwrap().force_open();
        let next = sticky().await.unwrap();
        assert_ne!(next, home);
        all.circuit(home.netloc().as_str()).unwrap().automatic();
        assert_eq!(sticky().await.unwrap(), home);
    });
}

/// Four primaries and two that step in.
fn levels() -> Vec<Member> {
    let primaries = (0..4).map(|n| Member::new(format!("http://p{n}:80")));
    let others = (0..2).map(|n| Member::new(format!("http://f{n}:80")).priority(1));
    others.chain(primaries).collect()
}

const PRIMARIES: [&str; 4] = ["p0:80", "p1:80", "p2:80", "p3:80"];
const FAILOVER: [&str; 2] = ["f0:80", "f1:80"];

#[test]
fn those_of_the_next_priority_take_what_the_primaries_cannot() {
    for make in ALL {
        let sim = Sim::new(7);
        let all = dependency(&sim, |b| b.load_balancer(make(levels())).max_open_per_netloc(100));
        let picked = Picked::default();
        let names = [PRIMARIES.as_slice(), &FAILOVER].concat();
        let names: [&str; 6] = names.try_into().unwrap();
        sim.run(async {
            // So many of four are ill: so many of 4,000 calls go to the others.
            for (ill, expected) in [(0, 0), (1, 0), (2, 1_200), (3, 2_600), (4, 4_000)] {
                if ill > 0 {
                    assert!(all.circuit(PRIMARIES[ill - 1]).unwrap().force_open());
                }
                spread(&sim, &all, &picked, 4_000, ms(2)).await;
                let counts = picked.take(names);
                let over = counts[4] + counts[5];
                assert!(over.abs_diff(expected) <= 120, "{ill} ill: {counts:?}");
                assert_eq!(counts[..ill].iter().sum::<u32>(), 0, "{counts:?}");
            }
            assert!(!all.snapshot().panic_mode, "the others can take it all");
            for name in PRIMARIES {
                all.circuit(name).unwrap().automatic();
            }
            spread(&sim, &all, &picked, 1_000, ms(2)).await;
            let counts = picked.take(FAILOVER);
            assert_eq!(counts, [0, 0], "back where they belong");
            // What is drained is not ill, it is not there.
            for name in &PRIMARIES[..3] {
                all.circuit(name).unwrap().drain();
            }
            spread(&sim, &all, &picked, 1_000, ms(2)).await;
            assert_eq!(picked.take(["p3:80"]), [1_000]);
        });
    }
}

/// H2: a target that was down gets its traffic back.
#[test]
fn primaries_that_recover_get_their_calls_back() {
    let sim = Sim::new(7);
    let (primary, other) = (sim.server("http://p:80"), sim.server("http://f:80"));
    primary.latency(ms(5)).down(Duration::from_secs(1)..Duration::from_secs(60));
    other.latency(ms(5));
    let all = dependency(&sim, |builder| {
        builder.targets([Member::new("http://p:80"), Member::new("http://f:80").priority(1)])
    });
    sim.run(async {
        let failed = many(&sim, &all, 20_000, ms(4)).await;
        assert_eq!(failed, 0, "each was tried on the other one");
        let before = (primary.requests(), other.requests());
        many(&sim, &all, 10_000, ms(4)).await;
        assert!(primary.requests() > before.0, "{before:?}");
        let before = (primary.requests(), other.requests());
        many(&sim, &all, 1_000, ms(4)).await;
        let after = (primary.requests() - before.0, other.requests() - before.1);
        assert_eq!(after, (1_000, 0));
    });
}

#[test]
fn a_primary_that_is_full_is_relieved_by_the_next_priority() {
    let sim = Sim::new(7);
    let (primary, other) = (sim.server("http://p:80"), sim.server("http://f:80"));
    primary.latency(ms(10));
    other.latency(ms(10));
    let all = dependency(&sim, |builder| {
        let primary = Member::new("http://p:80").max_open(2);
        builder.targets([Member::new("http://f:80").priority(9), primary])
    });
    sim.run(futures_util::future::join_all((0..6).map(|_| get(&all))));
    assert_eq!((primary.requests(), other.requests()), (2, 4), "its own limit binds");
}

/// H5: when all targets are down, calls end at once and say why, or try them all the same.
#[test]
fn when_all_levels_are_ill_circuits_are_ignored_and_the_primaries_carry_it() {
    let sim = Sim::new(7);
    let names = [PRIMARIES.as_slice(), &FAILOVER].concat();
    let servers: Vec<_> = names.iter().map(|n| sim.server(&format!("http://{n}"))).collect();
    for server in &servers {
        server.answers(..ms(1), 500);
    }
    let seen = Seen::default();
    let all = dependency(&sim, |builder| {
        builder
            .load_balancer(RoundRobin::new(levels()))
            .breaker(Breaker::new().consecutive_failures(1).successes(1))
            .retry_attempts(0)
            .observer(seen.clone())
    });
    let panics = || {
        let events = seen.0.lock().unwrap();
        events.iter().filter(|event| matches!(event.what, What::PanicMode { on: true })).count()
    };
    sim.run(async {
        for ejected in 0..6 {
            assert_eq!(panics(), 0, "{ejected} ejected, and the rest can carry it");
            get(&all).await.unwrap_err();
        }
        sim.sleep(ms(1)).await;
        for _ in 0..40 {
            get(&all).await.unwrap();
        }
    });
    assert_eq!(panics(), 1);
    let counts: Vec<_> = servers.iter().map(|server| server.requests()).collect();
    assert_eq!(counts, [11, 11, 11, 11, 1, 1]);
}

/// B11: not all targets can be ejected: there is always one to pick.
#[test]
fn whoever_is_ejected_and_comes_back_some_target_can_always_be_picked() {
    for make in ALL {
        let sim = Sim::new(3);
        let servers = ABC.map(|target| sim.server(target));
        let list = ABC.map(Member::new);
        let [a, b, c] = list;
        let all = dependency(&sim, |builder| {
            builder
                .load_balancer(make(vec![a.weight(1000), b, c]))
                .breaker(Breaker::new().consecutive_failures(1).successes(1))
                .circuit_reset_timeout(Duration::from_secs(100))
                .retry_attempts(0)
        });
        sim.run(async {
            let mut rng = fastrand::Rng::with_seed(7);
            for round in 0..300 {
                for server in &servers {
                    server.failing(if rng.bool() { 1.0 } else { 0.0 }, 500);
                }
                let reached: usize = servers.iter().map(|server| server.requests()).sum();
                for _ in 0..10 {
                    let _ = get(&all).await;
                }
                let now: usize = servers.iter().map(|server| server.requests()).sum();
                assert_eq!(now - reached, 10, "round {round}: {}", all.snapshot());
                match rng.u32(0..8) {
                    0 => drop(all.remove_target(&target("http://b:80"))),
                    1 => drop(all.add_target("http://b:80")),
                    2 => drop(all.set_weight(&target("http://c:80"), rng.u32(1..=1000))),
                    _ => {}
                }
            }
        });
    }
}

#[test]
fn a_new_target_grows_into_its_weight() {
    let sim = Sim::new(7);
    let servers = ABC.map(|target| sim.server(target));
    for server in &servers {
        server.latency(ms(10));
    }
    let all = dependency(&sim, |builder| builder.targets([ABC[0], ABC[1]]));
    sim.run(async {
        many(&sim, &all, 1_000, ms(2)).await;
        all.add_target(Member::new(ABC[2]).weight(2)).unwrap();
        many(&sim, &all, 500, ms(2)).await;
        let first = servers[2].requests();
        assert!(first < 100, "{first} of 500 in its first second, 250 would be its share");
        many(&sim, &all, 5_000, ms(2)).await;
        let before = servers[2].requests();
        many(&sim, &all, 1_000, ms(2)).await;
        let share = servers[2].requests() - before;
        assert!((450..=550).contains(&share), "{share} of 1,000, ten seconds later");
    });
}

#[test]
fn a_policy_says_what_balances() {
    let sim = Sim::new(7);
    let picked = Picked::default();
    let policy = Policy::new().targets(ABC).balancer(Balancing::RoundRobin);
    let all = dependency(&sim, |builder| builder.policy(policy));
    let run = |calls| sim.run(spread(&sim, &all, &picked, calls, ms(1)));
    run(9);
    assert_eq!(picked.take(["a:80", "b:80", "c:80"]), [3, 3, 3]);
    all.reload(Policy::new().balancer(Balancing::Rendezvous)).unwrap();
    let (one, two) = sim.run(async { (homes(&all).await, homes(&all).await) });
    assert_eq!(one, two);
}
