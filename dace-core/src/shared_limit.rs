//! A limit that several dependencies share.
//!
//! It has a lock of its own, which is taken before that of a dependency and never inside it: the driver
//! gets the grants first, and they are an input to the admission. A grant is a value that gives itself
//! back when it is dropped, so no way out can forget it.
//!
//! Dependencies on different runtimes have different clocks. Each is read as the time since it was
//! attached, and moved forward wherever it lags behind what another one has said: the limit's own time
//! never goes back, and runs as fast as the clocks do.

use core::fmt;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::machine::gcra::Gcra;
use crate::policy::RateLimit;
use crate::{ConfigError, Instant, Lock, Runtime};

/// A limit of attempts that several dependencies have together: a rate, a maximum of open ones, or both.
/// A cheap clone: all clones are the same limit.
///
/// It is asked before the dependency's own limits, once for every attempt. A call that finds it used up is
/// refused as `RateLimited`, with [`Reason::SharedLimit`](crate::Reason::SharedLimit) and, for a rate, the
/// exact time of the next token. See `docs/policies/shared_limit.md`.
///
/// ```
/// # use std::time::Duration;
/// # use dace_core::{Dependency, HttpBackend, RateLimit, Runtime, SharedLimit};
/// # fn f<R: Runtime, B: HttpBackend>() {
/// // One account at a provider: 50 a second and 20 at once, whatever they are for.
/// let account = SharedLimit::on::<R>()
///     .rate(RateLimit::new(50, Duration::from_secs(1)))
///     .max_open(20);
/// let charges = Dependency::<R, B>::builder("charges").shared_limit(&account);
/// let refunds = Dependency::<R, B>::builder("refunds").shared_limit(&account);
/// # }
/// ```
#[derive(Clone)]
pub struct SharedLimit(Arc<Inner>);

struct Inner {
    rate: Option<RateLimit>,
    max_open: u32,
    state: Box<dyn Guarded>,
}

/// What is behind the lock.
#[derive(Default)]
struct State {
    open: u32,
    rate: Gcra,
    /// The latest time that any clock has said.
    now: Instant,
    clocks: BTreeMap<u64, Clock>,
    attached: u64,
}

/// The clock of one dependency.
struct Clock {
    attached: Instant,
    /// The limit's time then.
    origin: Instant,
    /// The latest that it said.
    last: Instant,
}

/// How late the reading of a clock may come.
const DISORDER: Duration = Duration::from_secs(1);

/// The state, behind the lock of some runtime.
trait Guarded: Send + Sync {
    fn with(&self, act: &mut dyn FnMut(&mut State));
    /// The same lock around another state.
    fn anew(&self) -> Box<dyn Guarded>;
}

struct Behind<L>(L);

impl<L: Lock<State> + Send + Sync + 'static> Guarded for Behind<L> {
    fn with(&self, act: &mut dyn FnMut(&mut State)) {
        self.0.with(act);
    }

    fn anew(&self) -> Box<dyn Guarded> {
        Box::new(Self(L::new(State::default())))
    }
}

impl SharedLimit {
    /// A limit behind a mutex of the standard library. It limits nothing until it is told to.
    #[cfg(feature = "std")]
    #[expect(clippy::new_without_default, reason = "a limit that limits nothing is no default")]
    pub fn new() -> Self {
        Self::behind::<std::sync::Mutex<State>>()
    }

    /// A limit behind a lock of the runtime `R`; dependencies on other runtimes may share it all the same.
    /// It limits nothing until it is told to.
    pub fn on<R: Runtime>() -> Self {
        Self::behind::<R::Lock<State>>()
    }

    fn behind<L: Lock<State> + Send + Sync + 'static>() -> Self {
        let state = Box::new(Behind(L::new(State::default())));
        Self(Arc::new(Inner { rate: None, max_open: u32::MAX, state }))
    }

    /// Another limit, of nobody's so far, with this rate too.
    #[must_use]
    pub fn rate(self, rate: RateLimit) -> Self {
        let Inner { max_open, ref state, .. } = *self.0;
        Self(Arc::new(Inner { rate: Some(rate), max_open, state: state.anew() }))
    }

    /// Another limit, of nobody's so far, with this many attempts open at once too. Zero is an error.
    #[must_use]
    pub fn max_open(self, attempts: u32) -> Self {
        let Inner { ref rate, ref state, .. } = *self.0;
        Self(Arc::new(Inner { rate: rate.clone(), max_open: attempts, state: state.anew() }))
    }

    /// Attempts that are open, of all dependencies together.
    pub fn open(&self) -> u32 {
        self.with(|state| state.open)
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let Inner { rate, max_open, .. } = &*self.0;
        if *max_open == 0 {
            let problem = "must be at least 1: with 0 nobody is ever let in";
            return Err(ConfigError::new("shared_limit.max_open", problem));
        }
        match rate {
            Some(rate) => rate.validate(),
            None if *max_open < u32::MAX => Ok(()),
            None => {
                Err(ConfigError::new("shared_limit", "limits nothing: set `rate` or `max_open`"))
            }
        }
    }

    /// Whether both are the same limit.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn with<O>(&self, act: impl FnOnce(&mut State) -> O) -> O {
        let (mut act, mut out) = (Some(act), None);
        self.0.state.with(&mut |state| out = act.take().map(|act| act(state)));
        out.expect("a lock runs what it is given")
    }
}

