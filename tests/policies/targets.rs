//! Targets that come, go and change their weight while calls run.

use std::time::Duration;

use dace::sim::Sim;
use dace::{
    Balancer, Balancing, CircuitState, ConfigError, Member, Pick, Policy, Rendezvous, RoundRobin,
    Target, TargetError, What,
};

use crate::support::{Dependency, Seen, dependency, get, many, ms, target};

const AB: [&str; 2] = ["http://a:80", "http://b:80"];

fn listed(all: &Dependency) -> Vec<(String, u32, u32)> {
    let views = all.targets();
    views.iter().map(|view| (view.target.to_string(), view.weight, view.priority)).collect()
}

#[test]
fn a_target_is_added_weighed_and_removed_and_events_say_so() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    b.latency(ms(50));
    let seen = Seen::default();
    let all = dependency(&sim, |builder| {
        builder.load_balancer(RoundRobin::new(["http://a:80"])).observer(seen.clone())
    });
    sim.run(async {
        all.add_target(Member::new("http://b:80").weight(3)).unwrap();
        for _ in 0..8 {
            get(&all).await.unwrap();
        }
        assert_eq!((a.requests(), b.requests()), (2, 6));
        assert!(all.set_weight(&target("http://b:80"), 1).unwrap());
        for _ in 0..8 {
            get(&all).await.unwrap();
        }
        assert_eq!((a.requests(), b.requests()), (6, 10));
        let under_way = futures_util::future::join_all((0..2).map(|_| get(&all)));
        let removed = async {
            sim.sleep(ms(10)).await;
            assert!(all.remove_target(&target("http://b:80")).unwrap());
            for _ in 0..4 {
                get(&all).await.unwrap();
            }
        };
        let (results, ()) = futures_util::future::join(under_way, removed).await;
        assert!(results.iter().all(Result::is_ok), "what is under way finishes");
        assert_eq!((a.requests(), b.requests()), (11, 11), "and nothing more goes there");
    });
    all.flush();
    let events = seen.0.lock().unwrap();
    let told: Vec<_> = events
        .iter()
        .filter_map(|event| match &event.what {
            What::TargetAdded { netloc, count } => Some(format!("+ {netloc}, {count}")),
            What::TargetRemoved { netloc, open, count } => {
                Some(format!("- {netloc}, {open} open, {count}"))
            }
            What::TargetWeighed { netloc, weight } => Some(format!("{netloc}: {weight}")),
            _ => None,
        })
        .collect();
    assert_eq!(told, ["+ b:80, 2", "b:80: 1", "- b:80, 1 open, 1"]);
    assert!(all.snapshot().endpoints.iter().all(|endpoint| endpoint.open == 0));
}

/// H3: empty lists and weights of zero are errors; huge ones do not overflow.
#[test]
fn what_cannot_be_changed_is_a_typed_error_and_the_list_stays() {
    let sim = Sim::new(1);
    let all = dependency(&sim, |builder| builder.targets(AB));
    let before = listed(&all);
    let unknown = target("http://x:80");
    assert!(!all.remove_target(&unknown).unwrap());
    assert!(!all.set_weight(&unknown, 2).unwrap());
    let weighing = |weight| all.set_targets([Member::new("http://a:80").weight(weight)]);
    let errors: [(Result<(), ConfigError>, &str, &str); 9] = [
        (weighing(0), "targets.weight", "of http://a:80 must be from 1 to 1000, not 0"),
        (weighing(1001), "targets.weight", "from 1 to 1000, not 1001"),
        (weighing(u32::MAX), "targets.weight", "not 4294967295"),
        (all.set_weight(&target(AB[0]), 0).map(drop), "targets.weight", "drain a target"),
        (all.add_target(Member::new("http://c").max_open(0)), "targets.max_open", "at least 1"),
        (all.add_target("http://A"), "targets", "names http://a:80 twice"),
        (all.add_target("a/b"), "targets", "must name targets such as"),
        (all.set_targets([""; 0]), "targets", "must name at least one target"),
        (all.reload(Policy::new().targets([""; 0])), "targets", "must name at least one target"),
    ];
    for (result, setting, said) in errors {
        let error = result.unwrap_err();
        assert_eq!(error.setting(), setting, "{error}");
        assert!(error.to_string().contains(said), "{error}");
    }
    assert_eq!(listed(&all), before);
    assert!(all.remove_target(&target(AB[0])).unwrap());
    let error = all.remove_target(&target(AB[1])).unwrap_err();
    assert!(error.to_string().contains("drain the last one"), "{error}");
    assert_eq!(listed(&all), [("http://b:80".into(), 1, 0)]);
}

