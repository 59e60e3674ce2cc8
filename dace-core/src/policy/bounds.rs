//! What a policy can cost at the worst, and where it contradicts itself.

use core::fmt;
use core::time::Duration;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Policy;

/// What a policy can cost at the worst. From [`Policy::bounds`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Bounds {
    /// Attempts of one call, each of which may reach a server.
    pub attempts: u32,
    /// The longest time from the start of a call to its end, without its fallback. `Duration::MAX`: there
    /// is no bound.
    pub wall_time: Duration,
    /// Attempts per call that reach servers in the long run, whatever fails: what the budget lets pass.
    ///
    /// With a budget, at most one retry of a call succeeds, and gets its token back; all others are paid for
    /// by calls that succeed at once, [`deposit`](crate::Budget::deposit) tokens each. Not counted is the one
    /// retry of a call that costs nothing, after a server said that it did not begin
    /// ([`Refused`](crate::Class::Refused)).
    pub amplification: f64,
    /// Attempts that may come on top of that once, from the banked tokens.
    pub burst: u32,
    /// Bytes of decoded bodies that buffered reads hold per netloc, while `max_open_per_netloc` operations
    /// read one each.
    pub bytes: u64,
    /// Where the policy contradicts itself: settings that have no effect, and what cannot be had.
    pub lints: Vec<Lint>,
}

/// A contradiction in a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lint {
    /// The setting to look at.
    pub setting: &'static str,
    /// What it contradicts.
    pub problem: String,
}

impl fmt::Display for Lint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.setting, self.problem)
    }
}

/// For a person: a line each.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "attempts per call     at most {}", self.attempts)?;
        match self.wall_time {
            Duration::MAX => writeln!(f, "time per call         unbounded")?,
            time => writeln!(f, "time per call         at most {time:?}")?,
        }
        let Self { amplification, burst, .. } = self;
        writeln!(
            f,
            "load on the servers   at most {amplification:.2} x, and {burst} attempts once"
        )?;
        writeln!(f, "bytes held per netloc at most {}", self.bytes)?;
        self.lints.iter().try_for_each(|lint| writeln!(f, "{lint}"))
    }
}

impl Policy {
    /// What this policy can cost at the worst, and where it contradicts itself.
    ///
    /// ```
    /// use dace_core::Policy;
    /// use std::time::Duration;
    ///
    /// let policy = Policy::new()
    ///     .timeout(Duration::from_secs(15))
    ///     .attempt_timeout(Duration::from_secs(10))
    ///     .retry_on_timeout(true)
    ///     .retry_attempts(2);
    /// let bounds = policy.bounds();
    /// assert_eq!((bounds.attempts, bounds.wall_time), (3, Duration::from_secs(15)));
    /// assert_eq!(bounds.lints[0].problem, "3 attempts of 10s do not fit into 15s");
    /// ```
    pub fn bounds(&self) -> Bounds {
        let attempts = self.retry_attempts.saturating_add(1);
        let budget = &self.budget;
        let most = f64::from(attempts);
        let amplification = match () {
            () if budget.unlimited => most,
            () if budget.banked == 0 => 1.0,
            // Nobody deposits more than a whole token.
            () => most.min(2.0),
        };
        let banked = if budget.unlimited || self.retry_attempts == 0 { 0 } else { budget.banked };
        let body = u64::try_from(self.body_limit).unwrap_or(u64::MAX);
        Bounds {
            attempts,
            wall_time: self.timeout.min(self.longest_run()),
            amplification,
            burst: banked,
            bytes: body.saturating_mul(u64::from(self.max_open_anywhere())),
            lints: self.lints(),
        }
    }

    /// All attempts at their full length, and the longest waits between them.
    fn longest_run(&self) -> Duration {
        let waits = self.queue > 0 || self.rate_limit.is_some();
        if self.attempt_timeout == Duration::MAX || waits {
            return Duration::MAX;
        }
        let attempts = self.attempt_timeout.saturating_mul(self.retry_attempts.saturating_add(1));
        // A wait is that of the back-off, for a pause, or for a circuit, each with its jitter.
        let pause = self.hint_max.saturating_add(self.hint_max / 4);
        let open = self.circuit_reset_timeout.max(self.breaker.max_open);
        let wait = self.backoff.cap.max(pause).max(open.saturating_add(open / 5));
        attempts.saturating_add(wait.saturating_mul(self.retry_attempts))
    }

    fn lints(&self) -> Vec<Lint> {
        let mut lints = Vec::new();
        let mut lint = |setting, problem| lints.push(Lint { setting, problem });
        let Self { timeout, attempt_timeout, retry_attempts, .. } = *self;
        let (timed, each) = (timeout != Duration::MAX, attempt_timeout != Duration::MAX);
        if timed && each {
            let attempts = retry_attempts.saturating_add(1);
            if attempt_timeout >= timeout {
                let problem = format!(
                    "{attempt_timeout:?} is not shorter than `timeout` ({timeout:?}), which ends the \
                     attempt first"
                );
                lint("attempt_timeout", problem);
            } else if self.retry_on_timeout && attempt_timeout.saturating_mul(attempts) > timeout {
                let problem = format!(
                    "{attempts} attempts of {attempt_timeout:?} do not fit into {timeout:?}"
                );
                lint("timeout", problem);
            }
        }
        let ends_first = timeout.min(attempt_timeout);
        let ended = |what: Duration| what != Duration::MAX && what >= ends_first;
        if ended(self.expected_in) {
            let problem = format!("no attempt takes longer than {ends_first:?}, it never counts");
            lint("expected_in", problem);
        }
        if self.hang_after.is_some_and(|after| after != Duration::MAX && after > ends_first) {
            let problem = format!(
                "no attempt takes longer than {ends_first:?}: a hung server that every caller leaves is \
                 never noticed"
            );
            lint("hang_after", problem);
        }
        if ended(self.connect_timeout) {
            let problem = format!(
                "a server that cannot be reached takes all of the {ends_first:?}, and nothing is left for \
                 another"
            );
            lint("connect_timeout", problem);
        }
        if retry_attempts > 0 && timed && self.backoff.base >= timeout {
            let problem = format!("the waits between attempts may not fit into {timeout:?}");
            lint("backoff.base", problem);
        }
        if retry_attempts > 0 && !self.budget.unlimited && self.budget.banked == 0 {
            lint("budget.banked", "pays for no retry: `retry_attempts` has no effect".into());
        }
        if self.http_pool_size < self.max_open_per_netloc {
            let problem = format!(
                "{} operations share {} connections: unless the server speaks HTTP/2, some wait",
                self.max_open_per_netloc, self.http_pool_size
            );
            lint("http_pool_size", problem);
        }
        if self.hedge.is_some() && (retry_attempts == 0 || !self.idempotent) {
            let problem = "needs a function that may run twice: `idempotent`, and at least one of \
                           `retry_attempts`";
            lint("hedge", problem.into());
        }
        if self.retry_attempts == 0 && self.retry_on_timeout {
            lint("retry_on_timeout", "there are no retries: `retry_attempts` is 0".into());
        }
        lints
    }
}