impl State {
    /// What the clock of one dependency says, in the limit's own time.
    fn read(&mut self, id: u64, now: Instant) -> Instant {
        let Some(clock) = self.clocks.get_mut(&id) else {
            return self.now;
        };
        let said = |clock: &Clock| clock.origin.after(now.since(clock.attached));
        // Threads come here in another order than they read their clock in, and dependencies take turns:
        // that is no reason to set a clock. One that went back, or another one that ran ahead, is.
        if now.after(DISORDER) < clock.last || said(clock).after(DISORDER) < self.now {
            *clock = Clock { attached: now, origin: self.now, last: now };
        }
        clock.last = clock.last.max(now);
        self.now = self.now.max(said(clock));
        self.now
    }
}

impl fmt::Debug for SharedLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Inner { rate, max_open, .. } = &*self.0;
        f.debug_struct("SharedLimit")
            .field("rate", rate)
            .field("max_open", max_open)
            .finish_non_exhaustive()
    }
}

/// A shared limit at one instant.
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedLimitSnapshot {
    /// Attempts open, of all dependencies together.
    pub open: u32,
    /// The most that may be; `None` if that is not limited.
    pub max_open: Option<u32>,
    /// Tokens that the rate has left, if there is one.
    pub rate_tokens: Option<u32>,
}

/// A dependency's parts in shared limits.
#[derive(Debug, Default)]
pub(crate) struct Shares(Vec<Share>);

/// Whether every limit can be used, and is named once.
pub(crate) fn validate(limits: &[SharedLimit]) -> Result<(), ConfigError> {
    for (index, limit) in limits.iter().enumerate() {
        limit.validate()?;
        if limits[..index].iter().any(|other| other.is(limit)) {
            return Err(ConfigError::new("shared_limit", "names one limit twice"));
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Share {
    limit: SharedLimit,
    /// Names the dependency's clock.
    clock: u64,
}

impl Shares {
    /// Whether there are any.
    pub(crate) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    pub(crate) fn new(now: Instant, limits: Vec<SharedLimit>) -> Self {
        let attach = |limit: SharedLimit| {
            let clock = limit.with(|state| {
                state.attached += 1;
                let clock = Clock { attached: now, origin: state.now, last: now };
                state.clocks.insert(state.attached, clock);
                state.attached
            });
            Share { limit, clock }
        };
        Self(limits.into_iter().map(attach).collect())
    }

    /// Grants of all limits for one attempt.
    ///
    /// # Errors
    /// One is used up; for how long, if that is known. Nothing was taken.
    pub(crate) fn take(&self, now: Instant) -> Result<Box<Grants>, Option<Duration>> {
        let grants: Result<_, _> = self.0.iter().map(|share| share.take(now)).collect();
        Ok(Box::new(Grants(grants?)))
    }

    pub(crate) fn snapshot(&self, now: Instant) -> Vec<SharedLimitSnapshot> {
        self.0.iter().map(|share| share.snapshot(now)).collect()
    }
}

impl Share {
    fn take(&self, now: Instant) -> Result<Grant, Option<Duration>> {
        let Inner { rate, max_open, .. } = &*self.limit.0;
        self.limit.with(|state| {
            let now = state.read(self.clock, now);
            if state.open >= *max_open {
                return Err(None);
            }
            if let Some(rate) = rate {
                state.rate.try_take(now, rate).map_err(|due| Some(due.since(now)))?;
            }
            state.open += 1;
            Ok(())
        })?;
        Ok(Grant { limit: self.limit.clone(), sent: false })
    }

    fn snapshot(&self, now: Instant) -> SharedLimitSnapshot {
        let Inner { rate, max_open, .. } = &*self.limit.0;
        self.limit.with(|state| {
            let now = state.read(self.clock, now);
            SharedLimitSnapshot {
                open: state.open,
                max_open: (*max_open < u32::MAX).then_some(*max_open),
                rate_tokens: rate.as_ref().map(|rate| state.rate.available(now, rate)),
            }
        })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.limit.with(|state| state.clocks.remove(&self.clock));
    }
}

/// What an attempt holds of the limits that its dependency shares. Never dropped under a dependency's
/// lock.
#[derive(Debug)]
pub(crate) struct Grants(Vec<Grant>);

#[derive(Debug)]
struct Grant {
    limit: SharedLimit,
    /// Something may have reached a server: the token is spent.
    sent: bool,
}

impl Grants {
    /// Whether something may have been sent under them.
    pub(crate) fn note_sent(&mut self, sent: bool) {
        self.0.iter_mut().for_each(|grant| grant.sent = sent);
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        let sent = self.sent;
        self.limit.with(|state| {
            state.open -= 1;
            if let (Some(rate), false) = (&self.limit.0.rate, sent) {
                state.rate.give_back(rate);
            }
        });
    }
}

#[cfg(all(test, feature = "std"))]
mod tests;
