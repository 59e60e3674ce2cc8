//! HTTP, and those who mean harm.

use std::sync::{Arc, Mutex};

use dace::http::{Header, HttpErrorKind, Method, Proxy, RedirectError};
use dace::sim::{Answer, Server, Sim};
use dace::{Error, HttpError};

use crate::support::{Builder, Call, Dependency, assert_all_back, dependency, get, get_root};

fn kind(error: Error<HttpError>) -> HttpErrorKind {
    error.into_source().expect("an error of the client").kind().clone()
}

fn to(status: u16, location: &str) -> Answer {
    Answer::status(status).header("location", location)
}

#[test]
fn k1_no_line_break_becomes_a_header_and_nothing_is_sent() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    for (name, value) in [
        ("x\r\ny", "z"),
        ("x", "y\r\nz: 1"),
        ("x", "y\n"),
        ("x", "y\rz"),
        ("x", "y\0z"),
        ("x y", "z"),
        ("x:", "z"),
        ("", "z"),
    ] {
        let error = sim.run(a.call(|call| async move {
            call.http().get("/").header(name, value).send().await.map(drop)
        }));
        let kind = kind(error.unwrap_err());
        assert!(matches!(kind, HttpErrorKind::Request(_)), "{name:?}: {value:?}: {kind:?}");
        assert_eq!(Header::new(name, value), None, "{name:?}: {value:?}");
    }
    assert_eq!(server.requests(), 0);
    assert_all_back(&a);
}

#[test]
fn k2_the_framing_is_daces_and_an_answer_that_contradicts_itself_is_malformed() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    for (name, value) in [
        ("content-length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("TE", "x"),
        ("connection", "close"),
    ] {
        let by_builder = sim.run(a.call(|call| async move {
            call.http().post("/").header(name, value).send().await.map(drop)
        }));
        let by_agent = sim.run(a.call(|call| async move {
            let mut request = call.agent().request(Method::POST, "/")?;
            request.headers.extend(Header::new(name, value));
            call.agent().send(request).await.map(drop)
        }));
        for error in [by_builder, by_agent] {
            let kind = kind(error.unwrap_err());
            assert!(matches!(kind, HttpErrorKind::Request(_)), "{name}: {kind:?}");
        }
    }
    assert_eq!(server.requests(), 0);
    server.handler(|_| {
        Answer::ok("ok").header("content-length", "2").header("transfer-encoding", "chunked")
    });
    let error = kind(sim.run(get_root(&a)).unwrap_err());
    assert_eq!(error, HttpErrorKind::Fault(dace::http::FaultKind::Malformed));
}

/// The secrets that each request of a chain of redirects carries: `Authorization`, `Cookie`, one that the
/// caller marked, and one that the dependency has of its own.
fn secrets(status: u16, chain: &'static [&'static str]) -> Vec<usize> {
    const KINDS: [&str; 4] = ["authorization", "cookie", "x-mine", "x-api-key"];
    let sim = Sim::new(1);
    let seen = Arc::new(Mutex::new(Vec::new()));
    for name in ["http://a:80", "http://a:81", "http://b:80", "http://a:443", "http://b:443"] {
        let seen = seen.clone();
        sim.server(name).handler(move |request| {
            let secret = |header: &&Header| KINDS.contains(&header.name());
            let mut seen = seen.lock().unwrap();
            seen.push(request.headers.iter().filter(secret).count());
            chain.get(seen.len()).map_or_else(|| Answer::ok("there"), |next| to(status, next))
        });
    }
    let any = dependency(&sim, |builder| builder.default_sensitive_header("x-api-key", "k"));
    sim.run(any.call(|call| async move {
        let request = call.http().get(chain[0]).sensitive_header("x-mine", "s");
        request.header("authorization", "Bearer x").header("cookie", "c=1").send().await.map(drop)
    }))
    .unwrap();
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), chain.len(), "{chain:?}");
    seen
}

#[test]
fn k3_credentials_do_not_leave_their_origin() {
    for status in [301, 302, 303, 307, 308] {
        assert_eq!(secrets(status, &["http://a/", "http://A:80/x", "/y"]), [4, 4, 4]);
        for elsewhere in ["http://a:81/", "http://b/", "https://a/", "//b/"] {
            let chain: &'static [_] = Vec::leak(vec!["http://a/", elsewhere]);
            assert_eq!(secrets(status, chain), [4, 0], "{status} to {elsewhere}");
        }
        assert_eq!(secrets(status, &["https://a/", "http://a/"]), [4, 0], "down to http");
    }
}

