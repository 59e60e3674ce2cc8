//! The clients, each set up as its users would.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo};
use isahc::AsyncReadResponseExt as _;

use crate::{Client, On, Request, stacked};

pub(crate) fn all(
    tokio: &tokio::runtime::Runtime,
    server: SocketAddr,
    concurrency: usize,
) -> Vec<Client> {
    let url = format!("http://{server}/");
    let _entered = tokio.enter();
    let several = |request: Request| vec![request; concurrency];
    let on_tokio = |name, request| Client { name, on: On::Tokio, callers: several(request) };
    let on_smol = |name, request| Client { name, on: On::Smol, callers: several(request) };
    vec![
        Client {
            name: "raw hyper",
            on: On::Tokio,
            callers: (0..concurrency).map(|_| raw(tokio, server)).collect(),
        },
        on_tokio("hyper-util's client", pooled(&url)),
        on_tokio("tower + failsafe over hyper-util", stacked::failsafe(&url, concurrency)),
        on_tokio("tower-resilience over hyper-util", stacked::resilience(&url, concurrency)),
        on_tokio("reqwest", reqwest(&url)),
        on_tokio("reqwest with reqwest-retry", retrying(&url)),
        on_tokio("dace on tokio", dace_on_tokio(&url, concurrency)),
        on_smol("isahc", isahc(&url, concurrency)),
        on_smol("dace on smol", dace_on_smol(&url, concurrency)),
        on_smol("dace on smol and hyper", dace_on_smol_and_hyper(&url, concurrency)),
    ]
}

/// A connection for each caller, and no pool.
fn raw(tokio: &tokio::runtime::Runtime, server: SocketAddr) -> Request {
    let sender: SendRequest<Empty<Bytes>> = tokio.block_on(async {
        let stream = tokio::net::TcpStream::connect(server).await.expect("it listens");
        stream.set_nodelay(true).expect("a socket");
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1");
        tokio::spawn(connection);
        sender
    });
    let sender = Rc::new(tokio::sync::Mutex::new(sender));
    let host = server.to_string();
    Rc::new(move || {
        let (sender, host) = (sender.clone(), host.clone());
        Box::pin(async move {
            let request = hyper::Request::get("/").header("host", host).body(Empty::new());
            let mut sender = sender.lock().await;
            sender.ready().await.expect("it is open");
            let answer = sender.send_request(request.expect("a request")).await.expect("an answer");
            answer.into_body().collect().await.expect("a body").to_bytes().len()
        })
    })
}

fn pooled(url: &str) -> Request {
    let client = legacy::Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let uri: hyper::Uri = url.parse().expect("a URL");
    Rc::new(move || {
        let (client, uri) = (client.clone(), uri.clone());
        Box::pin(async move {
            let answer = client.get(uri).await.expect("an answer");
            answer.into_body().collect().await.expect("a body").to_bytes().len()
        })
    })
}

fn reqwest(url: &str) -> Request {
    let builder = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy();
    let (client, url) = (builder.build().expect("a client"), url.to_owned());
    Rc::new(move || {
        let (client, url) = (client.clone(), url.clone());
        Box::pin(async move {
            let answer = client.get(url).send().await.expect("an answer");
            answer.bytes().await.expect("a body").len()
        })
    })
}

fn retrying(url: &str) -> Request {
    use reqwest_middleware::ClientBuilder;
    use reqwest_retry::RetryTransientMiddleware;
    use reqwest_retry::policies::ExponentialBackoff;

    let builder = reqwest::Client::builder().timeout(Duration::from_secs(5)).no_proxy();
    let policy = ExponentialBackoff::builder().build_with_max_retries(3);
    let client = ClientBuilder::new(builder.build().expect("a client"))
        .with(RetryTransientMiddleware::new_with_policy(policy))
        .build();
    let url = url.to_owned();
    Rc::new(move || {
        let (client, url) = (client.clone(), url.clone());
        Box::pin(async move {
            let answer = client.get(url).send().await.expect("an answer");
            answer.bytes().await.expect("a body").len()
        })
    })
}

fn isahc(url: &str, concurrency: usize) -> Request {
    // Without it libcurl keeps few connections, and 64 callers run out of ports.
    let builder = isahc::HttpClient::builder().connection_cache_size(4 * concurrency);
    let (client, url) = (builder.build().expect("a client"), url.to_owned());
    Rc::new(move || {
        let (client, url) = (client.clone(), url.clone());
        Box::pin(async move {
            let mut answer = client.get_async(url).await.expect("an answer");
            answer.bytes().await.expect("a body").len()
        })
    })
}

fn dace_on_tokio(url: &str, concurrency: usize) -> Request {
    let dependency = dace::tokio::Dependency::builder("server")
        .targets([url])
        .max_open_per_netloc(concurrency as u32)
        .http_pool_size(concurrency as u32)
        .build()
        .expect("the settings are right");
    Rc::new(move || {
        let dependency = dependency.clone();
        Box::pin(async move {
            let called = dependency.call(|call: dace::tokio::Call| async move {
                let answer = call.http().get("/").send().await?;
                Ok::<_, dace::HttpError>(answer.bytes().await?.len())
            });
            called.await.expect("an answer")
        })
    })
}

fn dace_on_smol(url: &str, concurrency: usize) -> Request {
    let dependency = dace::smol::Dependency::builder("server")
        .targets([url])
        .max_open_per_netloc(concurrency as u32)
        .http_pool_size(concurrency as u32)
        .build()
        .expect("the settings are right");
    Rc::new(move || {
        let dependency = dependency.clone();
        Box::pin(async move {
            let called = dependency.call(|call: dace::smol::Call| async move {
                let answer = call.http().get("/").send().await?;
                Ok::<_, dace::HttpError>(answer.bytes().await?.len())
            });
            called.await.expect("an answer")
        })
    })
}

fn dace_on_smol_and_hyper(url: &str, concurrency: usize) -> Request {
    let dependency = dace::smol::hyper::Dependency::builder("server")
        .targets([url])
        .max_open_per_netloc(concurrency as u32)
        .http_pool_size(concurrency as u32)
        .build()
        .expect("the settings are right");
    Rc::new(move || {
        let dependency = dependency.clone();
        Box::pin(async move {
            let called = dependency.call(|call: dace::smol::hyper::Call| async move {
                let answer = call.http().get("/").send().await?;
                Ok::<_, dace::HttpError>(answer.bytes().await?.len())
            });
            called.await.expect("an answer")
        })
    })
}
