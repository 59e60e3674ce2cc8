//! Timeouts and bodies: the clock goes on after the head, and half a body is none.

use dace::http::{FaultKind, HttpErrorKind};
use dace::sim::{Answer, Ending, Sim};
use dace::{Error, HttpError};

use crate::support::{assert_all_back, dependency, get, get_root, ms, secs};

fn kind(error: Error<HttpError>) -> HttpErrorKind {
    error.into_source().expect("an error of the client").kind().clone()
}

#[test]
fn f1_the_deadline_goes_on_after_the_head() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::ok("half").ending(Ending::Stalled));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).timeout(secs(3)).retry_attempts(0)
    });
    let error = sim.run(get_root(&a)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(sim.elapsed(), secs(3));
    // The request's own is for head and body together, too.
    let call =
        a.call(
            |call| async move { call.http().get("/").timeout(ms(500)).send().await?.text().await },
        );
    assert_eq!(kind(sim.run(call).unwrap_err()), HttpErrorKind::Timeout(ms(500)));
    assert_eq!(sim.elapsed(), ms(3_500));
    assert_all_back(&a);
}

#[test]
fn f2_a_body_that_is_cut_short_is_never_a_body() {
    for piece in ["", "h", "half"] {
        let sim = Sim::new(1);
        sim.server("http://a:80").handler(move |_| Answer::ok(piece).ending(Ending::Truncated));
        let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0));
        let error = sim.run(get_root(&a)).unwrap_err();
        assert_eq!(kind(error), HttpErrorKind::Fault(FaultKind::Truncated));
        // Whoever reads piece by piece hears of it as well, after the last one.
        let read = a.call(|call| async move {
            let mut response = call.http().get("/").send().await?;
            while response.chunk().await?.is_some() {}
            Ok::<_, HttpError>(())
        });
        assert_eq!(kind(sim.run(read).unwrap_err()), HttpErrorKind::Fault(FaultKind::Truncated));
        assert_all_back(&a);
    }
}

#[test]
fn f3_a_body_that_drips_ends_with_the_deadline_and_gives_its_place_back() {
    let sim = Sim::new(1);
    // A byte each tenth of a second, for hours: no pause is a stall.
    let drip = |answer: Answer, _| answer.piece(ms(100), "x");
    sim.server("http://a:80").handler(move |_| (0..100_000).fold(Answer::status(200), drip));
    let a = dependency(&sim, |builder| {
        let builder = builder.targets(["http://a:80"]).timeout(secs(3)).retry_attempts(0);
        builder.max_open_per_netloc(1)
    });
    let error = sim.run(get_root(&a)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error}");
    assert_eq!(sim.elapsed(), secs(3));
    // The deadline of the call ends with it; the request's own goes on, for whoever reads later.
    let response = a.call(|call| async move { call.http().get("/").timeout(secs(2)).send().await });
    let response = sim.run(response).unwrap();
    let error = sim.run(response.bytes()).unwrap_err();
    assert_eq!(error.kind(), &HttpErrorKind::Timeout(secs(2)));
    assert_eq!(sim.elapsed(), secs(5));
    assert_all_back(&a);
}

#[test]
fn f4_a_slow_reader_is_no_stall_and_nor_is_an_empty_body() {
    let sim = Sim::new(1);
    sim.server("http://a:80")
        .handler(|_| Answer::ok("one").piece(ms(900), "two").piece(ms(900), "three"));
    sim.server("http://b:80").handler(|_| Answer::status(204));
    let any =
        dependency(&sim, |builder| builder.stall_timeout(secs(1)).no_timeout().retry_attempts(0));
    let read = any.call(|call| {
        let sim = &sim;
        async move {
            let mut response = call.http().get("http://a/").send().await?;
            let mut pieces = 0;
            while response.chunk().await?.is_some() {
                pieces += 1;
                sim.sleep(secs(10)).await;
            }
            Ok::<_, HttpError>(pieces)
        }
    });
    assert_eq!(sim.run(read).unwrap(), 3);
    assert_eq!(sim.run(any.call(|call| get(call, "http://b/"))).unwrap(), "");
}
