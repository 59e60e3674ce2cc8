//! Corners that were wrong once: each found by a reader, and kept.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::http::{Header, HttpErrorKind, Method};
use dace::{Backoff, Error, Event, HttpError, Outcome, What, Why};
use dace_sim::{Answer, Sim};

use crate::support::{
    Call, Count, Seen, assert_all_back, dependency, get, get_root, ms, secs, touchy,
};

async fn post(call: &Call, url: &str) -> Result<(), HttpError> {
    call.http().post(url).body("x").send().await?.bytes().await.map(drop)
}

#[test]
fn an_unsafe_request_is_not_repeated_because_a_later_exchange_never_went_out() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    sim.server("http://b:80").down(..);
    let any = dependency(&sim, |builder| builder);
    let error = sim.run(any.call(|call| async move {
        post(&call, "http://a/").await?;
        get(call, "http://b/").await
    }));
    assert_eq!(error.unwrap_err().why(), Some(Why::NotReplaySafe));
    assert_eq!(a.requests(), 1);
}

#[test]
fn an_unsafe_request_is_not_repeated_because_dace_refused_a_later_exchange() {
    let sim = Sim::new(1);
    let servers = ["http://a:80", "http://b:80"].map(|target| sim.server(target));
    sim.server("http://c:80").answers(.., 500);
    let any = dependency(&sim, |builder| {
        builder.targets(["http://a:80", "http://b:80"]).breaker(touchy())
    });
    sim.run(async {
        any.call(|call| get(call, "http://c/")).await.unwrap_err();
        let call = any.call(|call| async move {
            post(&call, "/").await?;
            get(call, "http://c/").await
        });
        call.await.unwrap_err();
    });
    assert_eq!(servers[0].requests() + servers[1].requests(), 1);
}

#[test]
fn an_unsafe_request_that_is_under_way_in_another_task_is_not_repeated() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    a.latency(ms(500));
    sim.server("http://b:80").latency(ms(10)).answers(.., 503);
    let any = dependency(&sim, |builder| builder);
    let world = sim.clone();
    sim.run(async {
        let call = any.call(|call| {
            let sim = world.clone();
            async move {
                let other = call.clone();
                drop(sim.spawn(async move { post(&other, "http://a/").await }));
                get(call, "http://b/").await
            }
        });
        call.await.unwrap_err();
        sim.sleep(secs(1)).await;
    });
    assert_eq!(a.requests(), 1);
    assert_all_back(&any);
}

#[test]
fn an_exchange_in_another_task_ends_with_the_attempts_deadline_at_the_latest() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let any = dependency(&sim, |builder| builder.targets(["http://a:80"]).timeout(secs(1)));
    let world = sim.clone();
    sim.run(async {
        let call = any.call(|call| {
            let sim = world.clone();
            async move {
                drop(sim.spawn(async move { get(call, "/").await }));
                sim.sleep(ms(10)).await;
                Ok::<_, HttpError>(())
            }
        });
        call.await.unwrap();
        assert_eq!(any.snapshot().endpoints[1].open, 1, "its place goes with it");
        sim.sleep(secs(1)).await;
        assert_all_back(&any);
    });
}

#[test]
fn an_observers_panic_loses_no_place_that_an_exchange_had_just_been_given() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let any = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).http_pool_size(1);
        builder.observer(|_: &str, event: &Event| {
            assert!(!matches!(event.what, What::Dequeued { .. }), "unlucky");
        })
    });
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    sim.run(async {
        let mut unlucky = Some(Box::pin(get_root(&any)));
        let unlucky = std::future::poll_fn(move |cx| {
            let Some(call) = &mut unlucky else { return Poll::Ready(()) };
            match catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(_)) => panic!("it waits for a place, and that is told"),
                Err(_) => {
                    unlucky = None;
                    Poll::Ready(())
                }
            }
        });
        let (lucky, ()) = futures_util::future::join(get_root(&any), unlucky).await;
        lucky.unwrap();
    });
    std::panic::set_hook(hook);
    assert_all_back(&any);
}

