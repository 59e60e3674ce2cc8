//! Equal calls under way are made once (incidents A8, I1, J2).

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::sim::{Answer, Sim, SimBackend, SimRuntime};
use dace::{CachePolicy, Error, HttpError};
use futures_util::future::join_all;

type Dependency = dace::Dependency<SimRuntime, SimBackend>;
type Group<K, T> = dace::Group<SimRuntime, K, T, HttpError>;
type Call = dace::Call<SimRuntime, SimBackend>;

const MS: Duration = Duration::from_millis(1);

fn dependency(sim: &Sim) -> Dependency {
    Dependency::builder("test")
        .targets(["http://a:80"])
        .retry_attempts(0)
        .max_open_per_netloc(1)
        .circuit_reset_timeout(Duration::ZERO)
        .build_with(sim.runtime(), sim.backend())
        .unwrap()
}

async fn get(call: Call) -> Result<String, HttpError> {
    call.http().get("/").send().await?.error_for_status()?.text().await
}

#[test]
fn equal_calls_under_way_are_made_once_and_all_get_the_value() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(10 * MS);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    sim.run(async {
        let calls = (0..100).map(|_| a.call(get).shared(&names, 1));
        let results = join_all(calls).await;
        assert!(results.into_iter().all(|result| result.unwrap() == "ok"));
        assert!(names.is_empty());
        // What comes after is a call of its own.
        a.call(get).shared(&names, 1).await.unwrap();
    });
    assert_eq!((server.requests(), sim.elapsed()), (2, 20 * MS));
    let totals = a.snapshot().totals;
    assert_eq!((totals.succeeded, totals.attempts, totals.shared), (2, 2, 99));
}

#[test]
fn a8_all_get_the_error_and_it_is_one_and_the_same() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(10 * MS).answers(.., 503);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    let errors = sim.run(join_all((0..5).map(|_| a.call(get).shared(&names, 1))));
    let errors: Vec<_> = errors.into_iter().map(Result::unwrap_err).collect();
    assert!(errors.iter().all(|error| Arc::ptr_eq(error, &errors[0])));
    assert!(matches!(&*errors[0], Error::Operation { source, .. } if source.status() == Some(503)));
    assert_eq!((server.requests(), a.snapshot().totals.failed), (1, 1));
}

#[test]
fn a8_a_cancelled_leader_hands_off_and_its_place_is_back_before() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(10 * MS);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    sim.run(async {
        let mut leader = Box::pin(a.call(get).shared(&names, 1));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(leader.as_mut().poll(&mut cx).is_pending());
        let followers: Vec<_> = (0..3).map(|_| sim.spawn(a.call(get).shared(&names, 1))).collect();
        sim.sleep(5 * MS).await;
        drop(leader);
        // The limit is one: the promoted call would be refused if the leader's place were not back.
        for result in join_all(followers).await {
            assert_eq!(result.unwrap(), "ok");
        }
        assert!(names.is_empty());
    });
    assert_eq!((server.requests(), sim.elapsed()), (2, 15 * MS));
    let totals = a.snapshot().totals;
    assert_eq!((totals.dropped, totals.succeeded, totals.shared), (1, 1, 2));
}

/// Looks, when it is woken, how many operations are open.
struct Look(Dependency, AtomicU32);

impl std::task::Wake for Look {
    fn wake(self: Arc<Self>) {
        self.1.store(self.0.snapshot().endpoints[1].open, Ordering::Relaxed);
    }
}

