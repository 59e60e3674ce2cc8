//! The rate of admissions: the generic cell rate algorithm.
//!
//! One number says it all: when the next admission would be due if they came evenly
//! (ATM Forum, Traffic Management 4.0, 4.4; Brandur Leach's *throttled* made it known for web services).
//! An admission may come up to `burst - 1` intervals before it is due, and moves that instant on by one
//! interval. Nothing is deducted from somebody who is refused, so those who wait owe nothing, and what
//! is told to them is exact. All in whole nanoseconds, in a width in which nothing can overflow.

use crate::Instant;
use crate::policy::RateLimit;

/// When the next token is due. Full at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gcra {
    /// The theoretical arrival time, in nanoseconds.
    due: u128,
}

impl Gcra {
    /// All tokens there.
    pub const fn new() -> Self {
        Self { due: 0 }
    }

    /// Takes a token.
    ///
    /// # Errors
    /// When there will be one. Nothing was taken.
    pub fn try_take(&mut self, now: Instant, rate: &RateLimit) -> Result<(), Instant> {
        self.on_look(now, rate);
        let at = self.next(now, rate, 0);
        if at > now {
            return Err(at);
        }
        self.due += u128::from(rate.interval());
        Ok(())
    }

    /// Somebody looks, and may wait for what [`next`](Self::next) says: if the clock went back, the bucket
    /// is empty from now on, and fills up from there.
    pub fn on_look(&mut self, now: Instant, rate: &RateLimit) {
        self.due = self.bounded(now, rate);
    }

    /// Gives a token back that was taken.
    pub fn give_back(&mut self, rate: &RateLimit) {
        self.due = self.due.saturating_sub(u128::from(rate.interval()));
    }

    /// When there is a token beside `held` ones that are kept for others: `now` if there is.
    pub fn next(&self, now: Instant, rate: &RateLimit, held: u32) -> Instant {
        let interval = u128::from(rate.interval());
        let due = self.bounded(now, rate) + u128::from(held) * interval;
        let at = due.saturating_sub(u128::from(rate.banked() - 1) * interval);
        now.max(Instant::from_nanos(u64::try_from(at).unwrap_or(u64::MAX)))
    }

    /// Whole tokens that are there.
    pub fn available(&self, now: Instant, rate: &RateLimit) -> u32 {
        let interval = u128::from(rate.interval());
        let full = u128::from(now.as_nanos()) + u128::from(rate.banked()) * interval;
        let left = full.saturating_sub(self.bounded(now, rate)) / interval;
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Not before now, and not much further ahead than an empty bucket is: what is, is of a clock that went
    /// back since. Less than an interval too far is none: threads read the clock in one order, and come
    /// here in another.
    fn bounded(&self, now: Instant, rate: &RateLimit) -> u128 {
        let (now, interval) = (u128::from(now.as_nanos()), u128::from(rate.interval()));
        let empty = now + u128::from(rate.banked()) * interval;
        if self.due > empty + interval { empty } else { self.due.max(now) }
    }
}

#[cfg(test)]
mod tests;
