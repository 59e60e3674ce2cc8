//! One endpoint after the other, those that do not admit passed over.

use super::Field;

/// Whose turn it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct RoundRobin {
    next: usize,
}

impl RoundRobin {
    /// Begins with the first endpoint.
    pub const fn new() -> Self {
        Self { next: 0 }
    }

    /// The next endpoint that admits. One that was passed over keeps no claim.
    pub fn pick(&mut self, field: &impl Field) -> Option<usize> {
        let len = field.len();
        let start = if self.next < len { self.next } else { 0 };
        let picked = (start..len).chain(0..start).find(|&index| field.admits(index))?;
        self.next = picked + 1;
        Some(picked)
    }
}
