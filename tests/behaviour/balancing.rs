//! Which endpoint an attempt goes to.

use std::time::Duration;

use dace::{Balancer, Pick, RoundRobin, Target, TargetError, What};
use dace_sim::Sim;

use crate::support::{
    Count, Dependency, Error, Seen, assert_all_back, dependency, get, get_root, ms, secs, touchy,
};

const ABC: [&str; 3] = ["http://a:80", "http://b:80", "http://c:80"];

async fn many(sim: &Sim, dependency: &Dependency, calls: usize, every: Duration) {
    let mut tasks = Vec::new();
    for _ in 0..calls {
        let dependency = dependency.clone();
        tasks.push(sim.spawn(async move { get_root(&dependency).await }));
        sim.sleep(every).await;
    }
    futures_util::future::join_all(tasks).await;
}

#[test]
fn an_endpoint_that_fails_fast_gets_almost_no_traffic() {
    let sim = Sim::new(11);
    let servers = ABC.map(|target| sim.server(target));
    servers[0].latency(ms(10));
    servers[1].latency(ms(10));
    servers[2].latency(ms(1)).answers(.., 500);
    // Without circuits, so that it is the balancer alone that does it.
    let all =
        dependency(&sim, |builder| builder.targets(ABC).circuit_reset_timeout(Duration::ZERO));
    sim.run(many(&sim, &all, 5000, ms(2)));
    let counts = servers.each_ref().map(|server| server.requests());
    assert!(counts[2] * 20 < counts.iter().sum(), "{counts:?}: under 5 % to the bad one");
}

#[test]
fn an_endpoint_that_hangs_costs_its_silence_before_any_timeout() {
    let sim = Sim::new(11);
    let servers = ABC.map(|target| sim.server(target));
    for server in &servers {
        server.latency(ms(10));
    }
    servers[2].hangs(secs(1)..);
    let all =
        dependency(&sim, |builder| builder.targets(ABC).timeout(secs(60)).max_open_per_netloc(100));
    sim.run(async {
        many(&sim, &all, 500, ms(2)).await;
        assert!(servers[2].requests() > 100);
        let before = servers[2].requests();
        let mut tasks = Vec::new();
        for _ in 0..1000 {
            let all = all.clone();
            tasks.push(sim.spawn(async move { get_root(&all).await }));
            sim.sleep(ms(2)).await;
        }
        let after = servers[2].requests() - before;
        assert!(after < 20, "{after} of 1,000 to the one that hangs, without a timeout in 2 s");
    });
}

#[test]
fn equal_endpoints_get_equal_shares() {
    let sim = Sim::new(11);
    let servers = ABC.map(|target| sim.server(target));
    for server in &servers {
        server.latency(ms(10)).jitter(ms(5));
    }
    let all = dependency(&sim, |builder| builder.targets(ABC));
    sim.run(many(&sim, &all, 3000, ms(4)));
    for server in &servers {
        let share = server.requests();
        assert!((800..=1200).contains(&share), "{share} of 3,000");
    }
}

#[test]
fn an_endpoint_without_any_result_gets_two_at_a_time_while_another_has_results() {
    let sim = Sim::new(11);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.latency(ms(10));
    let both = dependency(&sim, |builder| builder.targets(["http://a:80"]).max_open_per_netloc(50));
    sim.run(async {
        many(&sim, &both, 10, ms(1)).await;
        b.latency(secs(1));
        both.set_targets(["http://a:80", "http://b:80"]).unwrap();
        many(&sim, &both, 100, ms(1)).await;
    });
    assert_eq!(b.peak(), 2);
}

#[test]
fn round_robin_takes_turns_and_passes_over_the_open_ones() {
    let sim = Sim::new(1);
    let servers = ABC.map(|target| sim.server(target));
    let all = dependency(&sim, |builder| builder.load_balancer(RoundRobin::new(ABC)));
    sim.run(async {
        for _ in 0..30 {
            get_root(&all).await.unwrap();
        }
        assert_eq!(servers.each_ref().map(|server| server.requests()), [10; 3]);
        all.circuit("b:80").unwrap().force_open();
        for _ in 0..10 {
            get_root(&all).await.unwrap();
        }
        assert_eq!(servers.each_ref().map(|server| server.requests()), [15, 10, 15]);
    });
}

