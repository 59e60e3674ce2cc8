//! Calls that are dropped at any of their await points leave nothing behind: no permit, no place, no probe.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use dace::Adapter;
use futures_util::future::join_all;

use crate::support::{Verdict, dependency, ensure, get, lent, on_tokio};

#[path = "../sockets/crowd.rs"]
#[expect(dead_code, reason = "the scenarios on sockets ask it for more")]
mod crowd;

/// Calls at once.
const AT_ONCE: u64 = 20;

/// Calls after which servers are new ones: a connection that the client closes keeps its port for a while.
const ROUND: u64 = 2_000;

pub(crate) fn on_both(calls: u64) -> Verdict {
    on_tokio(drops::<dace::tokio::Tokio>("tokio", calls))?;
    smol::block_on(drops::<dace::smol::Smol>("smol", calls))
}

async fn drops<A: Adapter>(name: &str, wanted: u64) -> Verdict {
    let both = dependency::<A>(|builder| {
        builder.targets(["http://localhost"]).max_open_per_netloc(4).http_pool_size(3).queue(8)
    });
    let mut rng = fastrand::Rng::with_seed(7);
    let mut lost = 0;
    while both.snapshot().totals.dropped < wanted {
        let servers = [crowd::Crowd::start(None), crowd::Crowd::start(None)];
        both.set_targets(servers.each_ref().map(crowd::Crowd::url)).expect("good targets");
        for _ in 0..ROUND / AT_ONCE {
            let batch = (0..AT_ONCE).map(|_| {
                // As often as a call waits at all, and a little more.
                wait_times(both.call(|call| get(call, "/")), rng.u32(1..=12))
            });
            join_all(batch.collect::<Vec<_>>()).await;
        }
        lost += lent(&both);
        ensure(lost == 0, || format!("{name}: {lost} are lost: {}", both.snapshot()))?;
    }
    let totals = both.snapshot().totals;
    let all = totals.dropped + totals.succeeded + totals.failed + totals.refused;
    println!(
        "{name}: {} of {all} calls dropped, {} attempts, {lost} permits lost",
        totals.dropped, totals.attempts
    );
    // Or the drops were none that matter.
    ensure(totals.succeeded > wanted / 20, || format!("{name}: too few came far: {totals:?}"))
}

/// Polls a future until it has waited so many times, and drops it there.
async fn wait_times<F: Future>(future: F, times: u32) {
    let mut future = pin!(future);
    let mut waited = 0;
    poll_fn(|cx| {
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        waited += 1;
        if waited == times { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
