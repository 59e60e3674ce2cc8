//! What a request is made of: query, headers, credentials, bodies, and the settings of every request.

use std::sync::{Arc, Mutex};

use dace::HttpError;
use dace::http::{Body, BodyStream, HttpErrorKind};
use dace_sim::{Arrival, Server, Sim};
use futures_util::stream;

use crate::support::{Builder, Call, dependency};

/// What arrives of one request.
fn arrival<F, Fut>(set: impl FnOnce(Builder) -> Builder, send: F) -> Arrival
where
    F: FnMut(Call) -> Fut,
    Fut: Future<Output = Result<(), HttpError>>,
{
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| set(builder.targets(["http://a:80"])));
    sim.run(a.call(send)).expect("an answer");
    let mut arrivals = server.arrivals();
    assert_eq!(arrivals.len(), 1);
    arrivals.remove(0)
}

/// Why a request cannot be sent; nothing of it arrives.
fn refused<F, Fut>(set: impl FnOnce(Builder) -> Builder, send: F) -> HttpErrorKind
where
    F: FnMut(Call) -> Fut,
    Fut: Future<Output = Result<(), HttpError>>,
{
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| set(builder.targets(["http://a:80"])));
    let error = sim.run(a.call(send)).expect_err("an error").into_source().expect("a source");
    assert_eq!(server.requests(), 0);
    assert_eq!(a.snapshot().endpoints[1].failures, 0, "it is not the server's fault");
    error.kind().clone()
}

fn as_is(builder: Builder) -> Builder {
    builder
}

fn text<'a>(arrival: &'a Arrival, name: &str) -> Option<&'a str> {
    arrival.header(name).map(|value| std::str::from_utf8(value).unwrap())
}

#[test]
fn query_pairs_are_appended_in_order_and_what_the_url_has_stays() {
    let arrival = arrival(as_is, |call| async move {
        let pairs = [("q", "fault tolerance"), ("tag", "rust"), ("tag", "a&b=c/ü")];
        call.http().get("/search?page=%7e2").query(&pairs).send().await.map(drop)
    });
    assert_eq!(arrival.path, "/search?page=%7e2&q=fault+tolerance&tag=rust&tag=a%26b%3Dc%2F%C3%BC");
}

#[test]
fn credentials_become_one_authorization_and_two_are_an_error() {
    let basic = arrival(as_is, |call| async move {
        call.http().get("/").basic_auth("user", Some("s3cret")).send().await.map(drop)
    });
    assert_eq!(text(&basic, "authorization"), Some("Basic dXNlcjpzM2NyZXQ="));
    assert!(basic.headers.iter().all(|h| h.is_sensitive() == (h.name() == "authorization")));
    let bearer = arrival(as_is, |call| async move {
        call.http().get("/").bearer_auth("t0ken").send().await.map(drop)
    });
    assert_eq!(text(&bearer, "authorization"), Some("Bearer t0ken"));
    let userinfo = arrival(as_is, |call| async move {
        call.http().get("http://us%65r:s3cret@a/").send().await.map(drop)
    });
    assert_eq!(text(&userinfo, "authorization"), Some("Basic dXNlcjpzM2NyZXQ="));
    let own = arrival(as_is, |call| async move {
        call.http().get("http://x:y@a/").bearer_auth("own").send().await.map(drop)
    });
    assert_eq!(text(&own, "authorization"), Some("Bearer own"), "the request's own goes first");
    let twice = refused(as_is, |call| async move {
        let request = call.http().get("/").basic_auth("user", None);
        request.header("Authorization", "Bearer x").send().await.map(drop)
    });
    assert_eq!(twice, HttpErrorKind::Request("authorization is given twice"));
    let colon = refused(as_is, |call| async move {
        call.http().get("/").basic_auth("a:b", None).send().await.map(drop)
    });
    assert!(matches!(colon, HttpErrorKind::Request(what) if what.contains("colon")));
    let proxy = refused(as_is, |call| async move {
        call.http().get("/").header("Proxy-Authorization", "x").send().await.map(drop)
    });
    assert!(matches!(proxy, HttpErrorKind::Request(what) if what.contains("proxy")));
}

