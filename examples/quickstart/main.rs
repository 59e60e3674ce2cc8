//! The same traffic through a plain client and through dace, side by side, for fifteen seconds:
//!
//!     cargo run --example quickstart
//!
//! Three HTTP servers are started on loopback. One is healthy. One answers a third of its requests
//! with an error, and is down for some seconds midway. One is slow at times. The plain client goes
//! round them in turn, with the same timeout; dace balances, limits, breaks circuits and retries. At
//! the end a table tells what came of it, counted by the clients and by the servers. With `--check` it
//! fails if dace did not keep its calls alive.

mod server;
mod table;
mod traffic;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use dace::{Adapter, Runtime};

use server::{Fault, Server};
use traffic::{Plain, Protected};

/// How long the traffic lasts.
const LENGTH: Duration = Duration::from_secs(15);

/// A call every so often: 250 calls a second, whether earlier ones are done or not.
const EVERY: Duration = Duration::from_millis(4);

/// What a call may take, with both clients.
const TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // Any adapter will do: what follows is the same on both.
    #[cfg(feature = "smol")]
    let run = smol::block_on(run::<dace::smol::Smol>("smol + isahc"));
    #[cfg(all(feature = "tokio", not(feature = "smol")))]
    let run = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run::<dace::tokio::Tokio>("tokio + hyper")));
    match run {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run<A: Adapter>(stack: &str) -> Result<(), Box<dyn std::error::Error>> {
    let servers = [
        Server::start("healthy", vec![])?,
        Server::start("flaky", vec![Fault::Fails { one_in: 3 }, Fault::Down { from: 5, to: 9 }])?,
        Server::start("slow at times", vec![Fault::Slow { by_ms: 300, one_second_in: 4 }])?,
    ];
    let targets: Vec<String> = servers.iter().map(Server::target).collect();

    let plain = Plain::<A>::new(targets.clone())?;
    let dace = Protected::<A>::new(targets)?;
    println!(
        "{} calls/s for {} s to three servers on loopback, on {stack}",
        1000 / EVERY.as_millis(),
        LENGTH.as_secs()
    );

    let runtime = Arc::new(A::Runtime::default());
    let begin = runtime.now();
    for server in &servers {
        server.begin();
    }
    let progress = table::Progress::new();
    traffic::open_loop(&*runtime, LENGTH, EVERY, |number| {
        let elapsed = runtime.now().since(begin);
        progress.show(elapsed, LENGTH, plain.tally(), dace.tally(), &servers);
        (plain.call(&*runtime, number), dace.call(&*runtime))
    })
    .await;
    progress.clear();

    let (plain, protected) = (plain.tally().take(), dace.tally().take());
    let agree = table::print(&servers, &plain, &protected, &dace.story(), begin);
    dace.close().await;
    if std::env::args().any(|argument| argument == "--check") {
        let requests: u64 = servers.iter().map(|server| server.counts().1).sum();
        let per_call = requests as f64 / protected.calls as f64;
        let alive = protected.success_rate() >= 0.999 && plain.success_rate() <= 0.92;
        let quick = protected.percentile(99) <= plain.percentile(99);
        if !(alive && quick && agree && per_call <= 1.1) {
            return Err("dace did not keep its calls alive, or not as cheaply as it says".into());
        }
    }
    Ok(())
}
