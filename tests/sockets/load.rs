//! Many calls at once, and what they leave behind: nothing.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::Poll;

use dace::{Adapter, Error, What};
use dace_wire::{Gate, Server, Step, keep_alive, ok, send};
use futures_util::future::{join, join_all};

use crate::crowd::{Crowd, Hold};
use crate::support::{Seen, assert_all_back, dependency, get, get_root, is_long, on, secs};

on_every_adapter! {
    the_limit_holds_at_the_server_and_the_queue_takes_the_rest
    an_answer_that_outlives_its_call_keeps_its_place_and_can_be_read
    detaching_an_answer_gives_its_place_back
    dropping_an_answer_gives_its_place_back
    calls_dropped_at_random_points_leave_nothing_behind
}

/// G10: no more sockets are opened than the limit says.
async fn the_limit_holds_at_the_server_and_the_queue_takes_the_rest<A: Adapter>() {
    const LIMIT: usize = 8;
    let hold = Hold::new(LIMIT);
    let server = Crowd::start(Some(hold.clone()));
    let one = dependency::<A>(|builder| {
        builder.targets([server.url()]).max_open_per_netloc(LIMIT as u32).queue(42)
    });
    let callers = join_all((0..50).map(|_| get_root(&one)));
    let watcher = async {
        hold.full.opened().await;
        let snapshot = one.snapshot();
        let endpoint = &snapshot.endpoints[1];
        assert_eq!((endpoint.open, endpoint.connections), (8, 8), "{snapshot}");
        assert_eq!((snapshot.calls, snapshot.queued), (50, 42), "{snapshot}");
        // And one more is one too many.
        let error = get_root(&one).await.unwrap_err();
        assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
        hold.go.open();
    };
    let (results, ()) = join(callers, watcher).await;
    assert!(results.iter().all(|result| result.as_deref().is_ok_and(|text| text == "/")));
    assert_eq!((server.peak(), server.served()), (LIMIT, 50));
    assert!(server.connections() <= 10, "{} connections", server.connections());
    assert_all_back(&one);
}

/// A connection that sends half an answer, and the rest when it may; then it answers once more.
fn in_halves(rest: &Gate) -> Vec<Step> {
    vec![
        Step::ReadRequest,
        send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf "),
        Step::Wait(rest.clone()),
        send("rest"),
        Step::ReadRequestIfAny,
        ok("next"),
        Step::Drain,
    ]
}

async fn an_answer_that_outlives_its_call_keeps_its_place_and_can_be_read<A: Adapter>() {
    let rest = Gate::new();
    let server = Server::start([in_halves(&rest)]);
    let one = on::<A>(&server, |builder| builder.max_open_per_netloc(1));
    let response = one.call(|call| async move { call.http().get("/").send().await }).await.unwrap();
    let snapshot = one.snapshot();
    let endpoint = &snapshot.endpoints[1];
    assert_eq!((snapshot.calls, endpoint.open, endpoint.connections), (0, 1, 1), "{snapshot}");
    let error = get_root(&one).await.unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
    rest.open();
    assert_eq!(response.bytes().await.unwrap(), "half rest");
    assert_all_back(&one);
    assert_eq!(get_root(&one).await.unwrap(), "next");
    assert_eq!(server.connections(), 1, "it was read to its end, so its connection is good");
}

async fn detaching_an_answer_gives_its_place_back<A: Adapter>() {
    let rest = Gate::new();
    let server = Server::start([in_halves(&rest), keep_alive(&["other"])]);
    let one = on::<A>(&server, |builder| builder.max_open_per_netloc(1));
    let mut response =
        one.call(|call| async move { call.http().get("/").send().await }).await.unwrap();
    response.detach();
    let snapshot = one.snapshot();
    let endpoint = &snapshot.endpoints[1];
    assert_eq!((endpoint.open, endpoint.connections), (0, 1), "{snapshot}");
    assert_eq!(get_root(&one).await.unwrap(), "other");
    rest.open();
    assert_eq!(response.text().await.unwrap(), "half rest");
    assert_all_back(&one);
}

async fn dropping_an_answer_gives_its_place_back<A: Adapter>() {
    let rest = Gate::new();
    let server = Server::start([in_halves(&rest), keep_alive(&["other"])]);
    let one = on::<A>(&server, |builder| builder.max_open_per_netloc(1).http_pool_size(1));
    let response = one.call(|call| async move { call.http().get("/").send().await }).await.unwrap();
    assert_eq!(one.snapshot().endpoints[1].open, 1);
    drop(response);
    assert_all_back(&one);
    assert_eq!(get_root(&one).await.unwrap(), "other", "a connection read half is not used again");
    assert_all_back(&one);
}

