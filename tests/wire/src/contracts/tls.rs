//! TLS: who is trusted, what is said in the handshake, and what an end without goodbye means.

use std::time::Duration;

use dace_core::http::{Certificate, Connect, FaultKind, Head, Identity, Protocol, Sent, Version};

use super::{NAME, assert_fault, default, failed, secure, trusting};
use crate::client::backend;
use crate::{
    Authority, Expected, Gate, Server, ServerTls, Step, get, keep_alive, ok, post, run, send,
};

pub(crate) async fn a_trusted_server_is_spoken_to<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let server = Server::start([secure(&authority.server(NAME), keep_alive(&["one", "two"]))]);
    for root in [authority.certificate(), authority.certificate_der()] {
        let _: B = backend(|settings| settings.roots.push(root));
    }
    let backend: B = backend(trusting(&server, &authority));
    let answer = run(&backend, post(&server.secure_url("/path"), "hello")).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.head.version()), ("one", Version::Http11));
    let answer = run(&backend, get(&server.secure_url("/again"))).await.unwrap();
    assert_eq!(answer.text(), "two");

    let arrivals = server.arrivals();
    let lines: Vec<_> = arrivals.iter().map(crate::Arrival::line).collect();
    assert_eq!(lines, ["POST /path HTTP/1.1", "GET /again HTTP/1.1"]);
    assert_eq!(arrivals[0].body(), b"hello");
    assert_eq!(arrivals[0].header("host"), [format!("{NAME}:{}", server.address().port())]);
    assert_eq!((server.connections(), server.handshakes().len()), (1, 1));
}

pub(crate) async fn names_are_indicated_and_addresses_are_not<B: Connect>(_: &Expected) {
    for (name, indicated) in [(NAME, Some(NAME)), ("127.0.0.1", None)] {
        let authority = Authority::new();
        let server = Server::start([secure(&authority.server(name), keep_alive(&["one"]))]);
        let backend: B = backend(trusting(&server, &authority));
        let url = format!("https://{name}:{}/", server.address().port());
        assert_eq!(run(&backend, get(&url)).await.unwrap().text(), "one");
        assert_eq!(server.handshakes()[0].name.as_deref(), indicated);
    }
}

/// K12: bad certificates are refused on both adapters.
pub(crate) async fn a_certificate_of_nobody_known_is_refused<B: Connect>(_: &Expected) {
    refused::<B>(|authority| authority.server(NAME), false).await;
}

/// Whoever is given is trusted alone.
pub(crate) async fn a_certificate_of_another_authority_is_refused<B: Connect>(_: &Expected) {
    let other = Authority::new();
    refused::<B>(|_| other.server(NAME), true).await;
}

/// K12: bad certificates are refused on both adapters.
pub(crate) async fn a_certificate_of_another_host_is_refused<B: Connect>(_: &Expected) {
    refused::<B>(|authority| authority.server("other.invalid"), true).await;
}

/// K12: bad certificates are refused on both adapters.
pub(crate) async fn an_expired_certificate_is_refused<B: Connect>(_: &Expected) {
    refused::<B>(|authority| authority.expired_server(NAME), true).await;
}

/// Verification can be switched off, by the setting that says so.
pub(crate) async fn any_certificate_can_be_accepted<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let tls = authority.expired_server("other.invalid");
    let server = Server::start([secure(&tls, keep_alive(&["trusting"]))]);
    let backend: B = backend(|settings| settings.accept_any_certificate = true);
    let url = format!("https://{}/", server.address());
    assert_eq!(run(&backend, get(&url)).await.unwrap().text(), "trusting");
}

pub(crate) async fn a_client_shows_its_certificate<B: Connect>(_: &Expected) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = authority.asking_server(NAME, &clients);
    let server = Server::start([secure(&tls, keep_alive(&["known"]))]);
    let backend: B = backend(|settings| {
        trusting(&server, &authority)(settings);
        settings.identity = Some(clients.client());
    });
    let answer = run(&backend, post(&server.secure_url("/"), "x")).await.unwrap();
    assert_eq!(answer.text(), "known");
    assert_eq!(server.arrivals().len(), 1);
}

