//! The HTTP client that a call carries, above every backend.

use dace::HttpError;
use dace::http::{HttpErrorKind, Method, UrlError};
use dace_sim::{Answer, Sim};

use crate::support::{dependency, get, get_root, ms};

#[test]
fn relative_urls_ride_on_the_picked_target_and_absolute_ones_go_where_they_say() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:8080"), sim.server("http://b:80"));
    let one = dependency(&sim, |builder| builder.targets(["http://a:8080"]));
    sim.run(async {
        one.call(|call| get(call, "/users/1?x=y")).await.unwrap();
        one.call(|call| get(call, "users/2")).await.unwrap();
        one.call(|call| get(call, "http://b/other")).await.unwrap();
    });
    let paths = |server: &dace_sim::Server| -> Vec<String> {
        server.arrivals().into_iter().map(|arrival| arrival.path).collect()
    };
    assert_eq!(paths(&a), ["/users/1?x=y", "/users/2"]);
    assert_eq!(paths(&b), ["/other"]);
}

#[test]
fn a_relative_url_has_the_scheme_of_its_target_where_both_schemes_have_one_netloc() {
    let sim = Sim::new(1);
    let one = dependency(&sim, |builder| {
        let targets = ["http://a:80", "https://a:80"];
        builder.load_balancer(dace::RoundRobin::new(targets))
    });
    let mut schemes = Vec::new();
    for _ in 0..4 {
        let scheme = one.call(|call| async move {
            let url = call.agent().request(Method::GET, "/x")?.url;
            assert_eq!(Some(url.target()), call.target());
            Ok::<_, HttpError>(url.scheme().as_str())
        });
        schemes.push(sim.run(scheme).unwrap());
    }
    assert_eq!(schemes.iter().filter(|scheme| **scheme == "https").count(), 2, "{schemes:?}");
}

#[test]
fn every_method_has_a_shorthand() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    let one = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    sim.run(one.call(|call| async move {
        let http = call.http();
        http.get("/").send().await?;
        http.head("/").send().await?;
        http.post("/").send().await?;
        http.put("/").send().await?;
        http.patch("/").send().await?;
        http.delete("/").send().await?;
        http.request(Method::new("PURGE").unwrap(), "/").send().await?;
        Ok::<_, HttpError>(())
    }))
    .unwrap();
    let methods: Vec<_> = a.arrivals().iter().map(|arrival| arrival.method.to_string()).collect();
    assert_eq!(methods, ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "PURGE"]);
}

#[test]
fn what_is_wrong_with_a_request_is_told_before_anything_is_sent_and_counts_for_nothing() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    let none = dependency(&sim, |builder| builder);
    let error = |url: &'static str, name: &'static str, value: &'static str| {
        let call = none.call(move |call| async move {
            call.http().get(url).header(name, value).send().await.map(|_| ())
        });
        sim.run(call).unwrap_err().into_source().unwrap().kind().clone()
    };
    assert_eq!(error("/relative", "x", "y"), HttpErrorKind::Url(UrlError::Relative));
    assert_eq!(error("ftp://a/", "x", "y"), HttpErrorKind::Url(UrlError::Scheme));
    for (name, value) in [
        ("x\r\ny", "z"),
        ("x", "y\r\nz: 1"),
        ("content-length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("connection", "close"),
        ("Expect", "100-continue"),
        ("host", "b"),
    ] {
        let kind = error("http://a/", name, value);
        assert!(matches!(kind, HttpErrorKind::Request(_)), "{name}: {kind:?}");
    }
    assert_eq!(a.requests(), 0);
    let snapshot = none.snapshot();
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.failures == 0), "{snapshot}");
}

