//! Redirects: where `Location` leads, and that no credentials go along to another origin.

use std::str;

use arbitrary::{Result, Unstructured};
use dace::http::{Method, Request};
use dace::sim::Sim;

use super::peer::{Answer, Peer};
use super::{Call, Dependency};

const START: [&str; 4] = [
    "http://a/x?q#part",
    "http://user:password@a:81/x",
    "https://a.example/dir/file",
    "http://[::1]:8080/",
];

const SECRETS: [&str; 3] = ["authorization", "cookie", "x-secret"];
const MOST: u32 = 4;

#[derive(Debug)]
struct Case {
    start: &'static str,
    method: Method,
    https_only: bool,
    hops: Vec<(u16, Vec<u8>)>,
}

/// Where it begins, and the answers one after the other: a status and a `Location`.
pub fn redirects(data: &[u8]) {
    // Too few bytes are no case.
    let _ = run(&mut Unstructured::new(data));
}

fn run(data: &mut Unstructured<'_>) -> Result<()> {
    let mut case = Case {
        start: data.choose(&START)?,
        method: data.choose(&[Method::GET, Method::POST, Method::PUT, Method::HEAD])?.clone(),
        https_only: data.ratio(1u8, 4)?,
        hops: Vec::new(),
    };
    for _ in 0..data.int_in_range(1..=MOST + 1)? {
        let status = *data.choose(&[301, 302, 303, 307, 308])?;
        let length = data.int_in_range(0..=120usize)?;
        case.hops.push((status, data.bytes(length.min(data.len()))?.to_vec()));
    }
    check(&case);
    Ok(())
}

fn check(case: &Case) {
    let Case { start, method, https_only, hops } = case;
    let sim = Sim::new(1);
    let answers = hops.iter().map(|(status, to)| Answer::status(*status).header("location", to));
    let peer = Peer::new(answers.chain([Answer::status(200)]));
    let dependency = Dependency::builder("test")
        .retry_attempts(0)
        .build_with(sim.runtime(), peer.clone())
        .expect("the settings are right");
    let (start, method, only) = (*start, method.clone(), *https_only);
    let result = sim.run(dependency.call(move |call: Call| {
        let method = method.clone();
        async move {
            let request = call
                .http()
                .request(method, start)
                .header("cookie", "secret")
                .sensitive_header("x-secret", "secret")
                .header("x-kept", "kept")
                .header("content-type", "text/plain")
                .body("body")
                .max_redirects(MOST)
                .https_only(only);
            let request = match start.contains('@') {
                true => request,
                false => request.bearer_auth("secret"),
            };
            request.send().await.map(|response| response.url().clone())
        }
    }));
    let requests = peer.requests();
    assert!(requests.len() <= 1 + MOST as usize, "{case:?}");
    if let Ok(url) = result {
        assert_eq!(url, requests.last().expect("somebody answered").url);
    }
    if requests.is_empty() {
        assert!(*https_only && start.starts_with("http:"));
    }
    let mut left = false;
    for (pair, (status, location)) in requests.windows(2).zip(hops) {
        let [before, after] = pair else { unreachable!("windows of two") };
        left |= origin(before) != origin(after);
        leads(before, after, location);
        goes_along(before, after, *status, left);
    }
    for request in &requests {
        assert!(!request.url.has_userinfo(), "{case:?}");
        assert!(!*https_only || request.url.as_str().starts_with("https:"), "{case:?}");
        if let Some(host) = request.headers.iter().find(|header| header.name() == "host") {
            panic!("{host:?} was given by nobody");
        }
    }
}

/// To where the `url` crate says, without userinfo.
fn leads(before: &Request, after: &Request, location: &[u8]) {
    let base = url::Url::parse(before.url.as_str()).expect("it was sent");
    let location = str::from_utf8(location).expect("what is no text leads nowhere");
    let mut to = base.join(location).expect("what is no URL leads nowhere");
    let _ = (to.set_username(""), to.set_password(None));
    if to.fragment().is_none() {
        to.set_fragment(base.fragment());
    }
    assert_eq!(after.url.as_str(), to.as_str(), "from {base} by {location:?}");
}

fn goes_along(before: &Request, after: &Request, status: u16, left: bool) {
    let has = |request: &Request, name: &str| request.headers.iter().any(|h| h.name() == name);
    assert!(has(after, "x-kept"));
    for secret in SECRETS {
        assert_eq!(has(after, secret), !left, "{secret} to {}", after.url);
    }
    let to_get = match status {
        301 | 302 => before.method == Method::POST,
        303 => before.method != Method::HEAD,
        _ => false,
    };
    let method = if to_get { &Method::GET } else { &before.method };
    assert_eq!(after.method, *method, "{status}");
    if to_get {
        assert!(!has(after, "content-type"));
        assert_eq!(after.body.as_bytes(), None);
    } else {
        assert_eq!(after.body.as_bytes(), before.body.as_bytes());
    }
}

/// Scheme, host and port. A dot at the end of a name is the same host.
fn origin(request: &Request) -> (String, String, Option<u16>) {
    let url = url::Url::parse(request.url.as_str()).expect("it was sent");
    let host = url.host_str().expect("it was sent");
    let host = host.strip_suffix('.').unwrap_or(host).to_owned();
    (url.scheme().to_owned(), host, url.port_or_known_default())
}
