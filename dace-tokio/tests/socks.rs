//! SOCKS 5 where this side looks names up.

use std::sync::Arc;

use dace_core::http::{Connect, HttpSettings, Proxy};
use dace_tokio::HyperBackend;
use dace_wire::{Server, Step, get, ok, run, send};

const GREETING: usize = 3;
const ASK: usize = 10;

/// The first one may be of a family that the proxy has not.
#[tokio::test(flavor = "multi_thread")]
async fn every_address_is_tried() {
    let begin = [Step::ReadBytes(GREETING), send([5, 0]), Step::ReadBytes(ASK)];
    let answered = |code| send([5, code, 0, 1, 0, 0, 0, 0, 0, 0]);
    let refused = begin.iter().cloned().chain([answered(3), Step::AwaitClose]);
    let end = [answered(0), Step::ReadRequest, ok("there"), Step::AwaitClose];
    let proxy = Server::start([refused.collect(), begin.iter().cloned().chain(end).collect()]);
    let mut settings = HttpSettings::default();
    let given = [[10, 0, 0, 1], [10, 0, 0, 2]].map(|address| (address, 80).into());
    settings.resolve.push((String::from("service.invalid"), given.to_vec()));
    let backend = HyperBackend::connect(settings).unwrap();
    let mut request = get("http://service.invalid/");
    request.proxy = Some(Arc::new(Proxy::parse(&format!("socks5://{}", proxy.address())).unwrap()));
    assert_eq!(run(&backend, request).await.unwrap().text(), "there");
    let asked: Vec<_> = proxy.arrivals().iter().map(|arrival| arrival.bytes.clone()).collect();
    assert_eq!(asked[1][4..8], [10, 0, 0, 1]);
    assert_eq!(asked[3][4..8], [10, 0, 0, 2]);
}
