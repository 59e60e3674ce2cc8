//! Redirects: where they lead, what goes along, and who is charged.

use std::sync::{Arc, Mutex};

use dace::http::{Body, HttpErrorKind, Method, RedirectError};
use dace::{CircuitState, HttpError, Why};
use dace_sim::{Answer, Ending, Server, Sim};
use futures_util::stream;

use crate::support::{Call, Dependency, assert_all_back, dependency, ms, touchy};

fn to(status: u16, location: &str) -> Answer {
    Answer::status(status).header("Location", location)
}

/// A server that redirects by path, to what `places` says, and answers everything else.
fn signpost(sim: &Sim, name: &str, places: &'static [(&'static str, u16, &'static str)]) -> Server {
    let server = sim.server(name);
    server.handler(move |request| {
        let found = places.iter().find(|(path, ..)| *path == request.url.path());
        found.map_or_else(|| Answer::ok("there"), |(_, status, place)| to(*status, place))
    });
    server
}

/// What follows from `GET url`.
fn follow(sim: &Sim, one: &Dependency, url: &'static str) -> Result<String, HttpErrorKind> {
    let answer =
        sim.run(one.call(|call| async move { call.http().get(url).send().await?.text().await }));
    answer.map_err(|error| error.into_source().expect("a source").kind().clone())
}

#[test]
fn a_chain_is_followed_and_its_hops_are_told() {
    let sim = Sim::new(1);
    let places = &[("/1", 301, "/2"), ("/2", 302, "http://b:81/3?q=1"), ("/5", 308, "6")];
    signpost(&sim, "http://a:80", places);
    signpost(&sim, "http://b:81", &[("/3", 307, "http://a/4")]);
    let one = dependency(&sim, |builder| builder);
    let (hops, url) = sim
        .run(one.call(|call| async move {
            let response = call.http().get("http://a/1").send().await?;
            let hops: Vec<_> = response
                .history()
                .iter()
                .map(|hop| (hop.url.as_str().to_owned(), hop.status))
                .collect();
            let url = response.url().as_str().to_owned();
            assert_eq!(response.text().await?, "there");
            Ok::<_, HttpError>((hops, url))
        }))
        .unwrap();
    let expected = [("http://a/1", 301), ("http://a/2", 302), ("http://b:81/3?q=1", 307)];
    assert_eq!(hops, expected.map(|(url, status)| (url.to_owned(), status)));
    assert_eq!(url, "http://a/4");
    assert_all_back(&one);
}

#[test]
fn each_hop_is_an_exchange_at_its_own_netloc_and_the_last_one_is_charged() {
    let sim = Sim::new(1);
    signpost(&sim, "http://a:80", &[("/", 302, "http://b/")]);
    let b = sim.server("http://b:80");
    b.answers(.., 500);
    let one = dependency(&sim, |builder| builder.breaker(touchy()).retry_attempts(0));
    let get = |call: Call| async move {
        call.http().get("http://a/").send().await?.error_for_status().map(drop)
    };
    sim.run(one.call(get)).unwrap_err();
    let snapshot = one.snapshot();
    let circuit = |name: &str| {
        let found = snapshot.endpoints.iter().find(|endpoint| endpoint.netloc.as_str() == name);
        found.expect("it was asked").circuit
    };
    assert_eq!(circuit("a:80"), CircuitState::Closed, "{snapshot}");
    assert_ne!(circuit("b:80"), CircuitState::Closed, "{snapshot}");
    let error = sim.run(one.call(get)).unwrap_err();
    assert!(matches!(error, dace::Error::CircuitOpen { .. }), "{error:?}");
    assert_eq!(b.requests(), 1, "the open circuit refused the second hop");
    assert_all_back(&one);
}

#[test]
fn a_hop_holds_one_permit_and_one_connection_at_a_time() {
    let sim = Sim::new(1);
    signpost(&sim, "http://a:80", &[("/", 302, "/x"), ("/x", 302, "http://b/"), ("/y", 302, "/z")]);
    sim.server("http://b:80").handler(|_| to(302, "http://a/y"));
    let one = dependency(&sim, |builder| builder.max_open_per_netloc(1).http_pool_size(1));
    assert_eq!(follow(&sim, &one, "http://a/").as_deref(), Ok("there"));
    assert_all_back(&one);
}

