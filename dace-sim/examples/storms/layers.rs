//! Three layers, each with its own dependency on the next, and all of them retry.

use dace_core::{Budget, Call, Dependency, Policy};
use dace_sim::{Sim, SimBackend, SimRuntime};

/// Calls at the top.
const CALLS: u32 = 2_000;

/// Requests that the last one gets for a call of the first, while it answers all of them with 503.
pub(crate) fn requests_per_call(budget: Budget) -> f64 {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.answers(.., 503);
    let policy = Policy::new().circuit_reset_timeout(std::time::Duration::ZERO).budget(budget);
    let layer = |id: &str| {
        let builder = Dependency::<SimRuntime, SimBackend>::builder(id).policy(policy.clone());
        builder.build_with(sim.runtime(), sim.backend()).expect("the policy is good")
    };
    let (top, middle, bottom) = (layer("top"), layer("middle"), layer("bottom"));
    let get = |call: Call<SimRuntime, SimBackend>| async move {
        call.http().get("http://a:80/").send().await?.error_for_status().map(drop)
    };
    sim.run(async {
        for _ in 0..CALLS {
            let call = top.call(|_| middle.call(|_| bottom.call(get)));
            assert!(call.await.is_err(), "the last one fails");
        }
    });
    server.requests() as f64 / f64::from(CALLS)
}
