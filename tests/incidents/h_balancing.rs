//! Targets that come and go: nothing is sent to somebody else, and nobody is away for ever.

use std::time::Duration;

use dace::sim::Sim;
use dace::{Balancing, Error, HttpError, LeastOpen, Member, PeakEwma, Policy, RoundRobin, Target};
use futures_util::future::{join, join_all};

use crate::support::{Call, Dependency, assert_all_back, dependency, get_root, ms, secs, touchy};

const ABC: [&str; 3] = ["http://a:80", "http://b:80", "http://c:80"];

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

#[test]
fn h1_a_list_that_changes_between_picking_and_sending_sends_nothing_to_somebody_else() {
    for balancing in [Balancing::PeakEwma, Balancing::RoundRobin, Balancing::LeastOpen] {
        let sim = Sim::new(1);
        let servers = ABC.map(|name| sim.server(name));
        let all = dependency(&sim, |builder| {
            let policy = Policy::new().targets(ABC).balancer(balancing);
            builder.policy(policy).retry_attempts(0)
        });
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..1_000 {
            let lists: [&[&str]; 4] = [&ABC, &ABC[1..], &ABC[..1], &[ABC[2], ABC[0]]];
            let next = lists[rng.usize(0..4)];
            // It was picked, and has yet to send: now the list is another one.
            let call = all.call(|call: Call| {
                let (picked, all, sim) = (call.target().unwrap(), &all, &sim);
                async move {
                    all.set_targets(next.iter().copied()).unwrap();
                    let server = sim.server(&picked.to_string());
                    let before = server.requests();
                    call.http().get("/").send().await?.bytes().await?;
                    Ok::<_, HttpError>((before, server.requests()))
                }
            });
            let (before, after) = sim.run(call).unwrap();
            assert_eq!(after, before + 1, "round {round}: it went where it was to go");
        }
        assert_eq!(servers.iter().map(dace::sim::Server::requests).sum::<usize>(), 1_000);
        assert_all_back(&all);
    }
}

#[test]
fn h2_a_target_that_was_down_for_a_minute_gets_its_traffic_back() {
    let sim = Sim::new(1);
    let servers = ABC.map(|name| sim.server(name));
    for server in &servers {
        server.latency(ms(5));
    }
    servers[2].down(secs(1)..secs(61));
    let by_turns = dependency(&sim, |builder| builder.load_balancer(RoundRobin::new(ABC)));
    let by_load = dependency(&sim, |builder| builder.load_balancer(PeakEwma::new(ABC)));
    let by_open = dependency(&sim, |builder| builder.load_balancer(LeastOpen::new(ABC)));
    sim.run(async {
        for all in [by_turns, by_load, by_open] {
            let mut before = 0;
            for n in 0..10_000 {
                get_root(&all).await.unwrap();
                sim.sleep(ms(15)).await;
                if n == 7_000 {
                    before = servers[2].requests();
                }
            }
            let share = servers[2].requests() - before;
            assert!(share > 600, "{share} of the last 3,000");
        }
    });
}

#[test]
fn h3_empty_lists_and_weights_of_zero_are_errors_and_huge_ones_overflow_nothing() {
    let sim = Sim::new(1);
    let all = dependency(&sim, |builder| builder.targets(ABC));
    for (wrong, setting) in [
        (all.set_targets([""; 0]), "targets"),
        (all.set_targets([Member::new(ABC[0]).weight(0)]), "targets.weight"),
        (all.set_targets([Member::new(ABC[0]).weight(u32::MAX)]), "targets.weight"),
        (all.set_weight(&target(ABC[0]), 0).map(drop), "targets.weight"),
    ] {
        assert_eq!(wrong.unwrap_err().setting(), setting);
    }
    assert_eq!(all.targets().len(), 3);
    for balancing in [Balancing::PeakEwma, Balancing::RoundRobin, Balancing::LeastOpen] {
        let many = (0..2_000).map(|n| Member::new(format!("http://s{n}:80")).weight(1_000));
        let policy = Policy::new().targets(many.collect::<Vec<_>>()).balancer(balancing);
        let huge = dependency(&sim, |builder| builder.policy(policy));
        for _ in 0..500 {
            sim.run(huge.call(|_| std::future::ready(Ok::<_, HttpError>(())))).unwrap();
        }
    }
}

#[test]
fn h4_ten_thousand_updates_a_second_hold_up_no_call() {
    let sim = Sim::new(3);
    for n in 0..8 {
        sim.server(&format!("http://s{n}:80")).latency(ms(3));
    }
    let all = dependency(&sim, |builder| {
        builder.targets(["http://s0:80"]).max_open_per_netloc(1_000).http_pool_size(1_000)
    });
    let updates = async {
        let mut rng = fastrand::Rng::with_seed(7);
        for _ in 0..10_000 {
            let some = (0..8).filter(|n| *n == 0 || rng.bool()).map(|n| format!("http://s{n}:80"));
            all.set_targets(some.collect::<Vec<_>>()).unwrap();
            sim.sleep(Duration::from_micros(100)).await;
        }
    };
    let calls = async {
        let mut calls = Vec::new();
        for _ in 0..1_000 {
            let (all, world) = (all.clone(), sim.clone());
            calls.push(sim.spawn(async move {
                let began = world.elapsed();
                get_root(&all).await.unwrap();
                world.elapsed() - began
            }));
            sim.sleep(ms(1)).await;
        }
        join_all(calls).await
    };
    let ((), took) = sim.run(join(updates, calls));
    assert!(took.iter().all(|took| *took == ms(3)), "each as long as its server takes");
    assert_all_back(&all);
}

#[test]
fn h5_when_all_targets_are_down_calls_end_at_once_and_say_why() {
    for (targets, panics) in [(&ABC[..1], false), (&ABC[..], true)] {
        let sim = Sim::new(1);
        sim.run(async {
            let all: Dependency = dependency(&sim, |builder| {
                let builder = builder.targets(targets.iter().copied()).retry_attempts(0);
                builder.breaker(touchy()).timeout(secs(5)).queue(10)
            });
            for name in targets {
                sim.server(name).down(..);
            }
            for _ in 0..20 {
                let error = get_root(&all).await.unwrap_err();
                let tried = matches!(error, Error::Operation { .. });
                // One target: refused, and told when. Several: tried all the same, and the error is theirs.
                assert!(tried || !panics && matches!(error, Error::CircuitOpen { .. }), "{error}");
            }
            assert_eq!(sim.elapsed(), Duration::ZERO);
            assert_eq!(all.snapshot().totals.circuit_open > 0, !panics);
        });
    }
}
