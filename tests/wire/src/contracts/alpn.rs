//! HTTP/2 over TLS: who chooses it, and who cannot have it.

use dace_core::http::{Connect, FaultKind, Head, Protocol, Sent, Version};

use super::{NAME, assert_fault, failed, secure, trusting};
use crate::client::backend;
use crate::{Authority, Expected, Server, Step, get, keep_alive, post, run, streams};

pub(crate) async fn a_server_may_choose_http2<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let tls = authority.server(NAME).speaking(&["h2", "http/1.1"]);
    let server = Server::start([secure(&tls, streams(&["one", "two"]))]);
    let backend: B = backend(trusting(&server, &authority));
    for text in ["one", "two"] {
        let answer = run(&backend, post(&server.secure_url("/p"), "x")).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.head.version()), (text, Version::Http2));
    }
    assert_eq!(server.handshakes()[0].protocol.as_deref(), Some("h2"));
    let arrivals = server.arrivals();
    assert_eq!(arrivals[1].line(), "POST /p HTTP/2");
    assert_eq!(arrivals[1].header(":scheme"), ["https"]);
    assert_eq!((server.connections(), arrivals.len()), (1, 2));
}

pub(crate) async fn a_server_may_choose_http1<B: Connect>(_: &Expected) {
    for offered in [&["http/1.1"][..], &[]] {
        let authority = Authority::new();
        let tls = authority.server(NAME).speaking(offered);
        let server = Server::start([secure(&tls, keep_alive(&["one", "two"]))]);
        let backend: B = backend(trusting(&server, &authority));
        for text in ["one", "two"] {
            let answer = run(&backend, get(&server.secure_url("/"))).await.unwrap();
            assert_eq!((answer.text().as_str(), answer.head.version()), (text, Version::Http11));
        }
        assert_eq!(server.connections(), 1);
    }
}

/// What was spoken before binds nobody: a server is upgraded, or several of them share a name.
pub(crate) async fn a_server_may_change_to_http2<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let tls = authority.server(NAME);
    let closing = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\none";
    let before = vec![Step::ReadRequest, crate::send(closing), Step::AwaitClose];
    let server = Server::start([
        secure(&tls.speaking(&["http/1.1"]), before),
        secure(&tls.speaking(&["h2", "http/1.1"]), streams(&["two", "three"])),
    ]);
    let backend: B = backend(trusting(&server, &authority));
    let (old, new) = (Version::Http11, Version::Http2);
    for (text, version) in [("one", old), ("two", new), ("three", new)] {
        let answer = run(&backend, get(&server.secure_url("/"))).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.head.version()), (text, version));
    }
    assert_eq!(server.connections(), 2);
}

pub(crate) async fn http2_alone_over_tls<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let tls = authority.server(NAME).speaking(&["http/1.1", "h2"]);
    let server = Server::start([secure(&tls, streams(&["one"]))]);
    let backend: B = backend(|settings| {
        trusting(&server, &authority)(settings);
        settings.protocol = Protocol::Http2;
    });
    let answer = run(&backend, get(&server.secure_url("/"))).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.head.version()), ("one", Version::Http2));
}

pub(crate) async fn http2_alone_is_not_to_be_had_everywhere<B: Connect>(expected: &Expected) {
    let authority = Authority::new();
    let tls = authority.server(NAME);
    // One that has something else, and one that knows of no choice.
    let other = vec![Step::TlsRefused(tls.speaking(&["http/1.1"]))];
    let choiceless = expected.insists_on_http2.then(|| secure(&tls, vec![Step::AwaitClose]));
    for script in [Some(other), choiceless].into_iter().flatten() {
        let server = Server::start([script]);
        let backend: B = backend(|settings| {
            trusting(&server, &authority)(settings);
            settings.protocol = Protocol::Http2;
        });
        let failure = failed(&backend, post(&server.secure_url("/"), "x")).await;
        assert_fault(&failure, &[FaultKind::Tls], Sent::Unsent);
        assert!(server.arrivals().is_empty());
        drop(server);
    }
}

pub(crate) async fn a_tunnel_may_carry_http2<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let tls = authority.server(NAME).speaking(&["h2"]);
    let mut script = vec![Step::ReadHead, crate::send("HTTP/1.1 200 Connected\r\n\r\n")];
    script.extend(secure(&tls, streams(&["through", "again"])));
    let proxy = Server::start([script]);
    let backend: B = backend(trusting(&proxy, &authority));
    for text in ["through", "again"] {
        let mut request = get(&proxy.secure_url("/"));
        request.proxy = Some(super::proxy("http://user:hidden@", &proxy));
        let answer = run(&backend, request).await.unwrap();
        assert_eq!((answer.text().as_str(), answer.head.version()), (text, Version::Http2));
    }
    let arrivals = proxy.arrivals();
    let lines: Vec<_> = arrivals.iter().map(crate::Arrival::line).collect();
    let connect = format!("CONNECT {NAME}:{} HTTP/1.1", proxy.address().port());
    assert_eq!(lines, [connect.as_str(), "GET / HTTP/2", "GET / HTTP/2"]);
    assert!(arrivals[1].header("proxy-authorization").is_empty());
}
