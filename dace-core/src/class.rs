//! What one result means.
//!
//! A result is classified once; the circuit, the balancer, the retry decision and the stats all read
//! that one class, so they can never disagree about what happened.

use core::error::Error;
use core::time::Duration;

use crate::http::HttpError;

/// What the result of an attempt, or of one exchange in it, means.
///
/// | class | retried | circuit | cost to the balancer |
/// |---|---|---|---|
/// | `Success` | – | success | real time |
/// | `Unsent` | yes | failure | penalty |
/// | `Refused` | yes, once a call without a token | neutral | penalty |
/// | `Rejected` | on another endpoint only | neutral | none |
/// | `Throttled` | if replay-safe | fails a probe, else not counted | the hint |
/// | `Transient` | if replay-safe | failure | penalty |
/// | `Timeout` | if replay-safe and `retry_on_timeout` | failure | penalty |
/// | `Failure` | no | failure | penalty |
/// | `CallerFault` | no | success | real time |
/// | `RetryRequested` | yes, replay-safe or not | as its exchanges say | as its exchanges say |
/// | `Cancelled` | no | neutral | elapsed, only if it is higher |
/// | `Ignored` | no | neutral | none |
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// It worked.
    Success,
    /// Nothing reached the server: name resolution, connecting or the TLS handshake failed.
    Unsent,
    /// The server said that it did not begin with it (HTTP/2 `REFUSED_STREAM`, `GOAWAY`).
    Refused,
    /// dace itself refused it: a limit, an open circuit, a pause. Nothing was sent.
    Rejected,
    /// The server asked for less: 429, or 503 with `Retry-After`. Holds the wait it asked for.
    Throttled(Option<Duration>),
    /// It failed in a way that may pass: 408, 500, 502, 503, 504, a reset, a truncated body, and
    /// every error whose type says nothing else.
    Transient,
    /// It took longer than it was allowed to.
    Timeout,
    /// It failed, and would fail again: other 5xx, malformed answers.
    Failure,
    /// The caller asked for something wrong, and the server works well: other 4xx.
    CallerFault,
    /// The function asked for another attempt with `call.retry(error)`.
    RetryRequested,
    /// It was dropped before anything can be said about the server.
    Cancelled,
    /// The result counts for nothing. For classifiers of your own.
    Ignored,
}

impl Class {
    /// How bad the class is for the server that it is charged to: the worst of several is what a
    /// netloc hears of an attempt. Refusals and cancellations rank lowest.
    pub(crate) const fn severity(self) -> u8 {
        match self {
            Self::Unsent => 8,
            Self::Timeout => 7,
            Self::Transient => 6,
            Self::Failure => 5,
            Self::Throttled(_) => 4,
            Self::Refused => 3,
            Self::CallerFault => 2,
            Self::Success => 1,
            Self::RetryRequested | Self::Rejected | Self::Cancelled | Self::Ignored => 0,
        }
    }

    /// The worse of two classes; of two throttles the one with the longer hint.
    pub(crate) fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Throttled(a), Self::Throttled(b)) => Self::Throttled(a.max(b)),
            (a, b) if b.severity() > a.severity() => b,
            (a, _) => a,
        }
    }

    /// The class of an answer with this status, without regard to its headers.
    ///
    /// A 503 with a `Retry-After` is [`Throttled`](Self::Throttled); that is for the caller to see.
    pub const fn of_status(status: u16) -> Self {
        match status {
            429 => Self::Throttled(None),
            408 | 500 | 502 | 503 | 504 => Self::Transient,
            400..=499 => Self::CallerFault,
            500..=599 => Self::Failure,
            _ => Self::Success,
        }
    }

    /// The name used in events and metrics.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// The class in this [place](Self::index), without a hint.
    pub(crate) const fn of_index(index: usize) -> Option<Self> {
        Some(match index {
            0 => Self::Success,
            1 => Self::Unsent,
            2 => Self::Refused,
            3 => Self::Rejected,
            4 => Self::Throttled(None),
            5 => Self::Transient,
            6 => Self::Timeout,
            7 => Self::Failure,
            8 => Self::CallerFault,
            9 => Self::RetryRequested,
            10 => Self::Cancelled,
            11 => Self::Ignored,
            _ => return None,
        })
    }

    /// The names of all, in the order of [`index`](Self::index).
    pub(crate) const NAMES: [&'static str; 12] = [
        "success",
        "unsent",
        "refused",
        "rejected",
        "throttled",
        "transient",
        "timeout",
        "failure",
        "caller_fault",
        "retry_requested",
        "cancelled",
        "ignored",
    ];

    /// Its place among all, whatever the hint.
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Success => 0,
            Self::Unsent => 1,
            Self::Refused => 2,
            Self::Rejected => 3,
            Self::Throttled(_) => 4,
            Self::Transient => 5,
            Self::Timeout => 6,
            Self::Failure => 7,
            Self::CallerFault => 8,
            Self::RetryRequested => 9,
            Self::Cancelled => 10,
            Self::Ignored => 11,
        }
    }
}

