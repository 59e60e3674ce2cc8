//! nginx: files, gzip, redirects, limits, closed connections, keep-alive.

use std::io::{Read, Write};
use std::net::TcpStream;

use dace::http::{FaultKind, HttpErrorKind, Sent};
use dace::{Adapter, HttpError, Why};

use super::process::{Place, Running};
use crate::support::{assert_all_back, dependency, get, get_root, ms, secs};

on_every_adapter! {
    files_are_served_over_one_connection
    gzip_is_asked_for_and_decoded
    redirects_are_followed
    a_limited_server_throttles_and_opens_no_circuit
    a_503_with_a_hint_pauses_the_server
    a_connection_closed_without_an_answer_is_retried_only_where_it_does_no_harm
    connections_that_carry_three_requests_each_lose_none
}

/// nginx with `locations`, a file `file.txt`, and a log of status, connection and method.
fn nginx(locations: &str) -> Running {
    let place = Place::new("nginx");
    place.write("html/file.txt", "a line of text\n".repeat(1000));
    place.write("html/folder/index.html", "an index");
    let zone = "limit_req_zone $binary_remote_addr zone=one:1m rate=1r/m;";
    start(place, "$status $connection $request_method $uri $server_protocol", zone, "", locations)
}

/// nginx in one process, with all that it writes in its folder. It logs what `log` says, and has
/// `settings` for all and `server` for the one that listens as `listen` says.
pub(super) fn start(
    place: Place,
    log: &str,
    settings: &str,
    listen: &str,
    server: &str,
) -> Running {
    let port = place.port;
    let config = format!(
        "daemon off; master_process off; pid nginx.pid; error_log error.log;
         events {{ worker_connections 256; }}
         http {{
             client_body_temp_path t1; proxy_temp_path t2; fastcgi_temp_path t3;
             uwsgi_temp_path t4; scgi_temp_path t5;
             log_format short '{log}'; access_log access.log short; {settings}
             server {{ listen 127.0.0.1:{port} {listen}; root html; {server} }}
         }}"
    );
    let config = place.write("nginx.conf", config);
    let (folder, config) = (place.folder.display().to_string(), config.display().to_string());
    place.start("nginx", &["-p", &folder, "-c", &config, "-e", "error.log"])
}

/// The lines of its log, a request each. It writes a line after the answer, so another request goes
/// in between, in HTTP/1.0 as no client of dace's does: when that is answered, the lines before its own
/// are there.
pub(super) fn log(nginx: &Running) -> Vec<String> {
    let mut stream = TcpStream::connect(nginx.address()).expect("it listens");
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it reads");
    // It may close with no answer, or with a reset: it has come so far all the same.
    let _ = stream.read_to_end(&mut Vec::new());
    let mut lines = nginx.lines("access.log");
    lines.retain(|line| !line.ends_with("HTTP/1.0"));
    lines
}

/// The distinct connections of the log.
fn connections(nginx: &Running) -> usize {
    let mut connections: Vec<_> =
        log(nginx).iter().map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    connections.sort();
    connections.dedup();
    connections.len()
}

async fn files_are_served_over_one_connection<A: Adapter>() {
    let nginx = nginx("");
    let one = dependency::<A>(|builder| builder.targets([nginx.url("")]));
    for _ in 0..10 {
        let text = one.call(|call| get(call, "/file.txt")).await.unwrap();
        assert_eq!(text.len(), 15_000);
    }
    let missing = one.call(|call| get(call, "/missing")).await.unwrap_err();
    assert_eq!(missing.into_source().unwrap().status(), Some(404));
    assert_eq!(connections(&nginx), 1, "{:?}", log(&nginx));
    assert_all_back(&one);
}

async fn gzip_is_asked_for_and_decoded<A: Adapter>() {
    let nginx = nginx("gzip on; gzip_types *; gzip_min_length 0; gzip_proxied any;");
    let one = dependency::<A>(|builder| builder.targets([nginx.url("")]));
    let text = one
        .call(|call| async move {
            let response = call.http().get("/file.txt").send().await?;
            assert_eq!(response.header("content-encoding"), Some(&b"gzip"[..]));
            response.text().await
        })
        .await
        .unwrap();
    assert_eq!(text, "a line of text\n".repeat(1000));
    assert_all_back(&one);
}

