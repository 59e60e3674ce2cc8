//! Client-side throttling.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dace::{Reason, RoundRobin, Throttle, What};
use dace_sim::Sim;

use crate::common::{Builder, Dependency, Seen, dependency, get, get_root, ms, secs};

/// One target, no breaker, no retries.
fn at_a(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    dependency(sim, |builder| {
        let builder =
            builder.targets(["http://a:80"]).retry_attempts(0).max_open_per_netloc(10_000);
        set(builder.circuit_reset_timeout(Duration::ZERO))
    })
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn throttled(dependency: &Dependency) -> u32 {
    dependency.snapshot().endpoints[1].throttled_thousandths.unwrap()
}

/// A hundred calls in a second, whatever becomes of them, for so long.
async fn load(sim: &Sim, dependency: &Dependency, time: Duration) {
    let end = sim.elapsed() + time;
    while sim.elapsed() < end {
        let dependency = dependency.clone();
        let _task = sim.spawn(async move {
            let _ = get_root(&dependency).await;
        });
        sim.sleep(ms(10)).await;
    }
}

#[test]
fn a_call_waits_for_a_server_that_is_only_full_though_another_one_is_throttled() {
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(.., 503);
    sim.server("http://b:80").latency(ms(10));
    let a = dependency(&sim, |builder| {
        let builder = builder.load_balancer(RoundRobin::new(["http://a:80", "http://b:80"]));
        let builder = builder.throttle(Throttle::new()).retry_attempts(0).queue(5);
        builder.circuit_reset_timeout(Duration::ZERO).max_open_per_netloc(1)
    });
    sim.run(async {
        while a.snapshot().endpoints[1].throttled_thousandths.unwrap() < 950 {
            let _ = get_root(&a).await;
        }
        let calls = futures_util::future::join_all((0..4).map(|_| get_root(&a))).await;
        let refused = |call: &Result<_, crate::common::Error>| {
            call.as_ref().is_err_and(|error| error.is_rejected())
        };
        assert!(!calls.iter().any(refused), "{calls:?}");
    });
}

/// Found by fuzzing. The place that it did not take was offered to it again, which woke it, at the same
/// instant, until the dice fell in its favour: a busy loop, and a throttle that held back nobody who waited.
#[test]
fn a_call_that_a_throttle_refused_waits_for_the_others_alone() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.answers(.., 503);
    b.hangs(secs(1)..secs(3));
    let both = one_throttled(&sim, secs(600));
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut cx = Context::from_waker(&waker);
    let held = held(&both, &mut cx);
    let (before, at_a) = (throttled(&both), a.requests());
    let mut waits = pin!(get_root(&both));
    let mut polls = 0;
    for _ in 0..100 {
        loop {
            polls += 1;
            assert!(polls <= 500, "it is woken again and again at {:?}", sim.elapsed());
            assert!(waits.as_mut().poll(&mut cx).is_pending(), "`b` is full, and `a` refused it");
            if !flag.0.swap(false, Ordering::Relaxed) {
                break;
            }
        }
        sim.advance(ms(10));
    }
    assert_eq!((throttled(&both), a.requests()), (before, at_a), "the dice fell once");
    drop(held);
    sim.advance(secs(2));
    assert!(sim.run(waits).is_ok(), "it has the place at `b`");
}

#[test]
fn who_waits_elsewhere_is_let_in_where_it_was_throttled_once_that_server_accepts_again() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.answers(..secs(1), 503);
    b.hangs(secs(1)..secs(50));
    let both = one_throttled(&sim, secs(10));
    let held = held(&both, &mut Context::from_waker(Waker::noop()));
    let at_a = a.requests();
    assert!(sim.run(get_root(&both)).is_ok(), "once what `a` refused is out of the window");
    assert!(sim.elapsed() < secs(13), "{:?}", sim.elapsed());
    assert_eq!(a.requests(), at_a + 1);
    drop(held);
}

#[test]
fn who_was_throttled_by_a_server_that_is_forgotten_since_is_let_in_elsewhere() {
    let sim = Sim::new(1);
    let (a, _) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.answers(.., 503);
    let _other = sim.server("http://c:80");
    let both = one_throttled(&sim, secs(10));
    let knows_a = || both.snapshot().endpoints.iter().any(|one| one.netloc.to_string() == "a:80");
    let mut cx = Context::from_waker(Waker::noop());
    let gate = AtomicBool::new(false);
    // At `b`, which is full then, until it goes on to another.
    let mut holds = loop {
        let gate = &gate;
        let mut call = Box::pin(both.call(move |call| async move {
            std::future::poll_fn(|_| match gate.load(Ordering::Relaxed) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            })
            .await;
            get(call, "http://c:80/").await
        }));
        if call.as_mut().poll(&mut cx).is_pending() {
            break call;
        }
    };
    let mut waits = pin!(get_root(&both));
    assert!(waits.as_mut().poll(&mut cx).is_pending(), "`b` is full, and `a` refused it");
    both.remove_target(&"http://a:80".parse().unwrap()).unwrap();
    sim.advance(secs(15));
    gate.store(true, Ordering::Relaxed);
    let held = sim.run(holds.as_mut());
    assert!(held.is_ok(), "{held:?}");
    assert!(!knows_a(), "the table has forgotten it");
    assert!(sim.run(waits).is_ok(), "it has the place at `b`");
}

