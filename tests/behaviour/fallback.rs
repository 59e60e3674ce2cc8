//! The fallback: the last word, outside the deadline and the permits.

use std::future::ready;

use dace_sim::Sim;

use crate::support::{Count, Error, dependency, get, ms, secs};

#[test]
fn a_fallback_gets_the_final_error_of_any_kind_and_its_value_is_the_calls() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 500);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    sim.run(async {
        let value = a
            .call(|call| get(call, "/"))
            .fallback(|error| {
                assert!(matches!(error, Error::Operation { .. }));
                ready(Ok(String::from("somebody")))
            })
            .await;
        assert_eq!(value.unwrap(), "somebody");
        a.circuit("a:80").unwrap().force_open();
        let value = a
            .call(|call| get(call, "/"))
            .fallback(|error| {
                assert!(error.is_rejected());
                ready(Err(error))
            })
            .await;
        assert!(matches!(value, Err(Error::CircuitOpen { .. })));
    });
    assert_eq!(server.requests(), 1);
}

#[test]
fn a_fallback_runs_only_on_an_error() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    let count = Count::default();
    let counted = count.clone();
    let call = a.call(|call| get(call, "/")).fallback(move |error| {
        counted.next();
        ready(Err(error))
    });
    assert_eq!(sim.run(call).unwrap(), "ok");
    assert_eq!(count.get(), 0);
}

#[test]
fn a_fallback_runs_outside_the_deadline_and_holds_no_permit() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).timeout(ms(100)).max_open_per_netloc(1)
    });
    let world = sim.clone();
    let handle = a.clone();
    let call = a.call(|call| get(call, "/")).fallback(move |_| async move {
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.calls, snapshot.endpoints[1].open), (1, 0));
        world.sleep(secs(60)).await;
        Ok(String::from("late, but there"))
    });
    assert_eq!(sim.run(call).unwrap(), "late, but there");
    assert_eq!(sim.elapsed(), secs(60) + ms(100));
}

#[test]
fn a_report_says_what_happened_attempt_by_attempt() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.latency(ms(10)).answers(.., 503);
    b.latency(ms(20)).answers(.., 503);
    let both = dependency(&sim, |builder| {
        builder.targets(["http://a:80", "http://b:80"]).retry_attempts(1)
    });
    let report = sim
        .run(both.call(|call| get(call, "/")).fallback(|_| ready(Ok(String::from("x")))).report());
    assert_eq!(report.result.as_deref().unwrap(), "x");
    assert!(report.fallback_used);
    assert_eq!((report.attempts.len(), report.took), (2, ms(30)));
    let (first, second) = (&report.attempts[0].netloc, &report.attempts[1].netloc);
    assert_ne!(first, second);
    assert_eq!(report.attempts[1].started, report.attempts[0].took);
    assert_eq!(
        report.to_string(),
        format!(
            "test: value by the fallback after 30ms\n\
             \x20 0ns: attempt 1 at {first}: transient in {:?}: {first}: the server answered 503\n\
             \x20 {:?}: attempt 2 at {second}: transient in {:?}: {second}: the server answered 503\n\
             \x20 30ms: no attempts left\n\
             \x20 30ms: error, in its place the fallback",
            report.attempts[0].took, report.attempts[1].started, report.attempts[1].took,
        )
    );
}