#[test]
fn wrong_settings_of_a_balancer_are_named_when_the_dependency_is_built() {
    for factor in [0.0, 0.99, -1.0, f64::NAN, f64::INFINITY, 1e9] {
        let sim = Sim::new(1);
        let ring = Rendezvous::new(AB).bounded_load(factor);
        let builder = Dependency::builder("a").load_balancer(ring);
        let error = builder.build_with(sim.runtime(), sim.backend()).unwrap_err();
        assert_eq!(error.setting(), "load_balancer.bounded_load", "{factor}");
    }
    let policies = [
        (Policy::new().balancer(Balancing::LeastOpen), "has nothing to pick from"),
        (Policy::new().targets([Member::new("http://a").weight(0)]), "from 1 to 1000"),
    ];
    for (policy, said) in policies {
        let sim = Sim::new(1);
        let builder = Dependency::builder("a").policy(policy);
        let error = builder.build_with(sim.runtime(), sim.backend()).unwrap_err();
        assert!(error.to_string().contains(said), "{error}");
    }
}

#[test]
fn the_heaviest_weights_of_a_long_list_do_no_harm() {
    let sim = Sim::new(1);
    let heavy = |n: u32| Member::new(format!("http://s{n}:80")).weight(1000 - n % 2);
    let all = dependency(&sim, |builder| builder.targets((0..3_000).map(heavy)));
    let call = || all.call(|_| async { Ok::<_, dace::HttpError>(()) });
    sim.run(async {
        for _ in 0..1_000 {
            call().await.unwrap();
        }
    });
}

#[test]
fn what_is_known_of_those_that_stay_stays() {
    let sim = Sim::new(1);
    let servers = AB.map(|target| sim.server(target));
    servers[0].latency(ms(20));
    servers[1].answers(.., 500);
    let all = dependency(&sim, |builder| builder.load_balancer(RoundRobin::new(AB)));
    sim.run(async {
        for _ in 0..12 {
            get(&all).await.unwrap();
        }
        let before = all.targets();
        assert_eq!(before[1].circuit, CircuitState::Open);
        assert_eq!(before[0].latency.map(|latency| latency.as_millis()), Some(20));
        all.add_target("http://c:80").unwrap();
        all.set_weight(&target(AB[0]), 7).unwrap();
        all.reload(Policy::new().balancer(Balancing::PeakEwma)).unwrap();
        all.remove_target(&target(AB[1])).unwrap();
        all.add_target(AB[1]).unwrap();
        let after = all.targets();
        assert_eq!(after[0].latency, before[0].latency);
        assert_eq!(after[2].circuit, CircuitState::Open, "even of one that was away");
    });
}

/// H1, H4.
#[test]
fn ten_thousand_updates_a_second_lose_no_call() {
    let sim = Sim::new(3);
    for n in 0..8 {
        sim.server(&format!("http://s{n}:80")).latency(ms(3));
    }
    for balancing in [Balancing::PeakEwma, Balancing::RoundRobin, Balancing::Rendezvous] {
        let policy = Policy::new().targets(["http://s0:80"]).balancer(balancing);
        let all = dependency(&sim, |builder| builder.policy(policy).max_open_per_netloc(1_000));
        let start = sim.elapsed();
        sim.run(async {
            let mut rng = fastrand::Rng::with_seed(7);
            let calls = many(&sim, &all, 1_000, ms(1));
            let updates = async {
                for _ in 0..10_000 {
                    let member = format!("http://s{}:80", rng.u32(0..8));
                    match rng.u32(0..4) {
                        0 => drop(all.add_target(Member::new(&member).priority(rng.u32(0..2)))),
                        1 => drop(all.remove_target(&target(&member))),
                        2 => drop(all.set_weight(&target(&member), rng.u32(1..=1000))),
                        _ => {
                            let some = (0..8).filter(|n| *n == 0 || rng.bool());
                            let some = some.map(|n| format!("http://s{n}:80"));
                            all.set_targets(some.collect::<Vec<_>>()).unwrap();
                        }
                    }
                    sim.sleep(Duration::from_micros(100)).await;
                }
            };
            let (failed, ()) = futures_util::future::join(calls, updates).await;
            assert_eq!(failed, 0);
        });
        assert!(sim.elapsed() - start < ms(1_100));
        let snapshot = all.snapshot();
        assert_eq!((snapshot.calls, snapshot.totals.succeeded), (0, 1_000), "{snapshot}");
        assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0), "{snapshot}");
        assert!(!all.targets().is_empty());
    }
}