async fn redirects_are_followed<A: Adapter>() {
    let nginx = nginx("absolute_redirect off; location /old { return 301 /folder; }");
    let one = dependency::<A>(|builder| builder.targets([nginx.url("")]));
    one.call(|call| async move {
        let response = call.http().get("/old").send().await?;
        let hops: Vec<_> =
            response.history().iter().map(|hop| (hop.url.path().to_owned(), hop.status)).collect();
        assert_eq!(hops, [("/old".to_owned(), 301), ("/folder".to_owned(), 301)]);
        assert_eq!(response.url().path(), "/folder/");
        assert_eq!(response.text().await?, "an index");
        Ok::<_, HttpError>(())
    })
    .await
    .unwrap();
    assert_all_back(&one);
}

async fn a_limited_server_throttles_and_opens_no_circuit<A: Adapter>() {
    let nginx = nginx("location /file.txt { limit_req zone=one; limit_req_status 429; }");
    let one = dependency::<A>(|builder| builder.targets([nginx.url("")]).retry_attempts(0));
    one.call(|call| get(call, "/file.txt")).await.unwrap();
    for _ in 0..10 {
        let error = one.call(|call| get(call, "/file.txt")).await.unwrap_err();
        assert_eq!(error.into_source().unwrap().status(), Some(429));
    }
    let endpoint = &one.snapshot().endpoints[1];
    assert_eq!((endpoint.successes, endpoint.failures), (1, 0));
    assert_all_back(&one);
}

async fn a_503_with_a_hint_pauses_the_server<A: Adapter>() {
    let nginx = nginx("location / { add_header Retry-After 7 always; return 503; }");
    let one = dependency::<A>(|builder| builder.targets([nginx.url("")]).timeout(secs(2)));
    let error = get_root(&one).await.unwrap_err();
    assert_eq!(error.why(), Some(Why::Hint), "{error:?}");
    assert!(error.retry_after().is_some_and(|wait| wait > secs(5)), "{error:?}");
    let refused = get_root(&one).await.unwrap_err();
    assert!(refused.is_rejected(), "{refused:?}");
    assert_eq!(log(&nginx).len(), 1, "the pause holds for every call");
    assert_all_back(&one);
}

async fn a_connection_closed_without_an_answer_is_retried_only_where_it_does_no_harm<A: Adapter>() {
    let nginx = nginx("location / { return 444; }");
    let one = dependency::<A>(|builder| builder.targets([nginx.url("")]));
    let error = one
        .call(|call| async move { call.http().post("/post").body("pay").send().await.map(drop) })
        .await
        .unwrap_err();
    assert_eq!(error.why(), Some(Why::NotReplaySafe));
    let source = error.into_source().unwrap();
    assert_eq!(source.kind(), &HttpErrorKind::Fault(FaultKind::Closed));
    assert_eq!(source.sent(), Sent::MaybeSent);
    assert!(source.to_string().contains("may have processed"), "{source}");
    one.call(|call| get(call, "/get")).await.unwrap_err();
    let arrived = |method: &str| log(&nginx).iter().filter(|line| line.contains(method)).count();
    assert_eq!((arrived("POST"), arrived("GET")), (1, 4));
    assert_all_back(&one);
}

async fn connections_that_carry_three_requests_each_lose_none<A: Adapter>() {
    let nginx = nginx("keepalive_requests 3;");
    let one = dependency::<A>(|builder| {
        builder.targets([nginx.url("")]).retry_attempts(0).attempt_timeout(ms(2000))
    });
    for _ in 0..30 {
        one.call(|call| get(call, "/file.txt")).await.unwrap();
    }
    assert_eq!(connections(&nginx), 10);
    assert_all_back(&one);
}
