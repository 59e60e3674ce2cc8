//! Answers that are kept: fresh ones without a call, stale ones in place of an error.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::sim::{Answer, Sim, SimBackend, SimRuntime};
use dace::{CachePolicy, Event, HttpError, What};

type Dependency = dace::Dependency<SimRuntime, SimBackend>;
type Cache<K, T> = dace::Cache<SimRuntime, K, T>;
type Call = dace::Call<SimRuntime, SimBackend>;

const SECOND: Duration = Duration::from_secs(1);

fn dependency(sim: &Sim, seen: &Arc<Mutex<Vec<Event>>>) -> Dependency {
    let seen = seen.clone();
    Dependency::builder("test")
        .targets(["http://a:80"])
        .retry_attempts(0)
        .circuit_reset_timeout(Duration::ZERO)
        .observer(move |_: &str, event: &Event| seen.lock().unwrap().push(event.clone()))
        .build_with(sim.runtime(), sim.backend())
        .unwrap()
}

async fn get(call: Call) -> Result<String, HttpError> {
    call.http().get("/").send().await?.error_for_status()?.text().await
}

/// Answers how often it was asked.
fn counting(sim: &Sim) -> dace::sim::Server {
    let server = sim.server("http://a:80");
    let asked = AtomicU32::new(0);
    server.handler(move |_| Answer::ok(format!("{}", asked.fetch_add(1, Ordering::Relaxed) + 1)));
    server
}

fn cache<K, T>(policy: CachePolicy) -> Cache<K, T>
where
    K: Hash + Eq + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    Cache::new(policy).unwrap()
}

#[test]
fn a_fresh_value_answers_without_a_call_until_its_ttl_is_over() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let (server, a) = (counting(&sim), dependency(&sim, &seen));
    let names = cache::<u32, String>(CachePolicy::new().ttl(SECOND));
    sim.run(async {
        for _ in 0..10 {
            assert_eq!(a.call(get).cached(&names, 1).await.unwrap(), "1");
            sim.sleep(SECOND / 10).await;
        }
        assert_eq!(a.call(get).cached(&names, 1).await.unwrap(), "2", "one second old");
        assert_eq!(a.call(get).cached(&names, 2).await.unwrap(), "3", "another key");
        assert_eq!(names.clone().len(), 2);
        names.forget(&1);
        assert_eq!(a.call(get).cached(&names, 1).await.unwrap(), "4", "forgotten");
    });
    let totals = a.snapshot().totals;
    assert_eq!((server.requests(), totals.succeeded, totals.attempts, totals.cached), (4, 4, 4, 9));
    let seen = seen.lock().unwrap();
    let ages = seen.iter().filter_map(|event| match event.what {
        What::CacheHit { age } => Some((event.call, age)),
        _ => None,
    });
    let expected: Vec<_> = (1..10).map(|tenths| (0, SECOND / 10 * tenths)).collect();
    assert_eq!(ages.collect::<Vec<_>>(), expected);
}

