//! Connections, as far as the core has a say. What sockets do is tested on sockets.

use dace::HttpError;
use dace::sim::{Answer, Ending, Sim};
use futures_util::future::join_all;

use crate::support::{assert_all_back, dependency, get, get_root, ms, secs};

#[test]
fn g6_however_many_servers_there_are_exchanges_at_once_are_bounded() {
    let sim = Sim::new(1);
    let servers: Vec<_> = (0..5_000).map(|n| sim.server(&format!("http://s{n}:80"))).collect();
    for server in &servers {
        server.latency(secs(1));
    }
    let any = dependency(&sim, |builder| {
        builder.max_netlocs(50).max_open_per_netloc(2).http_pool_size(2).retry_attempts(0)
    });
    sim.run(async {
        let calls = (0..5_000).map(|n| {
            let any = any.clone();
            let url = format!("http://s{n}/");
            sim.spawn(async move { any.call(|call| get(call, &url)).await })
        });
        let calls: Vec<_> = calls.collect();
        sim.sleep(ms(500)).await;
        let open: u32 = servers.iter().map(dace::sim::Server::open).sum();
        // Two for each that is known, and two for all others together.
        assert!(open > 0 && open <= 2 * (50 + 1), "{open} at once");
        join_all(calls).await;
    });
    assert_all_back(&any);
}

#[test]
fn g7_a_body_that_nobody_reads_and_a_chain_of_redirects_hold_up_nobody() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|request| match request.url.path() {
        // Five hops, each with a body that never ends.
        "/5" => Answer::ok("there"),
        "/stalled" => Answer::ok("half").ending(Ending::Stalled),
        path => {
            let next: u32 = path[1..].parse::<u32>().unwrap() + 1;
            let hop = Answer::status(302).header("location", &format!("/{next}"));
            hop.piece(ms(0), "moved").ending(Ending::Stalled)
        }
    });
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).max_open_per_netloc(1).http_pool_size(1);
        builder.retry_attempts(0)
    });
    for _ in 0..10 {
        assert_eq!(sim.run(a.call(|call| get(call, "/0"))).unwrap(), "there");
        // Its head is enough for this one.
        let status = sim.run(a.call(|call| async move {
            Ok::<_, HttpError>(call.http().get("/stalled").send().await?.status())
        }));
        assert_eq!(status.unwrap(), 200);
        assert_all_back(&a);
    }
    sim.server("http://a:80").handler(|_| Answer::ok("ok"));
    assert_eq!(sim.run(get_root(&a)).unwrap(), "ok");
}