/// Lets others run once.
async fn turn() {
    let mut turned = false;
    std::future::poll_fn(|cx| {
        if turned {
            return Poll::Ready(());
        }
        turned = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Polls a future so many times at most, with a turn of everybody else between, and drops it.
async fn poll_times<F: Future>(future: F, times: u32) {
    let mut future = pin!(future);
    for _ in 0..times {
        let ready = std::future::poll_fn(|cx| {
            let future: Pin<&mut F> = future.as_mut();
            Poll::Ready(future.poll(cx).is_ready())
        });
        if ready.await {
            return;
        }
        turn().await;
    }
}

async fn calls_dropped_at_random_points_leave_nothing_behind<A: Adapter>() {
    const CALLS: u64 = 2_000;
    let rounds = if is_long() { 50 } else { 1 };
    let seen = Seen::default();
    let both = dependency::<A>(|builder| {
        let builder = builder.targets(["http://localhost"]).observer(seen.clone());
        builder.max_open_per_netloc(4).http_pool_size(3).queue(8)
    });
    let mut rng = fastrand::Rng::with_seed(7);
    for round in 1..=rounds {
        // New ones each time, or the system would run out of ports: a connection that the client
        // closes keeps its port from being used to the same server for a minute.
        let servers = [Crowd::start(None), Crowd::start(None)];
        both.set_targets(servers.each_ref().map(Crowd::url)).unwrap();
        for _ in 0..CALLS / 20 {
            let batch = (0..20).map(|_| {
                // Many at their first steps, some far on, some to their end.
                let times = 1 << rng.u32(0..11);
                poll_times(get_root(&both), rng.u32(0..=times))
            });
            join_all(batch.collect::<Vec<_>>()).await;
        }
        assert_all_back(&both);
        let snapshot = both.snapshot();
        let totals = snapshot.totals;
        // How far they came depends on the machine; that there are many of each kind does not.
        let many = round * CALLS / 20;
        assert!(totals.dropped > many && totals.good > many, "{totals:?}");
        assert!(snapshot.budget_thousandths <= 50_000, "{snapshot}");
        for endpoint in &snapshot.endpoints {
            let failures = endpoint.failures;
            assert_eq!(failures, 0, "not a failure of theirs: {snapshot}{:#?}", seen.failures());
        }
        for _ in 0..10 {
            assert_eq!(get_root(&both).await.unwrap(), "/");
        }
        assert_all_back(&both);
    }
}

/// A4: many callers at once are never more than the limit.
#[test]
fn many_tasks_on_four_threads_keep_to_one_limit() {
    const TASKS: usize = 64;
    const CALLS: usize = 200;
    // The first are held until the limit is reached: so it was, and the queue was in use.
    let hold = Hold::new(8);
    let server = Crowd::start(Some(hold.clone()));
    let seen = Seen::default();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let one = dependency::<dace::tokio::Tokio>(|builder| {
        builder
            .targets([server.url()])
            .max_open_per_netloc(8)
            .queue(TASKS)
            .timeout(secs(30))
            .observer(seen.clone())
    });
    runtime.block_on(async {
        let tasks = (0..TASKS).map(|task| {
            let one = one.clone();
            tokio::spawn(async move {
                for call in 0..CALLS {
                    let path = format!("/{task}/{call}");
                    let text = one.call(|call| get(call, &path)).await.unwrap();
                    assert_eq!(text, path, "the answer to somebody else's question");
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        hold.full.opened().await;
        hold.go.open();
        for task in tasks {
            task.await.unwrap();
        }
    });
    assert_eq!((server.peak(), server.served()), (8, TASKS * CALLS));
    assert!(server.connections() <= 10, "{} connections", server.connections());
    one.flush();
    let queued = seen.count(|event| matches!(event.what, What::Queued { .. }));
    assert!(queued > TASKS * CALLS / 2, "{queued} of {} waited", TASKS * CALLS);
    let totals = one.snapshot().totals;
    assert_eq!((totals.good, totals.retries), ((TASKS * CALLS) as u64, 0), "{totals:?}");
    assert_all_back(&one);
}
