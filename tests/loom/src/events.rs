//! Events: each is delivered once, in order, by one thread at a time; and `close` waits for all of it.

use std::sync::Arc;
use std::time::Duration;

use dace_core::{Error, Event, NoHttp, Observer, What};
use loom::future::block_on;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;

use crate::threads::{Inside, Local, Threads, model, one_place, visit};

#[derive(Default)]
struct Log {
    busy: AtomicBool,
    events: Mutex<Vec<Event>>,
}

struct Logs(Arc<Log>);

impl Observer for Logs {
    fn on_event(&self, _: &str, event: &Event) {
        assert!(!self.0.busy.swap(true, Ordering::SeqCst), "two deliver at once");
        self.0.events.lock().expect("nobody panics").push(event.clone());
        self.0.busy.store(false, Ordering::SeqCst);
    }
}

impl Log {
    /// The calls' events, each with its number: a call's own are in order, and calls begin in the order of
    /// their numbers.
    fn check(&self, calls: usize) {
        let events = self.events.lock().expect("nobody panics");
        let mut stories = vec![String::new(); calls + 1];
        let mut begun = 0;
        for event in events.iter() {
            let letter = match &event.what {
                What::CallStarted => {
                    begun += 1;
                    assert_eq!(event.call, begun, "{events:?}");
                    'c'
                }
                What::AttemptStarted { .. } => 'a',
                What::AttemptEnded { .. } => 'A',
                What::CallEnded { .. } => 'C',
                _ => continue,
            };
            stories[event.call as usize].push(letter);
        }
        assert!(stories[1..].iter().all(|story| story == "caAC"), "{stories:?}");
    }
}

fn observed(places: u32) -> (Local, Arc<Log>) {
    let log = Arc::new(Log::default());
    let dependency = one_place()
        .max_open_per_netloc(places)
        .observer(Logs(log.clone()))
        .build_with(Threads, NoHttp)
        .expect("the settings are right");
    (dependency, log)
}

/// Whoever delivers hands over what comes meanwhile too: nothing is left when all calls are over.
#[test]
fn two_deliverers_hand_over_each_event_once_and_in_order() {
    model(2, || {
        let (dependency, log) = observed(2);
        let inside = Inside::new(2);
        let other = visit(&dependency, &inside);
        let other = thread::spawn(move || block_on(other).expect("there is a place"));
        block_on(visit(&dependency, &inside)).expect("there is a place");
        other.join().expect("it ends");
        log.check(2);
    });
}

/// It ends, whoever has the last events in hand, and has seen all of them then.
#[test]
fn close_ends_after_the_last_call_and_the_last_event() {
    model(2, || {
        let (dependency, log) = observed(2);
        let inside = Inside::new(2);
        let call = visit(&dependency, &inside);
        let caller = thread::spawn(move || match block_on(call) {
            Ok(()) => 1,
            Err(Error::Closed) => 0,
            Err(error) => panic!("{error}"),
        });
        assert_eq!(block_on(dependency.close(Duration::MAX)), 0, "nothing was cut off");
        let told = log.events.lock().expect("nobody panics").len();
        let calls = caller.join().expect("it ends");
        if calls == 1 {
            log.check(1);
            let events = log.events.lock().expect("nobody panics");
            let last =
                events.iter().rposition(|event| matches!(event.what, What::CallEnded { .. }));
            assert!(
                last.expect("it ended") < told,
                "all was delivered before it closed: {events:?}"
            );
        }
        let events = log.events.lock().expect("nobody panics");
        let closed = events.iter().filter(|event| matches!(event.what, What::Closed)).count();
        assert_eq!(closed, 1, "{events:?}");
        drop(events);
        assert!(matches!(block_on(visit(&dependency, &inside)), Err(Error::Closed)));
    });
}

/// Without observers there is nothing to deliver, and it ends as well.
#[test]
fn close_is_woken_by_the_last_call() {
    model(3, || {
        let dependency = one_place().build_with(Threads, NoHttp).expect("the settings are right");
        let inside = Inside::new(1);
        let callers: Vec<_> = (0..2)
            .map(|_| {
                let call = visit(&dependency, &inside);
                thread::spawn(move || match block_on(call) {
                    Ok(()) | Err(Error::Closed) => {}
                    Err(error) => panic!("{error}"),
                })
            })
            .collect();
        assert_eq!(block_on(dependency.close(Duration::MAX)), 0, "nothing was cut off");
        for caller in callers {
            caller.join().expect("it ends");
        }
        assert_eq!(dependency.snapshot().calls, 0);
    });
}