#[test]
fn a_stale_value_answers_in_place_of_an_error_and_the_report_says_so() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let (server, a) = (counting(&sim), dependency(&sim, &seen));
    server.answers(SECOND * 2..SECOND * 20, 500);
    let policy = CachePolicy::new().ttl(SECOND).stale_if_error(SECOND * 9);
    let names = cache::<u32, String>(policy);
    sim.run(async {
        a.call(get).cached(&names, 1).await.unwrap();
        sim.sleep(SECOND * 3).await;
        let report = a.call(get).cached(&names, 1).report().await;
        assert_eq!(report.result.as_ref().unwrap(), "1");
        assert_eq!((report.cached(), report.attempts.len()), (Some(SECOND * 3), 1));
        let story = report.to_string();
        assert!(story.ends_with("error\n  0ns: in its place from the cache, 3s old"), "{story}");
        assert_eq!(report.why(), Some(dace::Why::NoAttempts));
        // Also in place of what never began.
        let timed_out = a.call(get).timeout(Duration::ZERO).cached(&names, 1).await;
        assert_eq!(timed_out.unwrap(), "1");
        sim.sleep(SECOND * 7).await;
        let too_old = a.call(get).cached(&names, 1).await.unwrap_err();
        assert_eq!(too_old.why(), Some(dace::Why::NoAttempts), "ten seconds old");
        let rescued = a.call(get).cached(&names, 1).fallback(|_| async { Ok("made up".into()) });
        let report = rescued.report().await;
        assert!(report.fallback_used && report.cached().is_none());
        assert_eq!(report.result.unwrap(), "made up");
        sim.sleep(SECOND * 10).await;
        assert_eq!(
            a.call(get).cached(&names, 1).await.unwrap(),
            "2",
            "what was made up is not kept"
        );
        let report = a.call(get).cached(&names, 1).report().await;
        assert_eq!((report.cached(), report.took), (Some(Duration::ZERO), Duration::ZERO));
        let story = report.to_string();
        assert_eq!(story, "test: value after 0ns\n  0ns: from the cache, 0ns old");
    });
    let totals = a.snapshot().totals;
    assert_eq!((totals.stale, totals.cached, totals.failed, totals.fallbacks), (2, 1, 3, 1));
    let stale = |event: &&Event| matches!(event.what, What::StaleUsed { .. }) && event.call > 0;
    a.flush();
    assert_eq!(seen.lock().unwrap().iter().filter(stale).count(), 2);
}

#[test]
fn an_answer_that_the_caller_asked_wrong_is_not_replaced_by_an_old_value() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let (server, a) = (counting(&sim), dependency(&sim, &seen));
    let names = cache::<u32, String>(CachePolicy::new().stale_if_error(Duration::MAX));
    sim.run(async {
        a.call(get).cached(&names, 1).await.unwrap();
        server.answers(.., 404);
        a.call(get).cached(&names, 1).await.unwrap_err();
        server.answers(.., 503);
        assert_eq!(a.call(get).cached(&names, 1).await.unwrap(), "1");
        server.answers(.., 200);
        let bad = a.call(get).classify(|_| dace::Class::Failure).cached(&names, 1).await;
        assert_eq!(bad.unwrap(), "", "a value, but no success");
        server.answers(.., 503);
        assert_eq!(a.call(get).cached(&names, 1).await.unwrap(), "1", "so it was not kept");
    });
}

#[test]
fn what_is_forgotten_while_a_call_is_under_way_stays_forgotten() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let (server, a) = (counting(&sim), dependency(&sim, &seen));
    server.latency(SECOND);
    let names = cache::<u32, String>(CachePolicy::new().ttl(Duration::MAX));
    sim.run(async {
        let call = |key| sim.spawn(a.call(get).cached(&names, key));
        let (old, other) = (call(1), call(2));
        sim.sleep(SECOND / 2).await;
        names.forget(&1);
        let new = call(1);
        assert_eq!((old.await.unwrap(), other.await.unwrap()), ("1".into(), "2".into()));
        assert_eq!(names.len(), 1, "the other key has nothing to do with it");
        assert_eq!(new.await.unwrap(), "3");
        assert_eq!(a.call(get).cached(&names, 1).await.unwrap(), "3", "it began after that");
    });
    assert_eq!(server.requests(), 3);
}

