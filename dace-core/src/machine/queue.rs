//! The dependency's one queue: who waits for a place, in order of arrival.
//!
//! A freed place is *offered* to the first waiter that can use it, and kept for it for
//! [`OFFER`]: a waiter takes it when it is polled, so nothing is ever granted to a future that nobody
//! polls again. An offer that lapses goes to the next waiter. Nobody has to be woken for that: a
//! waiter at position `n` looks again every `n + 1` offers' time by itself, since it cannot be due
//! before `n` offers have lapsed. So any number of waiters that are never polled block nobody, and
//! a queue of `n` costs about `ln n` looks in 10 ms, not `n`.

use core::task::Waker;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use slotmap::SlotMap;

use crate::Instant;
use crate::shared_limit::Grants;

/// How long a free place is kept for the waiter that it was offered to.
pub const OFFER: Duration = Duration::from_millis(10);

slotmap::new_key_type! {
    /// A place in the queue. Never names another one later.
    pub struct TicketId;
}

/// What is left to be done after unlocking: wakers to be woken, and grants of shared limits, whose locks
/// are never taken inside of another, to be given back.
#[derive(Debug, Default)]
#[must_use]
pub struct Wakes {
    wakers: Vec<Waker>,
    grants: Vec<Box<Grants>>,
}

impl Wakes {
    /// Nobody.
    pub const fn new() -> Self {
        Self { wakers: Vec::new(), grants: Vec::new() }
    }

    /// Wakes `waker` too.
    pub fn push(&mut self, waker: Waker) {
        self.wakers.push(waker);
    }

    /// Gives these back.
    pub(crate) fn give_back(&mut self, grants: Option<Box<Grants>>) {
        self.grants.extend(grants);
    }

    /// Wakes all. Only after unlocking: a waker may run anything.
    pub fn wake(self) {
        let Self { wakers, grants } = self;
        drop(grants);
        if wakers.is_empty() {
            return;
        }
        for waker in wakers {
            waker.wake();
        }
    }
}

/// Waiters in order of arrival. `P` names a place that one can wait for.
#[derive(Debug)]
pub struct Queue<P> {
    tickets: SlotMap<TicketId, Ticket<P>>,
    /// In order of arrival; tickets that left stay as tombstones until the front reaches them or
    /// they outnumber the living.
    order: VecDeque<TicketId>,
    /// In order of their ends; offers that were taken stay likewise.
    offers: VecDeque<(Instant, TicketId)>,
    arrivals: u64,
}

#[derive(Debug)]
struct Ticket<P> {
    want: Want<P>,
    arrival: u64,
    joined: Instant,
    waker: Waker,
    state: State<P>,
}

/// A waiter that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Left<P> {
    /// What it waited for.
    pub want: Want<P>,
    /// The place that was kept for it: it is to be offered on.
    pub place: Option<Want<P>>,
    /// How long it was there.
    pub waited: Duration,
}

/// What a waiter waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want<P> {
    /// A permit at any endpoint that the balancer may pick.
    Any,
    /// A permit at this endpoint.
    Permit(P),
    /// A connection place at this endpoint.
    Connection(P),
}