#[test]
fn a_closure_names_the_target_of_every_attempt() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.answers(.., 503);
    let count = Count::default();
    let both =
        dependency(&sim, |builder| {
            builder.load_balancer(move || {
                if count.next() % 2 == 1 { ("http", "a:80") } else { ("http", "b") }
            })
        });
    assert_eq!(sim.run(get_root(&both)).unwrap(), "ok");
    assert_eq!((a.requests(), b.requests()), (1, 1));
}

#[test]
fn a_balancer_of_ones_own_sees_targets_attempt_and_key() {
    struct ByKey;
    impl Balancer for ByKey {
        fn pick(&self, pick: &Pick<'_>) -> Result<Option<Target>, TargetError> {
            assert_eq!(pick.attempt, 1);
            Ok(pick.targets.get(pick.key.map_or(0, str::len)).cloned())
        }
    }
    let sim = Sim::new(1);
    let servers = ABC.map(|target| sim.server(target));
    let all = dependency(&sim, |builder| builder.targets(ABC).load_balancer(ByKey));
    sim.run(async {
        all.call(|call| get(call, "/")).sticky("kk").await.unwrap();
        let error = all.call(|call| get(call, "/")).sticky("too long").await.unwrap_err();
        assert!(matches!(error, Error::NoEndpoint { .. }), "{error:?}");
    });
    assert_eq!(servers.each_ref().map(|server| server.requests()), [0, 0, 1]);
}

#[test]
fn a_proposal_that_is_refused_or_was_tried_is_asked_for_again_three_times() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    let asked = Count::default();
    let count = asked.clone();
    let always = dependency(&sim, |builder| {
        builder.retry_attempts(0).load_balancer(move || {
            count.next();
            ("http", "a:80")
        })
    });
    sim.run(async {
        get_root(&always).await.unwrap();
        assert_eq!(asked.get(), 1);
        always.circuit("a:80").unwrap().force_open();
        let error = get_root(&always).await.unwrap_err();
        assert!(matches!(error, Error::CircuitOpen { .. }), "{error:?}");
        assert_eq!(asked.get(), 1 + 4);
    });
    assert_eq!(a.requests(), 1);
    assert_all_back(&always);
}

#[test]
fn a_balancer_that_is_asked_again_is_told_so_and_can_name_another() {
    struct Spread;
    impl Balancer for Spread {
        fn pick(&self, pick: &Pick<'_>) -> Result<Option<Target>, TargetError> {
            Ok(pick.targets.get(pick.asked as usize).cloned())
        }
    }
    let sim = Sim::new(1);
    let servers = ABC.map(|target| sim.server(target));
    let all = dependency(&sim, |builder| builder.targets(ABC).load_balancer(Spread));
    sim.run(async {
        get_root(&all).await.unwrap();
        all.circuit("a:80").unwrap().force_open();
        get_root(&all).await.unwrap();
    });
    assert_eq!(servers.each_ref().map(|server| server.requests()), [1, 1, 0]);
}

#[test]
fn a_balancer_that_names_no_target_ends_the_call_with_an_error_that_says_so() {
    let sim = Sim::new(1);
    let wrong = dependency(&sim, |builder| builder.load_balancer(|| ("gopher", "a:70")));
    let error = sim.run(get_root(&wrong)).unwrap_err();
    let Error::Config(error) = error else { panic!("{error:?}") };
    assert_eq!(error.setting(), "load_balancer");
    assert_all_back(&wrong);
}