#[test]
fn a8_whoever_is_woken_finds_the_places_of_the_cancelled_leader_free() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(10 * MS);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    let look = Arc::new(Look(a.clone(), AtomicU32::new(9)));
    let waker = Waker::from(look.clone());
    sim.run(async {
        let mut leader = Box::pin(a.call(get).shared(&names, 1));
        let mut follower = Box::pin(a.call(get).shared(&names, 1));
        let mut cx = Context::from_waker(&waker);
        assert!(leader.as_mut().poll(&mut cx).is_pending());
        assert!(follower.as_mut().poll(&mut cx).is_pending());
        assert_eq!(a.snapshot().endpoints[1].open, 1);
        drop(leader);
        assert_eq!(look.1.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn a8_a_parked_follower_is_promoted_and_one_that_nobody_polls_holds_up_nobody() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(10 * MS);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    sim.run(async {
        let mut cx = Context::from_waker(Waker::noop());
        let mut leader = Box::pin(a.call(get).shared(&names, 1));
        let mut never_polled_again = Box::pin(a.call(get).shared(&names, 1));
        assert!(leader.as_mut().poll(&mut cx).is_pending());
        assert!(never_polled_again.as_mut().poll(&mut cx).is_pending());
        let parked = sim.spawn(a.call(get).shared(&names, 1));
        sim.sleep(5 * MS).await;
        drop(leader);
        assert_eq!(parked.await.unwrap(), "ok");
        assert_eq!(names.len(), 1, "it may still be taken");
        let Poll::Ready(late) = never_polled_again.as_mut().poll(&mut cx) else {
            panic!("the answer is there");
        };
        assert_eq!(late.unwrap(), "ok");
    });
    assert!(names.is_empty());
}

#[test]
fn a8_when_all_are_cancelled_nothing_is_left_and_the_next_call_is_a_new_one() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(10 * MS);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    sim.run(async {
        let mut cx = Context::from_waker(Waker::noop());
        for leader_first in [true, false] {
            let mut calls: Vec<_> =
                (0..4).map(|_| Box::pin(a.call(get).shared(&names, 1))).collect();
            for call in &mut calls {
                assert!(call.as_mut().poll(&mut cx).is_pending());
            }
            if !leader_first {
                calls.reverse();
            }
            calls.into_iter().for_each(drop);
            assert!(names.is_empty());
        }
        assert_eq!(a.call(get).shared(&names, 1).await.unwrap(), "ok");
    });
    assert_eq!((server.requests(), a.snapshot().calls), (3, 0));
}

#[test]
fn a8_a_cancelled_follower_disturbs_nobody() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(10 * MS);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    sim.run(async {
        let leader = sim.spawn(a.call(get).shared(&names, 1));
        sim.sleep(MS).await;
        let mut follower = Box::pin(a.call(get).shared(&names, 1));
        let other = sim.spawn(a.call(get).shared(&names, 1));
        assert!(follower.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        sim.sleep(MS).await;
        drop(follower);
        assert_eq!((leader.await.unwrap(), other.await.unwrap()), ("ok".into(), "ok".into()));
    });
    assert_eq!((server.requests(), sim.elapsed()), (1, 10 * MS));
    assert_eq!(a.snapshot().totals.dropped, 0);
}

#[test]
fn a_follower_keeps_its_own_deadline_and_a_promoted_one_has_what_is_left_of_it() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(100 * MS);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    sim.run(async {
        let mut leader = Box::pin(a.call(get).timeout(1_000 * MS).shared(&names, 1));
        assert!(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        let impatient = a.call(get).timeout(20 * MS).shared(&names, 1).await.unwrap_err();
        let Error::Timeout { after, attempts, .. } = &*impatient else { panic!("{impatient}") };
        assert_eq!((*after, *attempts, sim.elapsed()), (20 * MS, 0, 20 * MS));
        // Promoted at 50 ms, with 60 of its 90 ms left: too little for the server's 100.
        let promoted = sim.spawn(a.call(get).timeout(90 * MS).shared(&names, 1));
        sim.sleep(30 * MS).await;
        drop(leader);
        let late = promoted.await.unwrap_err();
        assert!(matches!(&*late, Error::Timeout { attempts: 1, .. }), "{late}");
        assert_eq!(sim.elapsed(), 110 * MS);
    });
    let totals = a.snapshot().totals;
    assert_eq!((totals.timed_out, totals.dropped), (1, 1), "a follower's timeout is no call's");
}

#[test]
fn i1_a_leader_that_panics_hands_off() {
    let sim = Sim::new(1);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    let mut cx = Context::from_waker(Waker::noop());
    let polls = AtomicU32::new(0);
    let trap = a.call(|_| {
        std::future::poll_fn(|_| {
            assert!(polls.fetch_add(1, Ordering::Relaxed) == 0, "the user's own");
            Poll::<Result<String, HttpError>>::Pending
        })
    });
    let mut leader = pin!(trap.shared(&names, 1));
    assert!(leader.as_mut().poll(&mut cx).is_pending());
    let mut follower = pin!(a.call(|_| async { Ok("ok".to_owned()) }).shared(&names, 1));
    assert!(follower.as_mut().poll(&mut cx).is_pending());
    catch_unwind(AssertUnwindSafe(|| leader.as_mut().poll(&mut cx))).unwrap_err();
    // The leader's future is still there: the panic itself handed over.
    let Poll::Ready(result) = follower.as_mut().poll(&mut cx) else { panic!("it leads now") };
    assert_eq!(result.unwrap(), "ok");
    assert!(names.is_empty());
}

/// A value whose clone panics once.
#[derive(Debug)]
struct Once(Arc<AtomicU32>);

impl Clone for Once {
    fn clone(&self) -> Self {
        assert!(self.0.fetch_add(1, Ordering::Relaxed) > 0, "the user's own");
        Self(self.0.clone())
    }
}

#[test]
fn i2_a_value_whose_clone_panics_takes_nobody_along() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(10 * MS);
    let (a, values) = (dependency(&sim), Group::<u32, Once>::new());
    let clones = Arc::new(AtomicU32::new(0));
    let call = || {
        let clones = clones.clone();
        a.call(move |call| {
            let clones = clones.clone();
            async move { get(call).await.map(|_| Once(clones)) }
        })
    };
    sim.run(async {
        let mut leader = Box::pin(call().shared(&values, 1));
        let leader = sim.spawn(std::future::poll_fn(move |cx| {
            let polled = catch_unwind(AssertUnwindSafe(|| leader.as_mut().poll(cx)));
            polled.map_or(Poll::Ready(true), |polled| polled.map(|_| false))
        }));
        sim.sleep(MS).await;
        let followers: Vec<_> = (0..3).map(|_| sim.spawn(call().shared(&values, 1))).collect();
        assert!(leader.await, "it panicked");
        assert!(join_all(followers).await.iter().all(Result::is_ok));
    });
    assert!(values.is_empty());
}