/// With TLS 1.3 the client hears of it after its own handshake is done, so it may have sent the
/// request; the server never looked at it.
pub(crate) async fn a_client_without_certificate_is_told<B: Connect>(expected: &Expected) {
    let (authority, clients) = (Authority::new(), Authority::new());
    let tls = authority.asking_server(NAME, &clients);
    let server = Server::start([vec![Step::TlsRefused(tls)]]);
    let backend: B = backend(trusting(&server, &authority));
    let failure = failed(&backend, post(&server.secure_url("/"), "x")).await;
    if expected.tells_late_alerts {
        assert_eq!(failure.fault.kind, FaultKind::Tls, "{failure:?}");
    }
    assert_ne!(failure.fault.sent, Sent::Sent, "{failure:?}");
    assert!(server.arrivals().is_empty());
}

pub(crate) async fn a_server_without_tls_is_found_out<B: Connect>(_: &Expected) {
    let plain = send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start([vec![plain, Step::Drain]]);
    let backend: B = backend(default);
    let failure = failed(&backend, post(&format!("https://{}/", server.address()), "x")).await;
    assert_fault(&failure, &[FaultKind::Tls], Sent::Unsent);
    drop(server);
}

/// K13: a handshake that stalls ends with the connect timeout.
pub(crate) async fn a_handshake_that_stalls_times_out_unsent<B: Connect>(_: &Expected) {
    let server = Server::start([vec![Step::Drain]]);
    let backend: B = backend(default);
    let mut request = post(&format!("https://{}/", server.address()), "x");
    request.options.connect_timeout = Duration::from_millis(100);
    let failure = failed(&backend, request).await;
    assert_fault(&failure, &[FaultKind::ConnectTimeout], Sent::Unsent);
}

pub(crate) async fn a_handshake_cut_short_is_unsent<B: Connect>(_: &Expected) {
    for end in [Step::Finish, Step::Reset] {
        let server = Server::start([vec![Step::ReadBytes(5), end]]);
        let backend: B = backend(default);
        let failure = failed(&backend, post(&format!("https://{}/", server.address()), "x")).await;
        assert_fault(&failure, &[FaultKind::Tls], Sent::Unsent);
        drop(server);
    }
}

pub(crate) async fn a_secure_body_cut_short_is_an_error<B: Connect>(expected: &Expected) {
    for answer in [
        "content-length: 10\r\n\r\nhello",
        "transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
        // Whoever cuts the connection could cut a body that ends with it anywhere.
        "connection: close\r\n\r\nhello",
    ] {
        let authority = Authority::new();
        let answer = send(format!("HTTP/1.1 200 OK\r\n{answer}"));
        let script = vec![Step::ReadRequest, answer, Step::Cut];
        let server = Server::start([secure(&authority.server(NAME), script)]);
        let backend: B = backend(trusting(&server, &authority));
        let failure = failed(&backend, post(&server.secure_url("/"), "x")).await;
        if expected.reads_before_a_cut {
            assert_fault(&failure, &[FaultKind::Truncated], Sent::Sent);
        }
        let kinds = [FaultKind::Truncated, FaultKind::Closed];
        assert!(kinds.contains(&failure.fault.kind), "{failure:?}");
        assert_ne!(failure.fault.sent, Sent::Unsent, "{failure:?}");
        drop(server);
    }
}

pub(crate) async fn a_secure_body_may_end_with_a_goodbye<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let answer = send("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nhello");
    let script = vec![Step::ReadRequest, answer, Step::Finish];
    let server = Server::start([secure(&authority.server(NAME), script)]);
    let backend: B = backend(trusting(&server, &authority));
    let answer = run(&backend, get(&server.secure_url("/"))).await.unwrap();
    assert_eq!(answer.text(), "hello");
}

