//! The dependencies that are alive, with the feature `std`.
//!
//! One list for the process, of all runtimes and backends: a static cannot be generic, so a handle's
//! type is erased, and asked for again by whoever lists the dependencies of one type. It holds them
//! weakly, so it keeps none alive; what is gone is swept out whenever the list has doubled, so it is at
//! most twice as long as there ever were dependencies alive at a time. Whatever finds a dependency by
//! name can be built on it.

use core::any::Any;

use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use std::sync::{Mutex, PoisonError};

use super::shared::Shared;
use crate::{HttpBackend, Runtime};

/// The length at which the list is swept first.
const FIRST_SWEEP: usize = 32;

static LIVE: Mutex<Live> = Mutex::new(Live { handles: Vec::new(), sweep_at: FIRST_SWEEP });

struct Live {
    /// In the order in which they were built.
    handles: Vec<Weak<dyn Any + Send + Sync>>,
    sweep_at: usize,
}

impl Live {
    fn push(&mut self, handle: Weak<dyn Any + Send + Sync>) {
        if self.handles.len() >= self.sweep_at {
            self.handles.retain(|handle| handle.strong_count() > 0);
            self.sweep_at = FIRST_SWEEP.max(2 * self.handles.len());
        }
        self.handles.push(handle);
    }
}

/// A dependency was built.
pub(super) fn enlist<R: Runtime, B: HttpBackend>(shared: &Arc<Shared<R, B>>) {
    let handle: Weak<Shared<R, B>> = Arc::downgrade(shared);
    LIVE.lock().unwrap_or_else(PoisonError::into_inner).push(handle);
}

/// Those of one type that are alive, in the order in which they were built.
pub(super) fn live<R: Runtime, B: HttpBackend>() -> impl Iterator<Item = Arc<Shared<R, B>>> {
    // Outside of the lock: a handle may turn out to be the last, and what its end does is the user's.
    let all: Vec<_> = {
        let live = LIVE.lock().unwrap_or_else(PoisonError::into_inner);
        live.handles.iter().filter_map(Weak::upgrade).collect()
    };
    all.into_iter().filter_map(|handle| handle.downcast().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_at_most_twice_as_long_as_what_is_alive() {
        let mut live = Live { handles: Vec::new(), sweep_at: FIRST_SWEEP };
        let kept: Vec<Arc<dyn Any + Send + Sync>> = (0..100).map(|n| Arc::new(n) as _).collect();
        for handle in &kept {
            live.push(Arc::downgrade(handle));
        }
        for number in 0..100_000 {
            let gone: Arc<dyn Any + Send + Sync> = Arc::new(number);
            live.push(Arc::downgrade(&gone));
        }
        assert!(live.handles.len() <= 2 * (kept.len() + 1), "{}", live.handles.len());
        assert_eq!(live.handles.iter().filter_map(Weak::upgrade).count(), kept.len());
    }
}
