//! What an attempt is charged to, and what each netloc hears of it.

use dace::http::HttpErrorKind;
use dace::{CircuitState, Class, HttpError, What};
use dace_sim::{Answer, Ending, Sim};

use crate::support::{Dependency, Error, Seen, assert_all_back, dependency, get, ms, secs, touchy};

fn endpoint(dependency: &Dependency, netloc: &str) -> dace::EndpointSnapshot {
    let snapshot = dependency.snapshot();
    let found = snapshot.endpoints.iter().find(|endpoint| endpoint.netloc.as_str() == netloc);
    found.unwrap_or_else(|| panic!("{netloc} is not known:\n{snapshot}")).clone()
}

#[test]
fn without_a_balancer_the_first_exchange_moves_the_attempt_to_its_server() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let any = dependency(&sim, |builder| builder.max_open_per_netloc(1));
    sim.run(async {
        let call = sim.spawn({
            let any = any.clone();
            async move { any.call(|call| get(call, "http://a/")).await }
        });
        sim.sleep(ms(5)).await;
        assert_eq!((endpoint(&any, "a:80").open, endpoint(&any, "test").open), (1, 0));
        call.await.unwrap();
    });
    assert_eq!(endpoint(&any, "a:80").successes, 1);
    assert_eq!(endpoint(&any, "test").successes, 0, "the dependency itself heard nothing");
    assert_all_back(&any);
}

#[test]
fn the_limit_of_a_server_binds_functions_that_name_it_themselves() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(10));
    let any = dependency(&sim, |builder| builder.max_open_per_netloc(2).queue(1));
    let results = sim.run(async {
        let call = |_| any.call(|call| get(call, "http://a/"));
        futures_util::future::join_all((0..2).map(call)).await;
        let world = sim.clone();
        let mut tasks = Vec::new();
        for _ in 0..4 {
            let any = any.clone();
            tasks.push(world.spawn(async move { any.call(|call| get(call, "http://a/")).await }));
            world.sleep(ms(1)).await;
        }
        futures_util::future::join_all(tasks).await
    });
    assert_eq!(server.peak(), 2);
    let refused: Vec<_> = results.iter().filter_map(|result| result.as_ref().err()).collect();
    assert_eq!(refused.len(), 1, "two at once, one in the queue, one refused");
    let Error::RateLimited { netloc, source: Some(source), .. } = refused[0] else {
        panic!("{refused:?}")
    };
    assert_eq!(netloc.as_str(), "a:80");
    assert!(matches!(source.kind(), HttpErrorKind::Refused(_)));
    assert_all_back(&any);
}

#[test]
fn an_attempt_moves_on_from_server_to_server_and_holds_one_permit() {
    let sim = Sim::new(1);
    for target in ["http://a:80", "http://b:80"] {
        sim.server(target).latency(ms(10));
    }
    let any = dependency(&sim, |builder| builder.max_open_per_netloc(1).queue(5));
    // Both go from one server to the other, in opposite directions, with one place at each: if they
    // kept the old place while they wait for the new one, they would wait for each other.
    let there_and_back = |first: &'static str, second: &'static str| {
        any.call(move |call| async move {
            call.http().get(first).send().await?.bytes().await?;
            call.http().get(second).send().await?.bytes().await
        })
    };
    let (one, two) = sim.run(async {
        futures_util::future::join(
            there_and_back("http://a/", "http://b/"),
            there_and_back("http://b/", "http://a/"),
        )
        .await
    });
    assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
    assert_eq!(sim.elapsed(), ms(20));
    assert_all_back(&any);
}

#[test]
fn a_second_exchange_elsewhere_while_the_first_is_open_never_waits() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    sim.server("http://b:80").latency(ms(100));
    let any =
        dependency(&sim, |builder| builder.max_open_per_netloc(1).queue(10).retry_attempts(0));
    let result = sim.run(async {
        let busy = sim.spawn({
            let any = any.clone();
            async move { any.call(|call| get(call, "http://b/")).await }
        });
        sim.sleep(ms(1)).await;
        let both = any.call(|call| async move {
            let first = call.http().get("http://a/").send().await?;
            let second = call.http().get("http://b/").send().await;
            drop(first);
            second
        });
        let result = both.await.map(|_| ());
        assert_eq!(sim.elapsed(), ms(11), "refused at once, though the queue had room");
        busy.await.unwrap();
        result
    });
    assert!(
        matches!(&result, Err(Error::RateLimited { netloc, .. }) if netloc.as_str() == "b:80"),
        "{result:?}"
    );
    assert_all_back(&any);
}