/// The class of an error, from its type.
///
/// The provided method looks for the first [`HttpError`] (or, with the feature `std`, the first
/// `std::io::Error`) in the source chain and answers its class, and [`Class::Transient`] if there is
/// none. So one line is enough for most errors:
///
/// ```
/// #[derive(Debug)]
/// struct DbError;
/// # impl core::fmt::Display for DbError {
/// #     fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result { f.write_str("db") }
/// # }
/// # impl core::error::Error for DbError {}
/// impl dace_core::Classify for DbError {}
/// # assert_eq!(dace_core::Classify::class(&DbError), dace_core::Class::Transient);
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say what its errors mean to dace",
    label = "the call's error type has no class",
    note = "write `impl dace::Classify for YourError {{}}` if the error is yours (one line is enough)",
    note = "or classify this call's results: `.classify(|result| …)`; in the macro `classify = PATH`"
)]
pub trait Classify: Error + 'static {
    /// The class of this error.
    fn class(&self) -> Class
    where
        Self: Sized,
    {
        class_of_chain(self)
    }
}

impl Classify for HttpError {}
impl Classify for core::convert::Infallible {}

/// A call inside of a call: what the inner one gave up is not tried again by the outer one, or layers that
/// all retry would multiply the load, and what must not happen twice could. What dace refused there before
/// anything was sent is refused here too; the caller's own mistakes stay the caller's.
impl<E: Classify> Classify for crate::Error<E> {
    fn class(&self) -> Class {
        match self {
            Self::Operation { source, .. } => match source.class() {
                class @ (Class::CallerFault | Class::Ignored) => class,
                _ => Class::Failure,
            },
            Self::RetriesExhausted { .. } | Self::RetryRequested { .. } | Self::Timeout { .. } => {
                Class::Failure
            }
            Self::RateLimited { source: None, .. }
            | Self::CircuitOpen { source: None, .. }
            | Self::NoEndpoint { source: None, .. } => Class::Rejected,
            Self::RateLimited { .. } | Self::CircuitOpen { .. } | Self::NoEndpoint { .. } => {
                Class::Ignored
            }
            Self::Config(_) | Self::Closed => Class::Ignored,
        }
    }
}

/// The class of the first error in the chain whose type says one, else `Transient`.
fn class_of_chain(error: &(dyn Error + 'static)) -> Class {
    let mut link = Some(error);
    while let Some(error) = link {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return http.class();
        }
        #[cfg(feature = "std")]
        if let Some(io) = error.downcast_ref::<std::io::Error>() {
            return crate::std_impls::class_of_io(io);
        }
        link = error.source();
    }
    Class::Transient
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worse_one_is_kept_and_of_two_that_are_as_bad_the_first() {
        let pairs = [
            (Class::Success, Class::Timeout, Class::Timeout),
            (Class::Timeout, Class::Success, Class::Timeout),
            (Class::Rejected, Class::Cancelled, Class::Rejected),
            (Class::Cancelled, Class::Rejected, Class::Cancelled),
        ];
        for (a, b, worse) in pairs {
            assert_eq!(a.worse(b), worse, "{a:?}, {b:?}");
        }
    }
}
