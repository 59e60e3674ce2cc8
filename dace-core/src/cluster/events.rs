//! The ring that events wait in between the decision and the delivery, and the taps of calls that are
//! reported.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use crate::event::What;
use crate::{Event, Instant};

/// Events that wait at the most; a full ring drops the newest.
const RING: usize = 1024;

/// Room beyond that for what changes a state: who misses it is wrong until the next change, which may
/// never come.
const RESERVE: usize = 256;

/// Events of one call that its report keeps.
const TAP: usize = 1024;

/// Events that one delivery hands over at the most.
pub(crate) const BATCH: usize = 64;

#[derive(Debug, Default)]
pub(crate) struct Events {
    /// Whether anybody looks; else the ring is not written.
    observed: bool,
    /// Whether anybody looks, or a call is reported.
    active: bool,
    /// The oldest first. It is taken whole, but for a burst.
    ring: Vec<Event>,
    delivering: bool,
    /// The room of the last batch, for the next one.
    spare: Vec<Event>,
    /// What happened in calls that are reported, by their numbers.
    taps: BTreeMap<u64, Tap>,
    /// Events that found no room.
    pub(crate) dropped: u64,
    /// Of these, the ones that the observers were not told of yet, and when the last one was.
    untold: u64,
    untold_at: Instant,
}

/// What happened in one call.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    /// The first ones, and the call's end.
    pub(crate) events: Vec<Event>,
    /// How many are not among them.
    pub(crate) omitted: u64,
}

impl Tap {
    fn push(&mut self, event: &Event) {
        if self.events.len() < TAP || matches!(event.what, What::CallEnded { .. }) {
            self.events.push(event.clone());
        } else {
            self.omitted += 1;
        }
    }
}

/// The answer to somebody who would deliver.
#[derive(Debug)]
#[must_use]
pub(crate) enum Claim {
    /// Nothing waits.
    None,
    /// Somebody else delivers.
    Busy,
    /// These, in order; then ask for [`more`](Events::try_more), or
    /// [stop](Events::stop).
    Batch(Vec<Event>),
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
            tap.push(&event);
        }
        if !self.observed {
            return;
        }
        let room = if event.what.is_state() { RING + RESERVE } else { RING };
        if self.ring.len() >= room {
            self.dropped += 1;
            self.untold += 1;
            self.untold_at = at;
            return;
        }
        self.ring.push(event);
    }

    /// Whether what happens is written anywhere.
    #[inline]
    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// What happens in this call is kept for its report.
    pub(crate) fn tap(&mut self, call: u64) {
        self.taps.insert(call, Tap::default());
        self.active = true;
    }

    /// What happened in this call, if it was tapped. It is kept no longer.
    pub(crate) fn untap(&mut self, call: u64) -> Tap {
        let tap = self.taps.remove(&call).unwrap_or_default();
        self.active = self.observed || !self.taps.is_empty();
        tap
    }

    pub(crate) fn is_delivering(&self) -> bool {
        self.delivering
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.ring.is_empty() && !self.delivering
    }

    /// Makes the caller the one that delivers, if there is something to deliver and nobody does. `open`
    /// attempts are under way.
    #[inline]
    pub(crate) fn try_claim(&mut self, open: u32) -> Claim {
        match (self.delivering, self.ring.is_empty()) {
            (true, _) => Claim::Busy,
            (false, true) => Claim::None,
            (false, false) => self.claim(open),
        }
    }

    fn claim(&mut self, open: u32) -> Claim {
        self.delivering = true;
        let mut batch = core::mem::take(&mut self.spare);
        self.take(&mut batch, BATCH, open);
        Claim::Batch(batch)
    }

    /// What came while the caller delivered, at most so many, into its batch, which is empty. `false` if
    /// there is none: then it delivers no more, and its batch is taken away.
    #[inline]
    pub(crate) fn try_more(&mut self, batch: &mut Vec<Event>, most: usize, open: u32) -> bool {
        if self.ring.is_empty() || most == 0 {
            self.delivering = false;
            self.spare = core::mem::take(batch);
            return false;
        }
        self.take(batch, most, open);
        true
    }

    /// `batch` is empty.
    fn take(&mut self, batch: &mut Vec<Event>, most: usize, open: u32) {
        if self.ring.len() <= most {
            core::mem::swap(&mut self.ring, batch);
        } else {
            batch.extend(self.ring.drain(..most));
        }
        if self.untold > 0 && !batch.is_empty() {
            // There is room again: what was lost came after what is there.
            let count = core::mem::take(&mut self.untold);
            let at = self.ring.last().map_or(self.untold_at, |last| last.at.max(self.untold_at));
            let what = What::EventsDropped { count, open };
            self.ring.push(Event { at, call: 0, what });
        }
    }

    /// The caller delivers no more. What it had not handed over comes back to the front.
    #[cold]
    pub(crate) fn stop(&mut self, mut undelivered: Vec<Event>) {
        self.delivering = false;
        self.ring.splice(0..0, undelivered.drain(..));
        self.spare = undelivered;
    }
}