#[test]
fn a_swallowed_failure_still_tells_the_circuit() {
    let sim = Sim::new(1);
    sim.server("http://a:80").answers(.., 503);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).breaker(touchy()));
    let status = sim.run(a.call(|call| async move {
        Ok::<_, HttpError>(call.http().get("/").send().await?.status())
    }));
    assert_eq!(status.unwrap(), 503);
    assert_eq!(endpoint(&a, "a:80").circuit, CircuitState::Open);
}

/// B8: one bad server does not become a failure of all.
#[test]
fn a_dead_server_never_opens_the_circuit_of_a_healthy_one() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    sim.server("http://dead:80").down(..);
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).breaker(touchy()).retry_attempts(0)
    });
    let call = a.call(|call| async move {
        call.http().get("/").send().await?.bytes().await?;
        call.http().get("http://dead/").send().await?.bytes().await
    });
    sim.run(call).unwrap_err();
    assert_eq!(endpoint(&a, "a:80").circuit, CircuitState::Closed);
    assert_eq!(endpoint(&a, "a:80").successes, 1);
    assert_eq!(endpoint(&a, "dead:80").circuit, CircuitState::Open);
}

#[test]
fn the_attempts_own_class_is_heard_where_it_is_charged() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).breaker(touchy()).retry_attempts(0)
    });
    let call = a
        .call(|call| async move {
            call.http().get("/").send().await.map_err(|_| "not sent")?;
            Err::<(), &str>("no")
        })
        .classify(|_| Class::Failure);
    sim.run(call).unwrap_err();
    assert_eq!(endpoint(&a, "a:80").circuit, CircuitState::Open);
}

#[test]
fn a_failed_attempt_that_dace_refused_an_exchange_ends_as_that_refusal() {
    let sim = Sim::new(1);
    let (a_server, b) = (sim.server("http://a:80"), sim.server("http://b:80"));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    a_server.latency(ms(1));
    sim.run(async {
        a.call(|call| get(call, "http://b/")).await.unwrap();
        a.circuit("b:80").unwrap().force_open();
        let error = a.call(|call| get(call, "http://b/")).await.unwrap_err();
        let Error::CircuitOpen { netloc, source: Some(_), .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(netloc.as_str(), "b:80");
        assert!(!error.is_rejected(), "an attempt ran");
    });
    assert_eq!(b.requests(), 1);
    assert_eq!(endpoint(&a, "a:80").failures, 0, "a refusal is no failure of the server's");
}

#[test]
fn a_response_that_outlives_its_call_keeps_one_place_until_it_is_read_or_dropped() {
    let sim = Sim::new(1);
    sim.server("http://a:80").handler(|_| Answer::ok("one").piece(secs(60), "two"));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).max_open_per_netloc(1).stall_timeout(secs(100))
    });
    let fetch = || a.call(|call| async move { call.http().get("/").send().await });
    sim.run(async {
        let response = fetch().await.unwrap();
        assert_eq!(endpoint(&a, "a:80").open, 1);
        assert!(matches!(fetch().await, Err(Error::RateLimited { .. })));
        // The deadline of the call ended with it: reading takes a minute.
        assert_eq!(response.bytes().await.unwrap(), "onetwo");
        assert_eq!(endpoint(&a, "a:80").open, 0);

        let mut detached = fetch().await.unwrap();
        detached.detach();
        assert_eq!(endpoint(&a, "a:80").open, 0);
        let dropped = fetch().await.unwrap();
        drop((dropped, detached));
    });
    assert_all_back(&a);
}

#[test]
fn a_body_that_fails_after_its_call_is_a_result_of_its_own_and_never_retried() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|_| Answer::ok("one").ending(Ending::Truncated));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).breaker(touchy()));
    sim.run(async {
        let response =
            a.call(|call| async move { call.http().get("/").send().await }).await.unwrap();
        assert_eq!(endpoint(&a, "a:80").circuit, CircuitState::Closed);
        response.bytes().await.unwrap_err();
    });
    assert_eq!(endpoint(&a, "a:80").circuit, CircuitState::Open);
    assert_eq!(server.requests(), 1);
    assert_all_back(&a);
}

