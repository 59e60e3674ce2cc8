//! Permits and waiters: nothing is lost, whoever is dropped, and whenever.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::Duration;

use dace::sim::{Answer, Sim};
use dace::{Error, HttpError};
use futures_util::future::join_all;

use crate::support::{Builder, Dependency, assert_all_back, dependency, get, get_root, ms, secs};

/// One target, one place, and a queue.
fn narrow(sim: &Sim) -> Dependency {
    dependency(sim, |builder| builder.targets(["http://a:80"]).max_open_per_netloc(1).queue(1_000))
}

/// Polled once, and not woken: what becomes of it is up to whoever polls it next.
fn poll_once<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn a1_a_waiter_dropped_after_it_was_offered_a_place_passes_it_on() {
    for doomed in [1, 2, 5] {
        let sim = Sim::new(1);
        sim.server("http://a:80").latency(ms(5));
        let a = narrow(&sim);
        sim.run(async {
            let mut calls: Vec<_> = (0..=doomed).map(|_| Box::pin(get_root(&a))).collect();
            for call in &mut calls {
                assert!(poll_once(call).is_pending());
            }
            let (other, world) = (a.clone(), sim.clone());
            let live = sim.spawn(async move { get_root(&other).await.map(|_| world.elapsed()) });
            sim.sleep(ms(1)).await;
            // In order: each drop offers the place to the next one, which is dropped as well.
            calls.into_iter().for_each(drop);
            assert_eq!(live.await.unwrap(), ms(1 + 5), "at once, with {doomed} before it");
        });
        assert_all_back(&a);
    }
}

#[test]
fn a2_a_waiter_that_is_offered_a_place_and_never_polled_keeps_nobody_out() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(5));
    let a = narrow(&sim);
    sim.run(async {
        let mut holder = Box::pin(get_root(&a));
        let mut parked = Box::pin(get_root(&a));
        assert!(poll_once(&mut holder).is_pending());
        assert!(poll_once(&mut parked).is_pending());
        let others = join_all([get_root(&a), get_root(&a)]);
        let (_, others) = futures_util::future::join(holder, others).await;
        assert!(others.iter().all(Result::is_ok));
        // Three calls of 5 ms; and whoever is third looks again when three offers would have lapsed.
        assert!(sim.elapsed() <= ms(3 * 5 + 3 * 10), "{:?}", sim.elapsed());
        drop(parked);
    });
    assert_all_back(&a);
}

#[test]
fn a3_a_place_is_held_by_the_call_and_then_by_the_answer_that_outlives_it() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::ok("one").piece(secs(60), "two"));
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).max_open_per_netloc(1);
        builder.stall_timeout(secs(100)).timeout(secs(200))
    });
    sim.run(async {
        let mut kept = std::pin::pin!(get_root(&a));
        kept.as_mut().await.unwrap();
        // The call is over, though its future is still there.
        let response = a.call(|call| async move { call.http().get("/").send().await }).await;
        assert!(matches!(get_root(&a).await, Err(Error::RateLimited { .. })), "the answer has it");
        assert_eq!(response.unwrap().bytes().await.unwrap(), "onetwo");
        get_root(&a).await.unwrap();
    });
    assert_all_back(&a);
}

#[test]
fn a4_callers_on_many_threads_never_get_in_beyond_the_limit() {
    const LIMIT: u32 = 7;
    const THREADS: usize = 16;
    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder.max_open_per_netloc(LIMIT).retry_attempts(0));
    for _ in 0..200 {
        let (gate, begin) = (Arc::new(AtomicBool::new(false)), Arc::new(Barrier::new(THREADS)));
        let threads = (0..THREADS).map(|_| {
            let (a, gate, begin) = (a.clone(), gate.clone(), begin.clone());
            thread::spawn(move || {
                let held = |_| {
                    let gate = gate.clone();
                    poll_fn(move |_| match gate.load(Ordering::SeqCst) {
                        true => Poll::Ready(Ok::<_, HttpError>(())),
                        false => Poll::Pending,
                    })
                };
                let mut call = Box::pin(a.call(held));
                begin.wait();
                let admitted = poll_once(&mut call).is_pending();
                begin.wait();
                gate.store(true, Ordering::SeqCst);
                assert!(!admitted || matches!(poll_once(&mut call), Poll::Ready(Ok(()))));
                u32::from(admitted)
            })
        });
        let threads: Vec<_> = threads.collect();
        let admitted: u32 = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
        assert_eq!(admitted, LIMIT, "all at the same moment");
    }
    assert_all_back(&a);
}

