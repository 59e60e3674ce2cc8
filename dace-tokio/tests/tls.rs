//! A configuration of rustls that the user made.
#![cfg(any(feature = "rustls", feature = "rustls-ring"))]

use std::sync::Arc;

use dace_core::http::{Certificate, Connect, HttpSettings, Protocol};
use dace_tokio::HyperBackend;
use dace_wire::{Authority, Server, Step, get, keep_alive, run};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore};

const NAME: &str = "service.invalid";

fn trusting(authority: &Authority) -> ClientConfig {
    let Certificate::Der(der) = authority.certificate_der() else {
        panic!("DER was asked for");
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from(der.to_vec())).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

/// A server that knows both protocols and prefers HTTP/1.1, and a backend with this configuration.
fn pair(offer: &[&str], protocol: Protocol) -> (Server, Result<HyperBackend, String>) {
    let authority = Authority::new();
    let tls = authority.server(NAME).speaking(&["http/1.1", "h2"]);
    let script = [Step::Tls(tls)].into_iter().chain(keep_alive(&["one"]));
    let server = Server::start([script.collect::<Vec<_>>()]);
    let mut config = trusting(&authority);
    config.alpn_protocols = offer.iter().map(|name| name.as_bytes().to_vec()).collect();
    let mut settings = HttpSettings::default();
    settings.protocol = protocol;
    settings.resolve.push((NAME.to_owned(), vec![server.address()]));
    settings.tls = Some(config);
    let backend = HyperBackend::connect(settings).map_err(|error| error.to_string());
    (server, backend)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_configuration_is_used_and_completed() {
    for (offer, protocol) in
        [(&[][..], Protocol::Negotiated), (&[], Protocol::Http1), (&["http/1.1"], Protocol::Http1)]
    {
        let (server, backend) = pair(offer, protocol);
        let backend = backend.unwrap();
        let answer = run(&backend, get(&server.secure_url("/"))).await.unwrap();
        assert_eq!(answer.text(), "one");
        assert_eq!(server.handshakes()[0].protocol.as_deref(), Some("http/1.1"));
    }
}

/// What the configuration offers, somebody has to be able to speak.
#[test]
fn a_configuration_that_contradicts_the_protocol_is_refused() {
    let (_server, refused) = pair(&["h2"], Protocol::Http1);
    assert!(refused.unwrap_err().starts_with("`tls` offers `h2`"));
    let (_server, refused) = pair(&["http/1.1"], Protocol::Http2);
    let problem = refused.unwrap_err();
    let names = if cfg!(feature = "http2") { "`tls`" } else { "`protocol`" };
    assert!(problem.starts_with(names), "{problem}");
    let (_server, offered) = pair(&["h2", "http/1.1"], Protocol::Negotiated);
    assert_eq!(offered.is_ok(), cfg!(feature = "http2"));
}

/// Those who waited for what the first one finds do not wait for each other too.
#[cfg(feature = "http2")]
#[tokio::test(flavor = "multi_thread")]
async fn handshakes_with_an_http1_server_do_not_queue() {
    use dace_wire::{Gate, ok};

    let authority = Authority::new();
    let tls = Step::Tls(authority.server(NAME).speaking(&["http/1.1"]));
    let (second, third) = (Gate::new(), Gate::new());
    let end = || [Step::ReadRequest, Step::Wait(third.clone()), ok("done"), Step::AwaitClose];
    let first = [tls.clone()].into_iter().chain(end());
    // Neither handshake ends before both have begun.
    let crossed = |own: &Gate, other: &Gate| {
        let begin = [Step::Open(own.clone()), Step::Wait(other.clone()), tls.clone()];
        begin.into_iter().chain(end()).collect()
    };
    let scripts = [first.collect(), crossed(&second, &third), crossed(&third, &second)];
    let server = Server::start(scripts);
    let mut settings = HttpSettings::default();
    settings.resolve.push((NAME.to_owned(), vec![server.address()]));
    settings.roots.push(authority.certificate());
    let backend = HyperBackend::connect(settings).unwrap();
    let exchanges: Vec<_> = (0..3)
        .map(|_| {
            let (backend, request) = (backend.clone(), get(&server.secure_url("/")));
            tokio::spawn(async move { run(&backend, request).await.map(drop) })
        })
        .collect();
    for exchange in exchanges {
        exchange.await.unwrap().unwrap();
    }
    assert_eq!(server.connections(), 3);
}
