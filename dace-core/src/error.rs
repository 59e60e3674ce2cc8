//! How a call can fail, and how settings can be wrong.

use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::string::String;

use crate::instant::Short;
use crate::refusal::Refused;
use crate::{Class, Netloc, Reason};

/// Why a call failed. `E` is the wrapped function's own error.
///
/// Where it has a source, that is the error of the last attempt, whole. Its own text says how often it
/// was tried, where it failed last and how, and why that was the end: a line with it and its sources
/// tells the story.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The first attempt failed, and no retry was made.
    #[error("the call failed at its first attempt{} ({why})", Told("", trail))]
    #[non_exhaustive]
    Operation {
        /// The function's error.
        source: E,
        /// Why no further attempt was made.
        why: Why,
        /// When it may be worth while to try again, if somebody said so.
        retry_after: Option<Duration>,
        /// Where it failed; `None` if the error is not of dace's making.
        trail: Option<Box<Trail>>,
    },
    /// The last of several attempts failed.
    #[error("the call failed after {attempts} attempts{} ({why})", Told("the last ", trail))]
    #[non_exhaustive]
    RetriesExhausted {
        /// How many attempts were made.
        attempts: u32,
        /// The last attempt's error.
        source: E,
        /// Why no further attempt was made.
        why: Why,
        /// When it may be worth while to try again, if somebody said so.
        retry_after: Option<Duration>,
        /// Where the last attempt failed.
        trail: Option<Box<Trail>>,
    },
    /// The last attempt asked for another one, which was not to be had.
    #[error(
        "the function asked for another attempt after {attempts}{} ({why})",
        Told("the last ", trail)
    )]
    #[non_exhaustive]
    RetryRequested {
        /// How many attempts were made.
        attempts: u32,
        /// The last attempt's error.
        source: E,
        /// Why no further attempt was made.
        why: Why,
        /// Where the last attempt was.
        trail: Option<Box<Trail>>,
    },
    /// The call's time was up.
    #[error("the call timed out after {}{}{}{}", Short(*after), In(*attempts), Told("", trail), Because(*why))]
    #[non_exhaustive]
    Timeout {
        /// How long the call was given, or its attempt if that was what ended it.
        after: Duration,
        /// How many attempts were begun.
        attempts: u32,
        /// Why no further attempt was made, if an attempt's time was up, not the call's.
        why: Option<Why>,
        /// The error of the last attempt that ended by itself.
        #[source]
        last: Option<E>,
        /// Where the last attempt was; `None` if there was none.
        trail: Option<Box<Trail>>,
    },
    /// Every place was taken: the server's limit, the queue's, or a pause that the server asked for.
    #[error(
        "{}{}{}", Refused(*reason, netloc), Again(retry_after), Told("the last attempt ", trail)
    )]
    #[non_exhaustive]
    RateLimited {
        /// Whose limit it was.
        netloc: Netloc,
        /// Whether it was full, or asked for a pause.
        reason: Reason,
        /// When it may be worth while to try again, if that is known.
        retry_after: Option<Duration>,
        /// The function's error, if an exchange in it was refused.
        source: Option<E>,
        /// Where the last attempt was; `None` if there was none.
        trail: Option<Box<Trail>>,
    },
    /// The circuit is open.
    #[error(
        "{}{}{}",
        Refused(Reason::CircuitOpen, netloc),
        Again(retry_after),
        Told("the last attempt ", trail)
    )]
    #[non_exhaustive]
    CircuitOpen {
        /// Whose circuit it is.
        netloc: Netloc,
        /// When the circuit lets somebody try again; `None` if it was opened by hand, or a probe is
        /// under way.
        retry_after: Option<Duration>,
        /// The function's error, if an exchange in it was refused.
        source: Option<E>,
        /// Where the last attempt was; `None` if there was none.
        trail: Option<Box<Trail>>,
    },
    /// The balancer named no endpoint.
    #[error("no endpoint to call{}", Told("the last attempt ", trail))]
    #[non_exhaustive]
    NoEndpoint {
        /// The function's error, if an exchange in it was refused.
        source: Option<E>,
        /// Where the last attempt was; `None` if there was none.
        trail: Option<Box<Trail>>,
    },
    /// The settings are wrong. Only decorated functions, which have no `build()`, end like this.
    #[error("wrong setting")]
    Config(#[source] ConfigError),
    /// The dependency was closed before the call began.
    #[error("the dependency is closed")]
    Closed,
}

impl<E> Error<E> {
    /// Whether dace refused the call before anything was sent.
    pub fn is_rejected(&self) -> bool {
        match self {
            Self::RateLimited { source, .. }
            | Self::CircuitOpen { source, .. }
            | Self::NoEndpoint { source, .. } => source.is_none(),
            Self::Closed | Self::Config(_) => true,
            _ => false,
        }
    }

