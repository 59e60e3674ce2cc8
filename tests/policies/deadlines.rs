//! Deadlines and attempts that are told to the next service.

use std::time::Duration;

use dace::sim::{Answer, Arrival, Sim, SimBackend, SimRuntime};
use dace::{Backoff, DeadlineHeader, DependencyBuilder, HttpError};

type Dependency = dace::Dependency<SimRuntime, SimBackend>;
type Builder = DependencyBuilder<SimRuntime, SimBackend>;
type Call = dace::Call<SimRuntime, SimBackend>;

const MS: Duration = Duration::from_millis(1);

fn dependency(sim: &Sim, set: impl FnOnce(Builder) -> Builder) -> Dependency {
    let builder = Dependency::builder("test")
        .targets(["http://a:80"])
        .backoff(Backoff::new().base(Duration::ZERO))
        .circuit_reset_timeout(Duration::ZERO);
    set(builder).build_with(sim.runtime(), sim.backend()).unwrap()
}

async fn get(call: Call) -> Result<String, HttpError> {
    call.http().get("/").send().await?.error_for_status()?.text().await
}

fn said(arrivals: &[Arrival], name: &str) -> Vec<String> {
    let value = |arrival: &Arrival| {
        let value = arrival.header(name).unwrap_or(b"-");
        String::from_utf8_lossy(value).into_owned()
    };
    arrivals.iter().map(value).collect()
}

#[test]
fn what_is_left_goes_along_in_the_usual_forms() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(100 * MS);
    for (header, first, second) in [
        (DeadlineHeader::grpc(), "1000000u", "200000u"),
        (DeadlineHeader::envoy(), "1000", "200"),
        (DeadlineHeader::millis("X-Left"), "1000", "200"),
    ] {
        let name = header.name().to_owned();
        let a = dependency(&sim, |builder| {
            builder.timeout(1_000 * MS).attempt_timeout(Duration::MAX).deadline_header(header)
        });
        sim.run(a.call(get)).unwrap();
        // Handed down, from a request that is being served.
        let left = DeadlineHeader::grpc().read("200m").unwrap();
        sim.run(a.call(get).within(left)).unwrap();
        let arrivals = server.arrivals();
        assert_eq!(said(&arrivals[arrivals.len() - 2..], &name), [first, second]);
    }
    let before = server.requests();
    let a =
        dependency(&sim, |builder| builder.no_timeout().deadline_header(DeadlineHeader::envoy()));
    sim.run(a.call(get)).unwrap();
    let plain = dependency(&sim, |builder| builder.timeout(1_000 * MS));
    sim.run(plain.call(get)).unwrap();
    let name = DeadlineHeader::envoy().name().to_owned();
    assert_eq!(said(&server.arrivals()[before..], &name), ["-", "-"]);
}

/// D12: layers that all retry do not multiply the load.
#[test]
fn retries_and_redirects_say_anew_what_is_left_and_retries_say_which_they_are() {
    let sim = Sim::new(1);
    let (a, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    a.latency(100 * MS).handler(|_| Answer::status(307).header("location", "http://b:80/"));
    b.latency(50 * MS).handler(|_| Answer::status(500));
    let one = dependency(&sim, |builder| {
        builder
            .timeout(1_000 * MS)
            .attempt_timeout(400 * MS)
            .retry_attempts(2)
            .deadline_header(DeadlineHeader::envoy())
            .attempt_header("X-Attempt")
    });
    sim.run(one.call(get)).unwrap_err();
    let name = DeadlineHeader::envoy().name().to_owned();
    // Of the attempt's 400 ms, which is less than what is left of the call's second.
    assert_eq!(said(&a.arrivals(), &name), ["400", "400", "400"]);
    assert_eq!(said(&b.arrivals(), &name), ["300", "300", "300"]);
    for server in [a, b] {
        let arrivals = server.arrivals();
        assert_eq!(said(&arrivals, "x-attempt"), ["1", "2", "3"]);
        let once = |arrival: &Arrival| {
            let named = |wanted: &str| {
                arrival.headers.iter().filter(|header| header.name() == wanted).count()
            };
            (named("x-attempt"), named(&name)) == (1, 1)
        };
        assert!(arrivals.iter().all(once));
    }
}

#[test]
fn a_request_that_waited_for_its_place_says_what_is_left_then() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(300 * MS);
    let a = dependency(&sim, |builder| {
        builder.timeout(1_000 * MS).http_pool_size(1).deadline_header(DeadlineHeader::envoy())
    });
    let (first, second) = sim.run(futures_util::future::join(a.call(get), a.call(get)));
    assert!(first.is_ok() && second.is_ok());
    let name = DeadlineHeader::envoy().name().to_owned();
    assert_eq!(said(&server.arrivals(), &name), ["1000", "700"]);
}

#[test]
fn a_header_of_the_requests_own_wins() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| {
        builder
            .deadline_header(DeadlineHeader::grpc())
            .attempt_header("x-attempt")
            .default_header("x-attempt", "default")
    });
    let own = |call: Call| async move {
        call.http().get("/").header("grpc-timeout", "1S").send().await?.text().await
    };
    sim.run(a.call(own)).unwrap();
    let arrivals = server.arrivals();
    assert_eq!(said(&arrivals, "grpc-timeout"), ["1S"]);
    assert_eq!(said(&arrivals, "x-attempt"), ["default"]);
}

#[test]
fn names_that_no_header_can_have_are_refused() {
    let refused = |set: fn(Builder) -> Builder| {
        let sim = Sim::new(1);
        let builder = set(Dependency::builder("test"));
        builder.build_with(sim.runtime(), sim.backend()).unwrap_err().setting()
    };
    for name in ["", "a b", "a\nb", "te", "Host", "content-length"] {
        let (sim, deadline) = (Sim::new(1), DeadlineHeader::millis(name));
        let builder = Dependency::builder("test").deadline_header(deadline);
        let error = builder.build_with(sim.runtime(), sim.backend()).unwrap_err();
        assert_eq!(error.setting(), "deadline_header", "{name:?}");
        let builder = Dependency::builder("test").attempt_header(name);
        let error = builder.build_with(sim.runtime(), sim.backend()).unwrap_err();
        assert_eq!(error.setting(), "attempt_header", "{name:?}");
    }
    let twice = refused(|builder| {
        builder.attempt_header("Grpc-Timeout").deadline_header(DeadlineHeader::grpc())
    });
    assert_eq!(twice, "attempt_header");
}
