//! Descriptors in a storm of calls, and after it.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use dace::{Adapter, HttpError, Runtime};
use futures_util::future::{Either, join_all, select};

use crate::process::{self, Servers};
use crate::server::FAULTS;
use crate::support::{Dependency, Verdict, dependency, ensure, lent, ms, on_tokio};

/// Calls at once.
const CALLS: usize = 2_000;

/// Connections per server.
const POOL: usize = 5;

/// How long a connection may lie idle.
const IDLE: Duration = Duration::from_secs(2);

/// What a runtime has for itself: its wake-ups, and a file that is just being read.
const OWN: usize = 16;

pub(crate) fn on_both() -> Verdict {
    let servers = Servers::start();
    on_tokio(storm::<dace::tokio::Tokio>("tokio", &servers, true))?;
    smol::block_on(storm::<dace::smol::Smol>("smol", &servers, false))
}

/// Under libcurl idle connections are looked at with the next request only (`docs/conformance.md`), so they
/// stay, as many as there may be, until then or until the last handle is dropped.
async fn storm<A: Adapter>(name: &str, servers: &Servers, watches_idle: bool) -> Verdict {
    let before = process::descriptors();
    let open = || process::descriptors().saturating_sub(before);
    let configured = servers.addresses.len() * POOL;
    let one = dependency::<A>(|builder| {
        builder
            .http_pool_size(POOL as u32)
            .max_open_per_netloc(POOL as u32)
            .queue(CALLS)
            .http_idle_timeout(IDLE)
            .circuit_reset_timeout(Duration::ZERO)
            .timeout(Duration::from_secs(120))
    });
    let mut rng = fastrand::Rng::with_seed(7);
    let (good, peak) = watched::<A, _>(join_all((0..CALLS).map(|at| {
        let address = servers.addresses[at % servers.addresses.len()];
        let path = if rng.u8(0..10) == 0 { rng.choice(&FAULTS).expect("some") } else { "fine" };
        get::<A>(&one, format!("http://{address}/{path}"))
    })))
    .await;
    let good = good.into_iter().filter(|good| *good).count();
    let peak = peak.saturating_sub(before);
    let runtime = A::Runtime::default();
    runtime.sleep_until(runtime.now().after(IDLE + Duration::from_secs(1))).await;
    let idle = open();
    let lent = lent(&one);
    drop(one);
    runtime.sleep_until(runtime.now().after(Duration::from_secs(1))).await;
    let after = open();
    println!(
        "{name}: {CALLS} calls at once, {good} good: {peak} descriptors at most of {configured} configured, {idle} after \
         the idle timeout and 1 s, {after} without the dependency"
    );
    ensure(good > CALLS / 2 && lent == 0, || format!("{name}: {good} good, {lent} lent"))?;
    ensure(peak <= configured + OWN, || format!("{name}: more than configured"))?;
    ensure(idle <= if watches_idle { OWN } else { configured + OWN }, || {
        format!("{name}: {idle} lie idle")
    })?;
    ensure(after <= OWN, || format!("{name}: {after} are left"))
}

/// Whether it was answered.
async fn get<A: Adapter>(one: &Dependency<A>, url: String) -> bool {
    let call = one.call(|call| {
        let url = &url;
        async move {
            let request = call.http().get(url);
            // Those who never answer are not the matter here.
            let request = if url.ends_with("silent") || url.ends_with("stall") {
                request.timeout(ms(100))
            } else {
                request
            };
            request.send().await?.error_for_status()?.bytes().await.map(drop)
        }
    });
    let result: Result<(), dace::Error<HttpError>> = call.await;
    result.is_ok()
}

/// The most descriptors that were open while `work` ran, looked at every 5 ms.
async fn watched<A: Adapter, F: Future>(work: F) -> (F::Output, usize) {
    let peak = Cell::new(0);
    let runtime = A::Runtime::default();
    let look = async {
        loop {
            peak.set(peak.get().max(process::descriptors()));
            runtime.sleep_until(runtime.now().after(ms(5))).await;
        }
    };
    match select(pin!(work), pin!(look)).await {
        Either::Left((output, _)) => (output, peak.get()),
        Either::Right((never, _)) => never,
    }
}