#[test]
fn a_reload_with_targets_is_all_or_nothing() {
    let sim = Sim::new(1);
    let all = dependency(&sim, |builder| builder.targets(AB).retry_attempts(1));
    let wrong = Policy::new().retry_attempts(7).targets(["http://c", "http://C:80"]);
    assert_eq!(all.reload(wrong).unwrap_err().setting(), "targets");
    let wrong = Policy::new().timeout(Duration::ZERO).targets(["http://c"]);
    assert_eq!(all.reload(wrong).unwrap_err().setting(), "timeout");
    assert_eq!((all.policy().bounds().attempts, all.targets().len()), (2, 2));
    let right = Policy::new().retry_attempts(7);
    all.reload(right.clone().targets([Member::new("http://c").weight(5).priority(2)])).unwrap();
    assert_eq!(listed(&all), [("http://c:80".into(), 5, 2)]);
    assert_eq!(all.policy(), right, "without targets: they change by themselves");
    all.add_target("http://d").unwrap();
    all.reload(all.policy()).unwrap();
    assert_eq!(all.targets().len(), 2);
}

#[test]
fn a_policy_cannot_replace_a_balancer_of_ones_own_but_its_targets() {
    let sim = Sim::new(1);
    let all = dependency(&sim, |builder| builder.load_balancer(|| ("http", "a:80")));
    let error = all.reload(Policy::new().retry_attempts(9).balancer(Balancing::LeastOpen));
    assert_eq!(error.unwrap_err().setting(), "balancer");
    assert_eq!(all.policy().bounds().attempts, 4, "nothing changed");
    all.reload(Policy::new().targets(AB)).unwrap();
    assert_eq!(all.targets().len(), 2);
}

/// The one that has least open of those that admit, and then the fastest.
struct Idlest;

impl Balancer for Idlest {
    fn pick(&self, pick: &Pick<'_>) -> Result<Option<Target>, TargetError> {
        let endpoints = pick.endpoints();
        assert_eq!(endpoints.len(), pick.targets.len());
        let admitting = endpoints.into_iter().filter(|endpoint| endpoint.admits);
        let best = admitting.min_by_key(|endpoint| (endpoint.open, endpoint.latency));
        Ok(best.map(|endpoint| endpoint.target))
    }
}

#[test]
fn a_balancer_of_ones_own_sees_what_is_known_of_each_endpoint() {
    let sim = Sim::new(1);
    let names = ["http://a:80", "http://b:80", "http://c:80"];
    let servers = names.map(|target| sim.server(target));
    for (server, millis) in servers.iter().zip([9, 3, 6]) {
        server.latency(ms(millis));
    }
    let all = dependency(&sim, |builder| {
        let [a, b, c] = names;
        let list = [Member::new(a), Member::new(b).weight(2), Member::new(c).priority(1)];
        builder.targets(list).load_balancer(Idlest)
    });
    sim.run(async {
        futures_util::future::join_all((0..6).map(|_| get(&all))).await;
        assert_eq!(servers.each_ref().map(|server| server.requests()), [2, 2, 2]);
        for _ in 0..3 {
            get(&all).await.unwrap();
        }
        assert_eq!(servers.each_ref().map(|server| server.requests()), [2, 5, 2], "the fastest");
        all.circuit("b:80").unwrap().force_open();
        get(&all).await.unwrap();
        assert_eq!(servers[2].requests(), 3);
        let views = all.targets();
        let shown: Vec<_> = views
            .iter()
            .map(|view| (view.weight, view.priority, view.circuit, view.admits, view.paused))
            .collect();
        let closed = CircuitState::Closed;
        let open = CircuitState::ForcedOpen;
        assert_eq!(
            shown,
            [(1, 0, closed, true, false), (2, 0, open, false, false), (1, 1, closed, true, false)]
        );
    });
}
