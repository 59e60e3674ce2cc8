//! One decorated function from several runtimes, one after the other and beside each other.

use std::sync::OnceLock;

use dace::HttpError;
use dace_wire::{Gate, Server, Step};

use crate::support::{alone, answers, on_tokio};

#[dace::fault_tolerant(timeout = "5s")]
async fn get(call: &dace::tokio::Call, url: &str) -> Result<String, HttpError> {
    call.http().get(url).send().await?.text().await
}

#[dace::fault_tolerant(timeout = "5s")]
async fn get_on_smol(call: &dace::smol::Call, url: &str) -> Result<String, HttpError> {
    call.http().get(url).send().await?.text().await
}

#[cfg(feature = "smol-hyper")]
#[test]
fn on_smol_hyper_is_taken_where_it_is_named() {
    #[dace::fault_tolerant(dependency_id = "over_hyper")]
    async fn text(call: &dace::smol::hyper::Call, url: &str) -> Result<String, HttpError> {
        call.http().get(url).send().await?.text().await
    }
    let _alone = alone();
    let server = Server::start([answers("one", 2)]);
    for _ in 0..2 {
        assert_eq!(smol::block_on(text(&server.url("/"))).unwrap(), "one");
    }
    assert!(dace::smol::hyper::dependency("over_hyper").is_some());
    assert!(dace::smol::dependency("over_hyper").is_none(), "that is isahc's");
}

#[test]
fn a_second_runtime_finds_connections_of_the_first_gone_and_makes_its_own() {
    let _alone = alone();
    let server = Server::start([answers("first", 2), answers("second", 2)]);
    for expected in ["first", "second"] {
        on_tokio(async {
            for _ in 0..2 {
                assert_eq!(get(&server.url("/")).await.unwrap(), expected);
            }
        });
    }
    assert_eq!(server.connections(), 2);
    assert_eq!(server.arrivals().len(), 4, "nothing was sent twice");
}

#[test]
fn a_request_that_must_not_happen_twice_works_from_a_second_runtime() {
    let _alone = alone();
    #[dace::fault_tolerant(retry_attempts = 0)]
    async fn post(call: &dace::tokio::Call, url: &str) -> Result<String, HttpError> {
        call.http().post(url).body("x").send().await?.text().await
    }

    let server = Server::start([answers("first", 1), answers("second", 1)]);
    for expected in ["first", "second"] {
        assert_eq!(on_tokio(post(&server.url("/"))).unwrap(), expected);
    }
    assert_eq!(server.arrivals().len(), 2);
}

#[cfg(feature = "http2")]
#[test]
fn a_second_runtime_makes_an_http2_connection_of_its_own() {
    let _alone = alone();
    #[dace::fault_tolerant(protocol = dace::http::Protocol::Http2)]
    async fn get(call: &dace::tokio::Call, url: &str) -> Result<String, HttpError> {
        call.http().get(url).send().await?.text().await
    }

    let server = Server::start([
        dace_wire::streams(&["first", "first"]),
        dace_wire::streams(&["second", "second"]),
    ]);
    for expected in ["first", "second"] {
        on_tokio(async {
            for _ in 0..2 {
                assert_eq!(get(&server.url("/")).await.unwrap(), expected);
            }
        });
    }
    assert_eq!(server.connections(), 2);
    assert_eq!(server.arrivals().len(), 4, "nothing was sent twice");
}

#[cfg(feature = "http2")]
#[test]
fn an_http2_request_that_must_not_happen_twice_works_from_a_second_runtime() {
    let _alone = alone();
    #[dace::fault_tolerant(retry_attempts = 0, protocol = dace::http::Protocol::Http2)]
    async fn post(call: &dace::tokio::Call, url: &str) -> Result<String, HttpError> {
        call.http().post(url).body("x").send().await?.text().await
    }

    let server = Server::start([dace_wire::streams(&["first"]), dace_wire::streams(&["second"])]);
    for expected in ["first", "second"] {
        assert_eq!(on_tokio(post(&server.url("/"))).unwrap(), expected);
    }
    assert_eq!(server.arrivals().len(), 2);
}

#[test]
fn a_connection_of_a_runtime_that_stands_still_is_left_to_it() {
    let _alone = alone();
    let server = Server::start([answers("first", 2), answers("second", 1)]);
    let still = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert_eq!(still.block_on(get(&server.url("/"))).unwrap(), "first");
    assert_eq!(on_tokio(get(&server.url("/"))).unwrap(), "second");
    assert_eq!(still.block_on(get(&server.url("/"))).unwrap(), "first");
    assert_eq!(server.connections(), 2);
}

#[test]
fn on_smol_every_thread_uses_the_same_connections() {
    let _alone = alone();
    let server = Server::start([answers("first", 2)]);
    for _ in 0..2 {
        let url = server.url("/");
        let text = std::thread::spawn(move || smol::block_on(get_on_smol(&url))).join().unwrap();
        assert_eq!(text.unwrap(), "first");
    }
}

#[test]
fn a_call_under_way_gives_everything_back_when_its_runtime_ends() {
    let _alone = alone();
    #[dace::fault_tolerant(retry_attempts = 0)]
    async fn held(call: &dace::tokio::Call, url: &str) -> Result<String, HttpError> {
        call.http().get(url).send().await?.text().await
    }

    let arrived = Gate::new();
    let open = arrived.clone();
    let server = Server::start([vec![Step::ReadRequest, Step::Open(open), Step::AwaitClose]]);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let url = server.url("/");
    let call = runtime.spawn(async move { held(&url).await });
    arrived.wait();
    runtime.shutdown_background();
    let ended = on_tokio(call);
    assert!(ended.unwrap_err().is_cancelled());
    let id =
        "decorated::runtimes::a_call_under_way_gives_everything_back_when_its_runtime_ends::held";
    let snapshot = dace::tokio::dependency(id).unwrap().snapshot();
    assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.open == 0), "{snapshot}");
}

/// A server that lives as long as the process.
fn forever() -> &'static str {
    static URL: OnceLock<String> = OnceLock::new();
    URL.get_or_init(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for socket in listener.incoming() {
                std::thread::spawn(move || serve(socket.unwrap()));
            }
        });
        url
    })
}

fn serve(socket: std::net::TcpStream) {
    use std::io::{BufRead as _, BufReader, Write as _};
    let mut lines = BufReader::new(&socket).lines();
    while let Some(Ok(line)) = lines.next() {
        let answered = !line.is_empty()
            || (&socket).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").is_ok();
        if !answered {
            return;
        }
    }
}

macro_rules! on_one_runtime_each {
    ($($test:ident)*) => {
        $(
            #[tokio::test]
            async fn $test() {
                for _ in 0..10 {
                    assert_eq!(get(forever()).await.unwrap(), "ok");
                }
            }
        )*
    };
}

on_one_runtime_each!(one_test_calls_it another_test_calls_it);

#[test]
fn a_hundred_pairs_of_runtimes_that_come_and_go_share_one_function() {
    let _alone = alone();
    for _ in 0..100 {
        let pair = [(); 2].map(|()| {
            std::thread::spawn(|| {
                let runtime =
                    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(get(forever()))
            })
        });
        for test in pair {
            assert_eq!(test.join().unwrap().unwrap(), "ok");
        }
    }
}
