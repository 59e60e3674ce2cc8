//! Whatever fails, no secret is in what is shown: errors, their sources, events, reports, snapshots.

use std::fmt::Write as _;

use dace::http::HttpBackend;
use dace::{Adapter, HttpError, Runtime};
use dace_wire::{Hanging, Refusing, Server, Step, send};

use crate::support::{Seen, chain, dependency, ms};

on_both_adapters! {
    no_failure_shows_a_secret
    no_settings_error_shows_a_secret
}

/// In every value that must not be seen.
const SECRET: &str = "s3cret";

async fn ask<R: Runtime, B: HttpBackend>(
    call: dace::Call<R, B>,
    url: String,
) -> Result<String, HttpError> {
    let url = url.replace("http://", "http://s3cret-user:s3cret-password@");
    let request = call
        .http()
        .post(&url)
        .query(&[("token", "s3cret-query")])
        .sensitive_header("x-key", "s3cret-key")
        .header("x-plain", "s3cret-plain")
        .header("cookie", "id=s3cret-cookie")
        .idempotent(true)
        .body("s3cret-body")
        .timeout(ms(300));
    request.send().await?.error_for_status()?.text().await
}

/// Servers that fail, each in its own way.
fn failing() -> Vec<(&'static str, Server)> {
    let answers = |what: &'static str, then: Vec<Step>| {
        let script = [vec![Step::ReadRequest], then].concat();
        // One for each attempt.
        (what, Server::start(vec![script; 4]))
    };
    let head = "HTTP/1.1 200 OK\r\nset-cookie: s3cret-answer\r\n";
    vec![
        answers("closed", vec![]),
        answers("reset", vec![Step::Reset]),
        answers("half a head", vec![send("HTTP/1.1 200 OK\r\nx-s3cret")]),
        answers("garbage", vec![send("s3cret s3cret s3cret\r\n\r\n"), Step::Drain]),
        answers(
            "a bad header",
            vec![send("HTTP/1.1 200 OK\r\ns3cret: a\0s3cret\r\n\r\n"), Step::Drain],
        ),
        answers("truncated", vec![send(format!("{head}content-length: 99\r\n\r\ns3cret"))]),
        answers(
            "bad chunks",
            vec![send(format!("{head}transfer-encoding: chunked\r\n\r\ns3cret\r\n")), Step::Drain],
        ),
        answers(
            "bad gzip",
            vec![
                send(format!("{head}content-encoding: gzip\r\ncontent-length: 6\r\n\r\ns3cret")),
                Step::Drain,
            ],
        ),
        answers(
            "too large",
            vec![
                send(format!("{head}content-length: 2000\r\n\r\n{}", "s3cret".repeat(400))),
                Step::Drain,
            ],
        ),
        answers(
            "no text",
            vec![
                Step::Send(
                    [format!("{head}content-length: 7\r\n\r\ns3cret").as_bytes(), b"\xff"].concat(),
                ),
                Step::Drain,
            ],
        ),
        answers(
            "a status",
            vec![
                send(format!(
                    "HTTP/1.1 500 s3cret\r\nretry-after: s3cret\r\ncontent-length: 0\r\n\r\n"
                )),
                Step::Drain,
            ],
        ),
        answers(
            "no location",
            vec![
                send(
                    "HTTP/1.1 302 s3cret\r\nlocation: ftp://s3cret@x\r\ncontent-length: 0\r\n\r\n",
                ),
                Step::Drain,
            ],
        ),
        answers("silence", vec![Step::Drain]),
    ]
}

async fn no_failure_shows_a_secret<A: Adapter>() {
    let (refusing, hanging) = (Refusing::new(), Hanging::new());
    let mut urls = vec![
        ("refused", refusing.url()),
        ("hanging", hanging.url()),
        ("unknown", String::from("http://unknown.invalid/")),
        ("https", String::from("http://127.0.0.1/").replace("http", "https")),
    ];
    let servers = failing();
    urls.extend(servers.iter().map(|(what, server)| (*what, server.url("/"))));
    for proxied in [false, true] {
        for (what, url) in &urls {
            if proxied && *what != "closed" {
                continue;
            }
            let seen = Seen::default();
            let one = dependency::<A>(|builder| {
                let builder = builder
                    .default_sensitive_header("x-default", "s3cret-default")
                    .observer(seen.clone())
                    .body_limit(1000)
                    .connect_timeout(ms(200))
                    .retry_attempts(1);
                // A proxy that refuses.
                let proxy = refusing.url().replace("http://", "http://s3cret-proxy:s3cret-pw@");
                if proxied { builder.proxy(&proxy) } else { builder }
            });
            let report = one.call(|call| ask(call, url.clone())).report().await;
            let mut shown = String::new();
            write!(shown, "{report:?} {report} {:?} {}", one.snapshot(), one.snapshot()).unwrap();
            let error = report.result.expect_err(what);
            write!(shown, " {error} {error:?} {error:#?} {}", chain(&error)).unwrap();
            for event in seen.events() {
                write!(shown, " {event} {event:?}").unwrap();
            }
            assert!(!shown.contains(SECRET), "{what}: {shown}");
        }
    }
}

async fn no_settings_error_shows_a_secret<A: Adapter>() {
    let dependency = || crate::support::Dependency::<A>::builder("test");
    for builder in [
        dependency().proxy("ftp://s3cret:s3cret@x"),
        dependency().default_header("authorization", "s3cret\n"),
        dependency().default_sensitive_header("a b", "s3cret"),
        dependency().user_agent("s3cret\0"),
        dependency().targets(["http://s3cret:s3cret@x/?s3cret"]),
    ] {
        let shown = format!("{builder:?}");
        let error = builder.build().expect_err("it cannot be used");
        let shown = format!("{shown} {error} {error:?} {}", chain(&error));
        assert!(!shown.contains(SECRET), "{shown}");
    }
}
