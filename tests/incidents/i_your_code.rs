//! Code of the user's: its panics, its calls back, its blocking.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;

use dace::sim::Sim;
use dace::{Balancer, CircuitState, Class, Event, HttpError, Pick, Target, TargetError, What};
use futures_util::FutureExt;

use crate::panics::caught;
use crate::support::{
    Builder, Call, Dependency, Seen, assert_all_back, dependency, get, get_root, ms, secs, touchy,
};

/// Whoever is told to panic.
#[derive(Clone, Default)]
struct Trap(Arc<Mutex<Option<&'static str>>>);

impl Trap {
    fn set(&self, place: &'static str) {
        *self.0.lock().unwrap() = Some(place);
    }

    /// Panics if it is this one's turn, and only once.
    fn step(&self, place: &'static str) {
        let hit = self.0.lock().unwrap().take_if(|armed| *armed == place).is_some();
        assert!(!hit, "the user's own: {place}");
    }
}

/// A balancer of the user's own, which may panic.
struct Mine(Trap);

impl Balancer for Mine {
    fn pick(&self, pick: &Pick<'_>) -> Result<Option<Target>, TargetError> {
        self.0.step("balancer");
        Ok(pick.targets.first().cloned())
    }
}

const PLACES: [&str; 6] = ["function", "future", "classify", "fallback", "balancer", "observer"];

fn trapped(sim: &Sim, trap: &Trap) -> Dependency {
    let observing = trap.clone();
    dependency(sim, |builder: Builder| {
        let builder = builder.targets(["http://a:80"]).load_balancer(Mine(trap.clone()));
        let builder = builder.breaker(touchy()).retry_attempts(0).max_open_per_netloc(1);
        builder.observer(move |_: &str, _: &Event| observing.step("observer"))
    })
}

/// A call all of whose code may panic.
fn risky(
    a: &Dependency,
    trap: &Trap,
) -> impl Future<Output = Result<String, dace::Error<HttpError>>> + use<> {
    let (inside, judging, last) = (trap.clone(), trap.clone(), trap.clone());
    let call = a.call(move |call: Call| {
        inside.step("function");
        let inside = inside.clone();
        async move {
            let text = get(call, "/").await;
            inside.step("future");
            text
        }
    });
    let call = call.classify(move |result| {
        judging.step("classify");
        if result.is_ok() { Class::Success } else { Class::Failure }
    });
    call.fallback(move |error| {
        last.step("fallback");
        async move { Err(error) }
    })
}

#[test]
fn i1_a_panic_anywhere_gives_all_back_and_decides_nothing_in_any_state() {
    for state in [CircuitState::Closed, CircuitState::HalfOpen] {
        for place in PLACES {
            let (sim, trap) = (Sim::new(1), Trap::default());
            let server = sim.server("http://a:80");
            server.latency(ms(1)).answers(..ms(1), 500);
            let a = trapped(&sim, &trap);
            if state == CircuitState::HalfOpen {
                sim.run(get_root(&a)).unwrap_err();
                sim.advance(secs(12));
            } else {
                sim.advance(ms(1));
            }
            if place == "fallback" {
                // It runs after an error, and one that is no failure of the server's.
                a.circuit("a:80").unwrap_or_else(|| panic!("{}", a.snapshot())).force_open();
            }
            trap.set(place);
            let mut call = Box::pin(risky(&a, &trap));
            assert!(sim.run(caught(call.as_mut())).is_none(), "{place}");
            if place == "observer" {
                // It is not the call's own code, and the call could go on.
                drop(call);
                assert_all_back(&a);
            } else {
                assert_all_back(&a);
                drop(call);
            }
            a.circuit("a:80").unwrap().automatic();
            let now = a.snapshot().endpoints[1].circuit;
            assert_ne!(now, CircuitState::Open, "{place} in {state:?}");
            sim.run(risky(&a, &trap)).unwrap();
            assert_eq!(a.snapshot().endpoints[1].circuit, CircuitState::Closed, "{place}");
        }
    }
}

#[test]
fn i2_a_thousand_panics_poison_nothing() {
    let (sim, trap) = (Sim::new(1), Trap::default());
    sim.server("http://a:80").latency(ms(1));
    let a = trapped(&sim, &trap);
    for n in 0..1_000 {
        trap.set(["function", "future", "classify", "balancer", "observer"][n % 5]);
        let call = pin!(risky(&a, &trap));
        assert!(sim.run(caught(call)).is_none());
    }
    for _ in 0..1_000 {
        sim.run(risky(&a, &trap)).unwrap();
    }
    assert_all_back(&a);
    a.flush();
}

#[test]
fn i3_whoever_is_called_may_call_back_and_events_come_one_at_a_time_in_order() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(1)).failing(0.3, 500);
    let handle: Arc<Mutex<Option<Dependency>>> = Arc::default();
    let (inside, seen, busy) = (handle.clone(), Seen::default(), AtomicBool::new(false));
    let reenter = move |_: &str, _: &Event| {
        assert!(!busy.swap(true, Ordering::SeqCst), "one at a time");
        let a = inside.lock().unwrap().clone();
        if let Some(a) = a {
            a.set_targets(["http://a:80"]).unwrap();
            let _ = (a.snapshot(), a.targets(), a.policy(), a.flush());
            if let Some(circuit) = a.circuit("a:80") {
                circuit.metrics_only();
                circuit.automatic();
            }
            drop(get_root(&a).now_or_never());
        }
        busy.store(false, Ordering::SeqCst);
    };
    let once = AtomicU32::new(0);
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).observer(seen.clone());
        builder.observer(move |id: &str, event: &Event| {
            // Each event makes others: for ever, if nobody stops.
            if once.fetch_add(1, Ordering::SeqCst) < 50 {
                reenter(id, event);
            }
        })
    });
    *handle.lock().unwrap() = Some(a.clone());
    for _ in 0..20 {
        let _ = sim.run(a.call(|call| {
            let _ = (a.snapshot(), a.targets());
            get(call, "/")
        }));
    }
    a.flush();
    *handle.lock().unwrap() = None;
    let events = seen.events();
    assert!(events.len() > 100 && events.is_sorted_by_key(|event| event.at));
    let starts = events.iter().filter(|event| event.what == What::CallStarted);
    assert!(starts.map(|event| event.call).is_sorted(), "in the order of what happened");
}