#[test]
fn an_answer_has_status_headers_url_and_body() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| {
        Answer::status(201).header("X-Trace", "7").piece(ms(1), "one ").piece(ms(1), "two")
    });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    sim.run(a.call(|call| async move {
        let response = call.http().get("/path").send().await?;
        assert_eq!((response.status(), response.url().path()), (201, "/path"));
        assert_eq!(response.header("x-trace"), Some(&b"7"[..]));
        assert_eq!(response.headers().count(), 1);
        assert_eq!(response.text().await?, "one two");
        Ok::<_, HttpError>(())
    }))
    .unwrap();
}

#[test]
fn a_body_beyond_the_limit_is_a_typed_error_and_pieces_are_not_limited() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::ok(vec![b'x'; 60]).piece(ms(1), vec![b'x'; 60]));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).body_limit(100));
    let error = sim.run(a.call(|call| get(call, "/"))).unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::TooLarge(100));
    let length = sim.run(a.call(|call| async move {
        let mut response = call.http().get("/").send().await?;
        let mut length = 0;
        while let Some(piece) = response.chunk().await? {
            length += piece.len();
        }
        Ok::<_, HttpError>(length)
    }));
    assert_eq!(length.unwrap(), 120);
}

#[test]
fn a_body_of_exactly_the_limit_is_read_whole_in_one_piece_and_in_several() {
    for rest in [0, 1, 60] {
        let sim = Sim::new(1);
        sim.server("http://a:80")
            .handler(move |_| Answer::ok(vec![b'x'; 100 - rest]).piece(ms(1), vec![b'x'; rest]));
        let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).body_limit(100));
        assert_eq!(sim.run(get_root(&a)).unwrap().len(), 100, "{rest} in the second piece");
    }
}

#[test]
fn no_piece_of_a_body_is_empty_and_its_trailers_are_there_at_its_end() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| {
        let answer = Answer::ok("one").piece(ms(1), "").piece(ms(1), "two").piece(ms(1), "");
        answer.trailer("X-Sum", "7")
    });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    sim.run(a.call(|call| async move {
        let mut response = call.http().get("/").send().await?;
        for expected in [&b"one"[..], b"two"] {
            assert_eq!(response.chunk().await?.as_deref(), Some(expected));
            assert!(response.trailers().is_empty());
        }
        assert_eq!(response.chunk().await?, None);
        let [sum] = response.trailers() else { panic!("{:?}", response.trailers()) };
        assert_eq!((sum.name(), &sum.value()[..]), ("x-sum", &b"7"[..]));
        Ok::<_, HttpError>(())
    }))
    .unwrap();
}

#[test]
fn an_agent_does_one_exchange_with_relative_urls_joined_and_nothing_else() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 302);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    let status = sim.run(a.call(|call| async move {
        let agent = call.agent();
        let request = agent.request(Method::GET, "/x")?;
        Ok::<_, HttpError>(agent.send(request).await?.status())
    }));
    assert_eq!((status.unwrap(), server.requests()), (302, 1));
    assert_eq!(a.snapshot().endpoints[1].successes, 1);
}

#[test]
fn an_answer_with_a_length_and_an_encoding_is_malformed() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|_| {
        Answer::ok("ok").header("content-length", "2").header("transfer-encoding", "chunked")
    });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    let error = sim.run(a.call(|call| get(call, "/"))).unwrap_err();
    assert_eq!(error.why(), Some(dace::Why::Class), "it would be malformed again");
    let source = error.into_source().unwrap();
    assert_eq!(source.kind(), &HttpErrorKind::Fault(dace::http::FaultKind::Malformed));
    assert_eq!((server.requests(), a.snapshot().endpoints[1].failures), (1, 1));
}

#[test]
fn a_head_over_the_limit_is_malformed_on_every_backend() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    server.handler(|_| Answer::ok("").header("x-long", &"x".repeat(64 * 1024 - 20)));
    sim.run(get_root(&a)).unwrap();
    server.handler(|_| Answer::ok("").header("x-long", &"x".repeat(64 * 1024)));
    let error = sim.run(get_root(&a)).unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Fault(dace::http::FaultKind::Malformed));
}