#[test]
fn a_form_and_json_say_what_they_are() {
    let form = arrival(as_is, |call| async move {
        call.http().post("/").form(&[("a", "1 2"), ("b", "&")]).send().await.map(drop)
    });
    assert_eq!(text(&form, "content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(form.body.as_deref(), Some(&b"a=1+2&b=%26"[..]));
    let own = arrival(as_is, |call| async move {
        let request = call.http().post("/").header("content-type", "mine").form(&[("a", "1")]);
        request.send().await.map(drop)
    });
    let types = own.headers.iter().filter(|header| header.name() == "content-type");
    assert_eq!((types.count(), text(&own, "content-type")), (1, Some("mine")));
}

#[cfg(feature = "json")]
#[test]
fn json_goes_both_ways_and_what_is_none_is_a_typed_error() {
    use dace_sim::Answer;
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|request| Answer::ok(request.body.as_bytes().cloned().unwrap_or_default()));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    let back = sim.run(a.call(|call| async move {
        let request = call.http().post("/").json(&vec![1, 2, 3]);
        request.send().await?.json::<Vec<u8>>().await
    }));
    assert_eq!(back.unwrap(), [1, 2, 3]);
    let arrival = &server.arrivals()[0];
    assert_eq!(text(arrival, "content-type"), Some("application/json"));
    assert_eq!(arrival.body.as_deref(), Some(&b"[1,2,3]"[..]));
    let error = sim.run(a.call(|call| async move {
        call.http().post("/").body("[1, 2").send().await?.json::<Vec<u8>>().await
    }));
    let error = error.unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::NotJson);
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "the JSON ends before its end, at line 1 column 5");
    let error = sim.run(a.call(|call| async move {
        call.http().post("/").body("[\"s3cret\"]").send().await?.json::<Vec<u8>>().await
    }));
    let error = error.unwrap_err().into_source().unwrap();
    let source = std::error::Error::source(&error).unwrap();
    let shown = format!("{source} {source:?} {error} {error:?}");
    assert!(shown.contains("another type") && !shown.contains("s3cret"), "{shown}");
    let unwritable = sim.run(a.call(|call| async move {
        let map = std::collections::BTreeMap::from([(vec![1], 1)]);
        call.http().post("/").json(&map).send().await.map(drop)
    }));
    let error = unwritable.unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Request("the value cannot be written as JSON"));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("key"));
}

fn pieces() -> BodyStream {
    Box::pin(stream::iter([Ok("one".into()), Ok("two".into())]))
}

/// D3: a body that can be read once is sent once, and never half.
#[test]
fn a_stream_is_sent_once_and_a_factory_again() {
    let attempts = |send: fn(Call) -> futures_util::future::BoxFuture<'static, _>| {
        let sim = Sim::new(1);
        let server: Server = sim.server("http://a:80");
        server.answers(.., 503);
        let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
        sim.run(a.call(send)).unwrap_err();
        server.requests()
    };
    let once = attempts(|call| {
        Box::pin(async move {
            let response = call.http().put("/").stream(pieces()).send().await?;
            response.error_for_status().map(drop)
        })
    });
    let again = attempts(|call| {
        Box::pin(async move {
            let response = call.http().put("/").body(Body::factory(pieces, Some(6))).send().await?;
            response.error_for_status().map(drop)
        })
    });
    assert_eq!((once, again), (1, 4));
}

#[test]
fn a_request_says_who_calls_and_has_the_dependencys_headers_unless_it_has_its_own() {
    let plain = arrival(as_is, |call| async move { call.http().get("/").send().await.map(drop) });
    assert_eq!(text(&plain, "user-agent"), Some(concat!("dace/", env!("CARGO_PKG_VERSION"))));
    let set = |builder: Builder| {
        let builder = builder.user_agent("billing/7").default_header("x-tenant", "one");
        builder.default_sensitive_header("x-key", "s3cret")
    };
    let given = arrival(set, |call| async move { call.http().get("/").send().await.map(drop) });
    assert_eq!(text(&given, "user-agent"), Some("billing/7"));
    assert_eq!(text(&given, "x-tenant"), Some("one"));
    assert!(given.headers.iter().any(|h| h.name() == "x-key" && h.is_sensitive()));
    let own = arrival(set, |call| async move {
        call.http().get("/").header("X-Tenant", "two").send().await.map(drop)
    });
    let tenants: Vec<_> = own.headers.iter().filter(|h| h.name() == "x-tenant").collect();
    assert_eq!((tenants.len(), &tenants[0].value()[..]), (1, &b"two"[..]));
}

