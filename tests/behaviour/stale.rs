//! Connections that were closed while they lay idle.

use dace::http::Sent;
use dace_sim::Sim;

use crate::support::{Call, dependency, get_root};

/// D2: what was not sent at all is retried, whatever it is.
#[test]
fn a_request_of_which_nothing_was_sent_on_a_stale_connection_goes_out_once_more() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    let post = |call: Call| async move { call.http().post("/").body("x").send().await.map(drop) };
    server.stale(Sent::Unsent);
    sim.run(a.call(post)).unwrap();
    server.stale(Sent::MaybeSent);
    let error = sim.run(a.call(post)).unwrap_err();
    assert_eq!(error.into_source().unwrap().sent(), Sent::MaybeSent);
    server.stale(Sent::MaybeSent);
    sim.run(get_root(&a)).unwrap();
    assert_eq!((server.requests(), a.snapshot().totals.retries), (2, 0));
}
