//! The dependency's one queue: who waits for a place, in order of rank, and of arrival in each.
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
use smallvec::SmallVec;

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
    grants: Vec<Grants>,
}

impl Wakes {
    /// Nobody.
    #[inline]
    pub const fn new() -> Self {
        Self { wakers: Vec::new(), grants: Vec::new() }
    }

    /// Wakes `waker` too.
    pub fn push(&mut self, waker: Waker) {
        self.wakers.push(waker);
    }

    /// Gives these back.
    pub(crate) fn give_back(&mut self, grants: Option<Box<Grants>>) {
        self.grants.extend(grants.map(|grants| *grants));
    }

    /// Wakes all. Only after unlocking: a waker may run anything.
    #[inline]
    pub fn wake(self) {
        if self.wakers.capacity() == 0 && self.grants.capacity() == 0 {
            // There is nothing to drop either.
            core::mem::forget(self);
        } else {
            self.wake_them();
        }
    }

    #[cold]
    fn wake_them(self) {
        let Self { wakers, grants } = self;
        drop(grants);
        for waker in wakers {
            waker.wake();
        }
    }
}

/// Who goes first: classes, the highest first, and in each the retries before the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank(u8);

/// Classes of importance.
const CLASSES: u8 = 3;

/// Ranks: two a class.
const RANKS: usize = 2 * CLASSES as usize;

impl Rank {
    /// The rank of a class, of which 0 is the highest and 2 the lowest.
    pub const fn new(class: u8, retry: bool) -> Self {
        let class = if class < CLASSES { class } else { CLASSES - 1 };
        Self(2 * class + !retry as u8)
    }

    const fn index(self) -> usize {
        self.0 as usize
    }

    /// The ranks of lower classes, the lowest first.
    fn lower(self) -> impl Iterator<Item = usize> {
        (2 * (self.index() / 2 + 1)..RANKS).rev()
    }
}

impl Default for Rank {
    /// New work of the middle class.
    fn default() -> Self {
        Self::new(1, false)
    }
}

/// Waiters in order of rank, and of arrival in each. `P` names a place that one can wait for.
#[derive(Debug)]
pub struct Queue<P> {
    tickets: SlotMap<TicketId, Ticket<P>>,
    lines: [Line; RANKS],
    /// In order of their ends; offers that were taken stay likewise.
    offers: VecDeque<(Instant, TicketId)>,
    /// Those who were shed and do not know it yet.
    shed: usize,
}

/// Those of one rank, in order of arrival; tickets that left stay as tombstones until the front reaches
/// them or they outnumber the living.
#[derive(Debug)]
struct Line {
    order: VecDeque<TicketId>,
    arrivals: u64,
}

#[derive(Debug)]
struct Ticket<P> {
    want: Want<P>,
    rank: Rank,
    arrival: u64,
    joined: Instant,
    waker: Waker,
    state: State<P>,
    /// Whose permits it does not want.
    declined: SmallVec<[P; 2]>,
}

/// A waiter that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Left<P> {
    /// What it waited for.
    pub want: Want<P>,
    /// The place that was kept for it: it is to be offered on.
    pub place: Option<Want<P>>,
    /// It had been shed: it counted no more.
    pub shed: bool,
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
    /// Had to make room: it leaves when it is polled.
    Shed,
}

impl<P: PartialEq> Ticket<P> {
    fn declines(&self, place: Want<P>) -> bool {
        matches!(place, Want::Permit(place) if self.declined.contains(&place))
    }
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
            lines: [const { Line { order: VecDeque::new(), arrivals: 0 } }; RANKS],
            offers: VecDeque::new(),
            shed: 0,
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.tickets.len() - self.shed
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What the waiter waits for.
    pub fn want(&self, id: TicketId) -> Option<Want<P>> {
        self.tickets.get(id).map(|ticket| ticket.want)
    }

    /// What they all wait for, in no particular order.
    pub fn wants(&self) -> impl Iterator<Item = Want<P>> {
        self.tickets.values().map(|ticket| ticket.want)
    }

    /// A new waiter of the default rank, behind all others of it.
    pub fn join(&mut self, now: Instant, want: Want<P>, waker: Waker) -> TicketId {
        self.join_as(now, Rank::default(), want, waker)
    }

    /// A new waiter, behind all others of its rank.
    pub fn join_as(&mut self, now: Instant, rank: Rank, want: Want<P>, waker: Waker) -> TicketId {
        let line = &mut self.lines[rank.index()];
        let arrival = line.arrivals;
        line.arrivals += 1;
        let id = self.tickets.insert(Ticket {
            want,
            rank,
            arrival,
            joined: now,
            waker,
            state: State::Waiting,
            declined: SmallVec::new(),
        });
        line.order.push_back(id);
        id
    }

