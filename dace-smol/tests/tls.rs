//! TLS, where it is isahc's own.

use dace_core::http::{Certificate, Connect, HttpSettings};
use dace_smol::IsahcBackend;
use dace_smol::tls::{TlsConfig, TrustStore};
use dace_wire::{Authority, Server, Step, get, keep_alive, run};

fn secure(tls: dace_wire::ServerTls, rest: Vec<Step>) -> Vec<Step> {
    std::iter::once(Step::Tls(tls)).chain(rest).collect()
}

#[test]
fn a_configuration_that_is_given_is_the_one() {
    smol::block_on(async {
        let authority = Authority::new();
        let tls = authority.server("127.0.0.1");
        let server = Server::start([secure(tls, keep_alive(&["trusted"]))]);
        let Certificate::Pem(pem) = authority.certificate() else { panic!("it is PEM") };
        let store = TrustStore::builder().certificate_from_pem(pem).build();
        let mut settings = HttpSettings::default();
        settings.tls = Some(TlsConfig::builder().trust_store(store).build());
        let backend = IsahcBackend::connect(settings).unwrap();
        let url = format!("https://{}/", server.address());
        assert_eq!(run(&backend, get(&url)).await.unwrap().text(), "trusted");
    });
}

#[cfg(feature = "http2")]
mod http2 {
    use super::*;
    use dace_core::http::{FaultKind, Sent};
    use dace_wire::{frames, post, send, streams};

    /// Streams that are refused are sent again by libcurl, and only a body keeps it from that.
    #[test]
    fn what_must_not_arrive_twice_and_has_no_body_speaks_http_1() {
        smol::block_on(async {
            let authority = Authority::new();
            let tls = authority.server("127.0.0.1").speaking(&["h2", "http/1.1"]);
            let server = Server::start([
                secure(tls.clone(), streams(&["one"])),
                secure(tls, vec![Step::ReadRequest]),
            ]);
            let mut settings = HttpSettings::default();
            settings.roots.push(authority.certificate());
            let backend = IsahcBackend::connect(settings).unwrap();
            let url = format!("https://{}/", server.address());
            run(&backend, get(&url)).await.unwrap();
            let failure = run(&backend, post(&url, "")).await.map(drop).unwrap_err();
            assert_eq!(failure.fault.kind, FaultKind::Closed, "{failure:?}");
            assert_eq!(failure.fault.sent, Sent::MaybeSent, "{failure:?}");
            let spoken: Vec<_> = server.handshakes().into_iter().map(|it| it.protocol).collect();
            assert_eq!(spoken, [Some(String::from("h2")), Some(String::from("http/1.1"))]);
            assert_eq!((server.connections(), server.arrivals().len()), (2, 2));
        });
    }

    #[test]
    fn a_refused_stream_that_was_negotiated_arrives_once() {
        smol::block_on(async {
            let authority = Authority::new();
            let tls = authority.server("127.0.0.1").speaking(&["h2"]);
            let refuse = send(frames::reset(1, frames::REFUSED_STREAM));
            let script = vec![Step::Http2(vec![]), Step::ReadStream, refuse, Step::AwaitClose];
            let server = Server::start([secure(tls, script)]);
            let mut settings = HttpSettings::default();
            settings.roots.push(authority.certificate());
            let backend = IsahcBackend::connect(settings).unwrap();
            let url = format!("https://{}/", server.address());
            let failure = run(&backend, post(&url, "x")).await.map(drop).unwrap_err();
            assert_eq!(failure.fault.sent, Sent::MaybeSent, "{failure:?}");
            assert_eq!((server.connections(), server.arrivals().len()), (1, 1));
        });
    }
}