#[test]
fn https_only_refuses_plain_http_whoever_asks() {
    let dependency_asks = refused(
        |builder| builder.https_only(true),
        |call| async move { call.http().get("/").https_only(false).send().await.map(drop) },
    );
    let request_asks = refused(as_is, |call| async move {
        call.http().get("/").https_only(true).send().await.map(drop)
    });
    let agent = refused(
        |builder| builder.https_only(true),
        |call| async move {
            let request = call.agent().request(dace::http::Method::GET, "/")?;
            call.agent().send(request).await.map(drop)
        },
    );
    for kind in [dependency_asks, request_asks, agent] {
        assert!(matches!(kind, HttpErrorKind::Request(what) if what.contains("https_only")));
    }
}

#[test]
fn a_proxy_goes_along_with_every_request_and_the_environment_is_asked_only_if_told() {
    let sim = Sim::new(1);
    sim.variable("http_proxy", "http://user:pw@env:3128").variable("NO_PROXY", "b.internal");
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b.internal:80"));
    let through = |set: fn(Builder) -> Builder, url: &'static str| {
        let one = dependency(&sim, set);
        sim.run(one.call(|call| async move { call.http().get(url).send().await.map(drop) }))
            .unwrap();
        let arrivals = if url.contains("internal") { b.arrivals() } else { a.arrivals() };
        arrivals.last().unwrap().proxy.as_ref().map(ToString::to_string)
    };
    assert_eq!(through(as_is, "http://a/"), None);
    let environment = |builder: Builder| builder.use_proxy(true);
    assert_eq!(through(environment, "http://a/").as_deref(), Some("http://env:3128"));
    assert_eq!(through(environment, "http://b.internal/"), None);
    let named = |builder: Builder| builder.proxy("socks5h://named");
    for url in ["http://a/", "http://b.internal/"] {
        assert_eq!(through(named, url).as_deref(), Some("socks5h://named:1080"));
    }
}

#[test]
fn a_bad_proxy_or_default_header_is_told_when_the_dependency_is_built() {
    let sim = Sim::new(1);
    sim.variable("https_proxy", "gopher://s3cret@x");
    let error = |set: fn(Builder) -> Builder| {
        let builder = set(Builder::from(dace::Dependency::builder("test")));
        builder.build_with(sim.runtime(), sim.backend()).unwrap_err()
    };
    type Set = fn(Builder) -> Builder;
    let cases: [(&str, Set, &str); 8] = [
        ("use_proxy", |builder| builder.use_proxy(true), "`https_proxy`"),
        ("proxy", |builder| builder.proxy("ftp://s3cret@x"), "socks5"),
        ("proxy", |builder| builder.proxy("http://x").use_proxy(true), "in one place"),
        ("max_redirects", |builder| builder.max_redirects(0), "allow_redirects"),
        ("default_header", |builder| builder.default_header("a b", "s3cret"), "token"),
        ("default_header", |builder| builder.default_header("Host", "s3cret"), "URL"),
        ("default_header", |builder| builder.default_header("te", "s3cret"), "frames"),
        ("user_agent", |builder| builder.user_agent("s3cret\r\n"), "control"),
    ];
    for (setting, set, says) in cases {
        let error = error(set);
        let shown = format!("{error} {error:?}");
        assert!(shown.contains(setting) && shown.contains(says), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn several_headers_arrive_in_order() {
    let arrival = arrival(as_is, |call| async move {
        let request = call.http().get("/").headers([("x-a", "1"), ("X-B", "2"), ("x-a", "3")]);
        request.send().await.map(drop)
    });
    let own = arrival.headers.iter().filter(|header| header.name().starts_with("x-"));
    let own: Vec<_> = own.map(|header| (header.name(), &header.value()[..])).collect();
    assert_eq!(own, [("x-a", &b"1"[..]), ("x-b", b"2"), ("x-a", b"3")]);
}

#[test]
fn a_request_that_is_not_persistent_says_so_to_the_backend() {
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    sim.server("http://a:80").handler(move |request| {
        log.lock().unwrap().push(request.options.persistent);
        dace_sim::Answer::ok("")
    });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    sim.run(a.call(|call| async move {
        call.http().get("/").send().await?;
        call.http().get("/").persistent(false).send().await.map(drop)
    }))
    .unwrap();
    assert_eq!(*seen.lock().unwrap(), [true, false]);
}
