//! haproxy: a server that fails at random, a tarpit, and one that says when to come back.

use dace::http::HttpErrorKind;
use dace::{Adapter, Breaker, Class};

use super::process::{Place, Running};
use crate::support::{assert_all_back, dependency, get, get_root, ms, secs, timed};

on_every_adapter! {
    a_server_that_fails_at_random_fails_no_call
    a_tarpit_costs_a_timeout_and_no_more
    a_429_says_when_to_come_back
}

fn haproxy(rules: &str) -> Running {
    let place = Place::new("haproxy");
    let config = format!(
        "defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  timeout tarpit 30s
frontend front
  bind 127.0.0.1:{}
  {rules}
  http-request return status 200 content-type text/plain string fine
",
        place.port
    );
    let config = place.write("haproxy.cfg", config).display().to_string();
    place.start("haproxy", &["-db", "-f", &config])
}

async fn a_server_that_fails_at_random_fails_no_call<A: Adapter>() {
    let haproxy = haproxy("http-request return status 503 if { rand(100) lt 20 }");
    let one = dependency::<A>(|builder| {
        let breaker = Breaker::new().consecutive_failures(50).failure_rate(1.0);
        builder.targets([haproxy.url("")]).retry_attempts(8).breaker(breaker).timeout(secs(20))
    });
    for _ in 0..300 {
        assert_eq!(get_root(&one).await.unwrap(), "fine");
    }
    let totals = one.snapshot().totals;
    assert!(totals.retries > 10, "it failed at random: {totals:?}");
    assert_all_back(&one);
}

async fn a_tarpit_costs_a_timeout_and_no_more<A: Adapter>() {
    let haproxy = haproxy("http-request tarpit if { path /slow }");
    let one = dependency::<A>(|builder| builder.targets([haproxy.url("")]));
    let (result, took) = timed::<A, _>(one.call(|call| async move {
        call.http().get("/slow").timeout(ms(300)).send().await.map(drop)
    }))
    .await;
    let error = result.unwrap_err().into_source().unwrap();
    assert_eq!(error.kind(), &HttpErrorKind::Timeout(ms(300)));
    assert_eq!(error.class(), Class::Timeout);
    assert!(took >= ms(300) && took < secs(3), "{took:?}");
    assert_eq!(one.call(|call| get(call, "/fast")).await.unwrap(), "fine");
    assert_all_back(&one);
}

async fn a_429_says_when_to_come_back<A: Adapter>() {
    let haproxy = haproxy("http-request return status 429 hdr Retry-After 9");
    let one = dependency::<A>(|builder| builder.targets([haproxy.url("")]));
    let error = get_root(&one).await.unwrap_err();
    assert!(error.retry_after().is_some_and(|wait| wait > secs(7)), "{error:?}");
    assert_all_back(&one);
}