    /// Makes room for a newcomer of a higher class: the youngest of the lowest class whose want `fits`,
    /// and for whom no place is kept, has to go. It is woken, and [is shed](Self::is_shed). `false` if
    /// there is none.
    #[must_use]
    pub fn try_shed(
        &mut self,
        rank: Rank,
        fits: impl Fn(Want<P>) -> bool,
        wakes: &mut Wakes,
    ) -> bool {
        for index in rank.lower() {
            for id in self.lines[index].order.iter().rev() {
                let Some(ticket) = self.tickets.get_mut(*id) else {
                    continue;
                };
                let waits = matches!(ticket.state, State::Waiting | State::Lapsed);
                if waits && fits(ticket.want) {
                    ticket.state = State::Shed;
                    self.shed += 1;
                    wakes.push(ticket.waker.clone());
                    return true;
                }
            }
        }
        false
    }

    /// Whether the waiter had to make room, and is to leave.
    pub fn is_shed(&self, id: TicketId) -> bool {
        self.shed > 0 && self.tickets.get(id).is_some_and(|ticket| ticket.state == State::Shed)
    }

    /// The waiter is polled: it is alive, and to be woken by `waker`. Answers the place that is kept
    /// for it, which is then no longer kept: the caller takes it or offers it on.
    pub fn on_poll(&mut self, id: TicketId, waker: &Waker) -> Option<Want<P>> {
        let ticket = self.tickets.get_mut(id)?;
        ticket.waker.clone_from(waker);
        if ticket.state == State::Shed {
            return None;
        }
        match core::mem::replace(&mut ticket.state, State::Waiting) {
            State::Offered { place, .. } => Some(place),
            State::Waiting | State::Lapsed | State::Shed => None,
        }
    }

    /// The waiter goes on waiting, but not for a permit at any of these: it is offered none there, until it
    /// says otherwise. What is kept for it now stays.
    pub fn decline(&mut self, id: TicketId, places: &[P]) {
        if let Some(ticket) = self.tickets.get_mut(id) {
            ticket.declined = SmallVec::from_slice(places);
        }
    }

    /// Whose permits the waiter does not want.
    pub fn declined(&self, id: TicketId) -> &[P] {
        self.tickets.get(id).map_or(&[], |ticket| &ticket.declined)
    }

    /// The waiter leaves.
    pub fn leave(&mut self, now: Instant, id: TicketId) -> Option<Left<P>> {
        let ticket = self.tickets.remove(id)?;
        let order = &mut self.lines[ticket.rank.index()].order;
        if order.len() > 2 * self.tickets.len() + 16 {
            order.retain(|id| self.tickets.contains_key(*id));
        }
        while order.front().is_some_and(|front| !self.tickets.contains_key(*front)) {
            order.pop_front();
        }
        if self.tickets.is_empty() {
            // What is left of them was taken.
            self.offers.clear();
        }
        let shed = ticket.state == State::Shed;
        self.shed -= usize::from(shed);
        let place = match ticket.state {
            State::Offered { place, .. } => Some(place),
            State::Waiting | State::Lapsed | State::Shed => None,
        };
        Some(Left { want: ticket.want, place, shed, waited: now.since(ticket.joined) })
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
        for id in self.lines.iter().flat_map(|line| &line.order) {
            let Some(ticket) = self.tickets.get_mut(*id) else {
                continue;
            };
            if ticket.state == State::Waiting && fits(ticket.want) && !ticket.declines(place) {
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

    /// How many wait for `want` before this waiter, or before a newcomer of this rank, and were offered
    /// nothing yet.
    pub fn ahead(&self, id: Option<TicketId>, rank: Rank, want: Want<P>) -> usize {
        let lines = self.lines[..=rank.index()].iter().flat_map(|line| &line.order);
        let before = lines.take_while(|other| Some(**other) != id);
        let waits = |ticket: &&Ticket<P>| ticket.want == want && ticket.state == State::Waiting;
        before.filter_map(|id| self.tickets.get(*id)).filter(waits).count()
    }

    /// Whether a place may be kept for somebody.
    pub fn has_offers(&self) -> bool {
        !self.offers.is_empty()
    }

    /// When the waiter has to look again if nobody wakes it.
    pub fn look_again(&self, now: Instant, id: TicketId) -> Instant {
        let Some(ticket) = self.tickets.get(id) else {
            return now;
        };
        let (higher, own) = self.lines.split_at(ticket.rank.index());
        let first = own[0].order.front().and_then(|front| self.tickets.get(*front));
        let Some(first) = first else {
            return now;
        };
        // Arrivals count those who left in between as well.
        let higher = higher.iter().map(|line| line.order.len() as u64).sum::<u64>();
        let arrived = ticket.arrival - first.arrival + higher;
        let ahead = u32::try_from(arrived.min(self.tickets.len() as u64 - 1)).unwrap_or(u32::MAX);
        now.after(OFFER.saturating_mul(ahead.saturating_add(1)))
    }

    /// Wakes everybody: something changed that may concern any of them.
    pub fn wake_all(&self, wakes: &mut Wakes) {
        let order = self.lines.iter().flat_map(|line| &line.order);
        for ticket in order.filter_map(|id| self.tickets.get(*id)) {
            wakes.push(ticket.waker.clone());
        }
    }
}

#[cfg(test)]
mod tests;
