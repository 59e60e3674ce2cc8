//! A circuit opens, and its first probe ends in every way that there is: how long until a call succeeds,
//! now that the server is well.

use std::cell::Cell;
use std::fmt;
use std::future::pending;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace_core::{Call, CircuitState, Class, Event, HttpError, What};
use dace_sim::{Sim, SimBackend, SimRuntime};
use futures_util::FutureExt as _;

use crate::servers::lock;

type Dependency = dace_core::Dependency<SimRuntime, SimBackend>;

/// How the first probe ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Answers,
    Fails,
    IsThrottled,
    Hangs,
    HangsAndIsDropped,
    IsDropped,
    Panics,
    IsIgnored,
    IsForgotten,
}

/// The call's timeout, and of it the half: what dace comes with.
const TIMEOUT: Duration = Duration::from_secs(5);
const HANG_AFTER: Duration = Duration::from_millis(2500);

/// Between two callers.
const PAUSE: Duration = Duration::from_millis(20);

impl Ending {
    pub(crate) const ALL: [Self; 9] = [
        Self::Answers,
        Self::Fails,
        Self::IsThrottled,
        Self::Hangs,
        Self::HangsAndIsDropped,
        Self::IsDropped,
        Self::Panics,
        Self::IsIgnored,
        Self::IsForgotten,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Answers => "is answered",
            Self::Fails => "fails",
            Self::IsThrottled => "is answered with 429",
            Self::Hangs => "hangs until its deadline",
            Self::HangsAndIsDropped => "hangs, dropped after `hang_after`",
            Self::IsDropped => "is dropped at once",
            Self::Panics => "panics",
            Self::IsIgnored => "ends in an error that counts for nothing",
            Self::IsForgotten => "is polled once and never again",
        }
    }

    /// How long it may take until it is known how it ended.
    const fn known_after(self) -> Duration {
        match self {
            Self::Hangs | Self::IsForgotten => TIMEOUT,
            _ => HANG_AFTER,
        }
    }
}

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recovery {
    /// From the moment at which the server is well, to the first success.
    pub(crate) took: Duration,
    /// The open time of the circuit, the longest since then; the time in which the probe's end is known;
    /// and 50 ms.
    pub(crate) bound: Duration,
}

/// How long it takes if the first probe ends like that. `None`: not within ten minutes.
pub(crate) fn recovery(ending: Ending) -> Option<Recovery> {
    let sim = Sim::new(3);
    // It is well from then on, and what becomes of the probe is the scene's.
    let well = Duration::from_secs(1);
    sim.server("http://a:80").answers(..well, 500);
    let opened = Arc::new(Mutex::new(Vec::new()));
    let seen = opened.clone();
    let observer = move |_: &str, event: &Event| {
        if let What::CircuitChanged { to: CircuitState::Open, reopens_in: Some(time), .. } =
            event.what
        {
            lock(&seen).push(time);
        }
    };
    let builder = Dependency::builder("a").targets(["http://a:80"]).retry_attempts(0);
    let dependency = builder.observer(observer).build_with(sim.runtime(), sim.backend());
    let dependency = dependency.expect("the policy is good");
    let probed = Rc::new(Cell::new(None));
    let success = sim.run(async {
        while sim.elapsed() < Duration::from_secs(600) {
            let call = Scene { sim: sim.clone(), probed: probed.clone(), well, ending };
            let good = sim.spawn(call.play(dependency.clone()));
            sim.sleep(PAUSE).await;
            if let Some(true) = good.now_or_never() {
                return Some(sim.elapsed());
            }
        }
        None
    })?;
    let (probed, opened) = (probed.get()?, lock(&opened));
    let is_servers = !matches!(ending, Ending::Answers | Ending::IsDropped | Ending::Panics);
    let (from, open) = match is_servers {
        true => (probed, opened.last()?),
        false => (well, opened.first()?),
    };
    let bound = *open + ending.known_after() + Duration::from_millis(50);
    Some(Recovery { took: success - from, bound })
}

/// One caller.
struct Scene {
    sim: Sim,
    probed: Rc<Cell<Option<Duration>>>,
    well: Duration,
    ending: Ending,
}

impl Scene {
    /// Whether the call got a value.
    async fn play(self, dependency: Dependency) -> bool {
        let Self { sim, probed, well, ending } = self;
        let now = sim.elapsed();
        let mine = Rc::new(Cell::new(false));
        let function = |call: Call<SimRuntime, SimBackend>| {
            // Nobody is let in between the trip and the probe.
            let probes = now > well && probed.get().is_none();
            if probes {
                probed.set(Some(now));
                mine.set(true);
            }
            async move {
                let get = async || call.http().get("/").send().await?.error_for_status();
                match ending {
                    _ if !probes => {}
                    Ending::Answers => {}
                    Ending::Hangs
                    | Ending::HangsAndIsDropped
                    | Ending::IsDropped
                    | Ending::IsForgotten => pending().await,
                    Ending::Panics => std::panic::resume_unwind(Box::new("the function's own")),
                    Ending::Fails => return Err(Outcome::Of(Class::Transient)),
                    Ending::IsThrottled => return Err(Outcome::Of(Class::Throttled(None))),
                    Ending::IsIgnored => return Err(Outcome::Of(Class::Ignored)),
                }
                get().await.map(drop).map_err(Outcome::Http)
            }
        };
        let classify = |result: &Result<(), Outcome>| match result {
            Ok(()) => Class::Success,
            Err(Outcome::Of(class)) => *class,
            Err(Outcome::Http(_)) => Class::Transient,
        };
        let call = AssertUnwindSafe(dependency.call(function).classify(classify)).catch_unwind();
        let mut call = Box::pin(call);
        if let Some(ended) = (&mut call).now_or_never() {
            return matches!(ended, Ok(Ok(())));
        }
        match ending {
            Ending::HangsAndIsDropped if mine.get() => sim.sleep(HANG_AFTER).await,
            Ending::IsDropped if mine.get() => {}
            Ending::IsForgotten if mine.get() => {
                std::mem::forget(call);
                return false;
            }
            _ => return matches!(call.await, Ok(Ok(()))),
        }
        false
    }
}

/// What the function returns.
#[derive(Debug)]
enum Outcome {
    Of(Class),
    Http(HttpError),
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of(class) => write!(f, "{}", class.name()),
            Self::Http(error) => error.fmt(f),
        }
    }
}
