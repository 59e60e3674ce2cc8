//! Policies from files: what is accepted can be used, and is written as it was read.

use dace::Policy;
use dace::sim::Sim;
use serde_json::Value;

use super::Dependency;
use super::peer::Peer;

/// A policy in TOML, or in JSON.
pub fn policy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match toml::from_str::<Policy>(text) {
        Ok(policy) => check(policy),
        Err(error) => assert!(!error.message().is_empty()),
    }
    match serde_json::from_str::<Policy>(text) {
        Ok(policy) => check(policy),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

fn check(policy: Policy) {
    let json = serde_json::to_string(&policy).expect("a policy is JSON");
    assert_eq!(serde_json::from_str(&json).ok().as_ref(), Some(&policy), "{json}");
    // TOML has no numbers beyond 63 bits, so such a policy cannot be written.
    if let Ok(text) = toml::to_string(&policy) {
        assert_eq!(toml::from_str(&text).ok().as_ref(), Some(&policy), "{text}");
    } else {
        assert!(json.bytes().filter(u8::is_ascii_digit).count() >= 19, "{json}");
    }
    let bounds = policy.bounds();
    assert!(bounds.attempts >= 1);
    assert!(bounds.amplification >= 1.0 && bounds.amplification <= f64::from(bounds.attempts));
    assert!(!bounds.to_string().is_empty());

    let mut given: Value = serde_json::from_str(&json).expect("it was read before");
    let table = given.as_object_mut().expect("a policy is a table");
    // What there is of these is told by `targets`.
    let listed = table.remove("targets").map_or(0, |list| list.as_array().map_or(0, Vec::len));
    let balances = table.remove("balancer").is_some();

    let sim = Sim::new(1);
    let mut builder = Dependency::builder("test").policy(policy.clone());
    if balances && listed == 0 {
        builder = builder.targets(["http://a"]);
    }
    let dependency = builder
        .build_with(sim.runtime(), Peer::default())
        .expect("a policy that was read can be used");
    let held = dependency.policy();
    assert_eq!(serde_json::to_value(&held).ok(), Some(given), "it is held as it was given");
    assert_eq!(dependency.targets().len(), listed.max(usize::from(balances)));
    dependency.reload(policy).expect("and loaded again");
    let other = Dependency::builder("other").build_with(sim.runtime(), Peer::default());
    other.expect("the settings are right").reload(held).expect("also by another");
}
