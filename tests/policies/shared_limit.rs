//! Limits that dependencies share.

use std::future::{Future as _, pending, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;
use std::time::Duration;

use dace::{AdaptiveLimit, HttpError, RateLimit, Reason, SharedLimit, What};
use dace_sim::Sim;
use futures_util::future::{join_all, join3};

use crate::common::{
    Builder, Dependency, Seen, assert_all_back, dependency, get, get_root, ms, secs,
};

fn sharing(sim: &Sim, limit: &SharedLimit, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    dependency(sim, |builder| {
        let builder = builder.targets(["http://a:80"]).retry_attempts(0).shared_limit(limit);
        set(builder.max_open_per_netloc(100).circuit_reset_timeout(Duration::ZERO))
    })
}

#[test]
fn two_dependencies_have_so_many_open_together_and_no_more() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(100));
    let limit = SharedLimit::new().max_open(5);
    let seen = Seen::default();
    let one = sharing(&sim, &limit, |builder| builder.observer(seen.clone()));
    let two = sharing(&sim, &limit, |builder| builder);
    let results = sim.run(async {
        let calls = (0..10).map(|number| get_root(if number % 2 == 0 { &one } else { &two }));
        let results = join_all(calls).await;
        assert_eq!(limit.open(), 0);
        results
    });
    assert_eq!((server.peak(), server.requests()), (5, 5));
    for error in results.into_iter().filter_map(Result::err) {
        assert!(error.is_rejected() && error.retry_after().is_none(), "{error}");
        assert_eq!(error.netloc().map(|netloc| netloc.as_str()), Some("test"));
    }
    let reasons = seen.events().into_iter().filter_map(|event| match event.what {
        What::Refused { refusal } => Some(refusal.reason()),
        _ => None,
    });
    assert_eq!(reasons.collect::<Vec<_>>(), [Reason::SharedLimit; 2]);
    assert_all_back(&one);
    assert_all_back(&two);
}

#[test]
fn one_rate_holds_for_dependencies_on_clocks_that_differ() {
    let (here, there) = (Sim::new(1), Sim::new(2));
    there.advance(secs(86_400));
    for sim in [&here, &there] {
        sim.server("http://a:80");
    }
    let limit =
        SharedLimit::on::<dace_sim::SimRuntime>().rate(RateLimit::new(10, secs(1)).burst(1));
    let (one, two) = (sharing(&here, &limit, |b| b), sharing(&there, &limit, |b| b));
    let mut granted = 0;
    for step in 0..1_000 {
        let first =
            if step % 2 == 0 { here.run(get_root(&one)) } else { there.run(get_root(&two)) };
        let second =
            if step % 2 == 0 { there.run(get_root(&two)) } else { here.run(get_root(&one)) };
        granted += u32::from(first.is_ok()) + u32::from(second.is_ok());
        here.advance(ms(10));
        there.advance(ms(10));
    }
    assert_eq!(granted, 100);
}

#[test]
fn a_refusal_of_a_rate_says_exactly_when_and_what_was_not_sent_costs_nothing() {
    let sim = Sim::new(1);
    sim.server("http://a:80").down(..secs(1));
    let limit = SharedLimit::new().rate(RateLimit::new(10, secs(1)).burst(1));
    let a = sharing(&sim, &limit, |builder| builder.retry_attempts(3));
    sim.run(async {
        get_root(&a).await.unwrap_err();
        assert_eq!((sim.elapsed(), a.snapshot().totals.attempts), (Duration::ZERO, 4));
        sim.sleep(secs(1)).await;
        get_root(&a).await.unwrap();
        assert_eq!(a.snapshot().shared_limits[0].rate_tokens, Some(0));
        assert_eq!(get_root(&a).await.unwrap_err().retry_after(), Some(ms(100)));
    });
}

#[test]
fn what_the_dependency_itself_refuses_is_given_back() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(100));
    let limit = SharedLimit::new().max_open(10).rate(RateLimit::new(10, secs(1)).burst(10));
    let a = sharing(&sim, &limit, |builder| {
        builder.max_open_per_netloc(100).adaptive_limit(AdaptiveLimit::new().start(1))
    });
    sim.run(async {
        let results = join_all((0..5).map(|_| get_root(&a))).await;
        assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    });
    let shared = a.snapshot().shared_limits[0];
    assert_eq!((shared.open, shared.max_open, shared.rate_tokens), (0, Some(10), Some(10)));
    assert_eq!(limit.open(), 0);
}