#[test]
fn k4_credentials_do_not_come_back_later_in_the_chain() {
    assert_eq!(secrets(302, &["http://a/", "http://b/", "http://b/x"]), [4, 0, 0]);
    assert_eq!(secrets(302, &["http://a/", "http://b/", "http://a/"]), [4, 0, 0]);
    assert_eq!(secrets(302, &["https://a/", "http://a/", "https://a/"]), [4, 0, 0]);
}

#[test]
fn k5_nobody_adds_them_again_at_the_next_origin() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| to(307, "http://x:y@b/"));
    let b = sim.server("http://b:80");
    let any = dependency(&sim, |builder| {
        let builder = builder.default_sensitive_header("x-auth-token", "t");
        builder.default_sensitive_header("authorization", "Bearer d")
    });
    let send = any.call(|call| async move { call.http().get("http://a/").send().await.map(drop) });
    sim.run(send).unwrap();
    let arrival = &b.arrivals()[0];
    assert_eq!((arrival.header("x-auth-token"), arrival.header("authorization")), (None, None));
}

#[test]
fn k6_every_hop_is_checked_for_its_scheme_and_for_https_only() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    let any = dependency(&sim, |builder| builder.retry_attempts(0));
    for place in ["file:///etc/passwd", "gopher://b/", "ftp://b/", "javascript:x", "http://"] {
        a.handler(move |_| to(302, place));
        let error = kind(sim.run(any.call(|call| get(call, "http://a/"))).unwrap_err());
        assert_eq!(error, HttpErrorKind::Redirect(RedirectError::Location), "{place}");
    }
    sim.server("https://a:443").handler(|_| to(302, "http://b/"));
    let only = dependency(&sim, |builder| builder.retry_attempts(0).https_only(true));
    let error = kind(sim.run(only.call(|call| get(call, "https://a/"))).unwrap_err());
    assert_eq!(error, HttpErrorKind::Redirect(RedirectError::Insecure));
    sim.run(only.call(|call| get(call, "http://b/"))).unwrap_err();
    assert_eq!(b.requests(), 0);
}

/// A server that redirects with `status` for ever.
fn looping(sim: &Sim, status: u16) -> Server {
    let server = sim.server("http://a:80");
    server.handler(move |_| to(status, "/"));
    server
}

#[test]
fn k7_so_many_redirects_and_no_more_with_the_right_method_and_body() {
    for limit in [0, 1, 3, 10] {
        let sim = Sim::new(1);
        let server = looping(&sim, 302);
        let any = dependency(&sim, |builder| builder);
        let send = any.call(|call| async move {
            call.http().get("http://a/").max_redirects(limit).send().await.map(drop)
        });
        let error = kind(sim.run(send).unwrap_err());
        assert_eq!(error, HttpErrorKind::Redirect(RedirectError::TooMany(limit)));
        assert_eq!(server.requests(), limit as usize + 1);
    }
    for (status, method, has_body) in [
        (301, Method::GET, false),
        (302, Method::GET, false),
        (303, Method::GET, false),
        (307, Method::POST, true),
        (308, Method::POST, true),
    ] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.handler(move |request| match request.url.path() {
            "/" => to(status, "/there"),
            _ => Answer::ok(""),
        });
        let any = dependency(&sim, |builder| builder);
        sim.run(any.call(|call: Call| async move {
            let post = call.http().post("http://a/").header("content-type", "t").body("body");
            post.send().await.map(drop)
        }))
        .unwrap();
        let last = server.arrivals().pop().unwrap();
        assert_eq!(last.method, method, "{status}");
        assert_eq!(last.header("content-type").is_some(), has_body, "{status}");
        assert_eq!(last.body.is_some_and(|body| body == "body"), has_body, "{status}");
    }
}

