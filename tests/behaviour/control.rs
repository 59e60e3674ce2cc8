//! Circuits by hand: what is done, what follows, and that it is an event.

use std::time::Duration;

use dace::{CircuitState, Control, What};
use dace_sim::Sim;

use crate::support::{Dependency, Error, Seen, dependency, get_root, ms, secs, touchy};

/// What was done by hand and what changed by it, in order.
fn changes(seen: &Seen) -> Vec<String> {
    let told = |event: dace::Event| match event.what {
        What::Controlled { netloc, control } => Some(format!("{netloc} {}", control.name())),
        What::CircuitChanged { netloc, to, .. } => Some(format!("{netloc} is {}", to.name())),
        What::Ejected { netloc, left } => Some(format!("{netloc} ejected, {left} left")),
        What::Readmitted { netloc, left } => Some(format!("{netloc} readmitted, {left} left")),
        _ => None,
    };
    seen.events().into_iter().filter_map(told).collect()
}

fn two(sim: &Sim, seen: &Seen) -> Dependency {
    dependency(sim, |builder| {
        let builder = builder.targets(["http://a:80", "http://b:80"]).retry_attempts(0);
        builder.breaker(touchy()).observer(seen.clone())
    })
}

#[test]
fn every_mode_is_set_by_hand_and_each_is_an_event() {
    let sim = Sim::new(1);
    let seen = Seen::default();
    let both = two(&sim, &seen);
    let a = both.circuit("a:80").unwrap();
    assert_eq!(a.state(), Some(CircuitState::Closed));
    assert!(a.force_open());
    assert_eq!(a.state(), Some(CircuitState::ForcedOpen));
    assert!(a.force_closed());
    assert_eq!(a.state(), Some(CircuitState::ForcedClosed));
    assert!(a.metrics_only());
    assert_eq!(a.state(), Some(CircuitState::MetricsOnly));
    assert!(a.drain());
    assert_eq!(a.state(), Some(CircuitState::Drained));
    assert!(a.reset());
    assert_eq!(a.state(), Some(CircuitState::Drained));
    assert!(a.automatic());
    assert_eq!(a.state(), Some(CircuitState::Closed));
    assert!(a.automatic());
    assert_eq!(
        changes(&seen),
        [
            "a:80 force_open",
            "a:80 is forced_open",
            "a:80 ejected, 1 left",
            "a:80 force_closed",
            "a:80 is forced_closed",
            "a:80 readmitted, 2 left",
            "a:80 metrics_only",
            "a:80 is metrics_only",
            "a:80 drain",
            "a:80 is drained",
            "a:80 ejected, 1 left",
            "a:80 reset",
            "a:80 automatic",
            "a:80 is closed",
            "a:80 readmitted, 2 left",
            "a:80 automatic",
        ]
    );
    assert!(both.circuit("nobody:80").is_none());
}

#[test]
fn a_drained_target_finishes_what_it_has_and_gets_nothing_new() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    let b = sim.server("http://b:80");
    a.latency(ms(10));
    b.latency(ms(10));
    let seen = Seen::default();
    let both = two(&sim, &seen);
    sim.run(async {
        let under_way: Vec<_> = (0..4)
            .map(|_| {
                let both = both.clone();
                sim.spawn(async move { get_root(&both).await })
            })
            .collect();
        sim.sleep(ms(1)).await;
        let before = a.requests();
        assert!(before > 0);
        both.circuit("a:80").unwrap().drain();
        for _ in 0..20 {
            get_root(&both).await.unwrap();
        }
        for call in under_way {
            call.await.unwrap();
        }
        assert_eq!(a.requests(), before);
        assert_eq!(both.snapshot().endpoints[1].open, 0);
    });
}

