//! Equal calls under way: one leads, the others follow.
//!
//! A flight is what calls with an equal key share. Its leader makes the call; those who come while it
//! is under way wait for what it brings. A leader that leaves without it hands over: all that follow are
//! woken, and whoever is polled first leads. So a follower that nobody polls again holds up nobody.

use core::task::Waker;

use alloc::collections::BTreeMap;
use alloc::sync::Arc;

use slotmap::SlotMap;

use super::index::{Index, IndexId, Mark};
use super::queue::Wakes;

slotmap::new_key_type! {
    /// A call that is shared. Never names another one later.
    pub struct FlightId;
}

/// All flights of one group. `K` is a key, which is compared by the caller after unlocking; `V` is a
/// pointer to what a leader brought.
#[derive(Debug)]
pub struct Flights<K, V> {
    flights: SlotMap<FlightId, Flight<K, V>>,
    index: Index<FlightId>,
}

/// A flight. Its key and its answer are the user's, so one that is over is handed to the caller, to be
/// dropped after unlocking.
#[derive(Debug)]
pub struct Flight<K, V> {
    key: Arc<K>,
    /// Its place in the index, while others may join.
    listed: Option<IndexId>,
    state: State<V>,
    /// Those who follow, in order of arrival.
    seats: BTreeMap<u64, Waker>,
    arrivals: u64,
}

#[derive(Debug)]
enum State<V> {
    Led,
    /// Its leader left: who is polled next leads.
    Unled,
    Landed(V),
}

/// What a follower does when it is polled.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub enum Turn<V> {
    /// It waits on.
    Wait,
    /// It leads from now on.
    Lead,
    /// It takes this.
    Landed(V),
}

/// A flight that is over, to be dropped after unlocking.
pub type Over<K, V> = Option<Flight<K, V>>;

impl<K, V> Default for Flights<K, V> {
    fn default() -> Self {
        Self { flights: SlotMap::with_key(), index: Index::default() }
    }
}