#[test]
fn a6_what_is_given_back_twice_counts_once() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::ok("one").piece(secs(1), "two"));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).max_open_per_netloc(2));
    let fetch = || a.call(|call| async move { call.http().get("/").send().await });
    sim.run(async {
        for _ in 0..10 {
            // Its place is given up, then it is read to its end, then it is dropped.
            let mut response = fetch().await.unwrap();
            response.detach();
            response.bytes().await.unwrap();
            // Dropped while it waits; and dropped when it was dropped already.
            let mut dropped = Box::pin(get_root(&a));
            assert!(poll_once(&mut dropped).is_pending());
            drop(dropped);
        }
        let held = [fetch().await.unwrap(), fetch().await.unwrap()];
        assert!(matches!(fetch().await, Err(Error::RateLimited { .. })), "two, and no third");
        drop(held);
    });
    assert_all_back(&a);
}

#[test]
fn a7_nobody_waits_longer_than_those_before_him_take() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(2).queue(20).no_timeout()
    });
    sim.run(async {
        let mut calls = Vec::new();
        // Three calls in the time of two, for a while.
        for _ in 0..60 {
            let (a, world) = (a.clone(), sim.clone());
            calls.push(sim.spawn(async move {
                let came = world.elapsed();
                get_root(&a).await.unwrap();
                (came, world.elapsed())
            }));
            sim.sleep(Duration::from_micros(3_333)).await;
        }
        let times = join_all(calls).await;
        assert!(times.is_sorted_by_key(|(_, ended)| *ended), "whoever came first went first");
        let longest = times.iter().map(|(came, ended)| *ended - *came).max().unwrap();
        assert!(longest <= ms(10 + 20 / 2 * 10), "at most ten rounds of two: {longest:?}");
    });
}

#[test]
fn a8_when_the_leader_of_a_shared_call_is_cancelled_another_leads_and_all_hear_the_end() {
    for (status, good) in [(200, true), (503, false)] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.latency(ms(10)).answers(.., status);
        let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
        let group = dace::Group::new();
        sim.run(async {
            let shared = || a.call(|call| get(call, "/")).shared(&group, 1);
            let mut leader = Box::pin(shared());
            assert!(poll_once(&mut leader).is_pending());
            let followers: Vec<_> = (0..5).map(|_| sim.spawn(shared())).collect();
            sim.sleep(ms(5)).await;
            drop(leader);
            let ends = join_all(followers).await;
            assert!(ends.iter().all(|end| end.is_ok() == good), "{ends:?}");
            assert_eq!((server.requests(), sim.elapsed()), (2, ms(5 + 10)));
        });
        assert!(group.is_empty());
        assert_all_back(&a);
    }
}

#[test]
fn a10_a_limit_of_zero_is_an_error_and_not_for_ever() {
    type Set = fn(Builder) -> Builder;
    let cases: [(&str, Set); 4] = [
        ("max_open_per_netloc", |builder| builder.max_open_per_netloc(0)),
        ("http_pool_size", |builder| builder.http_pool_size(0)),
        ("max_netlocs", |builder| builder.max_netlocs(0)),
        ("body_limit", |builder| builder.body_limit(0)),
    ];
    for (setting, set) in cases {
        let sim = Sim::new(1);
        let built = set(Dependency::builder("a")).build_with(sim.runtime(), sim.backend());
        assert_eq!(built.unwrap_err().setting(), setting);
    }
}