impl<P> Want<P> {
    /// The place, if it is a certain one.
    pub fn place(self) -> Option<P> {
        match self {
            Self::Any => None,
            Self::Permit(place) | Self::Connection(place) => Some(place),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State<P> {
    Waiting,
    Offered {
        place: Want<P>,
        until: Instant,
    },
    /// Did not come for its offer: passed over until it is polled.
    Lapsed,
}

impl<P: Copy + PartialEq> Default for Queue<P> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P: Copy + PartialEq> Queue<P> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            tickets: SlotMap::with_key(),
            order: VecDeque::new(),
            offers: VecDeque::new(),
            arrivals: 0,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tickets.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    /// What the waiter waits for.
    pub fn want(&self, id: TicketId) -> Option<Want<P>> {
        self.tickets.get(id).map(|ticket| ticket.want)
    }

    /// What they all wait for, in no particular order.
    pub fn wants(&self) -> impl Iterator<Item = Want<P>> {
        self.tickets.values().map(|ticket| ticket.want)
    }

    /// A new waiter, behind all others.
    pub fn join(&mut self, now: Instant, want: Want<P>, waker: Waker) -> TicketId {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let id = self.tickets.insert(Ticket {
            want,
            arrival,
            joined: now,
            waker,
            state: State::Waiting,
        });
        self.order.push_back(id);
        id
    }

    /// The waiter is polled: it is alive, and to be woken by `waker`. Answers the place that is kept
    /// for it, which is then no longer kept: the caller takes it or offers it on.
    pub fn on_poll(&mut self, id: TicketId, waker: &Waker) -> Option<Want<P>> {
        let ticket = self.tickets.get_mut(id)?;
        ticket.waker.clone_from(waker);
        match core::mem::replace(&mut ticket.state, State::Waiting) {
            State::Offered { place, .. } => Some(place),
            State::Waiting | State::Lapsed => None,
        }
    }

    /// The waiter leaves.
    pub fn leave(&mut self, now: Instant, id: TicketId) -> Option<Left<P>> {
        let ticket = self.tickets.remove(id)?;
        if self.order.len() > 2 * self.tickets.len() + 16 {
            self.order.retain(|id| self.tickets.contains_key(*id));
        }
        while self.order.front().is_some_and(|front| !self.tickets.contains_key(*front)) {
            self.order.pop_front();
        }
        let place = match ticket.state {
            State::Offered { place, .. } => Some(place),
            State::Waiting | State::Lapsed => None,
        };
        Some(Left { want: ticket.want, place, waited: now.since(ticket.joined) })
    }

    /// Offers `place` to the first waiter whose want `fits`, until [`OFFER`] from now. `false` if
    /// there is none.
    #[must_use]
    pub fn try_offer(
        &mut self,
        now: Instant,
        place: Want<P>,
        fits: impl Fn(Want<P>) -> bool,
        wakes: &mut Wakes,
    ) -> bool {
        for id in &self.order {
            let Some(ticket) = self.tickets.get_mut(*id) else {
                continue;
            };
            if ticket.state == State::Waiting && fits(ticket.want) {
                let until = now.after(OFFER);
                ticket.state = State::Offered { place, until };
                self.offers.push_back((until, *id));
                wakes.push(ticket.waker.clone());
                return true;
            }
        }
        false
    }

    /// The place of an offer that nobody came for by now, and when that lapsed: it is to be offered on
    /// *from then*, so that a chain of waiters that are never polled lapses at once when somebody
    /// looks late. Call it until it answers `None`.
    #[must_use]
    pub fn on_lapse(&mut self, now: Instant) -> Option<(Want<P>, Instant)> {
        while let Some(&(end, id)) = self.offers.front() {
            let offered = self.tickets.get_mut(id).and_then(|ticket| match ticket.state {
                State::Offered { place, until } if until == end => Some((ticket, place)),
                _ => None,
            });
            let Some((ticket, place)) = offered else {
                self.offers.pop_front();
                continue;
            };
            // An end further away than any offer reaches is of a clock that went back since.
            let went_back = end > now.after(OFFER);
            if end > now && !went_back {
                return None;
            }
            ticket.state = State::Lapsed;
            self.offers.pop_front();
            return Some((place, end.min(now)));
        }
        None
    }

    /// How many wait for `want` before this waiter, or at all, and were offered nothing yet.
    pub fn ahead(&self, id: Option<TicketId>, want: Want<P>) -> usize {
        let before = self.order.iter().take_while(|other| Some(**other) != id);
        let waits = |ticket: &&Ticket<P>| ticket.want == want && ticket.state == State::Waiting;
        before.filter_map(|id| self.tickets.get(*id)).filter(waits).count()
    }

    /// Whether a place may be kept for somebody.
    pub fn has_offers(&self) -> bool {
        !self.offers.is_empty()
    }

    /// When the waiter has to look again if nobody wakes it.
    pub fn look_again(&self, now: Instant, id: TicketId) -> Instant {
        let first = self.order.front().and_then(|front| self.tickets.get(*front));
        let (Some(first), Some(ticket)) = (first, self.tickets.get(id)) else {
            return now;
        };
        // Arrivals count those who left in between as well.
        let arrived = ticket.arrival - first.arrival;
        let ahead = u32::try_from(arrived.min(self.tickets.len() as u64 - 1)).unwrap_or(u32::MAX);
        now.after(OFFER.saturating_mul(ahead.saturating_add(1)))
    }

    /// Wakes everybody: something changed that may concern any of them.
    pub fn wake_all(&self, wakes: &mut Wakes) {
        for ticket in self.order.iter().filter_map(|id| self.tickets.get(*id)) {
            wakes.push(ticket.waker.clone());
        }
    }
}

#[cfg(test)]
mod tests;
