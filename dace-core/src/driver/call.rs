//! What the wrapped function gets: a handle on its attempt.

use core::fmt;
use core::time::Duration;

use alloc::sync::Arc;

use super::client::{Agent, Http};
use super::shared::Shared;
use crate::cluster::AttemptId;
use crate::{HttpBackend, Instant, Runtime, Target};

/// A handle on one attempt of a call.
///
/// It is cheap to clone, and may be kept or sent elsewhere; once its attempt has ended, every
/// exchange through it ends in a typed error, and nothing is charged to a later attempt.
pub struct Call<R: Runtime, B> {
    pub(super) shared: Arc<Shared<R, B>>,
    pub(super) id: AttemptId,
    pub(super) number: u32,
    pub(super) deadline: Instant,
    /// In place of the policy's.
    pub(super) connect_timeout: Option<Duration>,
}

impl<R: Runtime, B: HttpBackend> Call<R, B> {
    /// The HTTP client of this attempt: what it sends is charged, broken and counted with it.
    pub fn http(&self) -> Http<'_, R, B> {
        Http::new(self)
    }

    /// The layer under [`http`](Self::http): one exchange, charged, broken and counted, with relative
    /// URLs joined, and nothing else.
    pub fn agent(&self) -> Agent<'_, R, B> {
        Agent::new(self)
    }
}

impl<R: Runtime, B> Call<R, B> {
    /// The number of the attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.number
    }

    /// The target that a balancer picked for this attempt. `None` without a balancer, and once the
    /// attempt is over.
    pub fn target(&self) -> Option<Target> {
        self.shared.section(|_, cluster, _| cluster.picked_target(self.id))
    }

    /// The time that is left of the attempt: of the call's deadline or the attempt's, whichever is
    /// first. `Duration::MAX` if there is none. Hand it to another dependency's
    /// [`within`](crate::Execution::within).
    pub fn remaining(&self) -> Duration {
        if self.deadline.is_never() {
            return Duration::MAX;
        }
        self.deadline.since(self.shared.runtime.now())
    }

    /// Asks for another attempt: `return call.retry(error)`.
    ///
    /// The circuit of a healthy server stays closed; attempts, budget and deadline bind. The function
    /// answers for it that running again does no harm.
    ///
    /// # Errors
    /// Always `error`.
    pub fn retry<T, E>(&self, error: E) -> Result<T, E> {
        self.shared.section(|_, cluster, _| cluster.request_retry(self.id));
        Err(error)
    }
}

impl<R: Runtime, B> Clone for Call<R, B> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), ..*self }
    }
}

impl<R: Runtime, B> fmt::Debug for Call<R, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("dependency_id", &self.shared.id)
            .field("attempt", &self.number)
            .finish_non_exhaustive()
    }
}
