//! The ring that events wait in between the decision and the delivery.

use alloc::collections::VecDeque;
use alloc::vec::Vec;

use crate::event::What;
use crate::{Event, Instant};

/// Events that wait at the most; a full ring drops the newest.
const RING: usize = 1024;

/// Events that one delivery hands over at the most.
pub(crate) const BATCH: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Nobody looks: nothing is written.
    observed: bool,
    ring: VecDeque<Event>,
    delivering: bool,
    pub(crate) dropped: u64,
}

impl Events {
    pub(crate) fn new(observed: bool) -> Self {
        Self { observed, ..Self::default() }
    }

    #[inline]
    pub(crate) fn push(&mut self, at: Instant, call: u64, what: impl FnOnce() -> What) {
        if !self.observed {
            return;
        }
        if self.ring.len() >= RING {
            self.dropped += 1;
            return;
        }
        self.ring.push_back(Event { at, call, what: what() });
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.ring.is_empty() && !self.delivering
    }

    /// Makes the caller the one that delivers, if there is something to deliver and nobody does.
    pub(crate) fn try_claim(&mut self) -> Option<Vec<Event>> {
        if !self.is_due() {
            return None;
        }
        self.delivering = true;
        let count = self.ring.len().min(BATCH);
        Some(self.ring.drain(..count).collect())
    }

    /// The caller delivers no more. What it had not handed over comes back to the front.
    pub(crate) fn release(&mut self, undelivered: impl DoubleEndedIterator<Item = Event>) {
        self.delivering = false;
        for event in undelivered.rev() {
            self.ring.push_front(event);
        }
    }
}
