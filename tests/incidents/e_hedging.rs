//! A second attempt beside a slow one: never of what must not happen twice, and the loser leaves.

use std::pin::pin;

use dace::http::Method;
use dace::sim::{Answer, Ending, Sim};
use dace::{Budget, Class, Error, Hedge, Policy, RoundRobin};

use crate::support::{
    Builder, Call, Dependency, assert_all_back, dependency, get, get_root, ms, secs,
};

const SERVERS: [&str; 3] = ["http://a:80", "http://b:80", "http://c:80"];

/// Three servers that answer in 10 ms, and a dependency that knows it and hedges.
fn hedged(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    let all = dependency(sim, |builder| {
        set(builder.load_balancer(RoundRobin::new(SERVERS)).hedge(Hedge::new()).timeout(secs(1)))
    });
    every_server(sim, || Answer::ok("ok").latency(ms(10)));
    sim.run(async {
        for _ in 0..100 {
            get_root(&all).await.unwrap();
        }
    });
    all
}

fn every_server(sim: &Sim, answer: fn() -> Answer) {
    for server in SERVERS {
        sim.server(server).handler(move |_| answer());
    }
}

/// Requests that have arrived, of one method.
fn arrived(sim: &Sim, method: &Method) -> usize {
    let all = SERVERS.iter().flat_map(|server| sim.server(server).arrivals());
    all.filter(|arrival| arrival.method == *method).count()
}

#[test]
fn e1_two_answers_that_both_stall_after_their_heads_end_with_the_call() {
    let sim = Sim::new(1);
    // A hedge begins once an answer is late; so the heads are, and then nothing comes.
    let all = hedged(&sim, |builder| builder.retry_attempts(1));
    every_server(&sim, || Answer::ok("half").latency(ms(40)).ending(Ending::Stalled));
    let began = sim.elapsed();
    let mut call = pin!(all.call(|call| get(call, "/")));
    let error = sim.run(call.as_mut()).unwrap_err();
    assert!(matches!(error, Error::Timeout { attempts: 2, .. }), "{error}");
    assert_eq!(sim.elapsed() - began, secs(1));
    // Though the call's future is still there.
    assert!(SERVERS.iter().all(|server| sim.server(server).open() == 0), "both are given up");
    assert_all_back(&all);
}

#[test]
fn e2_the_loser_is_dropped_before_the_call_returns_and_counts_for_nothing() {
    let sim = Sim::new(1);
    let all = hedged(&sim, |builder| builder);
    sim.server(SERVERS[1]).hangs(..);
    let report = loop {
        // Until its turn has come, which is hedged.
        let mut call = pin!(all.call(|call| get(call, "/")).report());
        let report = sim.run(call.as_mut());
        let open: u32 = SERVERS.iter().map(|server| sim.server(server).open()).sum();
        assert_eq!(open, 0, "though the call's future is still there");
        if report.attempts.len() == 2 {
            break report;
        }
    };
    let classes: Vec<_> = report.attempts.iter().map(|attempt| attempt.class).collect();
    assert!(classes.contains(&Class::Success) && classes.contains(&Class::Cancelled));
    let failures: u32 = all.snapshot().endpoints.iter().map(|endpoint| endpoint.failures).sum();
    assert_eq!(failures, 0, "{}", all.snapshot());
    assert_all_back(&all);
}

#[test]
fn e3_nothing_unsafe_is_hedged_and_hedges_are_paid_for_as_retries_are() {
    let sim = Sim::new(1);
    let all = hedged(&sim, |builder| builder.budget(Budget::new().banked(3).deposit(0.0)));
    every_server(&sim, || Answer::ok("ok").latency(ms(300)));
    sim.run(async {
        let post = |call: Call| async move {
            call.http().post("/").body("x").send().await?.bytes().await.map(drop)
        };
        all.call(post).await.unwrap();
        assert_eq!(arrived(&sim, &Method::POST), 1);
        // Three tokens, and no more hedges than that.
        every_server(&sim, || Answer::status(200).latency(ms(300)).ending(Ending::Stalled));
        let before = arrived(&sim, &Method::GET);
        for _ in 0..20 {
            get_root(&all).await.unwrap_err();
        }
        let hedges = arrived(&sim, &Method::GET) - before - 20;
        assert!((1..=3).contains(&hedges), "{hedges}");
    });
    assert_all_back(&all);
}

#[test]
fn e4_a_timeout_that_leaves_no_time_for_the_attempts_inside_of_it_is_told() {
    let each = |timeout, attempt| Policy::new().timeout(ms(timeout)).attempt_timeout(ms(attempt));
    let told = |policy: Policy| policy.bounds().lints.iter().map(ToString::to_string).collect();
    let lints: Vec<String> = told(each(15_000, 10_000).retry_on_timeout(true).retry_attempts(2));
    assert_eq!(lints, ["`timeout`: 3 attempts of 10s do not fit into 15s"]);
    let lints: Vec<String> = told(each(5_000, 6_000));
    assert!(lints.len() == 1 && lints[0].starts_with("`attempt_timeout`"), "{lints:?}");
    let lints: Vec<String> = told(each(15_000, 5_000).retry_on_timeout(true).retry_attempts(2));
    assert_eq!(lints, [""; 0]);
}

#[test]
fn e2_a_call_that_is_dropped_takes_both_attempts_along() {
    let sim = Sim::new(1);
    let all = hedged(&sim, |builder| builder);
    every_server(&sim, || Answer::ok("ok").latency(ms(500)));
    sim.run(async {
        let call = Box::pin(get_root(&all));
        let wait = Box::pin(sim.sleep(ms(100)));
        let both = futures_util::future::select(call, wait).await;
        let open: u32 = SERVERS.iter().map(|server| sim.server(server).open()).sum();
        assert_eq!(open, 2, "the first one and its hedge");
        drop(both);
        assert!(SERVERS.iter().all(|server| sim.server(server).open() == 0));
    });
    assert_all_back(&all);
}