/// H1: a list that changes between picking and sending sends nothing to somebody else.
#[test]
fn targets_can_be_replaced_while_calls_run() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.latency(ms(50));
    let list = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    sim.run(async {
        let under_way = sim.spawn({
            let list = list.clone();
            async move { get_root(&list).await }
        });
        sim.sleep(ms(1)).await;
        list.set_targets(["http://b:80"]).unwrap();
        get_root(&list).await.unwrap();
        assert_eq!(under_way.await.unwrap(), "ok", "a removed endpoint drains");
        assert_eq!((a.requests(), b.requests()), (1, 1));
        for wrong in [vec![], vec!["http://b:80", "http://B"], vec!["b"]] {
            list.set_targets(wrong).unwrap_err();
        }
        get_root(&list).await.unwrap();
        assert_eq!(b.requests(), 2, "a wrong list changes nothing");
    });
    assert_all_back(&list);
}

#[test]
fn a_thousand_replacements_under_load_lose_no_call() {
    let sim = Sim::new(3);
    let servers: Vec<_> = (0..6).map(|n| sim.server(&format!("http://s{n}:80"))).collect();
    for server in &servers {
        server.latency(ms(3));
    }
    let list =
        dependency(&sim, |builder| builder.targets(["http://s0:80"]).max_open_per_netloc(100));
    sim.run(async {
        let mut tasks = Vec::new();
        for round in 0..1000usize {
            let targets: Vec<_> =
                (0..6).filter(|n| (round >> n) & 1 == 1 || *n == round % 6).collect();
            list.set_targets(targets.iter().map(|n| format!("http://s{n}:80"))).unwrap();
            for _ in 0..10 {
                let list = list.clone();
                tasks.push(sim.spawn(async move { get_root(&list).await }));
            }
            sim.sleep(ms(1)).await;
        }
        let results = futures_util::future::join_all(tasks).await;
        assert!(results.iter().all(Result::is_ok));
    });
    assert_all_back(&list);
}

/// B11: not all targets can be ejected: there is always one to pick.
#[test]
fn when_fewer_than_half_are_eligible_circuits_are_ignored_and_an_event_says_so() {
    let sim = Sim::new(1);
    let servers = ABC.map(|target| sim.server(target));
    servers[0].answers(..ms(1), 500);
    servers[1].answers(..ms(1), 500);
    let seen = Seen::default();
    let all = dependency(&sim, |builder| {
        builder
            .load_balancer(RoundRobin::new(ABC))
            .breaker(touchy())
            .retry_attempts(0)
            .observer(seen.clone())
    });
    sim.run(async {
        for _ in 0..3 {
            let _ = get_root(&all).await;
        }
        sim.sleep(ms(1)).await;
        for _ in 0..30 {
            get_root(&all).await.unwrap();
        }
    });
    for server in &servers {
        assert!(server.requests() >= 10, "all three carry the load");
    }
    let panic = seen.events().iter().any(|event| event.what == What::PanicMode { on: true });
    assert!(panic, "{}", seen.log());
}

/// H5: when all targets are down, calls end at once and say why, or try them all the same.
#[test]
fn a_list_of_one_has_no_panic_mode() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 500);
    let one = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).breaker(touchy()).retry_attempts(0)
    });
    sim.run(async {
        get_root(&one).await.unwrap_err();
        assert!(matches!(get_root(&one).await, Err(Error::CircuitOpen { .. })));
    });
}

/// H2: a target that was down gets its traffic back.
#[test]
fn an_endpoint_that_recovers_gets_its_traffic_back() {
    let sim = Sim::new(1);
    let servers = ABC.map(|target| sim.server(target));
    for server in &servers {
        server.latency(ms(5));
    }
    servers[2].down(secs(1)..secs(60));
    let all = dependency(&sim, |builder| builder.targets(ABC));
    sim.run(async {
        many(&sim, &all, 15_000, ms(4)).await;
        let down = servers[2].requests();
        assert!(down < 500, "{down} in the first second, and none while it is down");
        many(&sim, &all, 25_000, ms(4)).await;
        let before = servers[2].requests();
        many(&sim, &all, 3000, ms(4)).await;
        let share = servers[2].requests() - before;
        assert!(share > 700, "{share} of 3,000, 100 s after it was back");
    });
}
