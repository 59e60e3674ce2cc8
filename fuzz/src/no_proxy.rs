//! `NO_PROXY`: who is reached without a proxy.

use std::net::IpAddr;

use dace::http::{Proxy, Url};
use dace::sim::Sim;

use super::peer::{Answer, Peer};
use super::{Call, Dependency};

/// A list of exceptions; after a line break, a URL; after another, the URL of a proxy.
pub fn no_proxy(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(3, '\n');
    let exceptions = lines.next().unwrap_or_default();
    let url = Url::parse(lines.next().unwrap_or_default());
    check_proxy(lines.next().unwrap_or_default());
    if let Ok(url) = url {
        check(exceptions, &url);
    }
}

fn check(exceptions: &str, url: &Url) {
    let direct = is_direct(exceptions, url);
    // A list covers what one of its entries covers.
    let entries = || exceptions.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
    if entries().count() <= 8 {
        assert_eq!(direct, entries().any(|entry| is_direct(entry, url)), "{exceptions:?} {url}");
    }
    if entries().count() == 1 && !exceptions.contains('*') && direct {
        let entry = entries().next().unwrap_or_default();
        assert!(is_of(entry, url), "{entry:?} covers {url}");
    }
    // A host is covered by itself, by `*`, by its own port, and by nothing that another port is said of.
    let (host, port) = (url.host(), url.port());
    let bare = host.strip_suffix('.').unwrap_or(host);
    if bare.contains([',', '*']) {
        // No list can name it.
        return;
    }
    for covers in [bare.to_owned(), format!("{bare}:{port}"), "*".to_owned(), format!("x, {host}")]
    {
        assert!(is_direct(&covers, url), "{covers:?} {url}");
    }
    assert!(!is_direct(&format!("{bare}:{}", port ^ 1), url), "{url}");
    assert!(!is_direct("", url));
    if address(bare).is_none() {
        let below = format!("{}://x.{bare}:{port}/", url.scheme().as_str());
        let beside = format!("{}://x{bare}:{port}/", url.scheme().as_str());
        if let (Ok(below), Ok(beside)) = (Url::parse(&below), Url::parse(&beside)) {
            for entry in [bare.to_owned(), format!(".{bare}"), format!("*.{bare}")] {
                assert!(is_direct(&entry, &below), "{entry:?} {below}");
                assert!(!is_direct(&entry, &beside), "{entry:?} {beside}");
            }
        }
    }
}

/// Whether an entry without a star is about the host at all.
fn is_of(entry: &str, url: &Url) -> bool {
    let host = url.host().strip_suffix('.').unwrap_or(url.host());
    if let Some(host) = address(host) {
        let network = entry.split('/').next().unwrap_or_default();
        let network = address(network).or_else(|| address(network.rsplit_once(':')?.0));
        return network.is_some_and(|network| network.is_ipv4() == host.is_ipv4());
    }
    let name = entry.rsplit_once(':').map_or(entry, |(name, _)| name);
    let name = name.trim_matches('.');
    url::Host::parse(name).is_ok_and(|name| host.ends_with(&name.to_string()))
}

fn address(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn is_direct(exceptions: &str, url: &Url) -> bool {
    let sim = Sim::new(1);
    sim.variable("all_proxy", "socks5h://proxy").variable("no_proxy", exceptions);
    let peer = Peer::new([Answer::status(200)]);
    let dependency = Dependency::builder("test")
        .use_proxy(true)
        .build_with(sim.runtime(), peer.clone())
        .expect("the settings are right");
    let url = url.as_str().to_owned();
    let call = dependency.call(move |call: Call| {
        let url = url.clone();
        async move { call.http().get(&url).send().await.map(drop) }
    });
    sim.run(call).expect("there is an answer");
    let requests = peer.requests();
    requests[0].proxy.is_none()
}

/// What is shown of a proxy is its place, without its credentials.
fn check_proxy(text: &str) {
    let Some(proxy) = Proxy::parse(text) else { return };
    let shown = proxy.to_string();
    assert_eq!(shown, format!("{proxy:?}"));
    let again = Proxy::parse(&shown).expect("what is shown is read");
    let place = |proxy: &Proxy| (proxy.kind(), proxy.host().to_owned(), proxy.port());
    assert_eq!(place(&again), place(&proxy), "{text:?}");
    assert_eq!(again.credentials(), None, "{shown:?}");
    if let Some(value) = proxy.basic_authorization() {
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '), "{value:?}");
    }
}
