//! What dace itself refuses, and why.

use core::fmt;
use core::time::Duration;

use alloc::boxed::Box;

use crate::error::{Again, Trail};
use crate::{ConfigError, Error, Netloc};

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
    /// `max_open_per_netloc` operations are open, or what the adaptive limit allows, and the queue has
    /// no room.
    Full,
    /// There is no endpoint.
    NoEndpoint,
    /// The dependency takes no more calls.
    Closed,
    /// What the balancer picked is no target.
    Config,
    /// The rate limit has no token, and the queue no room, or the token comes too late.
    RateLimit,
    /// The throttle: the server accepts too few.
    Throttle,
    /// A limit that is shared between dependencies.
    SharedLimit,
    /// It waited for a place, and had to make room for a call of a higher priority.
    Shed,
}

impl Reason {
    /// The name used in events and metrics.
    pub const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }

    /// The names of all, in their order.
    #[doc(hidden)]
    pub const NAMES: [&'static str; 10] = [
        "circuit_open",
        "paused",
        "full",
        "no_endpoint",
        "closed",
        "config",
        "rate_limit",
        "throttle",
        "shared_limit",
        "shed",
    ];
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

    pub(crate) fn into_error<E>(self, source: Option<E>, trail: Option<Box<Trail>>) -> Error<E> {
        let Self { reason, netloc, retry_after } = self;
        match reason {
            Reason::CircuitOpen => Error::CircuitOpen { netloc, retry_after, source, trail },
            Reason::Paused
            | Reason::Full
            | Reason::RateLimit
            | Reason::Throttle
            | Reason::SharedLimit
            | Reason::Shed => Error::RateLimited { netloc, reason, retry_after, source, trail },
            Reason::NoEndpoint => Error::NoEndpoint { source, trail },
            Reason::Closed => Error::Closed,
            Reason::Config => {
                Error::Config(ConfigError::new("load_balancer", "must name a target"))
            }
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { reason, netloc, retry_after } = self;
        write!(f, "{}{}", Refused(*reason, netloc), Again(retry_after))
    }
}

/// Who refused, and why.
pub(crate) struct Refused<'a>(pub(crate) Reason, pub(crate) &'a Netloc);

impl fmt::Display for Refused<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(reason, netloc) = self;
        match reason {
            Reason::CircuitOpen => write!(f, "the circuit of {netloc} is open"),
            Reason::Paused => write!(f, "{netloc} asked for a pause"),
            Reason::Full => write!(f, "{netloc} has no free place"),
            Reason::NoEndpoint => f.write_str("no endpoint to call"),
            Reason::Closed => f.write_str("the dependency is closed"),
            Reason::Config => f.write_str("what the balancer picked is no target"),
            Reason::RateLimit => write!(f, "the rate limit of {netloc} is used up"),
            Reason::Throttle => write!(f, "{netloc} accepts too few requests"),
            Reason::SharedLimit => write!(f, "a limit that {netloc} shares is used up"),
            Reason::Shed => {
                write!(f, "the queue for {netloc} was needed for more important calls")
            }
        }
    }
}
