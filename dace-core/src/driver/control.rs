//! Control of a circuit by hand.

use core::fmt;

use alloc::string::String;
use alloc::sync::Arc;

use super::shared::Shared;
use crate::event::Control;
use crate::{CircuitState, Runtime, Target};

/// The circuit of one netloc, for control by hand. What is done here is an event like any other
/// ([`What::Controlled`](crate::What::Controlled)), and lasts until something else is done. From
/// [`Dependency::circuit`](crate::Dependency::circuit).
///
/// Whatever is done starts from a circuit that knows nothing of what was before, and results of
/// attempts that were under way then change nothing.
///
/// A netloc that nobody uses, and that was not worked by hand, may be forgotten
/// ([`max_netlocs`](crate::DependencyBuilder::max_netlocs)): what is done to it then does nothing, and
/// answers `false`.
pub struct CircuitControl<R: Runtime, B> {
    shared: Arc<Shared<R, B>>,
    netloc: String,
}

impl<R: Runtime, B> CircuitControl<R, B> {
    pub(super) fn new(shared: Arc<Shared<R, B>>, netloc: &str) -> Option<Self> {
        let control = Self { shared, netloc: netloc.into() };
        if control.state().is_some() {
            return Some(control);
        }
        let target: Target = alloc::format!("http://{netloc}").parse().ok()?;
        let control = Self { netloc: target.netloc().as_str().into(), ..control };
        control.state().map(|_| control)
    }

    /// The state now. `None` if the netloc was forgotten.
    pub fn state(&self) -> Option<CircuitState> {
        self.shared.section(|_, cluster, _| cluster.circuit_state(&self.netloc))
    }

    /// Lets nobody through.
    pub fn force_open(&self) -> bool {
        self.act(Control::ForceOpen)
    }

    /// Lets everybody through, whatever fails.
    pub fn force_closed(&self) -> bool {
        self.act(Control::ForceClosed)
    }

    /// Lets everybody through, and counts: [`snapshot`](crate::Dependency::snapshot) shows what the
    /// circuit would go by.
    pub fn metrics_only(&self) -> bool {
        self.act(Control::MetricsOnly)
    }

    /// Lets the circuit decide by itself again, from closed.
    pub fn automatic(&self) -> bool {
        self.act(Control::Automatic)
    }

    /// Forgets what is known of the server: counts, latency, and the pause that it asked for. An
    /// open circuit is closed by it; a mode that was set by hand stays.
    pub fn reset(&self) -> bool {
        self.act(Control::Reset)
    }

    /// Takes the server out: nobody new is let through, those under way finish, and a balancer passes
    /// over it as if it were not listed. It can be taken away once the snapshot shows no operation
    /// open there. [`automatic`](Self::automatic) brings it back.
    pub fn drain(&self) -> bool {
        self.act(Control::Drain)
    }

    fn act(&self, control: Control) -> bool {
        let now = self.shared.runtime.now();
        self.shared.section(|_, cluster, wakes| cluster.control(now, &self.netloc, control, wakes))
    }
}

impl<R: Runtime, B> fmt::Debug for CircuitControl<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitControl").field("netloc", &self.netloc).finish_non_exhaustive()
    }
}