#[test]
fn a_loop_ends_after_so_many_redirects_as_are_set_and_is_not_retried() {
    let sim = Sim::new(1);
    let a = signpost(&sim, "http://a:80", &[("/", 302, "/b"), ("/b", 302, "/")]);
    let one = dependency(&sim, |builder| builder);
    let too_many = |limit| HttpErrorKind::Redirect(RedirectError::TooMany(limit));
    assert_eq!(follow(&sim, &one, "http://a/"), Err(too_many(10)));
    assert_eq!(a.requests(), 11);
    let three = dependency(&sim, |builder| builder.max_redirects(3));
    assert_eq!(follow(&sim, &three, "http://a/"), Err(too_many(3)));
    assert_eq!(a.requests(), 11 + 4);
    let error = sim.run(one.call(|call| async move {
        call.http().get("http://a/").max_redirects(1).send().await.map(drop)
    }));
    let error = error.unwrap_err();
    assert_eq!((error.why(), a.requests()), (Some(Why::Class), 11 + 4 + 2));
    let status = sim.run(one.call(|call| async move {
        let response = call.http().get("http://a/").allow_redirects(false).send().await?;
        Ok::<_, HttpError>((response.status(), response.history().len()))
    }));
    assert_eq!(status.unwrap(), (302, 0));
}

#[test]
fn a_redirect_that_leads_nowhere_is_the_answer_or_an_error() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    let one = dependency(&sim, |builder| builder.retry_attempts(0));
    a.handler(|_| Answer::status(302).piece(ms(0), "no location"));
    assert_eq!(follow(&sim, &one, "http://a/").as_deref(), Ok("no location"));
    a.handler(|_| Answer::status(304).header("location", "http://b/"));
    assert_eq!(follow(&sim, &one, "http://a/").as_deref(), Ok(""));
    for place in ["ftp://a/", "file:///etc/passwd", "http://", "javascript:x"] {
        a.handler(move |_| to(302, place));
        let expected = HttpErrorKind::Redirect(RedirectError::Location);
        assert_eq!(follow(&sim, &one, "http://a/"), Err(expected), "{place}");
    }
    let only = dependency(&sim, |builder| builder);
    a.handler(|_| to(302, "http://b/"));
    let error = sim.run(only.call(|call| async move {
        // The first URL is https for the sake of the check alone: the simulation knows no TLS.
        call.http().get("https://a:80/").https_only(true).send().await.map(drop)
    }));
    let kind = error.unwrap_err().into_source().unwrap().kind().clone();
    assert_eq!(kind, HttpErrorKind::Redirect(RedirectError::Insecure));
}

/// Method, body and content type that arrive at the end of a redirect of `method` by `status`.
fn arrived(method: Method, status: u16) -> (String, Option<String>, bool) {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    a.handler(move |request| match request.url.path() {
        "/" => to(status, "/there"),
        _ => Answer::ok(""),
    });
    let one = dependency(&sim, |builder| builder);
    sim.run(one.call(|call| {
        let method = method.clone();
        async move {
            let request = call.http().request(method, "http://a/").header("content-type", "t");
            request.body("body").send().await.map(drop)
        }
    }))
    .unwrap();
    let last = a.arrivals().pop().unwrap();
    let body = last.body.as_ref().map(|body| String::from_utf8(body.to_vec()).unwrap());
    (last.method.to_string(), body, last.header("content-type").is_some())
}

#[test]
fn the_method_and_the_body_go_along_as_the_status_says() {
    let cases = [
        (Method::POST, 301, "GET"),
        (Method::POST, 302, "GET"),
        (Method::POST, 303, "GET"),
        (Method::PUT, 303, "GET"),
        (Method::POST, 307, "POST"),
        (Method::POST, 308, "POST"),
        (Method::PUT, 301, "PUT"),
        (Method::DELETE, 302, "DELETE"),
    ];
    for (method, status, then) in cases {
        let keeps = then != "GET";
        let body = keeps.then(|| "body".to_owned());
        let expected = (then.to_owned(), body, keeps);
        assert_eq!(arrived(method.clone(), status), expected, "{method:?} {status}");
    }
}

#[test]
fn a_stream_that_was_read_is_not_sent_to_the_next_place() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    a.handler(|request| match request.url.path() {
        "/" => to(307, "/there"),
        _ => Answer::ok(""),
    });
    let one = dependency(&sim, |builder| builder);
    let send = |factory: bool| {
        let error = sim.run(one.call(|call| async move {
            let pieces = || stream::iter([Ok("piece".into())]);
            let body =
                if factory { Body::factory(pieces, None) } else { Body::stream(pieces(), None) };
            call.http().post("http://a/").body(body).send().await.map(drop)
        }));
        error.map_err(|error| error.into_source().unwrap().kind().clone())
    };
    assert_eq!(send(false), Err(HttpErrorKind::Redirect(RedirectError::Body)));
    assert_eq!(a.requests(), 1);
    assert_eq!(send(true), Ok(()));
}

