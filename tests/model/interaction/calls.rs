//! What the wrapped functions do, and what is around their calls.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dace::{Cache, Class, Error, Execution, Group, HttpError, Judge, Priority};
use dace_sim::{Sim, SimBackend, SimRuntime};
use futures_util::FutureExt as _;

use super::hooks::{Hook, Hooks, Key, Punctual, Value};
use super::{Call, Dependency, HOSTS, ms};

/// What the wrapped function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Post,
    MarkedPost,
    /// One server, then another.
    Two,
    /// Both at once.
    Both,
    /// Returns the answer before its body is read.
    Keep,
    /// Asks for another attempt whatever comes.
    Again,
    /// No exchange at all.
    Local,
}

/// What is around a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parts {
    Plain,
    Reported,
    Fallback,
    Cached,
    CachedFallback,
    Shared,
    SharedCached,
    SharedFallback,
}

/// One call, as data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    /// On the dependency that shares the limit, if there is one.
    pub(crate) other: bool,
    pub(crate) kind: Kind,
    pub(crate) host: usize,
    pub(crate) timeout: Option<u64>,
    pub(crate) parts: Parts,
    /// What the classifier says of every result.
    pub(crate) class: Option<Class>,
    pub(crate) priority: Option<Priority>,
    /// For the balancer, the cache and the group.
    pub(crate) key: u8,
    pub(crate) sticky: bool,
    pub(crate) idempotent: Option<bool>,
}

impl Start {
    pub(crate) const fn get(host: usize) -> Self {
        Self {
            other: false,
            kind: Kind::Get,
            host,
            timeout: None,
            parts: Parts::Plain,
            class: None,
            priority: None,
            key: 0,
            sticky: false,
            idempotent: None,
        }
    }
}

/// How a call ended.
pub(crate) type Ended = Result<Value, Failed>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    Closed,
    Other(String),
}

impl From<Error<HttpError>> for Failed {
    fn from(error: Error<HttpError>) -> Self {
        Self::from(&error)
    }
}

impl From<&Error<HttpError>> for Failed {
    fn from(error: &Error<HttpError>) -> Self {
        match error {
            Error::Closed => Self::Closed,
            other => Self::Other(format!("{other:?}")),
        }
    }
}

impl From<Arc<Error<HttpError>>> for Failed {
    fn from(error: Arc<Error<HttpError>>) -> Self {
        Self::from(&*error)
    }
}

pub(crate) type Caching = Cache<SimRuntime, Key, Value>;
pub(crate) type Grouping = Group<SimRuntime, Key, Value, HttpError>;

/// What calls of one dependency are made with.
#[derive(Clone)]
pub(crate) struct Means {
    pub(crate) sim: Sim,
    pub(crate) hooks: Hooks,
    pub(crate) cache: Caching,
    pub(crate) group: Grouping,
    /// Functions name their servers themselves.
    pub(crate) names: bool,
}

/// A call, and whether its fallback was called.
pub(crate) struct Made {
    pub(crate) future: Pin<Box<dyn Future<Output = Ended>>>,
    pub(crate) rescued: Arc<AtomicBool>,
}

/// The call of this number.
pub(crate) fn make(dependency: &Dependency, means: &Means, number: usize, start: &Start) -> Made {
    let path = format!("/{number}");
    let kind = match (start.kind, start.parts) {
        // Two at one server at once share their attempt's permit: not what is counted here.
        (Kind::Both, _) if !means.names => Kind::Two,
        // A cache would keep the permit along with the answer.
        (Kind::Keep, parts) if parts != Parts::Plain => Kind::Get,
        (kind, _) => kind,
    };
    let absolute = |host: usize| match HOSTS.get(host) {
        Some(host) => format!("http://{host}{path}"),
        // Nobody knows this one.
        None => format!("http://x{host}:80{path}"),
    };
    let base = if means.names { absolute(start.host) } else { path.clone() };
    let other = absolute((start.host + 1) % HOSTS.len());
    let (sim, hooks) = (means.sim.clone(), means.hooks.clone());
    let function = move |call: Call| {
        hooks.reach(Hook::Function);
        let act = act(call.clone(), sim.clone(), kind, base.clone(), other.clone(), hooks.clone());
        Punctual { call, inner: Box::pin(act), hooks: hooks.clone() }
    };
    let mut call = dependency.call(function);
    if let Some(timeout) = start.timeout {
        call = call.timeout(ms(timeout));
    }
    if let Some(priority) = start.priority {
        call = call.priority(priority);
    }
    if let Some(idempotent) = start.idempotent {
        call = call.idempotent(idempotent);
    }
    if start.sticky {
        call = call.sticky(start.key.to_string());
    }
    match start.class {
        None => around(call, means, start),
        Some(class) => {
            let hooks = means.hooks.clone();
            let classify = move |_: &Result<Value, HttpError>| {
                hooks.reach(Hook::Classify);
                class
            };
            around(call.classify(classify), means, start)
        }
    }
}

