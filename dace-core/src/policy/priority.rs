//! Who goes first.

use crate::machine::queue::Rank;

/// How important a call is, where calls wait for a place. For
/// [`Execution::priority`](crate::Execution::priority).
///
/// In the queue the higher class goes first, and in a class a retry before new work, then who came first.
/// If the queue is full, a call of a higher class takes the place of the youngest of the lowest. A class
/// is not kept from starving: what cannot start in time is refused in time.
///
/// ```
/// use dace_core::{Dependency, HttpBackend, HttpError, Priority, Runtime};
///
/// # async fn example<R: Runtime, B: HttpBackend>(shop: Dependency<R, B>) {
/// let recommendations = shop
///     .call(|call| async move { call.http().get("/similar").send().await?.text().await })
///     .priority(Priority::Low)
///     .await;
/// # drop(recommendations);
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Priority {
    /// It can be left out: prefetches, recommendations, batches.
    Low,
    /// As most calls are.
    #[default]
    Normal,
    /// Somebody waits for it who will not come again: a checkout, a health check.
    High,
}

impl Priority {
    /// The place in the queue of a call that said this, or nothing.
    pub(crate) const fn rank(said: Option<Self>, retry: bool) -> Rank {
        match said {
            // Those who say nothing wait in order of arrival, as if there were no classes.
            None => Rank::new(1, false),
            Some(Self::High) => Rank::new(0, retry),
            Some(Self::Normal) => Rank::new(1, retry),
            Some(Self::Low) => Rank::new(2, retry),
        }
    }
}