/// The credentials that arrive, hop by hop, of a request with all kinds of them.
fn credentials(first: &'static str, hops: &'static [&'static str]) -> Vec<Vec<String>> {
    const KINDS: [&str; 4] = ["authorization", "cookie", "x-secret", "x-api-key"];
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for name in ["http://a:80", "http://a:81", "http://b:80", "http://a:443", "http://b:443"] {
        let seen = seen.clone();
        sim.server(name).handler(move |request| {
            let found = request.headers.iter().filter(|header| KINDS.contains(&header.name()));
            let mut seen = seen.lock().unwrap();
            seen.push(found.map(|header| header.name().to_owned()).collect::<Vec<_>>());
            assert!(!request.url.has_userinfo(), "userinfo is a header by now");
            match hops.get(seen.len() - 1) {
                Some(next) => to(302, next),
                None => Answer::ok("there"),
            }
        });
    }
    let one = dependency(&sim, |builder| builder.default_sensitive_header("x-api-key", "k"));
    sim.run(one.call(|call| async move {
        let request = call.http().get(first).sensitive_header("x-secret", "s");
        request.header("cookie", "c=1").send().await.map(drop)
    }))
    .unwrap();
    Arc::try_unwrap(seen)
        .map_or_else(|seen| seen.lock().unwrap().clone(), |seen| seen.into_inner().unwrap())
}

#[test]
fn credentials_never_leave_their_origin_and_never_come_back() {
    let matrix: [(&str, &[&str], usize); 6] = [
        ("same origin", &["/x", "http://a:80/y", "http://A/z"], 4),
        ("other port", &["http://a:81/", "http://a:81/x"], 1),
        ("other host", &["http://b/"], 1),
        ("https", &["https://a/"], 1),
        ("a to b to b", &["http://b/", "http://b/x"], 1),
        ("a to b to a", &["http://b/", "http://a/"], 1),
    ];
    for (what, hops, kept) in matrix {
        let seen = credentials("http://user:pw@a/", hops);
        assert_eq!(seen.len(), hops.len() + 1, "{what}");
        for (at, found) in seen.iter().enumerate() {
            let expected = if at < kept { 4 } else { 0 };
            assert_eq!(found.len(), expected, "{what}, hop {at}: {found:?}");
        }
    }
    let down = credentials("https://user:pw@a/", &["http://a/", "https://a/"]);
    assert_eq!(down.iter().map(Vec::len).collect::<Vec<_>>(), [4, 0, 0], "https to http and back");
    let planted = credentials("http://a/", &["http://x:y@b/"]);
    assert!(!planted[1].contains(&"authorization".to_owned()), "a redirect brings no credentials");
}

#[test]
fn a_host_header_goes_no_further_than_its_origin() {
    let sim = Sim::new(1);
    signpost(&sim, "http://a:80", &[("/", 302, "http://b/")]);
    let b = sim.server("http://b:80");
    let one = dependency(&sim, |builder| builder);
    sim.run(one.call(|call| async move {
        call.http().get("http://a/").header("host", "a").send().await.map(drop)
    }))
    .unwrap();
    assert_eq!(b.arrivals()[0].header("host"), None);
}

#[test]
fn the_timeout_of_a_request_holds_for_all_its_hops() {
    let sim = Sim::new(1);
    signpost(&sim, "http://a:80", &[("/", 302, "/b"), ("/b", 302, "/c")]).latency(ms(40));
    let one = dependency(&sim, |builder| builder.retry_attempts(0));
    let error = sim.run(one.call(|call| async move {
        call.http().get("http://a/").timeout(ms(100)).send().await.map(drop)
    }));
    let kind = error.unwrap_err().into_source().unwrap().kind().clone();
    assert_eq!(kind, HttpErrorKind::Timeout(ms(100)));
    assert_eq!(sim.elapsed(), ms(100));
    assert_all_back(&one);
}

#[test]
fn an_unsafe_request_that_was_redirected_is_not_repeated() {
    let sim = Sim::new(1);
    let a = signpost(&sim, "http://a:80", &[("/", 303, "/there")]);
    a.handler(|request| match request.url.path() {
        "/" => to(303, "/there"),
        _ => Answer::status(503),
    });
    let one = dependency(&sim, |builder| builder);
    let error = sim.run(one.call(|call| async move {
        call.http().post("http://a/").body("pay").send().await?.error_for_status().map(drop)
    }));
    assert_eq!(error.unwrap_err().why(), Some(Why::NotReplaySafe));
    assert_eq!(a.requests(), 2);
}

#[test]
fn the_body_of_a_redirect_is_waited_for_a_moment_and_no_longer() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|request| match request.url.path() {
        "/" => to(302, "/there").header("content-length", "5").ending(Ending::Stalled),
        _ => Answer::ok("there"),
    });
    let one = dependency(&sim, |builder| builder);
    assert_eq!(follow(&sim, &one, "http://a/").as_deref(), Ok("there"));
    assert_eq!(sim.elapsed(), ms(50));
    assert_all_back(&one);
}
