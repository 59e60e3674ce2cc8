//! Permits and the dependency's one queue.

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Waker};

use dace::Breaker;
use dace_sim::Sim;

use crate::support::{Error, assert_all_back, dependency, get, get_root, ms, secs};

#[test]
fn a_call_that_finds_everything_full_is_refused_and_never_counts_against_the_server() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(10));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).max_open_per_netloc(3));
    let results = sim.run(async {
        let calls: Vec<_> = (0..10).map(|_| get_root(&a)).collect();
        futures_util::future::join_all(calls).await
    });
    let refused = results.iter().filter(|result| {
        matches!(result, Err(Error::RateLimited { netloc, .. }) if netloc.as_str() == "a:80")
    });
    assert_eq!(refused.count(), 7);
    assert_eq!((server.requests(), server.peak()), (3, 3));
    assert!(results.iter().flat_map(|result| result.as_ref().err()).all(Error::is_rejected));
    let snapshot = a.snapshot();
    assert_eq!(snapshot.endpoints[1].failures, 0);
    assert_all_back(&a);
}

#[test]
fn those_who_wait_are_let_in_in_order_of_arrival() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(10));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(100)
    });
    let order = Rc::new(RefCell::new(Vec::new()));
    sim.run(async {
        let calls = (0..50).map(|number| {
            let (a, order) = (a.clone(), order.clone());
            async move {
                get_root(&a).await.unwrap();
                order.borrow_mut().push(number);
            }
        });
        futures_util::future::join_all(calls).await
    });
    assert_eq!(*order.borrow(), (0..50).collect::<Vec<_>>());
    assert_eq!((server.peak(), sim.elapsed()), (1, ms(500)));
    assert_all_back(&a);
}

#[test]
fn the_queue_holds_so_many_and_no_more() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(2).queue(3)
    });
    let results =
        sim.run(async { futures_util::future::join_all((0..9).map(|_| get_root(&a))).await });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 5);
}

#[test]
fn a_waiter_that_can_no_longer_start_in_time_leaves_at_once() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(secs(3));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(10)
    });
    let world = sim.clone();
    let left = sim.run(async {
        let _first = world.spawn({
            let a = a.clone();
            async move { get_root(&a).await }
        });
        world.sleep(ms(1)).await;
        let error = a.call(|call| get(call, "/")).timeout(ms(100)).await.unwrap_err();
        assert!(matches!(error, Error::RateLimited { .. }), "{error:?}");
        world.elapsed()
    });
    // 5 ms before its deadline: a shorter attempt is of no use.
    assert_eq!(left, ms(96));
    assert_eq!(a.snapshot().queued, 0);
}

#[test]
fn waiters_that_nobody_polls_block_nobody() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(5));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(10)
    });
    let world = sim.clone();
    let (a, elapsed) = sim.run(async move {
        let first = world.spawn({
            let a = a.clone();
            async move { get_root(&a).await }
        });
        world.sleep(ms(1)).await;
        // Polled once, so that they are in the queue, and then never again.
        let mut dead: Vec<_> = (0..3).map(|_| Box::pin(a.call(|call| get(call, "/")))).collect();
        for call in &mut dead {
            let polled = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending());
        }
        let live = get_root(&a);
        live.await.unwrap();
        first.await.unwrap();
        let elapsed = world.elapsed();
        drop(dead);
        (a, elapsed)
    });
    // Three offers lapse, 10 ms each, and the live one may look a little later than that.
    assert!(elapsed >= ms(5 + 30) && elapsed <= ms(5 + 45 + 5), "{elapsed:?}");
    assert_all_back(&a);
}

#[test]
fn a_waiter_that_is_dropped_after_it_was_offered_a_place_passes_it_on() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(5));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(10)
    });
    let world = sim.clone();
    let (a, elapsed) = sim.run(async move {
        let first = Box::pin(a.call(|call| get(call, "/")));
        let mut offered = Box::pin(a.call(|call| get(call, "/")));
        let mut first = first;
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(offered.as_mut().poll(&mut cx).is_pending());
        let next = world.spawn({
            let a = a.clone();
            async move { get_root(&a).await }
        });
        world.sleep(ms(1)).await;
        drop(first);
        drop(offered);
        next.await.unwrap();
        (a, world.elapsed())
    });
    assert_eq!(elapsed, ms(1 + 5), "woken at once, not by a lapse");
    assert_all_back(&a);
}

