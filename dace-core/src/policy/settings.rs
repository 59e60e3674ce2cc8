//! The table of settings that are data: one line makes a field of [`Policy`], a setter of it, and one
//! of the builder.

use core::time::Duration;

use super::{Balancing, Listing};
use crate::{
    AdaptiveLimit, Backoff, Breaker, Budget, ConfigError, DependencyBuilder, Hedge, HttpBackend,
    RateLimit, Runtime, Throttle,
};

macro_rules! settings {
    (
        $($(#[$doc:meta])* $name:ident: $type:ty = $default:expr;)*
        --
        $($(#[$unset_doc:meta])* $unset:ident: $unset_type:ty;)*
        --
        $($listed:ident => $listed_type:ty,)*
    ) => {
        /// The settings of a dependency that are data: what it decides by.
        ///
        /// A [builder](DependencyBuilder::policy) takes one as a whole, and a dependency that runs takes
        /// another ([`reload`](crate::Dependency::reload)). [`bounds`](Self::bounds) says what it can
        /// cost at the worst. With the feature `serde` it is read from a file and written to one: every
        /// key has its setter's name, durations are texts such as `"200ms"`, and `"never"` is
        /// `Duration::MAX`. What is left out has its default; what is unknown is an error.
        ///
        /// ```
        /// use dace_core::Policy;
        /// use std::time::Duration;
        ///
        /// let policy = Policy::new().timeout(Duration::from_secs(2)).retry_attempts(2);
        /// assert_eq!(policy.bounds().attempts, 3);
        /// ```
        #[derive(Clone, Debug, PartialEq)]
        pub struct Policy {
            $(pub(crate) $name: $type,)*
            $(pub(crate) $unset: Option<$unset_type>,)*
            $(pub(crate) $listed: Option<$listed_type>,)*
        }

        impl Policy {
            /// All settings at their defaults.
            pub const fn new() -> Self {
                Self { $($name: $default,)* $($unset: None,)* $($listed: None,)* }
            }

            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.$name = $name;
                    self
                }
            )*

            $(
                $(#[$unset_doc])*
                #[must_use]
                pub fn $unset(mut self, $unset: $unset_type) -> Self {
                    self.$unset = Some($unset);
                    self
                }
            )*
        }

        /// # The policy, setting by setting
        impl<R: Runtime, B: HttpBackend> DependencyBuilder<R, B> {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $name(mut self, $name: $type) -> Self {
                    self.policy.$name = $name;
                    self
                }
            )*

            $(
                $(#[$unset_doc])*
                #[must_use]
                pub fn $unset(mut self, $unset: $unset_type) -> Self {
                    self.policy.$unset = Some($unset);
                    self
                }
            )*
        }

        #[cfg(feature = "serde")]
        super::data::table!(Policy { $($name,)* $($unset,)* $($listed,)* });
    };
}

settings! {
    /// For the whole call: every attempt, every wait, every body that the function reads. Default 5 s.
    timeout: Duration = Duration::from_secs(5);

    /// For one attempt. Default: none. An attempt that it ends is retried only with
    /// [`retry_on_timeout`](Self::retry_on_timeout).
    attempt_timeout: Duration = Duration::MAX;

    /// Retries after the first attempt: **the function may run `1 + retry_attempts` times**. Default
    /// 3; 0 means none.
    ///
    /// HTTP requests that must not happen twice are not repeated, dace sees to that. What a function
    /// does without dace's HTTP client it cannot see: if running an `INSERT` twice does harm, say
    /// [`idempotent(false)`](Self::idempotent).
    retry_attempts: u32 = 3;

    /// Whether an attempt that ended in a timeout of its own may be retried. Default `false`. A
    /// timeout while connecting is not one of these: nothing was sent, so it always may.
    retry_on_timeout: bool = false;

    /// Whether running the function again after it failed does no harm. Default `true`. With `false`
    /// an attempt is repeated only if nothing reached a server, or if it asked for it.
    idempotent: bool = true;

    /// Operations open at one netloc at a time. Default 10; zero is an error.
    max_open_per_netloc: u32 = 10;

    /// Calls that may wait for a permit. Default 0: a call that finds everything full is refused.
    queue: usize = 0;

    /// An attempt that takes longer is a failure for the circuit, whatever it returned. It changes
    /// nothing else. Default: none.
    expected_in: Duration = Duration::MAX;

    /// For name resolution, TCP, TLS handshake and proxy tunnel together. Default 1 s.
    connect_timeout: Duration = Duration::from_secs(1);

    /// The most HTTP connections per netloc, busy and idle together. Default 10; zero is an error.
    http_pool_size: u32 = 10;

    /// How long a body may send nothing while it is being read. Default 20 s.
    stall_timeout: Duration = Duration::from_secs(20);

    /// The most bytes that `bytes` and `text` read of one body. Default 64 MiB; zero is an error.
    body_limit: usize = 64 * 1024 * 1024;

    /// How long a circuit stays open at first; it doubles while probes fail. Default 10 s; 0
    /// switches the breaker off.
    circuit_reset_timeout: Duration = Duration::from_secs(10);

    /// When circuits open and close. Default [`Breaker::new`].
    breaker: Breaker = Breaker::new();

    /// The waits between attempts. Default [`Backoff::new`].
    backoff: Backoff = Backoff::new();

    /// What pays for retries. Default [`Budget::new`].
    budget: Budget = Budget::new();

    /// The longest pause that a server may ask for. Default 30 s; zero is an error.
    hint_max: Duration = Duration::from_secs(30);

    /// Netlocs that are accounted one by one; those beyond share one entry. Default 10,000; zero is an
    /// error. Listed targets are always accounted one by one.
    max_netlocs: usize = 10_000;

    /// Whether `http` URLs are refused, those of redirects included. Default `false`.
    https_only: bool = false;

    /// How many redirects a request follows. Default 10; zero is an error.
    max_redirects: u32 = 10;

    --

    /// How long an attempt must have run for its being dropped to count as a timeout of the server.
    /// Default: `expected_in` if that is set, else half of the call's own timeout, and never with
    /// `no_timeout`.
    hang_after: Duration;

    /// A second attempt beside a slow one. Default: none.
    hedge: Hedge;

    /// The most attempts that begin at one netloc in a span of time. Default: none.
    rate_limit: RateLimit;

    /// A limit of open operations at each netloc that finds by itself what the server can do, beside
    /// [`max_open_per_netloc`](Self::max_open_per_netloc): the smaller one binds. Default: none.
    adaptive_limit: AdaptiveLimit;

    /// Refuses attempts here when a server accepts too few of them. Default: none.
    throttle: Throttle;

    --

    targets => Listing,
    balancer => Balancing,
}

impl Policy {
    /// No timeout for the call. An attempt that is dropped then never counts as hung, unless
    /// [`hang_after`](Self::hang_after) or [`expected_in`](Self::expected_in) is set.
    #[must_use]
    pub fn no_timeout(self) -> Self {
        self.timeout(Duration::MAX)
    }

    /// Whether every setting can be used: the first that cannot, and what would be right.
    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        positive("timeout", self.timeout, "use `no_timeout()` to switch it off")?;
        positive("attempt_timeout", self.attempt_timeout, "leave it out to switch it off")?;
        positive("connect_timeout", self.connect_timeout, "the default is 1 s")?;
        positive("stall_timeout", self.stall_timeout, "`Duration::MAX` switches it off")?;
        positive("hint_max", self.hint_max, "the default is 30 s")?;
        positive("expected_in", self.expected_in, "leave it out to switch it off")?;
        let hang_after = self.hang_after.unwrap_or(Duration::MAX);
        positive("hang_after", hang_after, "`Duration::MAX` switches it off")?;
        not_zero("max_open_per_netloc", self.max_open_per_netloc as usize, "allow at least 1")?;
        not_zero("http_pool_size", self.http_pool_size as usize, "allow at least 1")?;
        not_zero("body_limit", self.body_limit, "allow at least one byte")?;
        not_zero("max_netlocs", self.max_netlocs, "allow at least 1")?;
        let none = "`allow_redirects(false)` on a request follows none";
        not_zero("max_redirects", self.max_redirects as usize, none)?;
        self.breaker.validate()?;
        self.hedge.as_ref().map_or(Ok(()), Hedge::validate)?;
        self.rate_limit.as_ref().map_or(Ok(()), RateLimit::validate)?;
        self.adaptive_limit.as_ref().map_or(Ok(()), AdaptiveLimit::validate)?;
        self.throttle.as_ref().map_or(Ok(()), Throttle::validate)?;
        self.backoff.validate()?;
        self.budget.validate()?;
        self.targets.as_ref().map_or(Ok(()), Listing::validate)
    }

    /// How long a cut-off attempt must have run to count as hung, in a call with this `timeout`.
    pub(crate) fn hang_after_of(&self, timeout: Duration) -> Duration {
        match self.hang_after {
            Some(set) => set,
            None if self.expected_in != Duration::MAX => self.expected_in,
            None if timeout == Duration::MAX => Duration::MAX,
            None => timeout / 2,
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::new()
    }
}

impl<R: Runtime, B: HttpBackend> DependencyBuilder<R, B> {
    /// No timeout for the call. An attempt that is dropped then never counts as hung, unless
    /// [`hang_after`](Self::hang_after) or [`expected_in`](Self::expected_in) is set.
    #[must_use]
    pub fn no_timeout(self) -> Self {
        self.timeout(Duration::MAX)
    }

    /// All settings of the policy at once, in place of those set so far. One without
    /// [targets](Policy::targets) leaves the targets that were set.
    #[must_use]
    pub fn policy(mut self, policy: Policy) -> Self {
        let targets = self.policy.targets.take();
        self.policy = policy;
        self.policy.targets = self.policy.targets.or(targets);
        self
    }
}

pub(crate) fn positive(
    setting: &'static str,
    value: Duration,
    instead: &str,
) -> Result<(), ConfigError> {
    if value.is_zero() {
        let problem = alloc::format!("must be longer than zero; {instead}");
        return Err(ConfigError::new(setting, problem));
    }
    Ok(())
}

pub(crate) fn not_zero(
    setting: &'static str,
    value: usize,
    instead: &str,
) -> Result<(), ConfigError> {
    if value == 0 {
        return Err(ConfigError::new(setting, alloc::format!("must not be zero; {instead}")));
    }
    Ok(())
}
