//! Whether a failed attempt is followed by another one, and when.

use core::time::Duration;

use super::tokens::Tokens;
use crate::http::advice::Advice;
use crate::policy::Policy;
use crate::{Class, Instant, WaitCause, Why};

/// The shortest time that an attempt can be useful in: no retry begins later than this before the
/// deadline.
pub(crate) const SHORTEST_ATTEMPT: Duration = Duration::from_millis(5);

/// What the decision is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed {
    /// The class of the attempt that failed.
    pub(crate) class: Class,
    /// Whether running it again does no harm.
    pub(crate) replay_safe: bool,
    /// Whether a request that must not happen twice may have reached its server.
    pub(crate) unsafe_sent: bool,
    /// What its answers said of trying again.
    pub(crate) advice: Advice,
    /// Attempts made, this one included.
    pub(crate) attempts: u32,
    /// Whether this call has had its retry without a token.
    pub(crate) free_used: bool,
    /// When the call ends.
    pub(crate) deadline: Instant,
}

/// When an endpoint would take another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// At once, or as soon as a place is free.
    Open,
    /// Only the endpoint that has just refused, or none at all for now.
    Nobody,
    /// When a circuit lets somebody try.
    Circuit(Instant),
    /// When a pause ends that the server asked for.
    Pause(Instant),
    /// When there is a token of the rate limit.
    Rate(Instant),
}

/// A retry that was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Retry {
    /// When it begins.
    pub(crate) at: Instant,
    /// What it waits for until then.
    pub(crate) cause: WaitCause,
    /// Whether it took a token of the budget.
    pub(crate) token: bool,
}

/// Decides, and takes the token if a retry is made.
///
/// # Errors
/// Why no retry is made.
pub(crate) fn decide(
    now: Instant,
    policy: &Policy,
    rng: &mut fastrand::Rng,
    tokens: &mut Tokens,
    failed: &Failed,
    outlook: Outlook,
) -> Result<Retry, Why> {
    check_class(policy, failed)?;
    if failed.advice.no_retry && !matches!(failed.class, Class::RetryRequested) {
        return Err(Why::Server);
    }
    if failed.attempts > policy.retry_attempts {
        return Err(Why::NoAttempts);
    }
    let free = matches!(failed.class, Class::Rejected)
        || (matches!(failed.class, Class::Refused) && !failed.free_used);
    if !free && !tokens.has_one() {
        return Err(Why::Budget);
    }
    let ordinary = now.after(policy.backoff.wait(failed.attempts - 1, rng));
    let (at, late, cause) = match outlook {
        Outlook::Nobody => return Err(Why::NoEndpoint),
        Outlook::Open => (ordinary, Why::Deadline, WaitCause::Backoff),
        Outlook::Circuit(at) => (ordinary.max(at), Why::NoEndpoint, WaitCause::Circuit),
        Outlook::Pause(at) => (ordinary.max(at), Why::Hint, WaitCause::Pause),
        Outlook::Rate(at) => (ordinary.max(at), Why::NoEndpoint, WaitCause::RateLimit),
    };
    let asked = match failed.class {
        Class::Throttled(Some(hint)) => hint,
        _ => failed.advice.wait.unwrap_or_default(),
    };
    if late == Why::Hint && asked > policy.hint_max {
        return Err(Why::Hint);
    }
    if at.after(SHORTEST_ATTEMPT) >= failed.deadline {
        return Err(if at > ordinary { late } else { Why::Deadline });
    }
    let cause = if at > ordinary { cause } else { WaitCause::Backoff };
    Ok(Retry { at, cause, token: !free && tokens.try_take() })
}

fn check_class(policy: &Policy, failed: &Failed) -> Result<(), Why> {
    let replay = || {
        if failed.replay_safe { Ok(()) } else { Err(Why::NotReplaySafe) }
    };
    match failed.class {
        Class::RetryRequested => Ok(()),
        // This exchange did nothing; an earlier one of the attempt may have.
        Class::Unsent | Class::Refused | Class::Rejected if failed.unsafe_sent => {
            Err(Why::NotReplaySafe)
        }
        Class::Unsent | Class::Refused | Class::Rejected => Ok(()),
        Class::Throttled(_) | Class::Transient => replay(),
        Class::Timeout if policy.retry_on_timeout => replay(),
        Class::Timeout
        | Class::Success
        | Class::Failure
        | Class::CallerFault
        | Class::Cancelled
        | Class::Ignored => Err(Why::Class),
    }
}

#[cfg(test)]
mod tests;