/// Of two servers with one place each, `a` is throttled.
fn one_throttled(sim: &Sim, window: Duration) -> Dependency {
    let both = dependency(sim, |builder| {
        let builder = builder.load_balancer(RoundRobin::new(["http://a:80", "http://b:80"]));
        let throttle = Throttle::new().allowance(0).window(window);
        let builder = builder.throttle(throttle).retry_attempts(0).queue(5).timeout(secs(30));
        let builder = builder.attempt_timeout(secs(30)).max_netlocs(2);
        builder.circuit_reset_timeout(Duration::ZERO).max_open_per_netloc(1)
    });
    sim.run(async {
        while throttled(&both) < 998 {
            let _ = get_root(&both).await;
        }
    });
    sim.advance(secs(1));
    both
}

/// A call that is at `b`, which is full then.
fn held<'a>(both: &'a Dependency, cx: &mut Context<'_>) -> Pin<Box<impl Future + use<'a>>> {
    loop {
        let mut call = Box::pin(get_root(both));
        if call.as_mut().poll(cx).is_pending() {
            return call;
        }
    }
}

#[test]
fn a_dead_servers_load_stays_below_a_tenth_and_it_gets_all_of_it_again_once_it_is_well() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(secs(60)..secs(660), 503);
    let a = at_a(&sim, |builder| builder.throttle(Throttle::new()));
    sim.run(async {
        load(&sim, &a, secs(60)).await;
        assert_eq!((server.requests(), throttled(&a)), (6_000, 0));
        load(&sim, &a, secs(120)).await;
        // Until what it accepted before is out of the window, K = 2 lets through as much again.
        let first = server.requests() - 6_000;
        let before = server.requests();
        load(&sim, &a, secs(480)).await;
        let dead = server.requests() - before;
        println!("dead: {first} of 12000 at first, then {dead} of 48000");
        assert!(first < 12_000, "{first}");
        assert!(dead * 100 < 48_000, "{dead}");
        let well = sim.elapsed();
        while throttled(&a) > 0 {
            load(&sim, &a, secs(1)).await;
            assert!(sim.elapsed() - well < secs(900), "{}", a.snapshot());
        }
        println!("well again after {:?}", sim.elapsed() - well);
        let before = server.requests();
        load(&sim, &a, secs(60)).await;
        assert_eq!(server.requests() - before, 6_000);
    });
}

#[test]
fn a_server_that_was_never_well_gets_less_than_a_tenth_from_the_start() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.down(..);
    let seen = Seen::default();
    let a = at_a(&sim, |builder| builder.throttle(Throttle::new()).observer(seen.clone()));
    sim.run(load(&sim, &a, secs(60)));
    let sent = a.snapshot().totals.attempts;
    println!("never well: {sent} of 6000");
    assert!(sent * 10 < 6_000, "{sent}");
    assert!(throttled(&a) > 990);
    let error = sim.run(get_root(&a)).unwrap_err();
    assert!(error.is_rejected() && error.retry_after().is_none(), "{error}");
    let refusals = seen.events().into_iter().filter_map(|event| match event.what {
        What::Refused { refusal } => Some(refusal.reason()),
        _ => None,
    });
    assert!(refusals.into_iter().all(|reason| reason == Reason::Throttle));
    assert_eq!(server.requests(), 0);
}

/// B15: a throttle sees a server that hangs before its first timeout.
#[test]
fn a_server_that_hangs_is_seen_before_its_first_timeout() {
    let sim = Sim::new(1);
    sim.server("http://a:80").hangs(secs(5)..);
    let a = at_a(&sim, |builder| builder.throttle(Throttle::new()).timeout(secs(30)));
    sim.run(async {
        load(&sim, &a, secs(5)).await;
        assert_eq!(throttled(&a), 0);
        load(&sim, &a, secs(20)).await;
        assert_eq!(a.snapshot().totals.timed_out, 0);
        assert!(throttled(&a) > 500, "{}", a.snapshot());
    });
}

