//! TLS and HTTP/2 as nginx and nghttpd speak them, with and without a tunnel before them.

use dace::http::{Certificate, FaultKind, HttpErrorKind, Protocol, Sent, Version};
use dace::{Adapter, HttpError};
use dace_wire::Authority;

use super::process::{Place, Running};
use super::proxies::{squid, tinyproxy};
use crate::support::{Builder, Dependency, assert_all_back, dependency, get, secs};

on_every_adapter! {
    nginx_and_alpn_agree_on_http2
    http1_is_spoken_where_nothing_else_is_wanted_or_offered
    a_certificate_that_nobody_vouches_for_is_refused
    nginx_speaks_http2_in_the_clear
    nghttpd_answers_a_hundred_at_once_over_one_connection
    tunnels_lead_through_tinyproxy_and_squid
    a_proxy_that_opens_no_tunnel_is_told_and_nothing_was_sent
}

/// nginx with a certificate of `authority`, listening as `listen` says.
fn nginx(authority: &Authority, listen: &str) -> Running {
    let place = Place::new("nginx-tls");
    let (certificate, key) = authority.server_pem("127.0.0.1");
    place.write("cert.pem", certificate);
    place.write("key.pem", key);
    place.write("html/file.txt", "a line of text");
    let keys = "ssl_certificate cert.pem; ssl_certificate_key key.pem;";
    super::nginx::start(place, "$status $connection $server_protocol", "", listen, keys)
}

fn https(server: &Running) -> String {
    server.url("").replace("http", "https")
}

/// A dependency on `server`, which trusts `certificate`.
fn trusting<A: Adapter>(
    server: &Running,
    certificate: Certificate,
    set: impl FnOnce(Builder<A>) -> Builder<A>,
) -> Dependency<A> {
    dependency::<A>(|builder| {
        let builder = builder.targets([https(server)]).root_certificate(certificate);
        set(builder.connect_timeout(secs(5)))
    })
}

async fn version<A: Adapter>(one: &Dependency<A>) -> Version {
    one.call(|call| async move {
        let response = call.http().get("/file.txt").send().await?.error_for_status()?;
        let version = response.version();
        assert_eq!(response.text().await?, "a line of text");
        Ok::<_, HttpError>(version)
    })
    .await
    .unwrap()
}

async fn nginx_and_alpn_agree_on_http2<A: Adapter>() {
    let authority = Authority::new();
    let nginx = nginx(&authority, "ssl http2");
    let one = trusting::<A>(&nginx, authority.certificate(), |builder| builder);
    for _ in 0..20 {
        assert_eq!(version::<A>(&one).await, Version::Http2);
    }
    let mut connections = super::nginx::log(&nginx);
    connections.sort();
    connections.dedup();
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_all_back(&one);
}

async fn http1_is_spoken_where_nothing_else_is_wanted_or_offered<A: Adapter>() {
    let authority = Authority::new();
    let both = nginx(&authority, "ssl http2");
    let first = |builder: Builder<A>| builder.protocol(Protocol::Http1);
    let one = trusting::<A>(&both, authority.certificate_der(), first);
    assert_eq!(version::<A>(&one).await, Version::Http11);
    let old = nginx(&authority, "ssl");
    let one = trusting::<A>(&old, authority.certificate(), |builder| builder);
    assert_eq!(version::<A>(&one).await, Version::Http11);
    assert_all_back(&one);
}

async fn a_certificate_that_nobody_vouches_for_is_refused<A: Adapter>() {
    let nginx = nginx(&Authority::new(), "ssl");
    let other = Authority::new().certificate();
    let one = trusting::<A>(&nginx, other, |builder| builder.retry_attempts(0));
    let error = one.call(|call| get(call, "/file.txt")).await.unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Fault(FaultKind::Tls));
    assert_eq!((error.sent(), super::nginx::log(&nginx).len()), (Sent::Unsent, 0));
    assert_all_back(&one);
}

async fn nginx_speaks_http2_in_the_clear<A: Adapter>() {
    let nginx = nginx(&Authority::new(), "http2");
    let one = dependency::<A>(|builder| builder.targets([nginx.url("")]).protocol(Protocol::Http2));
    for _ in 0..20 {
        assert_eq!(version::<A>(&one).await, Version::Http2);
    }
    assert_all_back(&one);
}

async fn nghttpd_answers_a_hundred_at_once_over_one_connection<A: Adapter>() {
    let authority = Authority::new();
    let place = Place::new("nghttpd");
    let (certificate, key) = authority.server_pem("127.0.0.1");
    let certificate = place.write("cert.pem", certificate).display().to_string();
    let key = place.write("key.pem", key).display().to_string();
    place.write("file.txt", "a line of text");
    let (folder, port) = (place.folder.display().to_string(), place.port.to_string());
    let arguments = ["-a", "127.0.0.1", "-d", &folder, &port, &key, &certificate];
    let nghttpd = place.start("nghttpd", &arguments);
    let one = trusting::<A>(&nghttpd, authority.certificate(), |builder| {
        builder.max_open_per_netloc(200).http_pool_size(4)
    });
    assert_eq!(version::<A>(&one).await, Version::Http2);
    let calls = (0..100).map(|_| version::<A>(&one));
    for version in futures_util::future::join_all(calls).await {
        assert_eq!(version, Version::Http2);
    }
    assert_eq!(one.snapshot().totals.retries, 0);
    assert_all_back(&one);
}

async fn tunnels_lead_through_tinyproxy_and_squid<A: Adapter>() {
    let authority = Authority::new();
    let nginx = nginx(&authority, "ssl http2");
    let through_squid = squid();
    let through_tinyproxy = tinyproxy();
    let with_credentials = through_tinyproxy.url("").replace("http://", "http://user:s3cret@");
    for proxy in [through_squid.url(""), with_credentials] {
        let one = trusting::<A>(&nginx, authority.certificate(), |builder| builder.proxy(&proxy));
        for _ in 0..3 {
            assert_eq!(version::<A>(&one).await, Version::Http2);
        }
        assert_all_back(&one);
    }
}

async fn a_proxy_that_opens_no_tunnel_is_told_and_nothing_was_sent<A: Adapter>() {
    let authority = Authority::new();
    let nginx = nginx(&authority, "ssl");
    let proxy = tinyproxy();
    let one = trusting::<A>(&nginx, authority.certificate(), |builder| {
        builder.proxy(&proxy.url("")).retry_attempts(0)
    });
    let error = one.call(|call| get(call, "/file.txt")).await.unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Fault(FaultKind::Proxy));
    assert_eq!(error.sent(), Sent::Unsent);
    assert_all_back(&one);
}
