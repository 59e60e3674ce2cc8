//! What retries do to a server that has too much to do already, and to calls that fail by themselves.
//!
//! One server that can do 1,000 requests a second, first come, first served, and that works on requests whose
//! callers are gone; callers that come by chance, wait 1 s for an attempt, and make 4 attempts at the most.
//! `cargo run --release --features sim --example overload` prints the table of `docs/policies/retries.md`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use dace::sim::{Server, Sim, SimBackend, SimRuntime};
use dace::{Budget, HttpError, Policy};

type Dependency = dace::Dependency<SimRuntime, SimBackend>;

/// Who pays for retries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Funding {
    /// There are none.
    None,
    /// Nobody: every failure is retried.
    Naive,
    /// Every request, 0.2 each, and 10 a second, for 10 s (the shape of Finagle's).
    Requests,
    /// Successes: dace's own, without its breaker.
    Dace,
    /// The same with its breaker.
    DaceWithBreaker,
}

impl Funding {
    /// Each of them.
    pub(crate) const ALL: [Self; 5] =
        [Self::None, Self::Naive, Self::Requests, Self::Dace, Self::DaceWithBreaker];

    fn name(self) -> &'static str {
        match self {
            Self::None => "no retries",
            Self::Naive => "naive, 3 retries",
            Self::Requests => "20 % of requests + 10/s",
            Self::Dace => "dace, breaker off",
            Self::DaceWithBreaker => "dace",
        }
    }

    fn policy(self) -> Policy {
        let policy = Policy::new()
            .timeout(Duration::from_secs(10))
            .attempt_timeout(Duration::from_secs(1))
            .retry_on_timeout(true)
            .max_open_per_netloc(1_000_000)
            .http_pool_size(1_000_000);
        let off = policy.clone().circuit_reset_timeout(Duration::ZERO);
        match self {
            Self::None | Self::Requests => off.retry_attempts(0),
            Self::Naive => off.budget(Budget::new().unlimited()),
            Self::Dace => off,
            Self::DaceWithBreaker => policy,
        }
    }
}

/// Tokens that requests pay for.
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    fn refill(&mut self, now: Duration, deposit: f64, most: f64) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        self.at = now;
        self.tokens = (self.tokens + 10.0 * since + deposit).min(most);
    }

    fn take(&mut self, now: Duration, most: f64) -> bool {
        self.refill(now, 0.0, most);
        let there = self.tokens >= 1.0;
        self.tokens -= f64::from(u8::from(there));
        there
    }
}

/// Calls and what came of them, by the second in which they began.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Second {
    /// That began in it.
    pub(crate) calls: u32,
    /// Of those, that ended with a value.
    pub(crate) good: u32,
    /// Requests that arrived at the server in it.
    pub(crate) requests: u32,
}

/// A server under load, and the callers.
pub(crate) struct Load {
    sim: Sim,
    server: Server,
    dependency: Dependency,
    funding: Funding,
    bucket: RefCell<Bucket>,
    rng: RefCell<fastrand::Rng>,
    calls: RefCell<Vec<Second>>,
    demand: f64,
}

impl Load {
    /// `utilisation`: of what the server can do.
    pub(crate) fn new(seed: u64, funding: Funding, utilisation: f64) -> Rc<Self> {
        let sim = Sim::new(seed);
        let server = sim.server("http://a:80");
        server.capacity(10).latency(Duration::from_millis(10));
        let builder = Dependency::builder("a").targets(["http://a:80"]).policy(funding.policy());
        Rc::new(Self {
            dependency: builder.build_with(sim.runtime(), sim.backend()).expect("a good policy"),
            server,
            funding,
            bucket: RefCell::new(Bucket { tokens: 0.0, at: Duration::ZERO }),
            rng: RefCell::new(fastrand::Rng::with_seed(seed)),
            calls: RefCell::default(),
            demand: 1_000.0 * utilisation,
            sim,
        })
    }

    async fn attempt(&self) -> bool {
        let get = |call: dace::Call<SimRuntime, SimBackend>| async move {
            let answer = call.http().get("/").send().await?.error_for_status()?;
            Ok::<_, HttpError>(answer.status())
        };
        self.dependency.call(get).await.is_ok()
    }

    async fn call(&self) -> bool {
        if self.funding != Funding::Requests {
            return self.attempt().await;
        }
        let most = (0.2 * self.demand + 10.0) * 10.0;
        self.bucket.borrow_mut().refill(self.sim.elapsed(), 0.2, most);
        for retry in 0..4 {
            if self.attempt().await {
                return true;
            }
            if retry == 3 || !self.bucket.borrow_mut().take(self.sim.elapsed(), most) {
                return false;
            }
            let wait = self.rng.borrow_mut().u64(0..=25_000 << retry);
            self.sim.sleep(Duration::from_micros(wait)).await;
        }
        false
    }

