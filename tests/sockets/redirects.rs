//! Redirects on the wire: where each hop arrives, and what it carries.

use dace::http::{Body, HttpErrorKind, RedirectError};
use dace::{Adapter, HttpError};
use dace_wire::{Server, Step, keep_alive, ok, send, upload};

use crate::support::{arrived, assert_all_back, dependency, get, get_root, on};

on_every_adapter! {
    a_chain_over_three_servers_is_followed_hop_by_hop
    a_hop_on_the_same_server_reuses_its_connection
    a_loop_ends_after_ten_hops
    a_post_becomes_a_get_or_is_sent_again_as_the_status_says
    a_stream_that_was_sent_is_not_sent_elsewhere
    credentials_never_leave_their_origin_and_never_come_back
    a_location_that_is_none_opens_no_connection
    a_large_body_of_a_redirect_is_not_waited_for
}

fn to(status: u16, location: &str) -> Step {
    send(format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 2\r\n\r\nno"))
}

/// A connection that answers requests with these steps, one after the other.
fn script(answers: Vec<Step>) -> Vec<Step> {
    let mut script: Vec<Step> =
        answers.into_iter().flat_map(|answer| [Step::ReadRequest, answer]).collect();
    script.push(Step::AwaitClose);
    script
}

async fn a_chain_over_three_servers_is_followed_hop_by_hop<A: Adapter>() {
    let c = Server::start([keep_alive(&["there"])]);
    let b = Server::start([script(vec![to(307, &c.url("/c?q=1"))])]);
    let a = Server::start([script(vec![to(302, &b.url("/b"))])]);
    let one = dependency::<A>(|builder| builder);
    let url = a.url("/a");
    one.call(|call| {
        let url = url.clone();
        async move {
            let response = call.http().get(&url).send().await?;
            assert_eq!(response.history().len(), 2);
            assert_eq!(response.text().await?, "there");
            Ok::<_, HttpError>(())
        }
    })
    .await
    .unwrap();
    let lines = [&a, &b, &c].map(|server| server.arrivals()[0].line());
    assert_eq!(lines, ["GET /a HTTP/1.1", "GET /b HTTP/1.1", "GET /c?q=1 HTTP/1.1"]);
    let snapshot = one.snapshot();
    for server in [&a, &b, &c] {
        let name = server.address().to_string();
        let netloc = snapshot.endpoints.iter().find(|e| e.netloc.as_str() == name).unwrap();
        assert_eq!((netloc.successes, netloc.failures), (1, 0), "{snapshot}");
    }
    assert_all_back(&one);
}

async fn a_hop_on_the_same_server_reuses_its_connection<A: Adapter>() {
    let server = Server::start([script(vec![to(301, "/x"), to(308, "y"), ok("there")])]);
    let one = on::<A>(&server, |builder| builder.http_pool_size(1).max_open_per_netloc(1));
    assert_eq!(get_root(&one).await.unwrap(), "there");
    assert_eq!(server.connections(), 1);
    assert_eq!(server.arrivals()[2].line(), "GET /y HTTP/1.1");
    assert_all_back(&one);
}

async fn a_loop_ends_after_ten_hops<A: Adapter>() {
    let server = Server::start([script((0..11).map(|_| to(302, "/")).collect())]);
    let one = on::<A>(&server, |builder| builder);
    let error = get_root(&one).await.unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Redirect(RedirectError::TooMany(10)));
    assert_eq!(server.arrivals().len(), 11);
    assert_all_back(&one);
}

async fn a_post_becomes_a_get_or_is_sent_again_as_the_status_says<A: Adapter>() {
    for (status, line, body) in [
        (301, "GET /x HTTP/1.1", ""),
        (302, "GET /x HTTP/1.1", ""),
        (303, "GET /x HTTP/1.1", ""),
        (307, "POST /x HTTP/1.1", "pay"),
        (308, "POST /x HTTP/1.1", "pay"),
    ] {
        let server = Server::start([script(vec![to(status, "/x"), ok("there")])]);
        let one = on::<A>(&server, |builder| builder);
        one.call(|call| async move {
            let request = call.http().post("/").header("content-type", "text/x").body("pay");
            request.send().await?.text().await
        })
        .await
        .unwrap();
        let last = &server.arrivals()[1];
        assert_eq!((last.line().as_str(), &*last.body()), (line, body.as_bytes()), "{status}");
        assert_eq!(last.header("content-type").is_empty(), body.is_empty(), "{status}");
        assert_eq!(arrived(&server, "POST / "), 1);
        assert_all_back(&one);
    }
}

async fn a_stream_that_was_sent_is_not_sent_elsewhere<A: Adapter>() {
    let there = Server::start([keep_alive(&["there"])]);
    let script = || script(vec![to(307, &there.url("/"))]);
    let server = Server::start([script(), script()]);
    let one = on::<A>(&server, |builder| builder);
    let error = one
        .call(|call| async move {
            let body = upload(vec![Ok("one"), Ok("two")], None);
            call.http().post("/").body(body).persistent(false).send().await.map(drop)
        })
        .await
        .unwrap_err();
    let kind = error.into_source().unwrap().kind().clone();
    assert_eq!(kind, HttpErrorKind::Redirect(RedirectError::Body));
    assert_eq!((server.arrivals().len(), there.connections()), (1, 0));
    one.call(|call| async move {
        let pieces = || futures_util::stream::iter([Ok("one".into()), Ok("two".into())]);
        let request = call.http().post("/").body(Body::factory(pieces, Some(6)));
        request.send().await.map(drop)
    })
    .await
    .unwrap();
    assert_eq!(there.arrivals()[0].body(), b"onetwo");
    assert_all_back(&one);
}