/// All keys have one hash.
#[derive(PartialEq, Eq)]
struct Alike(u32);

impl Hash for Alike {
    fn hash<H: Hasher>(&self, state: &mut H) {
        7.hash(state);
    }
}

#[test]
fn j2_calls_whose_keys_have_one_hash_are_not_taken_for_each_other() {
    let sim = Sim::new(1);
    sim.server("http://a:80")
        .latency(10 * MS)
        .handler(|request| Answer::ok(request.url.path_and_query().to_owned()));
    let a = Dependency::builder("test")
        .targets(["http://a:80"])
        .max_open_per_netloc(1_000)
        .http_pool_size(1_000)
        .build_with(sim.runtime(), sim.backend())
        .unwrap();
    let pages = Group::<Alike, String>::new();
    let results = sim.run(join_all((0..600).map(|n| {
        let page = n % 300;
        let get = move |call: Call| async move {
            call.http().get(&format!("/{page}")).send().await?.text().await
        };
        a.call(get).shared(&pages, Alike(page))
    })));
    for (n, result) in results.into_iter().enumerate() {
        assert_eq!(result.unwrap(), format!("/{}", n % 300));
    }
    assert_eq!(a.snapshot().totals.shared, 300);
}

#[test]
fn a_report_says_who_made_the_call_and_who_had_its_answer() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(10 * MS).answers(.., 500);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    sim.run(async {
        let leads = sim.spawn(a.call(get).shared(&names, 1).report());
        sim.sleep(4 * MS).await;
        let follows = sim.spawn(a.call(get).shared(&names, 1).report());
        let late = a.call(get).timeout(2 * MS).shared(&names, 1).report();
        let (late, led, followed) = (late.await, leads.await, follows.await);
        assert_eq!((led.attempts.len(), led.why()), (1, Some(dace::Why::NoAttempts)));
        assert_eq!((followed.attempts.len(), followed.took), (0, 6 * MS));
        assert!(Arc::ptr_eq(led.result.as_ref().unwrap_err(), &followed.result.unwrap_err()));
        assert_eq!((late.attempts.len(), late.took), (0, 2 * MS));
        let text = a.call(get).shared(&names, 1).fallback(|_| async { Ok("x".to_owned()) });
        assert!(text.report().await.fallback_used);
    });
    let story = sim.run(async {
        let (_, followed) = futures_util::future::join(
            a.call(get).shared(&names, 1),
            a.call(get).shared(&names, 1).report(),
        )
        .await;
        followed.to_string()
    });
    assert_eq!(story, "test: error after 10ms\n  0ns: the answer of an equal call");
}

#[test]
fn closing_waits_for_the_fallbacks_of_shared_and_of_cached_calls() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(10 * MS).answers(.., 500);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    let cache = dace::Cache::new(CachePolicy::new().ttl(MS)).unwrap();
    let slow = |after: Duration| {
        let sleep = sim.sleep(after);
        move |_: Arc<Error<HttpError>>| async move {
            sleep.await;
            Ok::<_, Arc<Error<HttpError>>>("made up".to_owned())
        }
    };
    sim.run(async {
        // One leads, the other follows: its fallback is the longer one.
        let leads = sim.spawn(a.call(get).shared(&names, 1).fallback(slow(100 * MS)));
        let follows = a.call(get).shared(&names, 1).cached(&cache, 1).fallback(slow(200 * MS));
        let follows = sim.spawn(follows);
        sim.sleep(50 * MS).await;
        assert_eq!(a.snapshot().calls, 2, "both fall back");
        assert_eq!(a.close(10 * MS).await, 2);
        assert_eq!(a.close(500 * MS).await, 0);
        assert_eq!(sim.elapsed(), 200 * MS);
        assert!(leads.await.is_ok() && follows.await.is_ok());
    });
}