    /// Callers come by chance (Poisson) until then.
    async fn callers(self: Rc<Self>, until: Duration) {
        while self.sim.elapsed() < until {
            let chance: f64 = self.rng.borrow_mut().f64();
            let wait = -(1.0 - chance).ln() / self.demand;
            self.sim.sleep(Duration::from_secs_f64(wait)).await;
            let (load, second) = (self.clone(), self.sim.elapsed().as_secs() as usize);
            let _task = self.sim.spawn(async move {
                load.at(second).calls += 1;
                let good = load.call().await;
                load.at(second).good += u32::from(good);
            });
        }
    }

    fn at(&self, second: usize) -> std::cell::RefMut<'_, Second> {
        std::cell::RefMut::map(self.calls.borrow_mut(), |calls| {
            if calls.len() <= second {
                calls.resize(second + 1, Second::default());
            }
            &mut calls[second]
        })
    }

    /// Runs for so many seconds; `trouble` is told each second that begins.
    pub(crate) fn run(self: Rc<Self>, seconds: u64, trouble: impl Fn(&Server, u64)) -> Vec<Second> {
        let load = self.clone();
        self.sim.run(async move {
            let callers = load.clone().callers(Duration::from_secs(seconds));
            let _task = load.sim.spawn(callers);
            let arrived = Cell::new(0);
            for second in 0..seconds {
                trouble(&load.server, second);
                load.sim.sleep(Duration::from_secs(1)).await;
                let now = load.server.requests();
                load.at(second as usize).requests = (now - arrived.replace(now)) as u32;
            }
            // What is under way may end.
            load.sim.sleep(Duration::from_secs(11)).await;
        });
        self.calls.take()
    }
}

/// Requests per call in these seconds.
pub(crate) fn amplification(seconds: &[Second]) -> f64 {
    let (calls, requests) =
        seconds.iter().fold((0, 0), |(c, r), second| (c + second.calls, r + second.requests));
    f64::from(requests) / f64::from(calls.max(1))
}

/// The most in any five seconds.
fn peak(seconds: &[Second]) -> f64 {
    seconds.windows(5).map(amplification).fold(0.0, f64::max)
}

/// All fail for 30 s after 10 good ones: amplification in each ten seconds of it.
pub(crate) fn total_failure(funding: Funding) -> [f64; 3] {
    let load = Load::new(7, funding, 0.6);
    let seconds = load.run(40, |server, second| {
        if second == 10 {
            server.failing(1.0, 503);
        }
    });
    [10, 20, 30].map(|from| amplification(&seconds[from..from + 10]))
}

/// The capacity is halved for 10 s. Seconds from its return until 99 % of the calls succeed again, `None`
/// if that does not happen in `watched` seconds; and the most requests per call.
pub(crate) fn overload(
    seed: u64,
    funding: Funding,
    utilisation: f64,
    watched: u64,
) -> (Option<u64>, f64) {
    let load = Load::new(seed, funding, utilisation);
    let seconds = load.run(30 + watched, |server, second| match second {
        20 => _ = server.latency(Duration::from_millis(20)),
        30 => _ = server.latency(Duration::from_millis(10)),
        _ => {}
    });
    let after = &seconds[30..];
    let ill = |second: &Second| second.good * 100 < second.calls * 99;
    let recovered = after.iter().rposition(ill).map_or(0, |last| last as u64 + 1);
    ((recovered + 5 < watched).then_some(recovered), peak(&seconds[20..]))
}

/// Attempts fail by chance, each by itself: the share of calls that succeed, and the attempts of a call.
pub(crate) fn chance(funding: Funding, share: f64) -> (f64, f64) {
    let load = Load::new(7, funding, 0.3);
    load.server.failing(share, 503);
    let seconds = load.run(60, |_, _| {});
    let (calls, good) = seconds.iter().fold((0, 0), |(c, g), s| (c + s.calls, g + s.good));
    (f64::from(good) / f64::from(calls), amplification(&seconds))
}

fn main() {
    println!(
        "| retries paid for by | requests per call, all fail: 1st, 2nd, 3rd ten seconds | capacity halved for 10 s at 75 %: recovered after, peak | at 85 % | success at p = 0.1 | 0.2 | 0.3 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for funding in Funding::ALL {
        let [first, second, third] = total_failure(funding);
        let overloads = [0.75, 0.85].map(|utilisation| {
            let (recovered, peak) = overload(7, funding, utilisation, 120);
            let recovered = recovered.map_or(String::from("never"), |after| format!("{after} s"));
            format!("{recovered}, {peak:.2}")
        });
        let chances = [0.1, 0.2, 0.3].map(|share| {
            let (success, attempts) = chance(funding, share);
            format!("{:.2} % ({attempts:.2})", success * 100.0)
        });
        println!(
            "| {} | {first:.2}, {second:.2}, {third:.2} | {} | {} |",
            funding.name(),
            overloads.join(" | "),
            chances.join(" | ")
        );
    }
}
