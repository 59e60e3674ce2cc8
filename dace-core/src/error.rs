//! How a call can fail, and how settings can be wrong.

use core::error::Error as StdError;
use core::fmt;
use core::time::Duration;

use alloc::string::String;

use crate::Netloc;

/// Why a call failed. `E` is the wrapped function's own error.
///
/// Where it has a source, that is the error of the last attempt, whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error<E> {
    /// The first attempt failed, and no retry was made.
    #[error("the call failed at its first attempt ({why})")]
    #[non_exhaustive]
    Operation {
        /// The function's error.
        source: E,
        /// Why no further attempt was made.
        why: Why,
        /// When it may be worth while to try again, if somebody said so.
        retry_after: Option<Duration>,
    },
    /// The last of several attempts failed.
    #[error("the call failed after {attempts} attempts ({why})")]
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
    },
    /// The last attempt asked for another one, which was not to be had.
    #[error("the function asked for another attempt after {attempts} ({why})")]
    #[non_exhaustive]
    RetryRequested {
        /// How many attempts were made.
        attempts: u32,
        /// The last attempt's error.
        source: E,
        /// Why no further attempt was made.
        why: Why,
    },
    /// The call's time was up.
    #[error("the call timed out after {after:?} in attempt {attempts}")]
    #[non_exhaustive]
    Timeout {
        /// How long the call was given, or its attempt if that was what ended it.
        after: Duration,
        /// How many attempts were begun.
        attempts: u32,
        /// The error of the last attempt that ended by itself.
        #[source]
        last: Option<E>,
    },
    /// Every place was taken: the server's limit, the queue's, or a pause that the server asked for.
    #[error("{netloc} takes no more calls at present")]
    #[non_exhaustive]
    RateLimited {
        /// Whose limit it was.
        netloc: Netloc,
        /// When it may be worth while to try again, if that is known.
        retry_after: Option<Duration>,
        /// The function's error, if an exchange in it was refused.
        source: Option<E>,
    },
    /// The circuit is open.
    #[error("the circuit of {netloc} is open")]
    #[non_exhaustive]
    CircuitOpen {
        /// Whose circuit it is.
        netloc: Netloc,
        /// When the circuit lets somebody try again; `None` if it was opened by hand, or a probe is
        /// under way.
        retry_after: Option<Duration>,
        /// The function's error, if an exchange in it was refused.
        source: Option<E>,
    },
    /// The balancer named no endpoint.
    #[error("no endpoint to call")]
    #[non_exhaustive]
    NoEndpoint {
        /// The function's error, if an exchange in it was refused.
        source: Option<E>,
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
            _ => None,
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
        Self::Operation { source, why: Why::Class, retry_after: None }
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
}

impl Why {
    /// The name used in events and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::NotReplaySafe => "not_replay_safe",
            Self::Budget => "budget",
            Self::Deadline => "deadline",
            Self::Hint => "hint",
            Self::NoEndpoint => "no_endpoint",
            Self::NoAttempts => "no_attempts",
        }
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
        })
    }
}

/// Why dace let nothing through: what was refused, by whom, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) netloc: Netloc,
    pub(crate) retry_after: Option<Duration>,
}

/// What refused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// The circuit is open, or half-open with its probes under way.
    CircuitOpen,
    /// The server asked for a pause.
    Paused,
    /// `max_open_per_netloc` operations are open, and the queue has no room.
    Full,
    /// There is no endpoint.
    NoEndpoint,
}

impl Refusal {
    /// What refused it.
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whose limit or circuit it was.
    pub fn netloc(&self) -> &Netloc {
        &self.netloc
    }

    /// When it could be let in, if that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    pub(crate) fn into_error<E>(self, source: Option<E>) -> Error<E> {
        let Self { reason, netloc, retry_after } = self;
        match reason {
            Reason::CircuitOpen => Error::CircuitOpen { netloc, retry_after, source },
            Reason::Paused | Reason::Full => Error::RateLimited { netloc, retry_after, source },
            Reason::NoEndpoint => Error::NoEndpoint { source },
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.reason {
            Reason::CircuitOpen => write!(f, "the circuit of {} is open", self.netloc),
            Reason::Paused => write!(f, "{} asked for a pause", self.netloc),
            Reason::Full => write!(f, "{} has no free place", self.netloc),
            Reason::NoEndpoint => f.write_str("no endpoint to call"),
        }
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
