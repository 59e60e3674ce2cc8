//! The rate limit.

use std::future::{Future, poll_fn, ready};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use dace::{HttpError, RateLimit, Reason, RoundRobin, WaitCause, What};
use dace_sim::Sim;
use futures_util::future::join_all;

use crate::common::{
    Builder, Dependency, Seen, assert_all_back, dependency, get, get_root, ms, secs,
};

fn ten_a_second() -> RateLimit {
    RateLimit::new(10, secs(1)).burst(1)
}

fn at_a(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    dependency(sim, |builder| {
        let builder = builder.targets(["http://a:80"]).retry_attempts(0).max_open_per_netloc(1_000);
        set(builder.circuit_reset_timeout(Duration::ZERO))
    })
}

fn tokens(dependency: &Dependency, netloc: &str) -> Option<u32> {
    let snapshot = dependency.snapshot();
    let endpoint = snapshot.endpoints.iter().find(|endpoint| endpoint.netloc.as_str() == netloc);
    endpoint.unwrap().rate_tokens
}

#[test]
fn so_many_begin_in_a_second_and_the_rest_is_told_exactly_when() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let seen = Seen::default();
    let a = at_a(&sim, |builder| {
        builder.rate_limit(RateLimit::new(100, secs(1)).burst(20)).observer(seen.clone())
    });
    sim.run(async {
        for _ in 0..5_000 {
            if let Err(error) = get_root(&a).await {
                assert!(error.is_rejected());
                let due = error.retry_after().unwrap();
                assert!(due > Duration::ZERO && due <= ms(10), "{due:?}");
            }
            sim.sleep(ms(1)).await;
        }
    });
    assert_eq!(server.requests(), 20 + 499);
    let refused = |event: &dace::Event| match &event.what {
        What::Refused { refusal } => Some(refusal.reason()),
        _ => None,
    };
    assert!(seen.events().iter().filter_map(refused).all(|reason| reason == Reason::RateLimit));
    // Whoever comes when it was told to is let in, and a nanosecond earlier not.
    sim.run(async {
        let due = loop {
            if let Err(error) = get_root(&a).await {
                break error.retry_after().unwrap();
            }
        };
        sim.sleep(due - Duration::from_nanos(1)).await;
        assert_eq!(get_root(&a).await.unwrap_err().retry_after(), Some(Duration::from_nanos(1)));
        sim.sleep(Duration::from_nanos(1)).await;
        get_root(&a).await.unwrap();
    });
    assert_eq!(a.snapshot().totals.rate_limited, 5_000 - 519 + 2);
}

#[test]
fn a_balancer_passes_over_a_server_without_a_token() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    let both = dependency(&sim, |builder| {
        let targets = RoundRobin::new(["http://a:80", "http://b:80"]);
        builder.load_balancer(targets).rate_limit(ten_a_second())
    });
    sim.run(async {
        for _ in 0..2 {
            get_root(&both).await.unwrap();
        }
        sim.sleep(ms(50)).await;
        assert_eq!(get_root(&both).await.unwrap_err().retry_after(), Some(ms(50)));
        // `a` is the next in turn, and has a token again; then `b` has, though `a` is in turn.
        sim.sleep(ms(50)).await;
        get_root(&both).await.unwrap();
        get_root(&both).await.unwrap();
    });
    assert_eq!((a.requests(), b.requests()), (2, 2));
    assert_eq!((tokens(&both, "a:80"), tokens(&both, "b:80")), (Some(0), Some(0)));
}

#[test]
fn a_sticky_key_waits_for_the_token_of_its_server_and_goes_to_no_other() {
    let sim = Sim::new(1);
    let names = ["http://a:80", "http://b:80", "http://c:80"];
    let servers = names.map(|name| sim.server(name));
    let all = |queue| {
        dependency(&sim, |builder| {
            let builder = builder.load_balancer(dace::Rendezvous::new(names)).queue(queue);
            builder.rate_limit(ten_a_second()).retry_attempts(0).timeout(secs(60))
        })
    };
    let requests = || servers.each_ref().map(|server| server.requests());
    let (waiting, refused) = (all(50), all(0));
    sim.run(async {
        let call = |_| waiting.call(|call| get(call, "/")).sticky("k");
        let calls = join_all((0..5).map(call)).await;
        assert!(calls.iter().all(Result::is_ok), "{calls:?}");
        assert_eq!(sim.elapsed(), ms(400), "one each tenth of a second");
        let mut sorted = requests();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 0, 5], "all at the same one");
        refused.call(|call| get(call, "/")).sticky("k").await.unwrap();
        let error = refused.call(|call| get(call, "/")).sticky("k").await.unwrap_err();
        assert_eq!((error.is_rejected(), error.retry_after()), (true, Some(ms(100))));
        // Those without a key go where there is a token.
        let any = join_all((0..2).map(|_| refused.call(|call| get(call, "/")))).await;
        assert!(any.iter().all(Result::is_ok), "{any:?}");
    });
    assert_all_back(&waiting);
}