#[test]
fn a_healthy_server_is_never_throttled_and_nothing_is_drawn() {
    // With jitter in the retries, a number more or less would show.
    let story = |throttle: bool| {
        let sim = Sim::new(3);
        sim.server("http://a:80").latency(ms(30)).failing(0.3, 500);
        let seen = Seen::default();
        let a = dependency(&sim, |builder| {
            let builder = builder.targets(["http://a:80"]).backoff(dace::Backoff::new());
            let builder = builder.observer(seen.clone()).circuit_reset_timeout(Duration::ZERO);
            if throttle { builder.throttle(Throttle::new()) } else { builder }
        });
        sim.run(load(&sim, &a, secs(5)));
        seen.log()
    };
    assert_eq!(story(true), story(false));
}

#[test]
fn callers_that_go_away_and_wrong_requests_are_no_reason() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(100));
    let a = at_a(&sim, |builder| builder.throttle(Throttle::new()));
    sim.run(async {
        for _ in 0..100 {
            let mut call = Box::pin(get_root(&a));
            std::future::poll_fn(|cx| {
                assert!(call.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
        }
        assert_eq!((server.requests(), throttled(&a)), (100, 0));
        server.answers(.., 404);
        for _ in 0..100 {
            get_root(&a).await.unwrap_err();
        }
        assert_eq!((server.requests(), throttled(&a)), (200, 0));
        // What the server itself refuses is one.
        server.answers(.., 429);
        for _ in 0..200 {
            let _ = get_root(&a).await;
        }
        assert!(throttled(&a) > 100);
    });
}

#[test]
fn a_call_that_one_server_sheds_goes_to_another_one() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.answers(.., 503);
    let both = dependency(&sim, |builder| {
        let targets = RoundRobin::new(["http://a:80", "http://b:80"]);
        let builder = builder.load_balancer(targets).retry_attempts(0);
        builder.circuit_reset_timeout(Duration::ZERO).throttle(Throttle::new())
    });
    sim.run(async {
        let mut failed = 0;
        for _ in 0..1_000 {
            match get_root(&both).await {
                Ok(_) => {}
                Err(error) if error.is_rejected() => panic!("{error}"),
                Err(_) => failed += 1,
            }
        }
        assert!(failed < 100, "{failed}");
        assert_eq!((a.requests(), b.requests()), (failed, 1_000 - failed));
        // If both shed, the call is refused.
        b.answers(.., 503);
        let mut refused = 0;
        for _ in 0..5_000 {
            refused += u32::from(get_root(&both).await.unwrap_err().is_rejected());
        }
        assert!(refused > 1_000, "{refused}");
    });
}

#[test]
fn a_probe_of_the_circuit_is_not_shed() {
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(..secs(20), 503);
    let a = at_a(&sim, |builder| builder.throttle(Throttle::new()).circuit_reset_timeout(secs(10)));
    sim.run(async {
        load(&sim, &a, secs(20)).await;
        // Five failures opened it, so there is little to go by; the rest of the window is refused here.
        load(&sim, &a, secs(40)).await;
        assert_eq!(a.snapshot().endpoints[1].circuit, dace::CircuitState::Closed);
    });
}

#[test]
fn multiplier_allowance_and_window_are_what_they_are_set_to() {
    let reaches = |throttle: Throttle| {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.failing(0.75, 503);
        let a = at_a(&sim, |builder| builder.throttle(throttle));
        sim.run(load(&sim, &a, secs(200)));
        server.requests()
    };
    // A quarter of what is sent is accepted, whatever is sent: below K = 4 that is never enough.
    let (two, five) = (reaches(Throttle::new()), reaches(Throttle::new().multiplier(5.0)));
    println!("K = 2: {two}, K = 5: {five}");
    assert!(two < 2_000 && five > 18_000, "{two}, {five}");
    let wide = reaches(Throttle::new().allowance(1_000_000));
    assert_eq!(wide, 20_000);
    let recovery = |throttle: Throttle| {
        let sim = Sim::new(1);
        sim.server("http://a:80").down(..secs(60));
        let a = at_a(&sim, |builder| builder.throttle(throttle));
        sim.run(load(&sim, &a, secs(60)));
        sim.run(sim.sleep(secs(30)));
        throttled(&a)
    };
    assert!(recovery(Throttle::new()) > 900);
    assert_eq!(recovery(Throttle::new().window(secs(30))), 0);
}

#[test]
fn a_new_list_of_targets_forgets_nothing() {
    let sim = Sim::new(1);
    sim.server("http://a:80").down(..);
    let a = at_a(&sim, |builder| builder.throttle(Throttle::new()));
    sim.run(load(&sim, &a, secs(10)));
    let before = throttled(&a);
    a.set_targets(["http://a:80", "http://b:80"]).unwrap();
    assert!(before > 900 && throttled(&a) == before);
}