pub(crate) async fn a_secure_close_before_the_answer_may_have_been_sent<B: Connect>(_: &Expected) {
    for end in [Step::Finish, Step::Cut] {
        let authority = Authority::new();
        let script = vec![Step::ReadRequest, end];
        let server = Server::start([secure(&authority.server(NAME), script)]);
        let backend: B = backend(trusting(&server, &authority));
        let failure = failed(&backend, post(&server.secure_url("/"), "x")).await;
        assert_fault(&failure, &[FaultKind::Closed], Sent::MaybeSent);
        assert_eq!(server.arrivals().len(), 1);
        drop(server);
    }
}

pub(crate) async fn bytes_on_an_idle_secure_connection_are_no_answer<B: Connect>(
    expected: &Expected,
) {
    let authority = Authority::new();
    let (go, sent, closed) = (Gate::new(), Gate::new(), Gate::new());
    let script = vec![
        Step::ReadRequest,
        ok("one"),
        Step::Wait(go.clone()),
        ok("unasked"),
        Step::Open(sent.clone()),
        Step::AwaitClose,
        Step::Open(closed.clone()),
    ];
    let tls = authority.server(NAME);
    let server = Server::start([secure(&tls, script), secure(&tls, keep_alive(&["two"]))]);
    let backend: B = backend(trusting(&server, &authority));
    run(&backend, get(&server.secure_url("/"))).await.unwrap();
    go.open();
    sent.wait();
    if expected.watches_idle {
        closed.wait();
    }
    let answer = run(&backend, get(&server.secure_url("/"))).await.unwrap();
    assert_eq!(answer.text(), "two");
}

pub(crate) async fn http1_alone_is_agreed_upon<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    let tls = authority.server(NAME).speaking(&["h2", "http/1.1"]);
    let server = Server::start([secure(&tls, keep_alive(&["one"]))]);
    let backend: B = backend(|settings| {
        trusting(&server, &authority)(settings);
        settings.protocol = Protocol::Http1;
    });
    let answer = run(&backend, get(&server.secure_url("/"))).await.unwrap();
    assert_eq!((answer.text().as_str(), answer.head.version()), ("one", Version::Http11));
    assert_ne!(server.handshakes()[0].protocol.as_deref(), Some("h2"));
}

pub(crate) async fn what_is_no_certificate_is_a_config_error<B: Connect>(_: &Expected) {
    let nothing = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for root in [
        Certificate::pem("no PEM"),
        Certificate::pem(nothing),
        Certificate::pem(""),
        Certificate::der("no DER"),
    ] {
        let mut settings = dace_core::http::HttpSettings::default();
        settings.roots.push(root.clone());
        let error = B::connect(settings).err().unwrap_or_else(|| panic!("{root:?} was taken"));
        assert_eq!(error.setting(), "root_certificate", "{error}");
    }
}

pub(crate) async fn what_is_no_identity_is_a_config_error<B: Connect>(_: &Expected) {
    let (one, other) = (Authority::new().client(), Authority::new().client());
    for identity in [
        Identity::pem("no PEM", one.key().clone()),
        Identity::pem(one.chain().clone(), "no PEM"),
        Identity::pem(one.chain().clone(), other.key().clone()),
        Identity::pem("", ""),
    ] {
        let mut settings = dace_core::http::HttpSettings::default();
        settings.identity = Some(identity);
        let error = B::connect(settings).err().expect("it was taken");
        assert_eq!(error.setting(), "identity", "{error}");
        assert!(!error.to_string().contains("PRIVATE"), "{error}");
    }
}

/// A server that the client does not accept gets nothing but the beginning of a handshake.
async fn refused<B: Connect>(tls: impl FnOnce(&Authority) -> ServerTls, trusted: bool) {
    let authority = Authority::new();
    let server = Server::start([vec![Step::TlsRefused(tls(&authority))]]);
    let backend: B = backend(|settings| {
        trusting(&server, &authority)(settings);
        if !trusted {
            settings.roots.clear();
        }
    });
    let failure = failed(&backend, post(&server.secure_url("/"), "x")).await;
    assert_fault(&failure, &[FaultKind::Tls], Sent::Unsent);
    assert!(server.arrivals().is_empty());
}