#[test]
fn i4_what_user_code_drops_may_call_back_too() {
    /// Looks into the dependency when it is dropped.
    struct Looks(Dependency);
    impl Drop for Looks {
        fn drop(&mut self) {
            assert!(self.0.snapshot().calls <= 2);
            self.0.flush();
        }
    }
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(5));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    for polls in 0..3 {
        let look = Looks(a.clone());
        let mut call = Box::pin(a.call(move |call| {
            let _ = &look;
            let look = Looks(look.0.clone());
            async move {
                let text = get(call, "/").await;
                drop(look);
                text
            }
        }));
        // Dropped before it began, while it runs; and at its end.
        sim.run(async {
            for _ in 0..polls {
                let _ = poll_fn(|cx| Poll::Ready(call.as_mut().poll(cx).is_ready())).await;
                sim.sleep(ms(5)).await;
            }
        });
        drop(call);
    }
    assert_all_back(&a);
}

#[test]
fn i5_an_observer_that_blocks_holds_up_its_own_delivery_alone() {
    let sim = Sim::new(1);
    let ((reached, wait_reached), (open, opened)) = (sync_channel(0), sync_channel::<()>(0));
    let (gate, seen) = (Mutex::new(Some((reached, opened))), Seen::default());
    let a = dependency(&sim, |builder| {
        let builder = builder.observer(move |_: &str, _: &Event| {
            let first = gate.lock().unwrap().take();
            if let Some((reached, opened)) = first {
                reached.send(()).unwrap();
                opened.recv().unwrap();
            }
        });
        builder.observer(seen.clone())
    });
    let blocked = a.clone();
    let first = thread::spawn(move || {
        let call = blocked.call(|_| async { Ok::<_, HttpError>(()) });
        call.now_or_never().unwrap().unwrap();
    });
    wait_reached.recv().unwrap();
    for _ in 0..100 {
        let call = a.call(|_| async { Ok::<_, HttpError>(()) });
        call.now_or_never().expect("nobody waits for the observer").unwrap();
    }
    assert!(seen.events().is_empty());
    open.send(()).unwrap();
    first.join().unwrap();
    a.flush();
    let ended = |event: &&Event| matches!(event.what, What::CallEnded { .. });
    assert_eq!(seen.events().iter().filter(ended).count(), 101);
}

/// The panic of one who leads a shared call is its own.
#[test]
fn i1_a_leader_that_panics_hands_its_call_over() {
    let sim = Sim::new(1);
    let (a, group) =
        (dependency(&sim, |builder| builder), dace::Group::<_, u32, u32, HttpError>::new());
    let polls = AtomicU32::new(0);
    let trap = a.call(|_| {
        poll_fn(|_| {
            assert!(polls.fetch_add(1, Ordering::Relaxed) == 0, "the user's own");
            Poll::<Result<u32, HttpError>>::Pending
        })
    });
    let mut leader = Box::pin(trap.shared(&group, 1));
    assert!((&mut leader).now_or_never().is_none());
    let mut follower = Box::pin(a.call(|_| async { Ok(7) }).shared(&group, 1));
    assert!((&mut follower).now_or_never().is_none());
    catch_unwind(AssertUnwindSafe(|| (&mut leader).now_or_never())).unwrap_err();
    assert_eq!(follower.now_or_never().expect("it leads now").unwrap(), 7);
    assert!(group.is_empty());
}