/// B14: those who wait are woken when a circuit changes.
#[test]
fn a_call_in_the_queue_is_refused_as_soon_as_the_circuit_opens() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(20)).answers(.., 500);
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .max_open_per_netloc(1)
            .queue(10)
            .retry_attempts(0)
            .breaker(Breaker::new().consecutive_failures(1))
    });
    let results =
        sim.run(async { futures_util::future::join_all((0..5).map(|_| get_root(&a))).await });
    assert!(matches!(results[0], Err(Error::Operation { .. })));
    assert!(results[1..].iter().all(|result| matches!(result, Err(Error::CircuitOpen { .. }))));
    assert_eq!(sim.elapsed(), ms(20));
}

#[test]
fn a_permit_is_back_when_the_call_is_over_though_its_future_is_kept() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).max_open_per_netloc(1));
    sim.server("http://a:80");
    sim.run(async {
        let mut kept = pin!(a.call(|call| get(call, "/")));
        kept.as_mut().await.unwrap();
        get_root(&a).await.unwrap();
    });
}

#[test]
fn functions_without_http_are_limited_by_the_dependency_itself() {
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder.max_open_per_netloc(2));
    let results = sim.run(async {
        let sim = &sim;
        let call = |_| async move {
            sim.sleep(ms(1)).await;
            Ok::<_, std::io::Error>(())
        };
        futures_util::future::join_all((0..5).map(|_| a.call(call))).await
    });
    let refused = |result: &&Result<(), dace::Error<std::io::Error>>| matches!(result, Err(dace::Error::RateLimited { netloc, .. }) if netloc.as_str() == "test");
    assert_eq!(results.iter().filter(refused).count(), 3);
    assert_all_back(&a);
}

#[test]
fn a_closed_dependency_refuses_new_calls_and_waits_for_those_under_way() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(50));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    let world = sim.clone();
    sim.run(async {
        let under_way = world.spawn({
            let a = a.clone();
            async move { get_root(&a).await }
        });
        world.sleep(ms(1)).await;
        assert_eq!(a.close(ms(10)).await, 1, "still under way after 10 ms");
        assert!(matches!(get_root(&a).await, Err(Error::Closed)));
        assert_eq!(a.close(secs(10)).await, 0);
        assert_eq!(world.elapsed(), ms(50));
        assert_eq!(under_way.await.unwrap(), "ok");
    });
}

#[test]
fn a_waiter_that_looks_after_its_offer_lapsed_unseen_is_not_overtaken() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(16));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(10)
    });
    let world = sim.clone();
    let order = Rc::new(RefCell::new(Vec::new()));
    sim.run(async {
        let call = |name| {
            let (a, order) = (a.clone(), order.clone());
            world.spawn(async move {
                get_root(&a).await.unwrap();
                order.borrow_mut().push(name);
            })
        };
        let first = call("first");
        world.sleep(ms(1)).await;
        // Polled once, and then never again.
        let mut dead = Box::pin(a.call(|call| get(call, "/")));
        assert!(dead.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let second = call("second");
        world.sleep(ms(14)).await;
        let third = call("third");
        first.await;
        second.await;
        third.await;
    });
    assert_eq!(*order.borrow(), ["first", "second", "third"]);
    assert_all_back(&a);
}

/// B14: those who wait are woken when a circuit changes.
#[test]
fn those_who_wait_are_woken_when_a_circuit_changes() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(100));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(10)
    });
    let world = sim.clone();
    sim.run(async {
        let call = || {
            let a = a.clone();
            world.spawn(async move { get_root(&a).await })
        };
        let (_first, waiting) = (call(), call());
        world.sleep(ms(3)).await;
        a.circuit("a:80").unwrap().force_open();
        assert!(matches!(waiting.await, Err(Error::CircuitOpen { .. })));
        assert_eq!(world.elapsed(), ms(3), "not when it looks by itself");
    });
}
