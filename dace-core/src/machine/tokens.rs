//! The retry budget: what successes paid for.
//!
//! A retry costs a token. A call that succeeds at its first attempt deposits a fraction of one, and a
//! retry that succeeds gives its own back. So the budget is empty exactly when everything fails, and
//! an overload ends as fast as without retries, while independent failures get nearly all that
//! retries can give. The banked credit is small, because it is what prolongs an overload.

use crate::policy::Budget;

const TOKEN: u64 = 1000;

/// Retry tokens, in thousandths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    available: u64,
    cap: u64,
    deposit: u64,
    unlimited: bool,
}

impl Tokens {
    /// A full budget.
    pub fn new(budget: &Budget) -> Self {
        let cap = u64::from(budget.banked) * TOKEN;
        let deposit = u64::from(budget.deposit.0);
        Self { available: cap, cap, deposit, unlimited: budget.unlimited }
    }

    /// Another budget: the tokens stay, as far as its bank holds them.
    pub fn set_budget(&mut self, budget: &Budget) {
        let available = self.available;
        *self = Self::new(budget);
        self.available = self.cap.min(available);
    }

    /// Whether there is a token.
    pub const fn has_one(&self) -> bool {
        self.unlimited || self.available >= TOKEN
    }

    /// Takes a token. `false`: there is none, and nothing was taken.
    #[must_use]
    pub fn try_take(&mut self) -> bool {
        if !self.has_one() {
            return false;
        }
        self.available = self.available.saturating_sub(TOKEN);
        true
    }

    /// Gives a token back that was taken.
    pub fn give_back(&mut self) {
        self.available = self.cap.min(self.available + TOKEN);
    }

    /// A call succeeded at its first attempt.
    pub fn on_first_try_success(&mut self) {
        self.available = self.cap.min(self.available + self.deposit);
    }

    /// What is available, in thousandths of a token.
    pub const fn available_thousandths(&self) -> u64 {
        self.available
    }
}

#[cfg(test)]
mod tests;
