//! Who delivers events, how many, and who waits for that.

use std::future::Future as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};

use dace::{Event, HttpError, Observer, What};
use dace_sim::Sim;
use futures_util::FutureExt as _;

use crate::support::{Dependency, Seen, dependency, ms, secs};

/// Blocks at the end of the first call until it is told to go on, and remembers how much was seen when it was
/// flushed.
struct Gate {
    shut: Mutex<Option<(SyncSender<()>, Receiver<()>)>>,
    seen: Seen,
    flushed_at: Arc<Mutex<Vec<usize>>>,
}

impl Observer for Gate {
    fn on_event(&self, id: &str, event: &Event) {
        let ended = matches!(event.what, What::CallEnded { .. });
        let gate = self.shut.lock().unwrap().take_if(|_| ended);
        if let Some((reached, opened)) = gate {
            reached.send(()).unwrap();
            opened.recv().unwrap();
        }
        self.seen.on_event(id, event);
    }

    fn flush(&self) {
        self.flushed_at.lock().unwrap().push(self.seen.events().len());
    }
}

/// A dependency whose only call has ended, and is inside of its observer, on another thread.
struct Blocked {
    dependency: Dependency,
    seen: Seen,
    flushed_at: Arc<Mutex<Vec<usize>>>,
    open: SyncSender<()>,
    thread: JoinHandle<()>,
}

fn blocked(sim: &Sim) -> Blocked {
    let (reached, wait_reached) = sync_channel(0);
    let (open, opened) = sync_channel(0);
    let (seen, flushed_at) = (Seen::default(), Arc::default());
    let gate = Gate {
        shut: Mutex::new(Some((reached, opened))),
        seen: seen.clone(),
        flushed_at: Arc::clone(&flushed_at),
    };
    let dependency = dependency(sim, |builder| builder.observer(gate));
    let inside = dependency.clone();
    let thread = thread::spawn(move || succeed(&inside));
    wait_reached.recv().unwrap();
    Blocked { dependency, seen, flushed_at, open, thread }
}

fn succeed(dependency: &Dependency) {
    let call = dependency.call(|_| async { Ok::<_, HttpError>(()) });
    call.now_or_never().unwrap().unwrap();
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn close_waits_for_whoever_delivers() {
    let sim = Sim::new(1);
    let Blocked { dependency, seen, flushed_at, open, thread } = blocked(&sim);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut close = pin!(dependency.close(secs(10)));
    assert!(close.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert!(flushed_at.lock().unwrap().is_empty(), "nothing was flushed yet");
    open.send(()).unwrap();
    thread.join().unwrap();
    assert!(flag.0.load(Ordering::SeqCst), "it is woken");
    assert!(flushed_at.lock().unwrap().is_empty(), "who delivers flushes for nobody");
    assert_eq!(close.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(0));
    assert_eq!(seen.events().len(), 5);
    assert_eq!(*flushed_at.lock().unwrap(), [5], "once, after everything");
}

#[test]
fn close_delivers_and_flushes_what_somebody_who_panicked_left() {
    let sim = Sim::new(1);
    let Blocked { dependency, seen, flushed_at, open, thread } = blocked(&sim);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut close = pin!(dependency.close(secs(10)));
    assert!(close.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(open);
    thread.join().expect_err("the observer's own panic");
    assert!(flag.0.load(Ordering::SeqCst), "it is woken");
    assert_eq!(close.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Ready(0));
    let events = seen.events();
    assert_eq!(
        (events.len(), &events[3].what),
        (4, &What::Closed),
        "all but the one it panicked at"
    );
    assert_eq!(*flushed_at.lock().unwrap(), [4]);
}

#[test]
fn flush_waits_for_nobody_and_flushes_what_was_delivered_so_far() {
    let sim = Sim::new(1);
    let Blocked { dependency, seen, flushed_at, open, thread } = blocked(&sim);
    dependency.flush();
    assert_eq!(*flushed_at.lock().unwrap(), [3], "all but what the other one has in hand");
    open.send(()).unwrap();
    thread.join().unwrap();
    assert_eq!(seen.events().len(), 4);
    assert_eq!(*flushed_at.lock().unwrap(), [3], "who delivers flushes for nobody");
    dependency.flush();
    assert_eq!(*flushed_at.lock().unwrap(), [3, 4]);
}

#[test]
fn what_happens_during_a_delivery_is_delivered_with_it() {
    let sim = Sim::new(1);
    let handle: Arc<OnceLock<Dependency>> = Arc::default();
    let (inside, seen) = (handle.clone(), Seen::default());
    let any = dependency(&sim, |builder| {
        let builder = builder.observer(move |_: &str, event: &Event| {
            if let (What::CallEnded { .. }, Some(dependency)) = (&event.what, inside.get()) {
                dependency.circuit("test").unwrap().force_open();
            }
        });
        builder.observer(seen.clone())
    });
    handle.set(any.clone()).unwrap();
    succeed(&any);
    let last = seen.events().pop().unwrap();
    assert!(matches!(last.what, What::CircuitChanged { .. }), "{last}");
}

#[test]
fn one_delivery_hands_over_so_many_and_no_more() {
    let sim = Sim::new(1);
    let handle: Arc<OnceLock<Dependency>> = Arc::default();
    let (inside, count) = (handle.clone(), Arc::new(AtomicUsize::new(0)));
    let seen = count.clone();
    let any = dependency(&sim, |builder| {
        // One event more for each.
        builder.observer(move |_: &str, _: &Event| {
            seen.fetch_add(1, Ordering::Relaxed);
            if let Some(dependency) = inside.get() {
                dependency.circuit("test").unwrap().reset();
            }
        })
    });
    handle.set(any.clone()).unwrap();
    any.circuit("test").unwrap().reset();
    assert_eq!(count.load(Ordering::Relaxed), 64);
}

#[test]
fn close_waits_for_a_fallback_that_runs() {
    let sim = Sim::new(1);
    let any = dependency(&sim, |builder| builder);
    let failing = || {
        let (any, world) = (any.clone(), sim.clone());
        let fallback = |_| async move {
            world.sleep(ms(50)).await;
            Ok(())
        };
        async move {
            let call = any.call(|_| async { Err::<(), _>(std::io::Error::other("no")) });
            call.fallback(fallback).await
        }
    };
    sim.run(async {
        let call = sim.spawn(failing());
        sim.sleep(ms(1)).await;
        assert_eq!(any.snapshot().calls, 1);
        assert_eq!(any.close(ms(10)).await, 1, "it still runs");
        assert_eq!(any.close(secs(10)).await, 0);
        assert_eq!(sim.elapsed(), ms(50));
        call.await.unwrap();
        // Dropped while its fallback runs; or the fallback panics, and its future is kept.
        let mut call = Box::pin(failing());
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(any.snapshot().calls, 1);
        drop(call);
        assert_eq!(any.snapshot().calls, 0);
        let call = any.call(|_| async { Err::<(), _>(std::io::Error::other("no")) });
        let call = call.fallback(|_| async { panic!("the fallback's own") });
        let mut call = Box::pin(call);
        let mut poll = || call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        catch_unwind(AssertUnwindSafe(|| poll().is_ready())).unwrap_err();
        assert_eq!(any.snapshot().calls, 0);
    });
}
