//! A balancer of your own: everybody goes to the primary, until it is asked for again because it
//! was refused or has been tried; then the others take turns.
//!
//!     cargo run --features sim --example custom_balancer
//!
//! It runs in virtual time, as your tests of it would.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dace::sim::Sim;
use dace::{Backoff, Balancer, Dependency, Pick, Target, TargetError};

#[derive(Default)]
struct PrimaryFirst {
    asked: AtomicUsize,
}

impl Balancer for PrimaryFirst {
    fn pick(&self, pick: &Pick<'_>) -> Result<Option<Target>, TargetError> {
        let [primary, others @ ..] = pick.targets else { return Ok(None) };
        if pick.asked == 0 && pick.attempt == 1 || others.is_empty() {
            return Ok(Some(primary.clone()));
        }
        let turn = self.asked.fetch_add(1, Ordering::Relaxed);
        Ok(Some(others[turn % others.len()].clone()))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sim = Sim::new(7);
    let primary = sim.server("http://primary:80");
    let (one, two) = (sim.server("http://one:80"), sim.server("http://two:80"));
    primary.latency(Duration::from_millis(5)).down(Duration::from_secs(1)..);

    let dependency = Dependency::builder("store")
        .targets(["http://primary:80", "http://one:80", "http://two:80"])
        .load_balancer(PrimaryFirst::default())
        .backoff(Backoff::new().base(Duration::ZERO))
        .build_with(sim.runtime(), sim.backend())?;
    let mut failed = 0;
    sim.run(async {
        for _ in 0..400 {
            let call = dependency
                .call(|call| async move { call.http().get("/").send().await?.text().await });
            failed += u32::from(call.await.is_err());
            sim.sleep(Duration::from_millis(5)).await;
        }
    });
    println!("400 calls, {failed} failed, in {:?} of virtual time", sim.elapsed());
    for (name, server) in [("primary", &primary), ("one", &one), ("two", &two)] {
        println!("  {name:<8}{:>5} requests", server.requests());
    }
    println!("{}", dependency.snapshot());
    Ok(())
}