#[test]
fn the_least_recently_used_goes_when_the_room_is_used_up() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let (server, a) = (counting(&sim), dependency(&sim, &seen));
    let names = cache::<u32, String>(CachePolicy::new().ttl(Duration::MAX).capacity(3));
    sim.run(async {
        for key in [1, 2, 3, 1, 4, 1, 3, 2] {
            a.call(get).cached(&names, key).await.unwrap();
        }
    });
    assert_eq!((names.len(), server.requests()), (3, 5), "2 went for 4, then 4 for 2");
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
fn j2_keys_of_one_hash_are_told_apart_and_ten_thousand_of_them_are_not_slow() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let (_server, a) = (counting(&sim), dependency(&sim, &seen));
    let names = cache::<Alike, String>(CachePolicy::new().ttl(Duration::MAX).capacity(100_000));
    sim.run(async {
        for key in 1..=10_000 {
            let name = a.call(get).cached(&names, Alike(key)).await.unwrap();
            assert_eq!(name, key.to_string(), "never that of another key");
        }
        let again = a.call(get).cached(&names, Alike(10_000)).await.unwrap();
        assert_eq!(again, "10000");
    });
    // So each look at a key compares eight at the most.
    assert!(names.len() <= 8, "{}", names.len());
}

/// A value whose clone panics, and looks into the cache, if it is told to.
struct Trap {
    armed: Arc<AtomicBool>,
    cache: Arc<Mutex<Option<Cache<u32, Trap>>>>,
}

impl Trap {
    /// Would wait for ever if the cache's lock were held.
    fn look(&self) {
        if let Some(cache) = &*self.cache.lock().unwrap() {
            assert!(cache.len() <= 2);
        }
    }
}

impl Clone for Trap {
    fn clone(&self) -> Self {
        self.look();
        assert!(!self.armed.load(Ordering::Relaxed), "the user's own");
        Self { armed: self.armed.clone(), cache: self.cache.clone() }
    }
}

impl Drop for Trap {
    fn drop(&mut self) {
        if self.cache.try_lock().is_ok() {
            self.look();
        }
    }
}

#[test]
fn i1_i2_a_clone_that_panics_poisons_nothing_and_no_user_code_runs_under_the_lock() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let a = dependency(&sim, &seen);
    let traps = cache::<u32, Trap>(CachePolicy::new().ttl(Duration::MAX).capacity(1));
    let armed = Arc::new(AtomicBool::new(false));
    let within = Arc::new(Mutex::new(Some(traps.clone())));
    let call = |key| {
        let (armed, cache) = (armed.clone(), within.clone());
        let make = move |_| {
            let trap = Trap { armed: armed.clone(), cache: cache.clone() };
            async move { Ok::<_, HttpError>(trap) }
        };
        sim.run(a.call(make).cached(&traps, key)).map(drop)
    };
    for round in 0..1_000 {
        armed.store(true, Ordering::Relaxed);
        // At first when it is kept, then when it is handed out.
        catch_unwind(AssertUnwindSafe(|| call(1))).unwrap_err();
        armed.store(false, Ordering::Relaxed);
        call(1).unwrap();
        assert_eq!(traps.len(), 1, "{round}");
    }
    call(2).unwrap();
    assert_eq!((traps.len(), a.snapshot().calls), (1, 0));
    *within.lock().unwrap() = None;
}

#[test]
fn a_cached_call_can_be_spawned_and_settings_that_keep_nothing_are_refused() {
    fn is_send<T: Send>(_: &T) {}
    let (sim, seen) = (Sim::new(1), Arc::default());
    let a = dependency(&sim, &seen);
    let names = cache::<u32, String>(CachePolicy::new().ttl(SECOND));
    is_send(&a.call(|_| async { Ok::<_, HttpError>(String::new()) }).cached(&names, 1).report());
    let wrong = Cache::<u32, u32>::new(CachePolicy::new()).unwrap_err();
    assert_eq!(wrong.setting(), "cache.ttl");
}

#[test]
fn a_cache_is_empty_until_something_is_kept_and_once_that_is_forgotten() {
    let (sim, seen) = (Sim::new(1), Arc::default());
    let (_server, a) = (counting(&sim), dependency(&sim, &seen));
    let names = cache::<u32, String>(CachePolicy::new().ttl(SECOND));
    assert!(names.is_empty());
    sim.run(a.call(get).cached(&names, 1)).unwrap();
    assert!(!names.is_empty());
    names.forget(&1);
    assert!(names.is_empty());
}
