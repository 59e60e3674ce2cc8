//! Whatever fails, no secret is in what is shown: errors, their sources, events, reports, snapshots.

use std::fmt::Write as _;

use dace::http::HttpBackend;
use dace::{Adapter, HttpError, Runtime};
use dace_wire::{Hanging, Refusing, Server, Step, send};

use crate::support::{Seen, chain, dependency, ms};

on_every_adapter! {
    no_failure_shows_a_secret
    no_error_quotes_a_body
    no_settings_error_shows_a_secret
}

/// In every value that must not be seen.
const SECRET: &str = "s3cret";

async fn ask<R: Runtime, B: HttpBackend>(
    call: dace::Call<R, B>,
    url: String,
) -> Result<String, HttpError> {
    let url = url.replace("://", "://s3cret-user:s3cret-password@");
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

async fn ask_json<R: Runtime, B: HttpBackend>(
    call: dace::Call<R, B>,
    url: String,
) -> Result<Vec<u8>, HttpError> {
    call.http().get(&url).send().await?.json().await
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
                send("HTTP/1.1 500 s3cret\r\nretry-after: s3cret\r\ncontent-length: 0\r\n\r\n"),
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

/// Proxies that open no way, each in its own manner: a URL, and what it answers.
fn useless_proxies() -> Vec<(&'static str, Server)> {
    let answers = |scheme: &'static str, then: Vec<Step>| (scheme, Server::start(vec![then; 2]));
    vec![
        answers(
            "http",
            vec![
                Step::ReadHead,
                send("HTTP/1.1 407 s3cret\r\nx: s3cret\r\ncontent-length: 6\r\n\r\ns3cret"),
            ],
        ),
        answers("http", vec![Step::ReadHead, send("s3cret\r\n\r\n")]),
        // No method is good enough; the sign-in is wrong.
        answers("socks5h", vec![Step::ReadBytes(3), Step::Send(vec![5, 0xff])]),
        answers(
            "socks5h",
            vec![
                Step::ReadBytes(3),
                Step::Send(vec![5, 2]),
                Step::ReadBytes(3),
                Step::Send(vec![1, 1]),
            ],
        ),
    ]
}

/// K9: no secret is in what is shown.
async fn no_failure_shows_a_secret<A: Adapter>() {
    let (refusing, hanging) = (Refusing::new(), Hanging::new());
    let secure = |url: String| url.replace("http://", "https://");
    let servers = failing();
    let plain =
        Server::start(vec![vec![Step::ReadBytes(1), send("s3cret, s3cret"), Step::Drain]; 2]);
    let mut cases = vec![
        ("refused", refusing.url(), None),
        ("hanging", hanging.url(), None),
        ("unknown", String::from("http://unknown.invalid/"), None),
        ("no TLS server", secure(plain.url("/")), None),
    ];
    cases.extend(servers.iter().map(|(what, server)| (*what, server.url("/"), None)));
    let with_credentials = |url: String| Some(url.replace("://", "://s3cret-proxy:s3cret-pw@"));
    let behind = secure(refusing.url());
    cases.push(("a refusing proxy", behind.clone(), with_credentials(refusing.url())));
    let proxies = useless_proxies();
    for (scheme, server) in &proxies {
        let url = server.url("").replace("http", scheme);
        cases.push(("a useless proxy", behind.clone(), with_credentials(url)));
    }
    #[cfg(feature = "rustls")]
    let unknown = {
        let tls = Step::TlsRefused(dace_wire::Authority::new().server("127.0.0.1"));
        Server::start(vec![vec![tls]; 2])
    };
    #[cfg(feature = "rustls")]
    cases.push(("a certificate of nobody", secure(unknown.url("/")), None));
    for (what, url, proxy) in cases {
        no_secret_in::<A>(what, url, proxy).await;
    }
}

/// Everything that is shown of a call that fails.
async fn no_secret_in<A: Adapter>(what: &str, url: String, proxy: Option<String>) {
    let seen = Seen::default();
    let one = dependency::<A>(|builder| {
        let builder = builder
            .default_sensitive_header("x-default", "s3cret-default")
            .observer(seen.clone())
            .body_limit(1000)
            .connect_timeout(ms(200))
            .retry_attempts(1);
        match &proxy {
            Some(proxy) => builder.proxy(proxy),
            None => builder,
        }
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

async fn no_error_quotes_a_body<A: Adapter>() {
    for body in ["[\"s3cret\"]", "s3cret", "[1, s3cret"] {
        let server =
            Server::start([vec![Step::ReadRequest, dace_wire::ok(body), Step::AwaitClose]]);
        let one = dependency::<A>(|builder| builder);
        let error = one.call(|call| ask_json(call, server.url("/"))).await.expect_err(body);
        let shown = format!("{error} {error:?} {error:#?} {}", chain(&error));
        assert!(!shown.contains(SECRET), "{shown}");
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
