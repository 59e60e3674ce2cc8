//! Control of a circuit by hand.

use core::fmt;

use alloc::string::String;
use alloc::sync::Arc;

use super::shared::Shared;
use crate::Runtime;
use crate::machine::circuit::{Circuit, Mode, Transition};

/// The circuit of one netloc, for control by hand. What is done here is an event like any other.
pub struct CircuitControl<R: Runtime, B> {
    shared: Arc<Shared<R, B>>,
    netloc: String,
}

impl<R: Runtime, B> CircuitControl<R, B> {
    pub(super) fn new(shared: Arc<Shared<R, B>>, netloc: &str) -> Option<Self> {
        let control = Self { shared, netloc: netloc.into() };
        control.act(|_| None).then_some(control)
    }

    /// Lets nobody through, until another mode is set.
    pub fn force_open(&self) {
        self.set(Mode::ForcedOpen);
    }

    /// Lets everybody through, whatever fails.
    pub fn force_closed(&self) {
        self.set(Mode::ForcedClosed);
    }

    /// Counts, and lets everybody through.
    pub fn metrics_only(&self) {
        self.set(Mode::MetricsOnly);
    }

    /// Decides by itself again, from a closed and empty start.
    pub fn automatic(&self) {
        self.set(Mode::Automatic);
    }

    fn set(&self, mode: Mode) {
        self.act(|circuit| circuit.set_mode(mode));
    }

    fn act(&self, act: impl FnOnce(&mut Circuit) -> Option<Transition>) -> bool {
        let now = self.shared.runtime.now();
        self.shared.section(|_, cluster, wakes| cluster.with_circuit(now, &self.netloc, wakes, act))
    }
}

impl<R: Runtime, B> fmt::Debug for CircuitControl<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitControl").field("netloc", &self.netloc).finish_non_exhaustive()
    }
}