#[test]
fn k8_proxies_are_asked_for_and_neither_a_header_nor_half_a_label_names_one() {
    let by_proxy = |variables: &[(&str, &str)], url: &'static str, asked_for: bool| {
        let sim = Sim::new(1);
        for (name, value) in variables {
            sim.variable(name, value);
        }
        let server = sim.server(url.trim_end_matches('/'));
        let any: Dependency = dependency(&sim, |builder: Builder| builder.use_proxy(asked_for));
        sim.run(any.call(|call| get(call, url))).unwrap();
        server.arrivals()[0].proxy.as_deref().map(Proxy::to_string)
    };
    let proxy = ("HTTP_PROXY", "proxy:1");
    assert_eq!(by_proxy(&[proxy], "http://example.com/", false), None, "not unless asked for");
    assert!(by_proxy(&[proxy], "http://example.com/", true).is_some());
    // In a CGI program that variable is a header of the client's.
    assert_eq!(by_proxy(&[proxy, ("REQUEST_METHOD", "GET")], "http://example.com/", true), None);
    for (exception, url, direct) in [
        ("ample.com", "http://example.com/", false),
        (".ample.com", "http://example.com/", false),
        ("example.com", "http://www.example.com/", true),
        ("example.com", "http://example.com.evil/", false),
        ("0.0.1", "http://127.0.0.1/", false),
        ("::1", "http://[::1]/", true),
        ("10.0.0.0/8", "http://11.0.0.1/", false),
    ] {
        let found = by_proxy(&[proxy, ("NO_PROXY", exception)], url, true);
        assert_eq!(found.is_none(), direct, "{exception} {url}");
    }
}

#[test]
fn k9_no_planted_secret_is_in_what_is_shown() {
    let sim = Sim::new(1);
    sim.server("http://a:80").resets(..);
    let seen = crate::support::Seen::default();
    let a = dependency(&sim, |builder| {
        let builder = builder.default_sensitive_header("x-api-key", "s3cret").retry_attempts(1);
        builder.observer(seen.clone()).proxy("http://user:s3cret@proxy:1")
    });
    let mut shown = format!("{a:?}");
    for url in [
        "http://user:s3cret@a/path?token=s3cret#s3cret",
        "http://user:s3cret@nowhere/?s3cret",
        "http://s3cret@a\\b/",
        "ftp://user:s3cret@a/",
        "http://a/s3cret",
    ] {
        let call = a.call(|call| async move {
            let request = call.http().get(url).header("authorization", "s3cret");
            let debug = format!("{request:?}");
            // The path is the caller's to show.
            assert!(url == "http://a/s3cret" || !debug.contains("s3cret"), "{debug}");
            request.header("cookie", "s3cret").body("s3cret").send().await.map(drop)
        });
        let report = sim.run(call.report());
        shown += &format!("{report} {report:?}");
        let error = report.result.unwrap_err();
        let mut link: Option<&dyn std::error::Error> = Some(&error);
        while let Some(error) = link {
            shown += &format!("{error} {error:?}");
            link = error.source();
        }
    }
    a.flush();
    shown += &format!("{} {} {:?}", seen.log(), a.snapshot(), seen.events());
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn k10_no_id_breaks_a_log_line_or_a_metric() {
    let long = "x".repeat(300);
    for id in ["a\nb", "a|b", "a:b", "a#b", "a\u{1b}[31mb", "a b", "ü", "a\"b\\", "a\0b", &long] {
        let sim = Sim::new(1);
        let built = Dependency::builder(id).build_with(sim.runtime(), sim.backend()).unwrap();
        let plain = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        assert!(
            built.id().chars().all(plain) && (1..=64).contains(&built.id().len()),
            "{}",
            built.id()
        );
    }
}

#[cfg(feature = "gzip")]
#[test]
fn k11_limits_count_decoded_bytes_and_a_bomb_comes_out_in_bounded_pieces() {
    let data = vec![0; 10_000_000];
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bomb.extend(miniz_oxide::deflate::compress_to_vec(&data, 6));
    bomb.extend(crc32fast::hash(&data).to_le_bytes());
    bomb.extend((data.len() as u32).to_le_bytes());
    assert!(bomb.len() < 20_000);
    let sim = Sim::new(1);
    sim.server("http://a:80")
        .handler(move |_| Answer::ok(bomb.clone()).header("content-encoding", "gzip"));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).body_limit(1_000_000).retry_attempts(0)
    });
    let error = kind(sim.run(get_root(&a)).unwrap_err());
    assert_eq!(error, HttpErrorKind::TooLarge(1_000_000));
    let largest = sim.run(a.call(|call| async move {
        let mut response = call.http().get("/").send().await?;
        let mut largest = 0;
        while let Some(piece) = response.chunk().await? {
            largest = largest.max(piece.len());
        }
        Ok::<_, HttpError>(largest)
    }));
    assert!(largest.unwrap() <= 64 * 1024);
    // What is discarded is not decoded: only its head is looked at.
    let status = sim.run(a.call(|call| async move {
        Ok::<_, HttpError>(call.http().get("/").send().await?.status())
    }));
    assert_eq!(status.unwrap(), 200);
    assert_all_back(&a);
}
