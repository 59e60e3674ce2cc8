//! Memory, keys, names: bounded, compared whole, and one for each server.

use std::hash::{Hash, Hasher};

use dace::http::{Url, UrlError};
use dace::sim::{Answer, Sim};
use dace::{CachePolicy, CircuitState, Netloc, Target};

use crate::support::{Call, dependency, get, ms, touchy};

#[test]
fn j1_strange_servers_without_end_take_bounded_room_and_an_open_circuit_stays() {
    let sim = Sim::new(1);
    sim.server("http://bad:80").answers(.., 500);
    let any = dependency(&sim, |builder| {
        builder.max_netlocs(100).breaker(touchy()).retry_attempts(0).timeout(ms(100))
    });
    sim.run(async {
        any.call(|call| get(call, "http://bad/")).await.unwrap_err();
        let mut most = 0;
        for n in 0..20_000 {
            // None of them is there: that is known of each, for a while.
            let url = format!("http://strange-{n}/");
            let url = &url;
            any.call(|call| async move { get(call, url).await }).await.unwrap_err();
            if n % 100 == 0 {
                most = most.max(any.snapshot().endpoints.len());
            }
        }
        assert!(most <= 100 + 2, "{most} are remembered");
    });
    let snapshot = any.snapshot();
    let bad = snapshot.endpoints.iter().find(|endpoint| endpoint.netloc.as_str() == "bad:80");
    assert_eq!(bad.expect("it has a history").circuit, CircuitState::Open);
}

/// All keys have one hash.
#[derive(PartialEq, Eq)]
struct Alike(u32);

impl Hash for Alike {
    fn hash<H: Hasher>(&self, state: &mut H) {
        7.hash(state);
    }
}

#[test]
fn j2_keys_of_one_hash_are_told_apart() {
    let sim = Sim::new(1);
    sim.server("http://a:80")
        .latency(ms(1))
        .handler(|request| Answer::ok(request.url.path().to_owned()));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(10_000).http_pool_size(10_000)
    });
    let cache = dace::Cache::new(CachePolicy::new().ttl(ms(60_000)).capacity(100_000)).unwrap();
    let group = dace::Group::new();
    let page = |n: u32| a.call(move |call: Call| async move { get(call, &format!("/{n}")).await });
    sim.run(async {
        for n in (0..10_000).chain(0..1_000) {
            assert_eq!(page(n).cached(&cache, Alike(n)).await.unwrap(), format!("/{n}"));
        }
        let all = (0..400).map(|n| page(n % 200).shared(&group, Alike(n % 200)));
        for (n, text) in futures_util::future::join_all(all).await.into_iter().enumerate() {
            assert_eq!(text.unwrap(), format!("/{}", n % 200));
        }
    });
    assert!(cache.len() <= 8, "so few of one hash, so each look is short: {}", cache.len());
    assert_eq!(a.snapshot().totals.shared, 200);
}

#[test]
fn j3_all_spellings_of_a_server_are_one() {
    for (spellings, netloc) in [
        (
            &["http://Example.COM", "http://example.com:80", "http://example.com."][..],
            "example.com:80",
        ),
        (&["https://example.com", "https://EXAMPLE.com.:443"], "example.com:443"),
        (&["http://bücher.example", "http://XN--bcher-kva.example"], "xn--bcher-kva.example:80"),
        (&["http://[::1]", "http://[0:0:0:0:0:0:0:1]:80", "http://[0::0001]"], "[::1]:80"),
        (
            &["http://127.1", "http://0x7f.1", "http://2130706433", "http://0177.0.0.1"],
            "127.0.0.1:80",
        ),
    ] {
        for spelling in spellings {
            let target: Target = spelling.parse().unwrap();
            assert_eq!(target.netloc().as_str(), netloc, "{spelling}");
            let again: Target = target.to_string().parse().unwrap();
            assert_eq!(again, target, "the one form is its own form");
            assert_eq!(Url::parse(&format!("{spelling}/x")).unwrap().netloc().as_str(), netloc);
        }
    }
    // So what was learned of one spelling holds for all.
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(.., 500);
    let any = dependency(&sim, |builder| builder.breaker(touchy()).retry_attempts(0));
    sim.run(any.call(|call| get(call, "http://A.:80/"))).unwrap_err();
    let refused = sim.run(any.call(|call| get(call, "http://a/"))).unwrap_err();
    assert!(matches!(refused, dace::Error::CircuitOpen { .. }), "{refused}");
}

#[test]
fn j4_what_parsers_read_differently_is_refused_and_what_is_sent_is_what_was_checked() {
    for (text, error) in [
        ("http://a\\@b/", UrlError::Character),
        ("http://a\t.b/", UrlError::Character),
        ("http://a/\r\nx: y", UrlError::Character),
        ("ftp://a/", UrlError::Scheme),
        ("//a/", UrlError::Relative),
    ] {
        assert_eq!(Url::parse(text).unwrap_err(), error, "{text:?}");
    }
    // Another parser reads what is sent as the same host and port.
    for text in [
        "http://user:pw@a:81/?x=@b",
        "http://a#@b/",
        "http://a?@b/",
        "http://a/..//b",
        "http://A%2Eb/",
        "http://a:/",
        "http://[::1]:81/",
        "http://1.1/",
    ] {
        let Ok(url) = Url::parse(text) else { continue };
        let shown = url.as_str();
        let rest = shown.strip_prefix("http://").unwrap();
        let authority = rest.split(['/', '?', '#']).next().unwrap();
        let host = authority.rsplit('@').next().unwrap();
        let netloc: Netloc = url.netloc();
        let with_port = if url.has_own_port() { host.to_owned() } else { format!("{host}:80") };
        assert_eq!(with_port, netloc.as_str(), "{text}");
    }
}