/// H1: a list that changes between picking and sending sends nothing to somebody else.
#[test]
fn a_picked_target_keeps_its_name_though_the_table_is_full() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    sim.server("http://b:80");
    let listed = dependency(&sim, |builder| {
        builder.max_netlocs(1).targets(["http://a:80", "http://b:80"]).retry_attempts(0)
    });
    let turn = Count::default();
    let proposed = dependency(&sim, |builder| {
        builder.max_netlocs(1).retry_attempts(0).load_balancer(move || {
            if turn.next() % 2 == 1 { ("http", "a:80") } else { ("http", "b:80") }
        })
    });
    sim.run(async {
        for _ in 0..6 {
            get_root(&listed).await.unwrap();
        }
        let held = proposed.call(|call| async move { call.http().get("/").send().await });
        let held = held.await.unwrap();
        get_root(&proposed).await.unwrap();
        drop(held);
    });
}

#[test]
fn a_retry_that_is_refused_after_a_timeout_ends_the_call_as_that_timeout() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let seen = Seen::default();
    let any = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .attempt_timeout(ms(100))
            .retry_on_timeout(true)
            .backoff(Backoff::new().base(ms(50)))
            .max_open_per_netloc(1)
            .observer(seen.clone())
    });
    let (result, _) = sim.run(async {
        let other = async {
            sim.sleep(ms(100)).await;
            any.call(|call| get(call, "/")).timeout(secs(2)).await
        };
        futures_util::future::join(get_root(&any), other).await
    });
    assert!(matches!(result, Err(Error::Timeout { after, .. }) if after == ms(100)), "{result:?}");
    let values = seen
        .events()
        .into_iter()
        .filter(|event| matches!(event.what, What::CallEnded { outcome: Outcome::Value, .. }));
    assert_eq!(values.count(), 0);
}

#[test]
fn dace_s_own_waiting_is_no_failure_of_the_server_s() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(secs(2));
    let any = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).timeout(secs(60)).breaker(touchy());
        builder.http_pool_size(1).max_open_per_netloc(20)
    });
    sim.run(async {
        let slow = get_root(&any);
        let quick = any.call(|call| async move {
            call.http().get("/").timeout(ms(50)).send().await?.text().await
        });
        let (slow, quick) = futures_util::future::join(slow, quick).await;
        slow.unwrap();
        let error = quick.unwrap_err().into_source().unwrap();
        assert_eq!(error.kind(), &HttpErrorKind::Timeout(ms(50)));
    });
    assert_eq!(any.snapshot().totals.opened, 0);
}

#[test]
fn a_netloc_that_is_visited_again_past_the_deadline_is_left_alone() {
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(ms(5)..ms(20), 500);
    sim.server("http://b:80");
    let any = dependency(&sim, |builder| {
        let builder = builder.timeout(ms(500)).retry_attempts(0);
        builder.circuit_reset_timeout(ms(50)).breaker(touchy())
    });
    let (world, other) = (sim.clone(), any.clone());
    let result = sim.run(any.call(|call| {
        let (sim, other) = (world.clone(), other.clone());
        async move {
            get(call.clone(), "http://a/").await?;
            get(call.clone(), "http://b/").await?;
            sim.sleep(ms(10)).await;
            let _ = other.call(|call| get(call, "http://a/")).await;
            sim.sleep(ms(100)).await;
            // Time passes inside one poll.
            sim.advance(ms(600));
            get(call, "http://a/").await
        }
    }));
    assert!(matches!(result, Err(Error::Timeout { .. })), "{result:?}");
    assert_all_back(&any);
}

#[test]
fn in_panic_mode_a_full_endpoint_is_waited_for() {
    let sim = Sim::new(1);
    for target in ["http://a:80", "http://b:80"] {
        sim.server(target).latency(ms(10)).answers(..ms(100), 500);
    }
    let any = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80", "http://b:80"]).breaker(touchy());
        builder.retry_attempts(0).max_open_per_netloc(1).queue(10)
    });
    sim.run(async {
        for _ in 0..4 {
            let _ = get_root(&any).await;
        }
        sim.sleep(ms(200)).await;
        let results = futures_util::future::join_all((0..4).map(|_| get_root(&any))).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    });
    assert_all_back(&any);
}