#[test]
fn drops_panics_and_timeouts_give_it_back() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(..);
    let limit = SharedLimit::new().max_open(3);
    let a = sharing(&sim, &limit, |builder| builder.timeout(secs(1)));
    sim.run(async {
        let mut calls: Vec<_> = (0..3).map(|_| Box::pin(get_root(&a))).collect();
        poll_fn(|cx| {
            for call in &mut calls {
                assert!(call.as_mut().poll(cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!(limit.open(), 3);
        calls.pop();
        assert_eq!(limit.open(), 2);
        for call in calls {
            call.await.unwrap_err();
        }
        assert_eq!(limit.open(), 0);
        let panics = a.call(|_| async { panic!("as it is told") as Result<(), HttpError> });
        let mut panics = Box::pin(panics);
        poll_fn(|cx| {
            catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(cx).is_ready())).unwrap_err();
            Poll::Ready(())
        })
        .await;
        assert_eq!(limit.open(), 0);
        let never = a.call(|_| pending::<Result<(), HttpError>>()).timeout(ms(5)).await;
        never.unwrap_err();
    });
    assert_eq!(limit.open(), 0);
    assert_all_back(&a);
}

#[test]
fn an_answer_that_outlives_its_call_keeps_its_part_until_it_is_read() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let limit = SharedLimit::new().max_open(1);
    let a = sharing(&sim, &limit, |builder| builder);
    sim.run(async {
        let response =
            a.call(|call| async move { call.http().get("/").send().await }).await.unwrap();
        assert_eq!(limit.open(), 1);
        assert!(get_root(&a).await.unwrap_err().is_rejected());
        assert_eq!(response.text().await.unwrap(), "ok");
        assert_eq!(limit.open(), 0);
        get_root(&a).await.unwrap();
    });
}

#[test]
fn who_waits_in_the_queue_keeps_its_place_while_the_shared_limit_is_used_up() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(100));
    let limit = SharedLimit::new().max_open(2);
    let (one, two) = (
        sharing(&sim, &limit, |builder| builder.max_open_per_netloc(1).queue(5)),
        sharing(&sim, &limit, |builder| builder),
    );
    sim.run(async {
        let (first, waiter, other) = join3(get_root(&one), get_root(&one), async {
            sim.sleep(ms(1)).await;
            let first = get_root(&two).await;
            let second = get_root(&two).await;
            (first, second)
        })
        .await;
        first.unwrap();
        waiter.unwrap();
        other.0.unwrap();
        other.1.unwrap();
    });
    assert_eq!(limit.open(), 0);
    assert_all_back(&one);
}

#[test]
fn who_has_to_make_room_leaves_while_the_shared_limit_is_used_up() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1_000));
    let limit = SharedLimit::new().max_open(1);
    let holder = sharing(&sim, &limit, |builder| builder);
    let one = sharing(&sim, &limit, |builder| builder.max_open_per_netloc(1).queue(1));
    sim.run(async {
        let call = |priority| one.call(|call| get(call, "/")).priority(priority);
        let first = async {
            // Waits for a place of its own, and then for the shared one.
            let running = call(dace::Priority::High);
            let low = async {
                sim.sleep(ms(10)).await;
                let before = sim.elapsed();
                let error = call(dace::Priority::Low).await.unwrap_err();
                (sim.elapsed() - before, error)
            };
            let high = async {
                sim.sleep(ms(1_100)).await;
                call(dace::Priority::High).await
            };
            join3(running, low, high).await
        };
        let (_, (waited, error), _) = first.await;
        let _ = &holder;
        assert!(error.is_rejected() && waited <= ms(2_000), "{waited:?} {error}");
    });
    assert_eq!(limit.open(), 0);
}

#[test]
fn several_limits_bind_together_and_one_twice_is_an_error() {
    let sim = Sim::new(1);
    let (narrow, wide) = (SharedLimit::new().max_open(1), SharedLimit::new().max_open(9));
    let a = sharing(&sim, &wide, |builder| builder.shared_limit(&narrow));
    sim.run(async {
        let inner = a.clone();
        a.call(|_| {
            let inner = inner.clone();
            async move {
                let refused = inner.call(|_| ready(Ok::<_, HttpError>(()))).await;
                assert!(refused.unwrap_err().is_rejected());
                Ok::<_, HttpError>(())
            }
        })
        .await
        .unwrap();
    });
    assert_eq!((narrow.open(), wide.open()), (0, 0));
    let twice = Dependency::builder("test").shared_limit(&wide).shared_limit(&wide);
    let error = twice.build_with(sim.runtime(), sim.backend()).unwrap_err();
    assert_eq!(error.setting(), "shared_limit");
    let unset = Dependency::builder("test").shared_limit(&SharedLimit::new());
    let error = unset.build_with(sim.runtime(), sim.backend()).unwrap_err();
    assert_eq!(error.setting(), "shared_limit");
}

#[test]
fn a_redirect_elsewhere_is_one_part_of_it() {
    let sim = Sim::new(1);
    sim.server("http://a:80")
        .handler(|_| dace_sim::Answer::status(302).header("location", "http://b/"));
    sim.server("http://b:80");
    let limit = SharedLimit::new().max_open(1).rate(RateLimit::new(1, secs(1)));
    let a = dependency(&sim, |builder| builder.shared_limit(&limit));
    sim.run(a.call(|call| get(call, "http://a/"))).unwrap();
    let shared = a.snapshot().shared_limits[0];
    assert_eq!((shared.open, shared.rate_tokens), (0, Some(0)));
}