#[test]
fn a_fallback_that_is_not_needed_panics_or_is_dropped_holds_up_no_closing() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    let cache = dace::Cache::new(CachePolicy::new().stale_if_error(Duration::MAX)).unwrap();
    let cached = || a.call(get).cached(&cache, 1).fallback(|_| async { panic!("not needed") });
    sim.run(cached()).unwrap();
    server.answers(.., 500);
    sim.run(cached()).unwrap();
    assert_eq!((a.snapshot().totals.stale, a.snapshot().calls), (1, 0), "an old value was there");
    let mut cx = Context::from_waker(Waker::noop());
    let mut panics = pin!(a.call(get).shared(&names, 1).fallback(|_| async { panic!("its own") }));
    catch_unwind(AssertUnwindSafe(|| panics.as_mut().poll(&mut cx))).unwrap_err();
    assert_eq!(a.snapshot().calls, 0, "though its future is still there");
    let waits = |_| std::future::pending::<Result<String, Arc<Error<HttpError>>>>();
    let mut dropped = Box::pin(a.call(get).shared(&names, 1).fallback(waits));
    assert!(dropped.as_mut().poll(&mut cx).is_pending());
    assert_eq!(a.snapshot().calls, 1);
    drop(dropped);
    assert_eq!(sim.run(a.close(Duration::ZERO)), 0);
}

#[test]
fn a_shared_call_can_be_cached_have_a_fallback_and_be_spawned() {
    fn is_send<T: Send>(_: &T) {}
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(10 * MS).answers(20 * MS.., 500);
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    let cache = dace::Cache::new(CachePolicy::new().ttl(5 * MS).stale_if_error(50 * MS)).unwrap();
    let call = |key: u32| {
        let call = a.call(get).shared(&names, key).cached(&cache, key);
        call.fallback(|error| async move {
            assert_eq!(error.netloc().map(ToString::to_string).as_deref(), Some("a:80"));
            Ok("made up".to_owned())
        })
    };
    is_send(&call(1));
    sim.run(async {
        assert!(
            join_all((0..3).map(|_| call(1))).await.into_iter().all(|name| name.unwrap() == "ok")
        );
        assert_eq!(call(1).await.unwrap(), "ok", "fresh");
        sim.sleep(20 * MS).await;
        for name in join_all((0..3).map(|_| call(1))).await {
            assert_eq!(name.unwrap(), "ok", "stale");
        }
        for name in join_all((0..3).map(|_| call(2))).await {
            assert_eq!(name.unwrap(), "made up");
        }
        let plain = a.call(get).shared(&names, 1).fallback(|_| async { Ok("made up".to_owned()) });
        assert_eq!(plain.await.unwrap(), "made up");
    });
    let totals = a.snapshot().totals;
    assert_eq!((server.requests(), totals.shared, totals.cached), (4, 6, 1));
    assert_eq!((totals.stale, totals.fallbacks), (3, 4));
}

#[test]
fn an_answer_that_is_no_success_is_not_kept_shared_or_not() {
    let sim = Sim::new(1);
    let (a, numbers) = (dependency(&sim), dace::Group::<SimRuntime, u32, u32, HttpError>::new());
    let cache = dace::Cache::new(CachePolicy::new().ttl(Duration::MAX)).unwrap();
    let call =
        |class| a.call(|_| std::future::ready(Ok::<_, HttpError>(7))).classify(move |_| class);
    sim.run(async {
        assert_eq!(call(dace::Class::Failure).cached(&cache, 1).await.unwrap(), 7);
        assert!(cache.is_empty());
        let shared = || call(dace::Class::Failure).shared(&numbers, 1).cached(&cache, 1);
        let (one, other) = futures_util::future::join(shared(), shared()).await;
        assert_eq!((one.unwrap(), other.unwrap()), (7, 7));
        assert!(cache.is_empty());
        call(dace::Class::Success).shared(&numbers, 1).cached(&cache, 1).await.unwrap();
        assert!(!cache.is_empty());
    });
}

#[test]
fn a_shared_error_that_is_the_servers_word_is_not_hidden_by_an_old_value() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let (a, names) = (dependency(&sim), Group::<u32, String>::new());
    let cache = dace::Cache::new(CachePolicy::new().ttl(MS).stale_if_error(Duration::MAX)).unwrap();
    sim.run(async {
        let call = || a.call(get).shared(&names, 1).cached(&cache, 1);
        assert_eq!(call().await.unwrap(), "ok");
        sim.sleep(2 * MS).await;
        server.answers(.., 404);
        let error = call().await.unwrap_err();
        let source =
            Arc::into_inner(error).and_then(Error::into_source).expect("nobody else has it");
        assert_eq!(source.status(), Some(404));
    });
}