#[test]
fn waiters_get_their_tokens_in_order_and_the_last_after_all_of_them() {
    // C9.
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = at_a(&sim, |builder| builder.rate_limit(ten_a_second()).queue(50).timeout(secs(60)));
    let ends = sim.run(join_all((0..51).map(|_| async {
        get_root(&a).await.unwrap();
        sim.elapsed()
    })));
    let expected: Vec<_> = (0..51).map(|number| ms(100 * number)).collect();
    assert_eq!(ends, expected);
    assert_all_back(&a);
}

#[test]
fn a_waiter_whose_token_comes_too_late_leaves_at_once_and_knows_when_it_would_have_come() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = at_a(&sim, |builder| builder.rate_limit(ten_a_second()).queue(50).timeout(secs(1)));
    let ends = sim.run(join_all((0..20).map(|_| async {
        let error = get_root(&a).await.err();
        (sim.elapsed(), error.map(|error| error.retry_after().unwrap()))
    })));
    for (number, (end, refused)) in ends.into_iter().enumerate() {
        let due = ms(100 * number as u64);
        // What is due at the deadline, or 5 ms before, is of no use.
        let expected = if number < 10 { (due, None) } else { (ms(0), Some(ms(1_000))) };
        assert_eq!((end, refused), expected, "{number}");
    }
    assert_eq!(server.requests(), 10);
}

#[test]
fn the_queue_holds_so_many_that_wait_for_a_token_and_no_more() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = at_a(&sim, |builder| builder.rate_limit(ten_a_second()).queue(3));
    let results = sim.run(join_all((0..9).map(|_| get_root(&a))));
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 5);
    // Behind the three that wait.
    assert!(refused.iter().all(|error| error.retry_after() == Some(ms(400))));
}