#[test]
fn a_call_handle_that_was_kept_sends_nothing_after_its_attempt() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    sim.run(async {
        let kept = a.call(|call| async move { Ok::<_, HttpError>(call) }).await.unwrap();
        let error = kept.http().get("http://a/").send().await.unwrap_err();
        assert_eq!(error.kind(), &HttpErrorKind::AttemptOver);
        assert_eq!(error.sent(), dace::http::Sent::Unsent);
        assert_eq!(kept.target(), None);
    });
    assert_eq!(server.requests(), 0);
}

/// G6: connections are bounded, for each server and over all.
#[test]
fn exchanges_beyond_the_pool_size_wait_for_a_connection_place() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.latency(ms(10));
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).http_pool_size(2));
    sim.run(async {
        let results =
            futures_util::future::join_all((0..6).map(|_| a.call(|call| get(call, "/")))).await;
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    });
    assert_eq!((server.peak(), sim.elapsed()), (2, ms(30)));
    assert_all_back(&a);
}

#[test]
fn waiting_for_a_place_that_the_attempt_holds_itself_is_an_error_at_once() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).http_pool_size(1).retry_attempts(0)
    });
    let call = a.call(|call| async move {
        let _open = call.http().get("/").send().await?;
        call.http().get("/").send().await
    });
    let error = sim.run(call).unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::OwnPlace);
    assert!(error.to_string().contains("http_pool_size"), "{error}");
    assert_eq!(sim.elapsed(), ms(10));
    assert_all_back(&a);
}

#[test]
fn an_exchange_that_is_cut_off_by_a_timeout_is_heard_where_it_hung() {
    let sim = Sim::new(1);
    sim.server("http://a:80");
    sim.server("http://hung:80").hangs(..);
    let seen = Seen::default();
    let a = dependency(&sim, |builder| {
        builder
            .targets(["http://a:80"])
            .attempt_timeout(ms(100))
            .breaker(touchy())
            .observer(seen.clone())
    });
    sim.run(a.call(|call| get(call, "http://hung/"))).unwrap_err();
    assert_eq!(endpoint(&a, "hung:80").circuit, CircuitState::Open);
    assert_eq!(endpoint(&a, "a:80").circuit, CircuitState::Closed);
    let ended = seen.events().into_iter().find_map(|event| match event.what {
        What::AttemptEnded { class, took, .. } => Some((class, took)),
        _ => None,
    });
    assert_eq!(ended, Some((Class::Timeout, ms(100))));
}

#[test]
fn netlocs_beyond_the_cap_share_one_entry_and_those_with_a_history_stay() {
    let sim = Sim::new(1);
    sim.server("http://bad:80").answers(.., 500);
    let any =
        dependency(&sim, |builder| builder.max_netlocs(10).breaker(touchy()).retry_attempts(0));
    sim.run(async {
        any.call(|call| get(call, "http://bad/")).await.unwrap_err();
        for number in 0..2000 {
            let url = format!("http://server-{number}/");
            sim.server(url.trim_end_matches('/'));
            let url = &url;
            any.call(|call| async move { get(call, url).await }).await.unwrap();
        }
        assert!(any.snapshot().endpoints.len() <= 10 + 2);
        assert_eq!(endpoint(&any, "bad:80").circuit, CircuitState::Open);
    });
}

#[test]
fn a_dependencys_own_circuit_closes_again_though_its_functions_move_on_to_servers() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(10));
    let any = dependency(&sim, |builder| {
        builder.attempt_timeout(secs(1)).retry_attempts(0).breaker(touchy())
    });
    let own = || endpoint(&any, "test").circuit;
    sim.run(async {
        let hung = any.call(|_| std::future::pending::<Result<(), HttpError>>());
        hung.await.unwrap_err();
        assert_eq!(own(), CircuitState::Open, "it hung before any exchange");
        sim.sleep(secs(12)).await;
        any.call(|call| get(call, "http://a/")).await.unwrap();
        assert_eq!(own(), CircuitState::Closed);
    });
    assert_all_back(&any);
}