/// What of the credentials arrives at each of the servers, in order.
fn credentials(server: &Server) -> Vec<usize> {
    let kinds = ["authorization", "cookie", "x-secret", "x-key"];
    let count = |arrival: &dace_wire::Arrival| {
        kinds.iter().filter(|kind| !arrival.header(kind).is_empty()).count()
    };
    server.arrivals().iter().map(count).collect()
}

async fn credentials_never_leave_their_origin_and_never_come_back<A: Adapter>() {
    let second = |last: Step| Server::start([script(vec![last])]);
    let ask = async |one: &super::support::Dependency<A>, url: String| {
        let url = url.replace("http://", "http://user:s3cret@");
        one.call(|call| {
            let url = url.clone();
            async move {
                let request = call.http().get(&url).sensitive_header("x-secret", "s3cret");
                request.header("cookie", "id=s3cret").send().await.map(drop)
            }
        })
        .await
        .unwrap();
        assert_all_back(one);
    };
    let one = dependency::<A>(|builder| builder.default_sensitive_header("x-key", "s3cret"));

    let same = Server::start([script(vec![to(302, "/x"), to(307, "/y"), ok("")])]);
    ask(&one, same.url("/")).await;
    assert_eq!(credentials(&same), [4, 4, 4], "the same origin");

    let other = second(ok(""));
    let first = Server::start([script(vec![to(302, &other.url("/"))])]);
    ask(&one, first.url("/")).await;
    assert_eq!((credentials(&first), credentials(&other)), (vec![4], vec![0]), "another port");

    let by_name = Server::start([script(vec![ok("")])]);
    let named = format!("http://localhost:{}/", by_name.address().port());
    let first = Server::start([script(vec![to(302, &named)])]);
    let resolving = dependency::<A>(|builder| {
        let builder = builder.default_sensitive_header("x-key", "s3cret");
        builder.resolve("localhost", [by_name.address()])
    });
    ask(&resolving, first.url("/")).await;
    assert_eq!((credentials(&first), credentials(&by_name)), (vec![4], vec![0]), "another host");

    #[cfg(feature = "rustls")]
    over_tls::<A>().await;

    let b = Server::start([script(vec![to(302, "/x"), ok("")])]);
    let a = Server::start([script(vec![to(302, &b.url("/"))])]);
    ask(&one, a.url("/")).await;
    assert_eq!((credentials(&a), credentials(&b)), (vec![4], vec![0, 0]), "a, b, b");

    let (a, b) = there_and_back();
    ask(&one, a.url("/")).await;
    assert_eq!((credentials(&a), credentials(&b)), (vec![4, 0], vec![0]), "a, b, a");
}

/// From https to http, at the same host.
#[cfg(feature = "rustls")]
async fn over_tls<A: Adapter>() {
    let authority = dace_wire::Authority::new();
    let plain = Server::start([script(vec![ok("")])]);
    let tls = Step::Tls(authority.server("127.0.0.1"));
    let secure = Server::start([[vec![tls], script(vec![to(302, &plain.url("/"))])].concat()]);
    let one = dependency::<A>(|builder| builder.root_certificate(authority.certificate()));
    let url = secure.url("/").replace("http://", "https://user:s3cret@");
    one.call(|call| {
        let url = url.clone();
        async move {
            let request = call.http().get(&url).sensitive_header("x-secret", "s3cret");
            request.header("cookie", "id=s3cret").send().await.map(drop)
        }
    })
    .await
    .unwrap();
    assert_eq!((credentials(&secure), credentials(&plain)), (vec![3], vec![0]), "https to http");
    assert_all_back(&one);
}

/// Two servers: the first leads to the second, and that one back.
fn there_and_back() -> (Server, Server) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let back = format!("http://{}/back", listener.local_addr().expect("it is bound"));
    let b = Server::start([script(vec![to(302, &back)])]);
    let a = Server::on(listener, [script(vec![to(302, &b.url("/")), ok("")])]);
    (a, b)
}

async fn a_location_that_is_none_opens_no_connection<A: Adapter>() {
    for location in ["ftp://127.0.0.1/", "file:///etc/passwd", "http://", "//127.0.0.1\\@x/"] {
        let server = Server::start([script(vec![to(302, location)])]);
        let one = on::<A>(&server, |builder| builder);
        let error = get_root(&one).await.unwrap_err().into_source().unwrap();
        let expected = HttpErrorKind::Redirect(RedirectError::Location);
        assert_eq!(error.kind(), &expected, "{location}");
        assert_eq!(server.arrivals().len(), 1);
    }
}

async fn a_large_body_of_a_redirect_is_not_waited_for<A: Adapter>() {
    let there = Server::start([keep_alive(&["there"])]);
    let head = format!(
        "HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 1000000\r\n\r\nno",
        there.url("/")
    );
    let server = Server::start([vec![Step::ReadRequest, send(head), Step::Drain]]);
    let one = dependency::<A>(|builder| builder);
    let url = server.url("/");
    assert_eq!(
        one.call(|call| {
            let url = url.clone();
            async move { get(call, &url).await }
        })
        .await
        .unwrap(),
        "there"
    );
    assert_all_back(&one);
}
