//! The adaptive limit, against servers that queue what they cannot do at once.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use dace::AdaptiveLimit;
use dace_sim::{Server, Sim};

use crate::common::{Builder, Dependency, dependency, get_root, ms, secs};

fn at_a(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    dependency(sim, |builder| {
        let builder = builder.targets(["http://a:80"]).retry_attempts(0).queue(10_000);
        set(builder.max_open_per_netloc(1_000).http_pool_size(1_000).no_timeout())
    })
}

fn limit(dependency: &Dependency) -> u32 {
    dependency.snapshot().endpoints[1].adaptive_limit.unwrap()
}

/// So many callers that ask again as soon as they have an answer, until the simulation ends.
fn crowd(sim: &Sim, dependency: &Dependency, callers: u32) {
    for _ in 0..callers {
        let dependency = dependency.clone();
        let sim = sim.clone();
        let _task = sim.clone().spawn(async move {
            loop {
                if get_root(&dependency).await.is_err() {
                    sim.sleep(ms(10)).await;
                }
            }
        });
    }
}

/// Least and most of what the limit is in this time, looked at every 50 ms, but for the dips, which are
/// short: it counts if it is so for a second.
async fn range(sim: &Sim, dependency: &Dependency, time: Duration) -> (u32, u32) {
    let (end, mut seen) = (sim.elapsed() + time, Vec::new());
    while sim.elapsed() < end {
        sim.sleep(ms(50)).await;
        seen.push(limit(dependency));
    }
    let least = seen.windows(20).map(|span| *span.iter().max().unwrap()).min().unwrap();
    (least, *seen.iter().max().unwrap())
}

/// From 80 to 120 %.
#[track_caller]
fn assert_near((least, most): (u32, u32), capacity: u32) {
    let near = |limit: u32| limit * 10 >= capacity * 8 && limit * 10 <= capacity * 12;
    assert!(near(least) && near(most), "{least} to {most}, not {capacity}");
}

fn busy(sim: &Sim, capacity: usize, latency: Duration, jitter: Duration) -> (Server, Dependency) {
    let server = sim.server("http://a:80");
    server.capacity(capacity).latency(latency).jitter(jitter);
    let a = at_a(sim, |builder| builder.adaptive_limit(AdaptiveLimit::new()));
    crowd(sim, &a, 400);
    (server, a)
}

#[test]
fn it_finds_a_servers_capacity_in_ten_seconds_and_follows_when_it_halves() {
    for (capacity, latency, jitter) in [
        (10, 20, 0),
        (20, 50, 0),
        (50, 50, 0),
        (50, 100, 0),
        (100, 50, 0),
        (50, 40, 20),
        (100, 25, 50),
    ] {
        let sim = Sim::new(7);
        let (server, a) = busy(&sim, capacity, ms(latency), ms(jitter));
        sim.run(async {
            sim.sleep(secs(10)).await;
            let found = range(&sim, &a, secs(20)).await;
            server.capacity(capacity / 2);
            sim.sleep(secs(10)).await;
            let followed = range(&sim, &a, secs(20)).await;
            server.capacity(capacity);
            sim.sleep(secs(20)).await;
            let back = range(&sim, &a, secs(20)).await;
            println!("{capacity} at {latency}+{jitter} ms: {found:?}, {followed:?}, {back:?}");
            assert_near(found, capacity as u32);
            assert_near(followed, capacity as u32 / 2);
            assert_near(back, capacity as u32);
        });
    }
}

#[test]
fn it_still_knows_the_capacity_after_minutes_of_full_load() {
    let sim = Sim::new(7);
    let (_, a) = busy(&sim, 40, ms(50), ms(10));
    sim.run(async {
        sim.sleep(secs(300)).await;
        assert_near(range(&sim, &a, secs(20)).await, 40);
    });
}

#[test]
fn it_forgives_a_server_that_is_slower_but_has_room() {
    let sim = Sim::new(7);
    let (server, a) = busy(&sim, 50, ms(50), ms(0));
    sim.run(async {
        sim.sleep(secs(10)).await;
        server.latency(ms(150));
        sim.sleep(secs(30)).await;
        assert_near(range(&sim, &a, secs(20)).await, 50);
    });
}

#[test]
fn the_smaller_one_of_both_limits_binds() {
    for (most, adaptive, expected) in [(5, 20, 5), (20, 5, 5)] {
        let sim = Sim::new(1);
        let server = sim.server("http://a:80");
        server.latency(secs(1));
        let a = at_a(&sim, |builder| {
            let adaptive = AdaptiveLimit::new().start(adaptive);
            builder.max_open_per_netloc(most).adaptive_limit(adaptive).queue(0)
        });
        crowd(&sim, &a, 50);
        sim.run(sim.sleep(ms(500)));
        assert_eq!(server.peak(), expected);
    }
}

#[test]
fn failures_lower_it_and_those_under_way_finish() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(500));
    let a = at_a(&sim, |builder| {
        let adaptive = AdaptiveLimit::new().start(50).floor(2).ceiling(50);
        builder.adaptive_limit(adaptive).queue(0).circuit_reset_timeout(Duration::ZERO)
    });
    let done = Rc::new(Cell::new(0));
    for _ in 0..40 {
        let (a, done) = (a.clone(), done.clone());
        let _task = sim.spawn(async move {
            get_root(&a).await.unwrap();
            done.set(done.get() + 1);
        });
    }
    sim.run(async {
        sim.sleep(ms(10)).await;
        server.latency(Duration::ZERO).failing(1.0, 500);
        while limit(&a) > 2 {
            get_root(&a).await.unwrap_err();
            sim.sleep(ms(1)).await;
            if a.snapshot().endpoints[1].open >= limit(&a) {
                break;
            }
        }
        let (open, limit) = (a.snapshot().endpoints[1].open, limit(&a));
        assert!(open >= limit && limit < 50, "{open}, {limit}");
        // The rest has no place, and nobody of those who have one is thrown out.
        assert!(get_root(&a).await.unwrap_err().is_rejected());
        sim.sleep(secs(1)).await;
        assert_eq!(done.get(), 40);
    });
}

#[test]
fn callers_that_go_away_say_nothing() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(500));
    let a = at_a(&sim, |builder| {
        builder.adaptive_limit(AdaptiveLimit::new().start(20)).timeout(secs(5))
    });
    sim.run(async {
        for _ in 0..500 {
            let mut call = Box::pin(get_root(&a));
            std::future::poll_fn(|cx| {
                assert!(call.as_mut().poll(cx).is_pending());
                std::task::Poll::Ready(())
            })
            .await;
            sim.sleep(ms(10)).await;
        }
    });
    assert_eq!((limit(&a), a.snapshot().endpoints[1].open), (20, 0));
}

#[test]
fn it_does_not_grow_while_it_is_not_used_and_survives_a_new_list() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(20));
    let a = at_a(&sim, |builder| builder.adaptive_limit(AdaptiveLimit::new().start(20)));
    crowd(&sim, &a, 10);
    sim.run(sim.sleep(secs(60)));
    assert_eq!(limit(&a), 20);
    crowd(&sim, &a, 100);
    sim.run(sim.sleep(secs(10)));
    let grown = limit(&a);
    assert!(grown >= 100, "{grown}");
    a.set_targets(["http://b:80", "http://a:80"]).unwrap();
    let kept = a.snapshot().endpoints.iter().filter_map(|known| known.adaptive_limit).max();
    assert_eq!(kept, Some(grown));
}
