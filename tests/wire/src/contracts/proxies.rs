//! Requests that an HTTP proxy forwards.

use std::time::Duration;

use dace_core::http::{Connect, FaultKind, Head, Sent};

use super::{assert_fault, default, failed, proxy};
use crate::client::backend;
use crate::{Arrival, Expected, Hanging, Refusing, Server, Step, get, keep_alive, post, run, send};

/// `user:hidden`, as Basic authorization has it.
const BASIC: &str = "Basic dXNlcjpoaWRkZW4=";

pub(crate) async fn a_forwarded_request_is_in_absolute_form<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["one", "two"])]);
    let backend: B = backend(default);
    for (text, url) in [
        ("one", "http://me:secret@origin.invalid:8080/a%20b?c=d"),
        ("two", "http://origin.invalid:8080/"),
    ] {
        let mut request = post(url, "x");
        request.proxy = Some(proxy("http://user:hidden@", &server));
        assert_eq!(run(&backend, request).await.unwrap().text(), text);
    }
    let arrivals = server.arrivals();
    let lines: Vec<_> = arrivals.iter().map(Arrival::line).collect();
    let first = "POST http://origin.invalid:8080/a%20b?c=d HTTP/1.1";
    assert_eq!(lines, [first, "POST http://origin.invalid:8080/ HTTP/1.1"]);
    for arrival in &arrivals {
        assert_eq!(arrival.header("host"), ["origin.invalid:8080"]);
        assert_eq!(arrival.header("proxy-authorization"), [BASIC]);
        assert!(arrival.header("authorization").is_empty());
        assert!(!arrival.text().contains("secret"));
    }
    assert_eq!(server.connections(), 1);
}

/// Whether it comes from the proxy or from the origin, nobody can tell.
pub(crate) async fn an_answer_of_a_forwarding_proxy_is_an_answer<B: Connect>(_: &Expected) {
    let denied =
        "HTTP/1.1 407 Who Are You\r\nproxy-authenticate: Basic\r\ncontent-length: 0\r\n\r\n";
    let server = Server::start([vec![Step::ReadRequest, send(denied), Step::AwaitClose]]);
    let backend: B = backend(default);
    let mut request = post("http://origin.invalid/", "x");
    request.proxy = Some(proxy("http://", &server));
    assert_eq!(run(&backend, request).await.unwrap().head.status(), 407);
    let arrivals = server.arrivals();
    assert_eq!(arrivals.len(), 1);
    assert!(arrivals[0].header("proxy-authorization").is_empty());
}

/// A connection belongs to the proxy, the credentials there, and the origin that it was made for.
/// G12: a connection is not used with other credentials or another way.
pub(crate) async fn ways_are_not_mixed<B: Connect>(_: &Expected) {
    let server = Server::start(["one", "two", "direct"].map(|text| keep_alive(&[text])));
    let backend: B = backend(default);
    for (text, user) in [("one", Some("http://user:hidden@")), ("two", Some("http://"))] {
        let mut request = get(&server.url("/"));
        request.proxy = user.map(|user| proxy(user, &server));
        assert_eq!(run(&backend, request).await.unwrap().text(), text);
    }
    assert_eq!(run(&backend, get(&server.url("/"))).await.unwrap().text(), "direct");
    let arrivals = server.arrivals();
    let lines: Vec<_> = arrivals.iter().map(|a| a.line()).collect();
    let absolute = format!("GET {} HTTP/1.1", server.url("/"));
    assert_eq!(lines, [absolute.as_str(), absolute.as_str(), "GET / HTTP/1.1"]);
    assert!(arrivals[1].header("proxy-authorization").is_empty());
    assert!(arrivals[2].header("proxy-authorization").is_empty());
}

pub(crate) async fn a_proxy_that_is_not_there_is_unsent<B: Connect>(expected: &Expected) {
    let (refusing, hanging) = (Refusing::new(), Hanging::new());
    let backend: B = backend(default);
    let refused = match expected.tells_refused {
        true => FaultKind::ConnectionRefused,
        false => FaultKind::Connect,
    };
    for scheme in ["http://", "socks5://", "socks5h://"] {
        for (url, kind) in [(refusing.url(), refused), (hanging.url(), FaultKind::ConnectTimeout)] {
            let mut request = post("http://127.0.0.1:9/", "x");
            let address = url.trim_start_matches("http://").trim_end_matches('/');
            request.proxy = Some(super::proxy_at(scheme, address));
            request.options.connect_timeout = Duration::from_millis(200);
            let failure = failed(&backend, request).await;
            assert_fault(&failure, &[kind], Sent::Unsent);
        }
    }
}