#[test]
fn what_is_drained_does_not_count_towards_panic_mode_and_is_not_used_in_it() {
    let sim = Sim::new(1);
    let drained = sim.server("http://a:80");
    sim.server("http://b:80").answers(.., 500);
    sim.server("http://c:80");
    let all = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80", "http://b:80", "http://c:80"]);
        builder.breaker(touchy()).retry_attempts(0).circuit_reset_timeout(secs(60))
    });
    all.circuit("a:80").unwrap().drain();
    sim.run(async {
        for _ in 0..20 {
            let _ = get_root(&all).await;
        }
        // One of the two that are there is open: that is not fewer than half.
        let snapshot = all.snapshot();
        assert_eq!(snapshot.endpoints[2].circuit, CircuitState::Open, "{snapshot}");
        assert!(!snapshot.panic_mode, "{snapshot}");
        all.circuit("c:80").unwrap().force_open();
        for _ in 0..20 {
            let _ = get_root(&all).await;
        }
        assert!(all.snapshot().panic_mode);
    });
    assert_eq!(drained.requests(), 0);
}

#[test]
fn a_reset_forgets_counts_latency_and_pause() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(10)).handler(|_| dace_sim::Answer::status(429).header("retry-after", "20"));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    sim.run(async {
        get_root(&a).await.unwrap_err();
        let error = get_root(&a).await.unwrap_err();
        assert!(matches!(error, Error::RateLimited { .. }), "{error}");
        let before = &a.snapshot().endpoints[1];
        assert!(before.paused_for.is_some() && before.latency.is_some());
        a.circuit("a:80").unwrap().reset();
        let after = &a.snapshot().endpoints[1];
        assert_eq!((after.paused_for, after.latency, after.failures), (None, None, 0));
        get_root(&a).await.unwrap_err();
        assert_eq!(server.requests(), 2);
    });
}

#[test]
fn a_reset_closes_an_open_circuit_and_those_who_wait_are_woken() {
    let sim = Sim::new(1);
    sim.server("http://a:80").resets(..ms(1));
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).breaker(touchy()).retry_attempts(0);
        builder.circuit_reset_timeout(Duration::from_secs(60)).observer(seen.clone())
    });
    sim.run(async {
        get_root(&a).await.unwrap_err();
        sim.sleep(ms(1)).await;
        assert!(matches!(get_root(&a).await, Err(Error::CircuitOpen { .. })));
        a.circuit("a:80").unwrap().reset();
        assert_eq!(get_root(&a).await.unwrap(), "ok");
    });
    let reset = |event: &dace::Event| {
        matches!(event.what, What::Controlled { control: Control::Reset, .. })
    };
    assert!(seen.events().iter().any(reset));
}

#[test]
fn a_circuit_is_found_by_any_form_of_its_name() {
    let sim = Sim::new(1);
    let a =
        dependency(&sim, |builder| builder.targets(["http://example.com:80", "http://[::1]:8080"]));
    for name in ["example.com:80", "Example.COM:80", "example.com.:80", "[0:0::1]:8080", "test"] {
        assert!(a.circuit(name).is_some(), "{name}");
    }
    for name in ["example.com:81", "example.org:80", "a b", "", "example.com:80/x"] {
        assert!(a.circuit(name).is_none(), "{name}");
    }
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_is_serialised_by_the_names_of_its_fields_with_times_in_seconds() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(500)).answers(.., 500);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).retry_attempts(0);
        builder.breaker(crate::support::touchy())
    });
    sim.run(crate::support::get_root(&a)).unwrap_err();
    let json = serde_json::to_value(a.snapshot()).unwrap();
    let endpoint = &json["endpoints"][1];
    assert_eq!(json["dependency_id"], "test");
    assert_eq!(json["totals"]["failed"], 1);
    assert_eq!(json["totals"]["classes"]["transient"], 1);
    assert_eq!(json["totals"]["suppressed"]["no_attempts"], 1);
    assert_eq!((&endpoint["netloc"], &endpoint["circuit"]), (&"a:80".into(), &"open".into()));
    let reopens = endpoint["reopens_in"].as_f64().unwrap();
    assert!((10.0..=12.0).contains(&reopens), "{reopens}");
    assert!(endpoint["paused_for"].is_null());
}
