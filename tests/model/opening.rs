//! The instant at which a circuit lets somebody try: so many probes as are allowed, whoever asks.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dace::{Breaker, CircuitState, Error, HttpError};
use dace_sim::{Server, Sim};

use crate::interaction::{Call, Dependency};

const CALLERS: usize = 10_000;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

type Held = Pin<Box<dyn Future<Output = Result<(), Error<HttpError>>>>>;

/// How the probes end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Well,
    Badly,
    Dropped,
    Panics,
    Deadline,
    /// They never end: their leases do.
    Never,
}

fn get(dependency: &Dependency, panics: bool) -> Held {
    let call = dependency.call(move |call: Call| async move {
        let answer = call.http().get("http://a:80/").send().await;
        if panics && answer.is_ok() {
            resume_unwind(Box::new("on purpose"));
        }
        answer?.error_for_status()?.text().await.map(drop)
    });
    Box::pin(call.timeout(ms(5_000)))
}

fn poll(held: &mut Held) -> Poll<Result<(), Error<HttpError>>> {
    held.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// So many callers at one instant. Answers those who were let in.
fn crowd(
    dependency: &Dependency,
    server: &Server,
    callers: usize,
    panics: bool,
    expected: usize,
) -> Vec<Held> {
    let before = server.requests();
    let mut inside = Vec::new();
    for _ in 0..callers {
        let mut held = get(dependency, panics);
        match poll(&mut held) {
            Poll::Pending => inside.push(held),
            Poll::Ready(Err(Error::CircuitOpen { .. })) => {}
            Poll::Ready(other) => panic!("{other:?}"),
        }
    }
    let arrived = server.requests() - before;
    assert_eq!((inside.len(), arrived), (expected, expected), "{}", dependency.snapshot());
    inside
}

fn play(probes: u32, balanced: bool, ending: Ending) {
    let sim = Sim::new(7);
    let server = sim.server("http://a:80");
    server.latency(ms(100));
    let breaker = Breaker::new().consecutive_failures(1).probes(probes).successes(probes + 1);
    // Neither the limit nor the pool is what keeps them out.
    let many = 2 * CALLERS as u32;
    let mut builder = Dependency::builder("opening")
        .breaker(breaker)
        .circuit_reset_timeout(ms(1_000))
        .retry_attempts(0)
        .queue(CALLERS)
        .max_open_per_netloc(many)
        .http_pool_size(many);
    if balanced {
        builder = builder.targets(["http://a:80"]);
    }
    let dependency = builder.build_with(sim.runtime(), sim.backend()).unwrap();
    server.answers(..ms(150), 503);
    assert!(sim.run(get(&dependency, false)).is_err());
    let allowed = probes as usize;
    let opens_in = || {
        let known = |one: &&dace::EndpointSnapshot| one.netloc.as_str() == "a:80";
        let snapshot = dependency.snapshot();
        snapshot.endpoints.iter().find(known).and_then(|one| one.reopens_in)
    };
    sim.advance(opens_in().expect("it is open") - Duration::from_nanos(1));
    assert!(crowd(&dependency, &server, 1_000, false, 0).is_empty(), "a nanosecond too early");
    sim.advance(Duration::from_nanos(1));
    let now = sim.elapsed();
    match ending {
        Ending::Badly => server.answers(now.., 503),
        Ending::Deadline | Ending::Never => server.hangs(now..now + ms(20_000)),
        Ending::Well | Ending::Dropped | Ending::Panics => &server,
    };
    let mut inside = crowd(&dependency, &server, CALLERS, ending == Ending::Panics, allowed);
    // While they are under way, nobody else is let in.
    assert!(crowd(&dependency, &server, 1_000, false, 0).is_empty());
    match ending {
        Ending::Dropped => inside.clear(),
        Ending::Never | Ending::Deadline => sim.advance(ms(5_000)),
        Ending::Well | Ending::Badly | Ending::Panics => sim.advance(ms(100)),
    }
    if ending != Ending::Never {
        for mut held in std::mem::take(&mut inside) {
            let end = || poll(&mut held).is_ready();
            let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(end));
            assert_eq!(ended.is_err(), ending == Ending::Panics);
        }
    }
    // Those that decided nothing have given their places back, and one success too few has closed nothing:
    // as many may try again, and no more. A failure has opened it.
    let next = match ending {
        Ending::Well | Ending::Dropped | Ending::Panics => allowed,
        Ending::Badly | Ending::Deadline | Ending::Never => 0,
    };
    drop(crowd(&dependency, &server, CALLERS, false, next));
    let state = dependency.circuit("a:80").unwrap().state();
    let expected = if next > 0 { CircuitState::HalfOpen } else { CircuitState::Open };
    assert_eq!(state, Some(expected));
    drop(inside);
    let left = dependency.snapshot();
    assert!(left.endpoints.iter().all(|one| one.open == 0 && one.probes == 0), "{left}");
}

/// S3.
#[test]
fn ten_thousand_callers_at_the_instant_of_opening_are_as_many_probes_as_allowed() {
    use Ending::{Badly, Deadline, Dropped, Never, Panics, Well};
    for ending in [Well, Badly, Dropped, Panics, Deadline, Never] {
        for balanced in [false, true] {
            play(1, balanced, ending);
        }
        play(3, true, ending);
    }
}