fn around<F, Fut, J>(
    call: Execution<SimRuntime, SimBackend, F, Fut, J>,
    means: &Means,
    start: &Start,
) -> Made
where
    F: FnMut(Call) -> Fut + 'static,
    Fut: Future<Output = Result<Value, HttpError>> + 'static,
    J: Judge<Value, HttpError> + 'static,
{
    let Means { sim, hooks, cache, group, .. } = means;
    let key = || Key { number: start.key, hooks: hooks.clone() };
    let rescued = Arc::new(AtomicBool::new(false));
    let good = start.key % 2 == 0;
    let fallback = {
        let (hooks, sim, rescued) = (hooks.clone(), sim.clone(), rescued.clone());
        move || {
            rescued.store(true, Ordering::Relaxed);
            hooks.reach(Hook::Fallback);
            async move {
                sim.sleep(ms(3)).await;
                hooks.reach(Hook::FallbackPoll);
                good.then_some(Value { kept: None, hooks })
            }
        }
    };
    let future: Pin<Box<dyn Future<Output = Ended>>> = match start.parts {
        Parts::Plain => Box::pin(call.map(ended)),
        Parts::Reported => Box::pin(call.report().map(|report| ended(report.result))),
        Parts::Fallback => {
            let call = call.fallback(|error| fallback().map(|value| value.ok_or(error)));
            Box::pin(call.map(ended))
        }
        Parts::Cached => Box::pin(call.cached(cache, key()).map(ended)),
        Parts::CachedFallback => {
            let call = call.cached(cache, key());
            let call = call.fallback(|error| fallback().map(|value| value.ok_or(error)));
            Box::pin(call.map(ended))
        }
        Parts::Shared => Box::pin(call.shared(group, key()).map(ended)),
        Parts::SharedCached => Box::pin(call.shared(group, key()).cached(cache, key()).map(ended)),
        Parts::SharedFallback => {
            let call = call.shared(group, key());
            let call = call.fallback(|error| fallback().map(|value| value.ok_or(error)));
            Box::pin(call.map(ended))
        }
    };
    Made { future, rescued }
}

fn ended<E: Into<Failed>>(result: Result<Value, E>) -> Ended {
    result.map_err(Into::into)
}

async fn act(
    call: Call,
    sim: Sim,
    kind: Kind,
    base: String,
    other: String,
    hooks: Hooks,
) -> Result<Value, HttpError> {
    let http = call.http();
    match kind {
        Kind::Get => {
            http.get(&base).send().await?.error_for_status()?.text().await?;
        }
        Kind::Post => {
            http.post(&base).body("x").send().await?.error_for_status()?.text().await?;
        }
        Kind::MarkedPost => {
            let request = http.post(&base).body("x").idempotent(true);
            request.send().await?.error_for_status()?.text().await?;
        }
        Kind::Two => {
            http.get(&base).send().await?.text().await?;
            http.post(&other).body("x").send().await?.error_for_status()?.text().await?;
        }
        Kind::Both => {
            // A redirect could lead both to one server.
            let get = |url: &str| http.get(url).allow_redirects(false).send();
            let (one, two) = futures_util::future::join(get(&base), get(&other)).await;
            one?.error_for_status()?.text().await?;
            two?.error_for_status()?.text().await?;
        }
        Kind::Keep => {
            let response = http.get(&base).send().await?.error_for_status()?;
            return Ok(Value { kept: Some(Arc::new(Mutex::new(response))), hooks });
        }
        Kind::Again => {
            if let Err(error) = http.get(&base).send().await?.error_for_status() {
                return call.retry(error);
            }
        }
        Kind::Local => sim.sleep(Duration::from_millis(7)).await,
    }
    Ok(Value { kept: None, hooks })
}