#[test]
fn a_waiter_that_nobody_polls_blocks_nobody() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = at_a(&sim, |builder| {
        builder.rate_limit(RateLimit::new(1, secs(1)).burst(1)).queue(50).timeout(secs(60))
    });
    sim.run(async {
        get_root(&a).await.unwrap();
        let mut forgotten: Vec<_> = (0..5).map(|_| Box::pin(get_root(&a))).collect();
        poll_fn(|cx| {
            for call in &mut forgotten {
                assert!(call.as_mut().poll(cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        get_root(&a).await.unwrap();
        // Five offers that nobody came for, 10 ms each, after as long until somebody looked.
        assert!(sim.elapsed() <= ms(1_120), "{:?}", sim.elapsed());
        drop(forgotten);
    });
    assert_all_back(&a);
}

#[test]
fn what_was_not_sent_costs_no_token() {
    let sim = Sim::new(1);
    sim.server("http://a:80").down(..secs(1));
    let a = at_a(&sim, |builder| builder.rate_limit(ten_a_second()).retry_attempts(3));
    sim.run(async {
        let error = get_root(&a).await.unwrap_err();
        // Four attempts at once, on one token.
        assert_eq!((sim.elapsed(), a.snapshot().totals.attempts), (Duration::ZERO, 4), "{error}");
        assert_eq!(tokens(&a, "a:80"), Some(1));
        sim.sleep(secs(1)).await;
        get_root(&a).await.unwrap();
        assert_eq!(tokens(&a, "a:80"), Some(0));
    });
}

#[test]
fn a_retry_waits_for_its_token() {
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(..ms(50), 500);
    let seen = Seen::default();
    let a = at_a(&sim, |builder| {
        builder.rate_limit(ten_a_second()).retry_attempts(3).observer(seen.clone())
    });
    sim.run(get_root(&a)).unwrap();
    assert_eq!(sim.elapsed(), ms(100));
    let retries = seen.events().into_iter().filter_map(|event| match event.what {
        What::RetryDecided { wait, cause } => Some((wait, cause)),
        _ => None,
    });
    assert_eq!(retries.collect::<Vec<_>>(), [(ms(100), WaitCause::RateLimit)]);
}

#[test]
fn an_attempt_pays_where_its_exchanges_go_and_not_at_the_dependency() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    let any = dependency(&sim, |builder| builder.rate_limit(ten_a_second()).retry_attempts(0));
    let fetch = |url: &'static str| any.call(move |call| get(call, url));
    sim.run(async {
        fetch("http://a/").await.unwrap();
        fetch("http://b/").await.unwrap();
        let error = fetch("http://a/").await.unwrap_err();
        assert_eq!(error.netloc().map(|netloc| netloc.as_str()), Some("a:80"));
        assert_eq!((error.retry_after(), error.is_rejected()), (Some(ms(100)), false));
        assert_eq!((a.requests(), b.requests()), (1, 1));
        assert_eq!((tokens(&any, "test"), tokens(&any, "b:80")), (Some(1), Some(0)));
        // Functions without exchanges are limited there.
        any.call(|_| ready(Ok::<_, HttpError>(()))).await.unwrap();
        let error = any.call(|_| ready(Ok::<_, HttpError>(()))).await.unwrap_err();
        assert_eq!(error.retry_after(), Some(ms(100)));
    });
    assert_all_back(&any);
}

#[test]
fn a_new_list_of_targets_gives_no_new_tokens() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = at_a(&sim, |builder| builder.rate_limit(ten_a_second()));
    sim.run(async {
        get_root(&a).await.unwrap();
        a.set_targets(["http://a:80", "http://b:80"]).unwrap();
        a.set_targets(["http://a:80"]).unwrap();
        assert_eq!(get_root(&a).await.unwrap_err().retry_after(), Some(ms(100)));
    });
}

#[test]
fn names_that_nobody_knows_push_no_used_up_limit_out_of_the_table() {
    let sim = Sim::new(1);
    for name in ["http://a:80", "http://b:80", "http://c:80"] {
        sim.server(name);
    }
    let any = dependency(&sim, |builder| {
        builder.rate_limit(ten_a_second()).retry_attempts(0).max_netlocs(1)
    });
    let fetch = |url: &'static str| any.call(move |call| get(call, url));
    sim.run(async {
        fetch("http://a/").await.unwrap();
        fetch("http://b/").await.unwrap();
        assert_eq!(fetch("http://a/").await.unwrap_err().retry_after(), Some(ms(100)));
        // The two others share an entry, and so its limit.
        assert_eq!(fetch("http://c/").await.unwrap_err().retry_after(), Some(ms(100)));
        // Full again, it is as good as new.
        sim.sleep(ms(100)).await;
        fetch("http://c/").await.unwrap();
        assert!(any.snapshot().endpoints.iter().all(|known| known.netloc.as_str() != "a:80"));
    });
}

#[test]
fn a_clock_that_goes_back_and_idle_years_let_nobody_in_early_or_shut_out() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = at_a(&sim, |builder| builder.rate_limit(ten_a_second()).queue(5));
    sim.run(async {
        sim.sleep(secs(3_600)).await;
        get_root(&a).await.unwrap();
    });
    sim.turn_back(secs(3_600));
    sim.run(async {
        let before = sim.elapsed();
        get_root(&a).await.unwrap();
        assert_eq!(sim.elapsed() - before, ms(100));
    });
    sim.advance(secs(60 * 365 * 86_400));
    sim.run(async {
        get_root(&a).await.unwrap();
        assert_eq!(tokens(&a, "a:80"), Some(0));
    });
}

#[test]
fn a_caller_that_goes_away_leaves_its_place_to_the_next() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = at_a(&sim, |builder| builder.rate_limit(ten_a_second()).queue(5));
    sim.run(async {
        get_root(&a).await.unwrap();
        {
            let mut gone = pin!(get_root(&a));
            assert!(poll_fn(|cx| Poll::Ready(gone.as_mut().poll(cx).is_pending())).await);
        }
        get_root(&a).await.unwrap();
        assert_eq!(sim.elapsed(), ms(100));
    });
    assert_all_back(&a);
}
