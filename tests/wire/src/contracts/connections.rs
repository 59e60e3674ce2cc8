//! Which connection an exchange is on, and what becomes of it.

use std::time::Duration;

use dace_core::http::{Body, Connect, Head};

use super::{default, one_connection};
use crate::client::backend;
use crate::{Expected, Gate, Server, Step, get, keep_alive, ok, post, race, run, send};

pub(crate) async fn two_requests_share_a_connection<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["one", "two", "three"])]);
    let backend: B = backend(default);
    for (text, body) in [("one", Body::from("x")), ("two", Body::from("y"))] {
        let request = post(&server.url("/"), body);
        assert_eq!(run(&backend, request).await.unwrap().text(), text);
    }
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "three");
    assert_eq!(server.connections(), 1);
}

/// G11: a status does not cost the connection.
pub(crate) async fn a_status_does_not_cost_the_connection<B: Connect>(_: &Expected) {
    let sick = send("HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start([vec![
        Step::ReadRequest,
        sick,
        Step::ReadRequest,
        ok("well"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(default);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.head.status(), 503);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "well");
    assert_eq!(server.connections(), 1);
}

/// G4: a request that says close is the last one of its connection.
pub(crate) async fn not_persistent_means_closed<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let mut once = keep_alive(&["one"]);
    once.push(Step::Open(closed.clone()));
    let server = Server::start([once, keep_alive(&["two"])]);
    let backend: B = backend(default);
    let mut request = get(&server.url("/"));
    request.options.persistent = false;
    assert_eq!(run(&backend, request).await.unwrap().text(), "one");
    closed.wait();
    assert_eq!(server.arrivals()[0].header("connection"), ["close"]);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "two");
}

pub(crate) async fn a_server_that_says_close_is_believed<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let server = Server::start([
        vec![
            Step::ReadRequest,
            send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\none"),
            Step::AwaitClose,
            Step::Open(closed.clone()),
        ],
        keep_alive(&["two"]),
    ]);
    let backend: B = backend(default);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "one");
    closed.wait();
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "two");
}

/// G7: a body that nobody reads, and a chain of redirects, hold up nobody.
pub(crate) async fn a_dropped_body_closes_its_connection<B: Connect>(_: &Expected) {
    let closed = Gate::new();
    let server = Server::start([
        vec![
            Step::ReadRequest,
            send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst"),
            Step::AwaitClose,
            Step::Open(closed.clone()),
        ],
        keep_alive(&["next"]),
    ]);
    let backend: B = backend(one_connection);
    let response = backend.send(get(&server.url("/"))).await.unwrap();
    drop(response);
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "next");
    closed.wait();
}

pub(crate) async fn a_dropped_exchange_closes_its_connection<B: Connect>(_: &Expected) {
    let (asked, closed) = (Gate::new(), Gate::new());
    let server = Server::start([
        vec![Step::ReadRequestThen(asked.clone()), Step::AwaitClose, Step::Open(closed.clone())],
        keep_alive(&["next"]),
    ]);
    let backend: B = backend(one_connection);
    let exchange = backend.send(get(&server.url("/")));
    assert!(race(exchange, asked.opened()).await.is_none());
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "next");
    closed.wait();
}

/// G5: idle connections really close.
pub(crate) async fn idle_connections_close<B: Connect>(expected: &Expected) {
    let closed = Gate::new();
    let mut script = keep_alive(&["one"]);
    script.push(Step::Open(closed.clone()));
    let server = Server::start([script]);
    let backend: B = backend(|settings| settings.idle_timeout = Duration::from_millis(50));
    run(&backend, get(&server.url("/"))).await.unwrap();
    if expected.watches_idle {
        closed.wait();
        drop(backend);
    } else {
        drop(backend);
        closed.wait();
    }
    drop(server);
}

/// G3: bytes that nobody asked for answer nobody.
pub(crate) async fn bytes_on_an_idle_connection_are_no_answer<B: Connect>(expected: &Expected) {
    let (go, sent, closed) = (Gate::new(), Gate::new(), Gate::new());
    let server = Server::start([
        vec![
            Step::ReadRequest,
            ok("one"),
            Step::Wait(go.clone()),
            ok("unasked"),
            Step::Open(sent.clone()),
            Step::AwaitClose,
            Step::Open(closed.clone()),
        ],
        keep_alive(&["two"]),
    ]);
    let backend: B = backend(default);
    run(&backend, get(&server.url("/"))).await.unwrap();
    go.open();
    sent.wait();
    if expected.watches_idle {
        closed.wait();
    }
    let answer = run(&backend, get(&server.url("/"))).await.unwrap();
    assert_eq!(answer.text(), "two");
}

/// G3: bytes that nobody asked for answer nobody.
pub(crate) async fn a_second_answer_is_no_answer<B: Connect>(_: &Expected) {
    let one = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\none";
    let server = Server::start([
        vec![
            Step::ReadRequest,
            send(format!("{one}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nextra")),
            Step::AwaitClose,
        ],
        keep_alive(&["two"]),
    ]);
    let backend: B = backend(default);
    for text in ["one", "two"] {
        let answer = run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!(answer.text(), text);
    }
}

pub(crate) async fn given_addresses_are_used<B: Connect>(_: &Expected) {
    let server = Server::start([keep_alive(&["here"])]);
    let address = server.address();
    let given = (String::from("service.invalid"), vec![address]);
    let backend: B = backend(|settings| settings.resolve.push(given));
    let url = format!("http://service.invalid:{}/", address.port());
    assert_eq!(run(&backend, get(&url)).await.unwrap().text(), "here");
    let host = format!("service.invalid:{}", address.port());
    assert_eq!(server.arrivals()[0].header("host"), [host]);
}

/// G6: connections are bounded, for each server and over all. Sixteen servers may be busy at once before
/// idle connections to others are closed.
pub(crate) async fn idle_connections_are_bounded_over_all_servers<B: Connect>(_: &Expected) {
    const IDLE: usize = 16;
    let closed: Vec<_> = (0..IDLE + 4).map(|_| Gate::new()).collect();
    let server = Server::start(closed.iter().map(|gate| {
        let again = Step::ReadRequestOr(gate.clone());
        vec![Step::ReadRequest, ok("one"), again, ok("two"), Step::AwaitClose]
    }));
    let names: Vec<_> = (0..closed.len()).map(|n| format!("s{n}.invalid")).collect();
    let backend: B = backend(|settings| {
        let known = names.iter().map(|name| (name.clone(), vec![server.address()]));
        settings.resolve.extend(known);
        settings.pool_size = 1;
    });
    let url = |name: &str| format!("http://{name}:{}/", server.address().port());
    for name in &names {
        run(&backend, get(&url(name))).await.unwrap();
    }
    // However long the others may lie there. Which ones go is the backend's choice.
    Gate::wait_for(names.len() - IDLE, &closed);
    for (name, _) in names.iter().zip(&closed).filter(|(_, closed)| !closed.is_open()) {
        assert_eq!(run(&backend, get(&url(name))).await.unwrap().text(), "two");
    }
    assert_eq!(server.connections(), names.len());
}