    /// When it may be worth while to try again, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Operation { retry_after, .. }
            | Self::RetriesExhausted { retry_after, .. }
            | Self::RateLimited { retry_after, .. }
            | Self::CircuitOpen { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Why no further attempt was made, if an attempt failed.
    pub fn why(&self) -> Option<Why> {
        match self {
            Self::Operation { why, .. }
            | Self::RetriesExhausted { why, .. }
            | Self::RetryRequested { why, .. } => Some(*why),
            Self::Timeout { why, .. } => *why,
            _ => None,
        }
    }

    /// Where the last attempt failed, and how, if there was one.
    pub fn trail(&self) -> Option<&Trail> {
        match self {
            Self::Operation { trail, .. }
            | Self::RetriesExhausted { trail, .. }
            | Self::RetryRequested { trail, .. }
            | Self::Timeout { trail, .. }
            | Self::RateLimited { trail, .. }
            | Self::CircuitOpen { trail, .. }
            | Self::NoEndpoint { trail, .. } => trail.as_deref(),
            _ => None,
        }
    }

    /// The server that failed last, or that refused.
    pub fn netloc(&self) -> Option<&Netloc> {
        match self {
            Self::RateLimited { netloc, .. } | Self::CircuitOpen { netloc, .. } => Some(netloc),
            _ => self.trail().map(|trail| &trail.netloc),
        }
    }

    /// The function's own error, if the call ended with one.
    pub fn into_source(self) -> Option<E> {
        match self {
            Self::Operation { source, .. }
            | Self::RetriesExhausted { source, .. }
            | Self::RetryRequested { source, .. } => Some(source),
            Self::Timeout { last: source, .. }
            | Self::RateLimited { source, .. }
            | Self::CircuitOpen { source, .. }
            | Self::NoEndpoint { source, .. } => source,
            Self::Config(_) | Self::Closed => None,
        }
    }
}

/// An error of the function's own, as a fallback may return one.
impl<E> From<E> for Error<E> {
    fn from(source: E) -> Self {
        Self::Operation { source, why: Why::Class, retry_after: None, trail: None }
    }
}

/// Where a call's last attempt failed, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trail {
    /// What the attempt was charged to: a server, or the dependency itself if it had no exchange.
    pub netloc: Netloc,
    /// What its result means.
    pub class: Class,
    /// How long the call took, from its start.
    pub took: Duration,
    /// When it may be worth while to try again, on its way into the error.
    pub(crate) retry_after: Option<Duration>,
}

/// `, transient at a:80, in 5ms`
struct Told<'a>(&'static str, &'a Option<Box<Trail>>);

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(which, Some(trail)) = self else { return Ok(()) };
        let Trail { netloc, class, took, .. } = &**trail;
        write!(f, ", {which}{} at {netloc}, in {}", class.name(), Short(*took))
    }
}

/// ` in attempt 2`
struct In(u32);

impl fmt::Display for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str(" before its first attempt"),
            number => write!(f, " in attempt {number}"),
        }
    }
}

/// ` (not retried: the retry budget is empty)`
struct Because(Option<Why>);

impl fmt::Display for Because {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |why| write!(f, " ({why})"))
    }
}

/// `, again in 5s`
pub(crate) struct Again<'a>(pub(crate) &'a Option<Duration>);

impl fmt::Display for Again<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |after| write!(f, ", again in {}", Short(after)))
    }
}

/// Why no further attempt was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Why {
    /// The error's class is none that is retried.
    Class,
    /// Trying again could do it twice.
    NotReplaySafe,
    /// The retry budget is empty: the dependency fails too often for retries to help.
    Budget,
    /// The wait would have ended after the deadline.
    Deadline,
    /// The server asked for a longer wait than `hint_max`, or than the deadline allows.
    Hint,
    /// No endpoint would have taken another attempt in time.
    NoEndpoint,
    /// All attempts were used.
    NoAttempts,
    /// The server said not to try again.
    Server,
}

impl Why {
    /// The name used in events and metrics.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The names of all, in the order of [`index`](Self::index).
    #[doc(hidden)]
    pub const NAMES: [&'static str; 8] = [
        "class",
        "not_replay_safe",
        "budget",
        "deadline",
        "hint",
        "no_endpoint",
        "no_attempts",
        "server",
    ];

    /// Its place among all.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Class => "this kind of error is not retried",
            Self::NotReplaySafe => "not retried: it could happen twice",
            Self::Budget => "not retried: the retry budget is empty",
            Self::Deadline => "not retried: the deadline is too near",
            Self::Hint => "not retried: the server asked for a longer wait",
            Self::NoEndpoint => "not retried: no endpoint would take it in time",
            Self::NoAttempts => "no attempts left",
            Self::Server => "not retried: the server said not to",
        })
    }
}

/// What a call waits for before a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WaitCause {
    /// The back-off.
    Backoff,
    /// The pause that the servers asked for.
    Pause,
    /// The circuits: none lets anybody try before that.
    Circuit,
    /// An attempt that takes longer than usual: this one is its hedge.
    Hedge,
    /// The rate limit: there is no token before that.
    RateLimit,
}

impl WaitCause {
    /// The name used in events and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Backoff => "backoff",
            Self::Pause => "pause",
            Self::Circuit => "circuit",
            Self::Hedge => "hedge",
            Self::RateLimit => "rate_limit",
        }
    }
}

impl fmt::Display for WaitCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backoff => "back-off",
            Self::Pause => "a pause that the server asked for",
            Self::Circuit => "a circuit to let somebody try",
            Self::Hedge => "an attempt that is slower than usual",
            Self::RateLimit => "a token of the rate limit",
        })
    }
}

/// A setting that cannot be used, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    setting: &'static str,
    problem: String,
}

impl ConfigError {
    /// `setting` is its name in the builder; `problem` says what is wrong with the value and what
    /// would be right, and reads on from the name.
    pub fn new(setting: &'static str, problem: impl Into<String>) -> Self {
        Self { setting, problem: problem.into() }
    }

    /// The name of the setting in the builder.
    pub fn setting(&self) -> &'static str {
        self.setting
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {}", self.setting, self.problem)
    }
}

impl StdError for ConfigError {}
