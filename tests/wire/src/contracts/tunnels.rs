//! Tunnels through an HTTP proxy. The scripts play the proxy, and the origin in the tunnel.

use std::time::Duration;

use dace_core::http::{Connect, FaultKind, Sent};

use super::{NAME, assert_fault, failed, proxy, secure, trusting};
use crate::client::backend;
use crate::{
    Authority, Expected, Failure, PATIENCE, Server, Step, get, keep_alive, post, run, send,
};

const CONNECTED: &str = "HTTP/1.1 200 Connected\r\nx-by: proxy\r\n\r\n";

pub(crate) async fn a_tunnel_reaches_the_origin<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let mut script = vec![Step::ReadHead, send(CONNECTED)];
    script.extend(secure(&authority.server(NAME), keep_alive(&["one", "two"])));
    let server = Server::start([script]);
    let backend: B = backend(trusting(&server, &authority));
    for text in ["one", "two"] {
        let mut request = post(&server.secure_url("/path?query"), "x");
        request.proxy = Some(proxy("http://user:hidden@", &server));
        assert_eq!(run(&backend, request).await.unwrap().text(), text);
    }
    let arrivals = server.arrivals();
    let port = server.address().port();
    assert_eq!(arrivals[0].line(), format!("CONNECT {NAME}:{port} HTTP/1.1"));
    assert_eq!(arrivals[0].header("host"), [format!("{NAME}:{port}")]);
    assert_eq!(arrivals[0].header("proxy-authorization"), ["Basic dXNlcjpoaWRkZW4="]);
    assert!(!arrivals[0].text().contains("query"));
    for inside in &arrivals[1..] {
        assert_eq!(inside.line(), "POST /path?query HTTP/1.1");
        assert!(inside.header("proxy-authorization").is_empty());
        assert!(!inside.text().contains("hidden"));
    }
    assert_eq!((server.connections(), arrivals.len()), (1, 3));
    assert_eq!(server.handshakes()[0].name.as_deref(), Some(NAME));
}

/// The headers of the request are for the origin.
pub(crate) async fn a_tunnel_is_asked_for_without_secrets<B: Connect>(_: &Expected) {
    let server =
        Server::start([vec![Step::ReadHead, send("HTTP/1.1 403 No\r\n\r\n"), Step::Drain]]);
    let authority = Authority::new();
    let backend: B = backend(trusting(&server, &authority));
    let mut request = get(&server.secure_url("/"));
    request.headers.extend(dace_core::http::Header::new("authorization", "Bearer mine"));
    request.headers.extend(dace_core::http::Header::new("cookie", "mine"));
    request.proxy = Some(proxy("http://", &server));
    failed(&backend, request).await;
    let arrivals = server.arrivals();
    assert!(!arrivals[0].text().contains("mine"), "{}", arrivals[0].text());
    assert!(arrivals[0].header("proxy-authorization").is_empty());
    assert_eq!(arrivals.len(), 1);
}

pub(crate) async fn a_proxy_that_opens_no_tunnel_is_unsent<B: Connect>(expected: &Expected) {
    for status in [407, 403, 502, 301, 500] {
        let answer = format!("HTTP/1.1 {status} So It Is\r\ncontent-length: 2\r\n\r\nno");
        let failure =
            tunnel_failure::<B>(PATIENCE, vec![send(answer), Step::Finish, Step::Drain]).await;
        assert_fault(&failure, &[FaultKind::Proxy], Sent::Unsent);
        if expected.tells_tunnel_status {
            assert!(failure.chain.contains(&status.to_string()), "{failure:?}");
        }
        assert!(!failure.chain.contains("hidden"), "{failure:?}");
        assert!(!failure.chain.contains("dXNlcjpoaWRkZW4="), "{failure:?}");
    }
}

pub(crate) async fn a_proxy_that_closes_is_unsent<B: Connect>(_: &Expected) {
    for begin in ["", "HTTP/1.1 2", "HTTP/1.1 200 OK\r\nx-by"] {
        let failure =
            tunnel_failure::<B>(PATIENCE, vec![send(begin), Step::Finish, Step::Drain]).await;
        assert_fault(&failure, &[FaultKind::Proxy], Sent::Unsent);
    }
}

pub(crate) async fn a_proxy_without_http_is_unsent<B: Connect>(_: &Expected) {
    for begin in ["SSH-2.0-OpenSSH_9.9\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n"] {
        let failure =
            tunnel_failure::<B>(PATIENCE, vec![send(begin), Step::Finish, Step::Drain]).await;
        assert_fault(&failure, &[FaultKind::Proxy], Sent::Unsent);
    }
}

pub(crate) async fn an_endless_head_of_a_proxy_ends<B: Connect>(_: &Expected) {
    let endless = Step::Offer(
        "HTTP/1.1 200 OK\r\n".bytes().chain("x: y\r\n".bytes().cycle().take(1 << 20)).collect(),
    );
    let failure = tunnel_failure::<B>(PATIENCE, vec![endless, Step::Drain]).await;
    assert_fault(&failure, &[FaultKind::Proxy], Sent::Unsent);
}

pub(crate) async fn a_proxy_that_hangs_times_out_unsent<B: Connect>(_: &Expected) {
    for begin in ["", "HTTP/1.1 200 OK\r\n"] {
        let failure =
            tunnel_failure::<B>(Duration::from_millis(300), vec![send(begin), Step::Drain]).await;
        assert_fault(&failure, &[FaultKind::ConnectTimeout], Sent::Unsent);
    }
}

/// A proxy cannot pass for the origin.
pub(crate) async fn a_tunnel_to_somebody_else_is_refused<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let tls = authority.server("proxy.invalid");
    let server = Server::start([vec![Step::ReadHead, send(CONNECTED), Step::TlsRefused(tls)]]);
    let backend: B = backend(trusting(&server, &authority));
    let mut request = post(&server.secure_url("/"), "x");
    request.proxy = Some(proxy("http://user:hidden@", &server));
    let failure = failed(&backend, request).await;
    assert_fault(&failure, &[FaultKind::Tls], Sent::Unsent);
    assert_eq!(server.arrivals().len(), 1);
}

/// G14: a proxy's reply may be cut at any byte.
pub(crate) async fn a_tunnels_reply_may_be_cut_at_any_byte<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    for cut in 1..CONNECTED.len() {
        let (first, rest) = CONNECTED.split_at(cut);
        let mut script = vec![Step::ReadHead, send(first), send(rest)];
        script.extend(secure(&authority.server(NAME), keep_alive(&["there"])));
        let server = Server::start([script]);
        let backend: B = backend(trusting(&server, &authority));
        let mut request = post(&server.secure_url("/"), "x");
        request.proxy = Some(proxy("http://", &server));
        assert_eq!(run(&backend, request).await.unwrap().text(), "there", "cut at {cut}");
        assert_eq!((server.connections(), server.arrivals().len()), (1, 2));
    }
}

/// How a POST fails whose proxy does this when it is asked for a tunnel.
async fn tunnel_failure<B: Connect>(connect_timeout: Duration, script: Vec<Step>) -> Failure {
    let begin = std::iter::once(Step::ReadHead);
    let server = Server::start([begin.chain(script).collect::<Vec<_>>()]);
    let authority = Authority::new();
    let backend: B = backend(trusting(&server, &authority));
    let mut request = post(&server.secure_url("/"), "x");
    request.proxy = Some(proxy("http://user:hidden@", &server));
    request.options.connect_timeout = connect_timeout;
    let failure = failed(&backend, request).await;
    assert_eq!((server.connections(), server.arrivals().len()), (1, 1));
    failure
}
