//! Settings of what a server's answers may say beside `Retry-After`.

use core::fmt;

use alloc::string::{String, ToString};

use crate::ConfigError;
use crate::http::Header;

/// What dace reads of answers beside `Retry-After`: when a quota is full again, and whether to try again.
/// A pushback of gRPC is read by itself, for its header means one thing everywhere; the rest is off until it
/// is asked for, since those headers mean what they mean only where a server says so. For [`DependencyBuilder::hints`](crate::DependencyBuilder::hints).
///
/// ```
/// use dace_core::Hints;
///
/// let hints = Hints::new()
///     .rate_limit_reset(true)                 // `RateLimit`, `RateLimit-Reset`, `X-RateLimit-Reset`
///     .grpc_pushback(false)                   // not `grpc-retry-pushback-ms`
///     .no_retry("x-should-retry", "false");   // an answer with this header is not asked for again
/// # let _ = hints;
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Hints {
    pub(crate) rate_limit_reset: bool,
    pub(crate) grpc_pushback: bool,
    pub(crate) no_retry: Option<(String, String)>,
}

impl Hints {
    /// Nothing but `Retry-After` and a pushback of gRPC.
    pub const fn new() -> Self {
        Self { rate_limit_reset: false, grpc_pushback: true, no_retry: None }
    }

    /// Whether the reset of a quota is read as a `Retry-After` of a 429 or a 503 that has none, and makes a
    /// 403 of a quota that is used up a throttle: `RateLimit` (draft-ietf-httpapi-ratelimit-headers),
    /// `RateLimit-Reset` and `X-RateLimit-Reset`, in seconds from now or since 1970. Default `false`.
    #[must_use]
    pub fn rate_limit_reset(mut self, read: bool) -> Self {
        self.rate_limit_reset = read;
        self
    }

    /// Whether `grpc-retry-pushback-ms` is read, in headers and in trailers (gRFC A6): a number is the
    /// wait, and what is negative or no number says not to try again. Default `true`.
    #[must_use]
    pub fn grpc_pushback(mut self, read: bool) -> Self {
        self.grpc_pushback = read;
        self
    }

    /// A header, and the value of it, case aside, that says not to try again. Default: none.
    #[must_use]
    pub fn no_retry(mut self, header: &str, value: &str) -> Self {
        self.no_retry = Some((header.to_ascii_lowercase(), value.to_string()));
        self
    }

    /// Whether anything is to be read.
    pub(crate) fn is_any(&self) -> bool {
        self.rate_limit_reset || self.grpc_pushback || self.no_retry.is_some()
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        let wrong = |(name, value): &(String, String)| {
            value.is_empty() || Header::new(name, value.clone()).is_none()
        };
        if self.no_retry.as_ref().is_some_and(wrong) {
            let problem = "must name a header by a token, and a value that can be in one, such as \
                           `(\"x-should-retry\", \"false\")`";
            return Err(ConfigError::new("hints.no_retry", problem));
        }
        Ok(())
    }
}

impl Default for Hints {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows no value: it was never a secret, but a header's value is not shown anywhere.
impl fmt::Debug for Hints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hints")
            .field("rate_limit_reset", &self.rate_limit_reset)
            .field("grpc_pushback", &self.grpc_pushback)
            .field("no_retry", &self.no_retry.as_ref().map(|(name, _)| name))
            .finish()
    }
}
