//! The ring that events wait in between the decision and the delivery, and the taps of calls that are
//! reported.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use crate::event::What;
use crate::{Event, Instant};

/// Events that wait at the most; a full ring drops the newest.
const RING: usize = 1024;

/// Events that one delivery hands over at the most.
pub(crate) const BATCH: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Whether anybody looks; else the ring is not written.
    observed: bool,
    /// Whether anybody looks, or a call is reported.
    active: bool,
    ring: VecDeque<Event>,
    delivering: bool,
    /// The room of the last batch, for the next one.
    spare: Vec<Event>,
    /// What happened in calls that are reported, by their numbers.
    taps: BTreeMap<u64, Vec<Event>>,
    pub(crate) dropped: u64,
}

impl Events {
    pub(crate) fn new(observed: bool) -> Self {
        Self { observed, active: observed, ..Self::default() }
    }

    #[inline]
    pub(crate) fn push(&mut self, at: Instant, call: u64, what: impl FnOnce() -> What) {
        if self.active {
            self.write(at, call, what);
        }
    }

    /// Out of line, so that it costs nothing where nobody looks.
    #[inline(never)]
    fn write(&mut self, at: Instant, call: u64, what: impl FnOnce() -> What) {
        let event = Event { at, call, what: what() };
        if let Some(tap) = self.taps.get_mut(&event.call) {
            tap.push(event.clone());
        }
        if !self.observed {
            return;
        }
        if self.ring.len() >= RING {
            self.dropped += 1;
            return;
        }
        self.ring.push_back(event);
    }

    /// Whether what happens is written anywhere.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// What happens in this call is kept for its report.
    pub(crate) fn tap(&mut self, call: u64) {
        self.taps.insert(call, Vec::new());
        self.active = true;
    }

    /// What happened in this call, if it was tapped. It is kept no longer.
    pub(crate) fn untap(&mut self, call: u64) -> Vec<Event> {
        let events = self.taps.remove(&call).unwrap_or_default();
        self.active = self.observed || !self.taps.is_empty();
        events
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
        let mut batch = core::mem::take(&mut self.spare);
        // The last comes first: whoever delivers pops.
        batch.extend(self.ring.drain(..count).rev());
        Some(batch)
    }

    /// The caller delivers no more. What it had not handed over comes back to the front.
    pub(crate) fn release(&mut self, mut undelivered: Vec<Event>) {
        self.delivering = false;
        for event in undelivered.drain(..) {
            self.ring.push_front(event);
        }
        self.spare = undelivered;
    }
}
