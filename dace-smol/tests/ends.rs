//! libcurl is not told that nobody waits any more, so it has to know when that will be.

use std::time::Duration;

use dace_core::Runtime as _;
use dace_core::http::{Connect, HttpBackend, HttpSettings};
use dace_smol::{IsahcBackend, SmolRuntime};
use dace_wire::{Gate, Server, Step, get, race};

#[test]
fn a_dropped_exchange_that_has_a_timeout_of_its_own_closes_its_connection_though_its_server_hangs()
{
    let (asked, closed) = (Gate::new(), Gate::new());
    let server = Server::start([vec![
        Step::ReadRequest,
        Step::Open(asked.clone()),
        Step::AwaitClose,
        Step::Open(closed.clone()),
    ]]);
    let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
    let mut request = get(&server.url("/"));
    request.options.ends = SmolRuntime.now().after(Duration::from_millis(100));
    smol::block_on(async {
        let mut exchange = Box::pin(backend.send(request));
        assert!(race(exchange.as_mut(), asked.opened()).await.is_none());
    });
    closed.wait();
}
