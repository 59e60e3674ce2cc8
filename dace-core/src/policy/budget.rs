//! Settings of the retry budget.

use super::Thousandths;
use crate::ConfigError;

/// What pays for retries: successes do. See [`Tokens`](crate::machine::tokens::Tokens).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    pub(crate) deposit: Thousandths,
    pub(crate) banked: u32,
    pub(crate) unlimited: bool,
}

impl Budget {
    /// 0.2 tokens for every call that succeeds at its first attempt, at most 50 banked.
    pub const fn new() -> Self {
        Self { deposit: Thousandths(200), banked: 50, unlimited: false }
    }

    /// Tokens that a call deposits when it succeeds at its first attempt: retries per call that are
    /// paid for in the long run, from 0 to 1 in thousandths. Default 0.2. 0 leaves the banked ones.
    #[must_use]
    pub fn deposit(mut self, tokens: f64) -> Self {
        self.deposit = Thousandths::of(tokens);
        self
    }

    /// Tokens that are banked at the most, and there at the start. Default 50. 0 means no retries.
    #[must_use]
    pub fn banked(mut self, tokens: u32) -> Self {
        self.banked = tokens;
        self
    }

    /// Retries cost nothing. When everything fails, that multiplies the load.
    #[must_use]
    pub fn unlimited(mut self) -> Self {
        self.unlimited = true;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        if self.deposit.0 > 1000 {
            return Err(ConfigError::new("budget.deposit", "must be from 0 to 1"));
        }
        Ok(())
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::new()
    }
}