#[test]
fn closing_hands_over_all_events() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let seen = Seen::default();
    let any = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).observer(seen.clone());
        builder.max_open_per_netloc(1000).http_pool_size(1000)
    });
    sim.run(async {
        let mut calls: Vec<_> = (0..200).map(|_| Box::pin(get_root(&any))).collect();
        for call in &mut calls {
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        }
        drop(calls);
        assert_eq!(any.close(secs(1)).await, 0);
    });
    let events = seen.events();
    let ended = events.iter().filter(|event| matches!(event.what, What::CallEnded { .. }));
    assert_eq!(ended.count(), 200);
    assert_eq!(events.last().map(|event| &event.what), Some(&What::Closed));
}

/// F4: a slow reader is no stall.
#[test]
fn a_reader_who_stops_waiting_for_a_while_has_not_waited_all_the_while() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::ok("one").piece(ms(3100), "two"));
    let any = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).stall_timeout(secs(1)).timeout(secs(100))
    });
    let world = sim.clone();
    let pieces = sim.run(any.call(|call| {
        let sim = world.clone();
        async move {
            let mut response = call.http().get("/").send().await?;
            let mut pieces = 0;
            loop {
                let chunk = std::pin::pin!(response.chunk());
                let tick = std::pin::pin!(sim.sleep(ms(10)));
                match futures_util::future::select(chunk, tick).await {
                    futures_util::future::Either::Left((Ok(Some(_)), _)) => pieces += 1,
                    futures_util::future::Either::Left((Ok(None), _)) => return Ok(pieces),
                    futures_util::future::Either::Left((Err(error), _)) => return Err(error),
                    futures_util::future::Either::Right(_) => {}
                }
                sim.sleep(secs(3)).await;
            }
        }
    }));
    assert_eq!(pieces.unwrap(), 2);
}

#[test]
fn an_agent_frames_its_messages_itself() {
    let sim = Sim::new(1);
    let a = sim.server("http://a:80");
    let any = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    for (name, value) in [("transfer-encoding", "chunked"), ("content-length", "7"), ("host", "b")]
    {
        let error = sim.run(any.call(|call| async move {
            let mut request = call.agent().request(Method::POST, "/")?;
            request.headers.extend(Header::new(name, value));
            call.agent().send(request).await.map(drop)
        }));
        let error = error.unwrap_err().into_source().unwrap();
        assert!(matches!(error.kind(), HttpErrorKind::Request(_)), "{name}: {error:?}");
    }
    assert_eq!(a.requests(), 0);
}

#[test]
fn a_waiter_waits_for_what_is_there_now_when_the_targets_were_replaced() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let any =
        dependency(&sim, |builder| builder.max_open_per_netloc(1).queue(10).timeout(secs(100)));
    let world = sim.clone();
    sim.run(async {
        let busy = world.spawn({
            let (any, sim) = (any.clone(), world.clone());
            async move {
                any.call(|_| {
                    let sim = sim.clone();
                    async move {
                        sim.sleep(secs(5)).await;
                        Ok::<_, HttpError>(())
                    }
                })
                .await
            }
        });
        world.sleep(ms(1)).await;
        let waiting = world.spawn({
            let any = any.clone();
            async move { get_root(&any).await }
        });
        world.sleep(ms(1)).await;
        any.set_targets(["http://a:80"]).unwrap();
        waiting.await.unwrap();
        assert!(world.elapsed() < secs(1), "it did not wait for the old place");
        busy.await.unwrap();
    });
    assert_all_back(&any);
}

#[test]
fn a_hint_of_a_year_costs_the_balancer_no_more_than_hint_max() {
    let sim = Sim::new(1);
    let count = Count::default();
    sim.server("http://a:80").handler(move |_| match count.next() {
        1 => Answer::status(429).header("retry-after", "31536000"),
        _ => Answer::ok("ok"),
    });
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
    sim.run(get_root(&a)).unwrap_err();
    let latency: Duration = a.snapshot().endpoints[1].latency.unwrap();
    assert_eq!(latency, secs(30));
}
