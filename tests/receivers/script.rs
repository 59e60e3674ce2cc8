//! The scripted run whose numbers the receivers are asked for: the same on both adapters.

use std::future::Future;
use std::time::Duration;

use dace::http::HttpBackend;
use dace::{Adapter, Breaker, DependencyBuilder, Runtime, Totals};
use dace_wire::{Server, Step, send};

pub(crate) type Builder<A> = DependencyBuilder<<A as Adapter>::Runtime, <A as Adapter>::Backend>;
type Call<A> = dace::Call<<A as Adapter>::Runtime, <A as Adapter>::Backend>;

/// What a run must come to, by the names of statsd.
pub(crate) const COUNTERS: &[(&str, u64)] = &[
    ("call.success", 21),
    ("call.error", 7),
    ("call.fallback", 1),
    ("attempt.success", 21),
    ("attempt.transient", 2),
    ("attempt.caller_fault", 1),
    ("attempt.unsent", 3),
    ("attempt.failure", 1),
    ("retry", 3),
    ("retry.suppressed.class", 1),
    ("retry.suppressed.no_attempts", 2),
    ("rejected.circuit_open", 3),
    ("circuit.by_hand", 1),
    ("circuit.closed", 1),
];

/// How often each time was told.
pub(crate) const TIMERS: &[(&str, u64)] = &[("call", 28), ("attempt", 28)];

/// 20 answers of 200; a 503 and then a 200; a 404; a server that is not there, tried twice; a 503 and
/// then nobody there, with a fallback; three calls at a circuit that was opened by hand; a function that
/// fails by itself.
pub(crate) async fn run<A: Adapter>(id: &str, set: impl FnOnce(Builder<A>) -> Builder<A>) -> Totals
where
    A::Backend: HttpBackend + dace::http::Connect,
    A::Runtime: Runtime + Default,
{
    let answer =
        |status: u16| send(format!("HTTP/1.1 {status} Answer\r\ncontent-length: 2\r\n\r\nok"));
    let statuses = (0..20).map(|_| 200).chain([503, 200, 404, 503]);
    let script = |status| vec![Step::ReadRequest, answer(status), Step::AwaitClose];
    let server = Server::start(statuses.map(script));
    let gone = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let builder = dace::Dependency::<A::Runtime, A::Backend>::builder(id)
        .retry_attempts(1)
        .breaker(Breaker::new().consecutive_failures(10));
    let any = set(builder).build().unwrap();
    let there = server.url("/");
    let get = |call: Call<A>, url: String| async move {
        call.http().get(&url).persistent(false).send().await?.error_for_status()?.text().await
    };
    for _ in 0..21 {
        assert_eq!(any.call(|call| get(call, there.clone())).await.unwrap(), "ok");
    }
    any.call(|call| get(call, there.clone())).await.unwrap_err();
    any.call(|call| get(call, gone.clone())).await.unwrap_err();
    let (first, second) = (there.clone(), gone.clone());
    let call = any.call(|call| {
        let url = if call.attempt() == 1 { first.clone() } else { second.clone() };
        get(call, url)
    });
    let call = call.fallback(|_| async { Ok(String::from("somebody")) });
    assert_eq!(call.await.unwrap(), "somebody");
    let circuit = any.circuit(id).unwrap();
    circuit.force_open();
    for _ in 0..3 {
        any.call(|call| get(call, there.clone())).await.unwrap_err();
    }
    circuit.automatic();
    any.call(|_| async { Err::<(), _>("no") })
        .classify(|_| dace::Class::Failure)
        .await
        .unwrap_err();
    assert_eq!(any.close(Duration::from_secs(10)).await, 0);
    let totals = any.snapshot().totals;
    drop(any);
    server.finish();
    totals
}

/// Runs it on tokio, with this id.
pub(crate) fn on_tokio(
    set: impl FnOnce(Builder<dace::tokio::Tokio>) -> Builder<dace::tokio::Tokio>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    check(runtime.block_on(run::<dace::tokio::Tokio>("tokio", set)));
}

/// Runs it on smol, with this id.
pub(crate) fn on_smol(set: impl FnOnce(Builder<dace::smol::Smol>) -> Builder<dace::smol::Smol>) {
    check(block_on(run::<dace::smol::Smol>("smol", set)));
}

fn block_on<F: Future>(future: F) -> F::Output {
    smol::block_on(future)
}

/// What dace counted itself is what the script says.
fn check(totals: Totals) {
    let of = |name: &str| {
        COUNTERS.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count)
    };
    for (class, count) in totals.classes.iter() {
        assert_eq!(count, of(&format!("attempt.{class}")), "{class}: {totals:#?}");
    }
    assert_eq!(totals.succeeded, of("call.success"), "{totals:#?}");
    assert_eq!(totals.failed + totals.refused, of("call.error"), "{totals:#?}");
    assert_eq!(totals.retries, of("retry"), "{totals:#?}");
}
