//! What several calls, or several dependencies, have together.

use std::convert::Infallible;
use std::sync::Arc;

use dace_core::{Call, Dependency, Error, Group, NoHttp, SharedLimit};
use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use crate::threads::{Inside, Local, Threads, model, one_place, poll_once, visit};

/// Two locks, never one inside of the other: what both count agrees, and comes back.
#[test]
fn dependencies_that_share_a_limit_never_have_more_open_together() {
    model(3, || {
        let limit = SharedLimit::on::<Threads>().max_open(1);
        let dependency = |id: &str| -> Local {
            Dependency::builder(id)
                .no_timeout()
                .retry_attempts(0)
                .shared_limit(&limit)
                .build_with(Threads, NoHttp)
                .expect("the settings are right")
        };
        let (one, two, inside) = (dependency("one"), dependency("two"), Inside::new(1));
        let other = visit(&two, &inside);
        let other = thread::spawn(move || {
            let result = block_on(other);
            assert!(matches!(result, Ok(()) | Err(Error::RateLimited { .. })), "{result:?}");
        });
        let result = block_on(visit(&one, &inside));
        assert!(matches!(result, Ok(()) | Err(Error::RateLimited { .. })), "{result:?}");
        other.join().expect("it ends");
        block_on(visit(&one, &inside)).expect("all was given back");
    });
}

fn shared(
    dependency: &Local,
    group: &Group<Threads, u8, (), Infallible>,
    made: &Arc<AtomicUsize>,
) -> impl Future<Output = bool> + use<> {
    let made = made.clone();
    let call = dependency.call(move |_: Call<Threads, NoHttp>| {
        let made = made.clone();
        async move {
            made.fetch_add(1, Ordering::SeqCst);
            crate::threads::pause().await;
            Ok(())
        }
    });
    let call = call.shared(group, 1);
    async move { call.await.is_ok() }
}

/// Whoever makes the call may leave at any point: the next one makes its own.
#[test]
fn who_waits_for_the_call_of_another_is_woken_though_that_one_leaves() {
    model(3, || {
        let dependency = one_place()
            .max_open_per_netloc(3)
            .build_with(Threads, NoHttp)
            .expect("the settings are right");
        let (group, made) = (Group::new(), Arc::new(AtomicUsize::new(0)));
        let mut leader = Box::pin(shared(&dependency, &group, &made));
        assert!(poll_once(leader.as_mut()).is_pending());
        let follower = shared(&dependency, &group, &made);
        let follower = thread::spawn(move || {
            // It pauses once in a call of its own, with nobody to wake it but itself.
            let mut follower = Box::pin(follower);
            block_on(std::future::poll_fn(|cx| {
                let polled = follower.as_mut().poll(cx);
                if polled.is_pending() && made.load(Ordering::SeqCst) == 2 {
                    cx.waker().wake_by_ref();
                }
                polled
            }))
        });
        drop(leader);
        assert!(follower.join().expect("it ends"), "it makes its own call");
        assert!(group.is_empty());
        assert_eq!(dependency.snapshot().calls, 0);
    });
}