impl<K, V: Clone> Flights<K, V> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.flights.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// This moment.
    pub fn mark(&self) -> Mark {
        self.index.mark()
    }

    /// The `n`th flight with this hash that can be joined, and its key for comparison after unlocking.
    pub fn find(&self, hash: u64, n: usize) -> Option<(FlightId, Arc<K>)> {
        let id = self.index.scan(hash).nth(n).map(|(_, id)| *id)?;
        Some((id, self.flights.get(id)?.key.clone()))
    }

    /// Follows a flight, if it can still be joined: the answer is the follower's seat.
    pub fn try_join(&mut self, id: FlightId, waker: &Waker) -> Option<u64> {
        let flight = self.flights.get_mut(id).filter(|flight| flight.listed.is_some())?;
        flight.arrivals += 1;
        flight.seats.insert(flight.arrivals, waker.clone());
        Some(flight.arrivals)
    }

    /// Begins a flight and leads it.
    ///
    /// # Errors
    /// The key, if a flight with its hash began after `mark`: it is to be compared first.
    pub fn try_begin(&mut self, hash: u64, mark: Mark, key: Arc<K>) -> Result<FlightId, Arc<K>> {
        if self.index.has_newer(hash, mark) {
            return Err(key);
        }
        let (seats, state) = (BTreeMap::new(), State::Led);
        let id = self.flights.insert(Flight { key, listed: None, state, seats, arrivals: 0 });
        let listed = self.index.try_insert(hash, mark, id).ok();
        if let Some(flight) = self.flights.get_mut(id) {
            flight.listed = listed;
        }
        Ok(id)
    }

    /// A follower is polled. Its seat is gone unless it waits on.
    pub fn on_poll(&mut self, id: FlightId, seat: u64, waker: &Waker) -> (Turn<V>, Over<K, V>) {
        let Some(flight) = self.flights.get_mut(id) else {
            return (Turn::Wait, None);
        };
        let turn = match &flight.state {
            State::Landed(answer) => Turn::Landed(answer.clone()),
            State::Unled => {
                flight.state = State::Led;
                Turn::Lead
            }
            State::Led => {
                if let Some(known) = flight.seats.get_mut(&seat) {
                    known.clone_from(waker);
                }
                return (Turn::Wait, None);
            }
        };
        flight.seats.remove(&seat);
        (turn, self.over(id))
    }

    /// A follower leaves.
    #[must_use]
    pub fn on_follower_gone(&mut self, id: FlightId, seat: u64) -> Over<K, V> {
        self.flights.get_mut(id)?.seats.remove(&seat);
        self.over(id)
    }

    /// The leader leaves, and brings nothing.
    #[must_use]
    pub fn on_leader_gone(&mut self, id: FlightId, wakes: &mut Wakes) -> Over<K, V> {
        let flight = self.flights.get_mut(id)?;
        flight.state = State::Unled;
        flight.seats.values().for_each(|waker| wakes.push(waker.clone()));
        self.over(id)
    }

    /// The leader has its answer: nobody joins any more. Whether somebody follows, for whom it is to be
    /// cloned before it [lands](Self::land).
    pub fn close(&mut self, id: FlightId) -> (bool, Over<K, V>) {
        let Some(flight) = self.flights.get_mut(id) else {
            return (false, None);
        };
        if let Some(listed) = flight.listed.take() {
            self.index.remove(listed);
        }
        let followed = !flight.seats.is_empty();
        (followed, if followed { None } else { self.flights.remove(id) })
    }

    /// What the leader brought, for those who follow.
    #[must_use]
    pub fn land(&mut self, id: FlightId, answer: V, wakes: &mut Wakes) -> Over<K, V> {
        let flight = self.flights.get_mut(id)?;
        flight.state = State::Landed(answer);
        flight.seats.values().for_each(|waker| wakes.push(waker.clone()));
        self.over(id)
    }

    /// Takes a flight out that nobody leads and nobody follows.
    fn over(&mut self, id: FlightId) -> Over<K, V> {
        let flight = self.flights.get_mut(id)?;
        if !flight.seats.is_empty() || matches!(flight.state, State::Led) {
            return None;
        }
        if let Some(listed) = flight.listed.take() {
            self.index.remove(listed);
        }
        self.flights.remove(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Joins the flight of `key`, or begins it: `None` as the seat leads.
    fn enter(flights: &mut Flights<u32, u32>, key: u32) -> (FlightId, Option<u64>) {
        let mark = flights.mark();
        let equal = (0..).map_while(|n| flights.find(7, n)).find(|(_, known)| **known == key);
        match equal {
            Some((id, _)) => (id, flights.try_join(id, Waker::noop())),
            None => (flights.try_begin(7, mark, Arc::new(key)).unwrap(), None),
        }
    }

    #[test]
    fn one_leads_and_all_others_of_its_key_get_what_it_brings() {
        let (mut flights, mut wakes) = (Flights::default(), Wakes::new());
        let (id, seat) = enter(&mut flights, 1);
        assert_eq!(seat, None, "the first leads");
        let seats: std::vec::Vec<_> = (0..3).map(|_| enter(&mut flights, 1)).collect();
        assert!(seats.iter().all(|(joined, seat)| *joined == id && seat.is_some()));
        let (other, leads) = enter(&mut flights, 2);
        assert!(other != id && leads.is_none(), "a hash is no key");
        assert_eq!(flights.on_poll(id, 1, Waker::noop()).0, Turn::Wait);
        assert!(flights.close(id).0);
        assert!(enter(&mut flights, 1).1.is_none(), "who comes now begins anew");
        assert!(flights.land(id, 9, &mut wakes).is_none());
        for (id, seat) in seats {
            assert_eq!(flights.on_poll(id, seat.unwrap(), Waker::noop()).0, Turn::Landed(9));
        }
        assert_eq!(flights.len(), 2, "the two that still fly");
        wakes.wake();
    }

    #[test]
    fn a_leader_that_leaves_hands_over_to_whoever_is_polled_first() {
        let (mut flights, mut wakes) = (Flights::default(), Wakes::new());
        let (id, _) = enter(&mut flights, 1);
        let (first, second) =
            (enter(&mut flights, 1).1.unwrap(), enter(&mut flights, 1).1.unwrap());
        assert!(flights.on_leader_gone(id, &mut wakes).is_none());
        // The first is never polled again.
        assert_eq!(flights.on_poll(id, second, Waker::noop()).0, Turn::Lead);
        assert_eq!(flights.on_poll(id, first, Waker::noop()).0, Turn::Wait);
        assert!(flights.on_follower_gone(id, first).is_none(), "it is led");
        assert!(flights.on_leader_gone(id, &mut wakes).is_some(), "nobody is left");
        assert!(flights.is_empty() && flights.index.is_empty());
        wakes.wake();
    }

    #[test]
    fn nothing_is_left_of_a_flight_whose_members_have_all_gone() {
        let mut rng = fastrand::Rng::with_seed(1);
        for round in 0..2_000 {
            let (mut flights, mut wakes) = (Flights::<u32, u32>::default(), Wakes::new());
            let mut members = std::vec::Vec::new();
            for _ in 0..rng.usize(1..30) {
                if rng.bool() || members.is_empty() {
                    let (id, seat) = enter(&mut flights, rng.u32(0..3));
                    members.push((id, seat));
                    continue;
                }
                let (id, seat) = members.swap_remove(rng.usize(0..members.len()));
                match seat {
                    Some(seat) if rng.bool() => match flights.on_poll(id, seat, Waker::noop()).0 {
                        Turn::Wait => members.push((id, Some(seat))),
                        Turn::Lead => members.push((id, None)),
                        Turn::Landed(_) => {}
                    },
                    Some(seat) => drop(flights.on_follower_gone(id, seat)),
                    None if rng.bool() => drop(flights.on_leader_gone(id, &mut wakes)),
                    None => {
                        if flights.close(id).0 {
                            drop(flights.land(id, 1, &mut wakes));
                        }
                    }
                }
            }
            for (id, seat) in members {
                match seat {
                    Some(seat) => drop(flights.on_follower_gone(id, seat)),
                    None => drop(flights.on_leader_gone(id, &mut wakes)),
                }
            }
            assert!(flights.is_empty() && flights.index.is_empty(), "{round}");
            wakes.wake();
        }
    }
}
