//! Who waits for a place is woken when one is free, whoever leaves meanwhile.

use std::pin::pin;

use loom::future::block_on;
use loom::thread;

use crate::threads::{Inside, Local, model, one_place, pause, poll_once, visit};

fn dependency() -> Local {
    one_place()
        .build_with(crate::threads::Threads, dace_core::NoHttp)
        .expect("the settings are right")
}

/// At the end nothing is lent.
fn is_idle(dependency: &Local) {
    let snapshot = dependency.snapshot();
    assert_eq!((snapshot.calls, snapshot.attempts, snapshot.queued), (0, 0, 0), "{snapshot}");
    for endpoint in &snapshot.endpoints {
        assert_eq!((endpoint.open, endpoint.connections), (0, 0), "{snapshot}");
    }
}

/// S2: never more than the limit, and every waiter gets its turn.
#[test]
fn three_callers_of_one_place_take_turns() {
    model(2, || {
        let (dependency, inside) = (dependency(), Inside::new(1));
        let others: Vec<_> = (0..2)
            .map(|_| {
                let call = visit(&dependency, &inside);
                thread::spawn(move || block_on(call).expect("it gets its turn"))
            })
            .collect();
        block_on(visit(&dependency, &inside)).expect("it gets its turn");
        for other in others {
            other.join().expect("it ends");
        }
        is_idle(&dependency);
    });
}

/// A waiter that is dropped, before the place is offered to it or after, is in nobody's way.
#[test]
fn a_waiter_that_leaves_passes_on_what_it_was_offered() {
    model(2, || {
        let (dependency, inside) = (dependency(), Inside::new(1));
        let leaver = {
            let call = visit(&dependency, &inside);
            thread::spawn(move || {
                let mut call = Box::pin(call);
                // It may also get in, and then it is over.
                let _ = poll_once(call.as_mut());
            })
        };
        let stayer = {
            let call = visit(&dependency, &inside);
            thread::spawn(move || block_on(call).expect("it gets its turn"))
        };
        block_on(visit(&dependency, &inside)).expect("it gets its turn");
        leaver.join().expect("it ends");
        stayer.join().expect("it ends");
        is_idle(&dependency);
    });
}

/// The first in the line leaves while the place comes back: surely the first, since it came alone.
#[test]
fn the_place_of_a_holder_goes_past_the_first_who_leaves_to_the_second() {
    model(3, || {
        let (dependency, inside) = (dependency(), Inside::new(1));
        let mut holder = Box::pin(held(&dependency, &inside));
        assert!(poll_once(holder.as_mut()).is_pending());
        let mut first = Box::pin(visit(&dependency, &inside));
        assert!(poll_once(first.as_mut()).is_pending());
        let second = visit(&dependency, &inside);
        let second = thread::spawn(move || block_on(second).expect("it gets its turn"));
        let leaver = thread::spawn(move || drop(first));
        // A holder that is dropped gives its place back as well as one that ends.
        drop(holder);
        leaver.join().expect("it ends");
        second.join().expect("it ends");
        is_idle(&dependency);
    });
}

/// A waiter is polled by one thread, and dropped, while another gives the place back.
#[test]
fn a_waiter_that_moves_to_another_thread_is_woken_there() {
    model(3, || {
        let (dependency, inside) = (dependency(), Inside::new(1));
        let mut holder = Box::pin(held(&dependency, &inside));
        assert!(poll_once(holder.as_mut()).is_pending());
        let mut waiter = Box::pin(visit(&dependency, &inside));
        // With a waker that does nothing: the next poll brings the one that counts.
        assert!(poll_once(waiter.as_mut()).is_pending());
        let waiter = thread::spawn(move || block_on(waiter).expect("it gets its turn"));
        {
            let holder = pin!(holder);
            assert!(poll_once(holder).is_ready());
        }
        waiter.join().expect("it is woken");
        is_idle(&dependency);
    });
}

/// A call that stays inside until it is polled a second time.
fn held(
    dependency: &Local,
    inside: &std::sync::Arc<Inside>,
) -> impl Future<Output = Result<(), dace_core::Error<std::convert::Infallible>>> + use<> {
    let inside = inside.clone();
    dependency.call(move |_: dace_core::Call<_, _>| {
        let inside = inside.clone();
        async move {
            let _visit = inside.enter();
            pause().await;
            Ok(())
        }
    })
}
