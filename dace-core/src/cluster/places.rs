//! Giving places back, and offering them to those who wait.

use core::task::Waker;

use super::Cluster;
use super::admission::look;
use super::endpoint::EndpointId;
use super::table::Table;
use crate::event::What;
use crate::machine::queue::{Left, Rank, TicketId, Wakes, Want};
use crate::policy::Rules;
use crate::refusal::{Reason, Refusal};
use crate::{Instant, Netloc};

impl Cluster {
    /// Gives back a permit.
    pub(super) fn release_permit(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: EndpointId,
        wakes: &mut Wakes,
    ) {
        let endpoint = &mut self.table[id];
        endpoint.open -= 1;
        self.offer_permit(now, policy, id, wakes);
    }

    /// Gives back a connection place.
    pub(crate) fn release_connection(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: EndpointId,
        wakes: &mut Wakes,
    ) {
        let endpoint = &mut self.table[id];
        endpoint.connections.used -= 1;
        self.offer_connection(now, policy, id, wakes);
    }

    /// Offers what is free at an endpoint to those who wait for a permit there.
    fn offer_permit(&mut self, now: Instant, policy: &Rules, id: EndpointId, wakes: &mut Wakes) {
        if self.queue.is_empty() {
            return;
        }
        let listed = self.table[id].listed > 0;
        let force = listed && self.targets.forces(id);
        while !self.table[id].is_full(policy) {
            if look(now, policy, &self.table, id, force).is_err() {
                return;
            }
            let fits = |want| match want {
                Want::Any => listed,
                Want::Permit(at) => at == id,
                Want::Connection(_) => false,
            };
            if !self.queue.try_offer(now, Want::Permit(id), fits, wakes) {
                return;
            }
            self.table[id].offered += 1;
        }
    }

    fn offer_connection(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: EndpointId,
        wakes: &mut Wakes,
    ) {
        while !self.queue.is_empty() && self.table[id].has_connection(policy.http_pool_size) {
            let fits = |want| want == Want::Connection(id);
            if !self.queue.try_offer(now, Want::Connection(id), fits, wakes) {
                return;
            }
            self.table[id].connections.offered += 1;
        }
    }

    /// Those ahead get what is free, then the waiter of `ticket` takes what is kept for it. It is
    /// kept for nobody then: the caller takes it, and offers on what it did not take.
    pub(super) fn take_turn(
        &mut self,
        now: Instant,
        policy: &Rules,
        ticket: Option<TicketId>,
        waker: &Waker,
        wakes: &mut Wakes,
    ) -> Option<Want<EndpointId>> {
        if self.queue.is_empty() {
            return None;
        }
        // What is kept for it comes first, though its time be over: those behind it were not asked yet.
        let mut kept = ticket.and_then(|ticket| self.queue.on_poll(ticket, waker));
        while kept.is_none() && self.pass_on_lapsed(now, policy, wakes) {
            kept = ticket.and_then(|ticket| self.queue.on_poll(ticket, waker));
        }
        if kept.is_none() {
            for index in 0..self.targets.list.len() {
                let id = self.targets.list[index].endpoint;
                self.offer_permit(now, policy, id, wakes);
            }
            if let Some(want) = ticket.and_then(|ticket| self.queue.want(ticket)) {
                self.offer_on(now, policy, want, wakes);
            }
            kept = ticket.and_then(|ticket| self.queue.on_poll(ticket, waker));
        }
        if let Some(place) = kept {
            self.withdraw(place);
        }
        kept
    }

    /// Passes on the place of one who did not come for it. `false` if there is none.
    fn pass_on_lapsed(&mut self, now: Instant, policy: &Rules, wakes: &mut Wakes) -> bool {
        let Some((place, lapsed)) = self.queue.on_lapse(now) else {
            return false;
        };
        self.withdraw(place);
        self.offer_on(lapsed, policy, place, wakes);
        true
    }

    /// A new waiter.
    pub(super) fn join_queue(
        &mut self,
        now: Instant,
        call: u64,
        rank: Rank,
        want: Want<EndpointId>,
        waker: &Waker,
    ) -> TicketId {
        match want {
            Want::Any => self.waiting_calls += 1,
            Want::Permit(id) => {
                self.waiting_calls += 1;
                self.table[id].holders += 1;
            }
            Want::Connection(id) => self.table[id].holders += 1,
        }
        self.events.push(now, call, || What::Queued { netloc: waited_for(&self.table, want) });
        self.queue.join_as(now, rank, want, waker.clone())
    }

    /// Whether one more call may wait: there is room, or somebody of a lower class makes some.
    pub(super) fn has_room(&mut self, policy: &Rules, rank: Rank, wakes: &mut Wakes) -> bool {
        if self.waiting_calls < policy.queue {
            return true;
        }
        let is_call = |want| !matches!(want, Want::Connection(_));
        let shed = self.queue.try_shed(rank, is_call, wakes);
        self.waiting_calls -= usize::from(shed);
        shed
    }

    /// The refusal of a waiter that had to make room, if it is one.
    pub(super) fn shed(&self, ticket: TicketId) -> Option<Refusal> {
        if !self.queue.is_shed(ticket) {
            return None;
        }
        let waited_for = self.queue.want(ticket).and_then(|want| waited_for(&self.table, want));
        let netloc = waited_for.unwrap_or_else(|| self.table[self.own].netloc.clone());
        Some(Refusal { reason: Reason::Shed, netloc, retry_after: None })
    }

    /// Takes a waiter out of the queue; what was kept for it is offered on.
    pub(super) fn leave_queue(
        &mut self,
        now: Instant,
        policy: &Rules,
        call: u64,
        ticket: TicketId,
        wakes: &mut Wakes,
    ) {
        let Some(Left { want, place, shed, waited }) = self.queue.leave(now, ticket) else {
            return;
        };
        if let Some(place) = place {
            self.withdraw(place);
            self.offer_on(now, policy, place, wakes);
        }
        match want {
            // One that was shed counted no more.
            Want::Any => self.waiting_calls -= usize::from(!shed),
            Want::Permit(id) => {
                self.waiting_calls -= usize::from(!shed);
                self.table[id].holders -= 1;
            }
            Want::Connection(id) => self.table[id].holders -= 1,
        }
        self.events.push(now, call, || {
            let netloc = waited_for(&self.table, want);
            What::Dequeued { netloc, waited }
        });
    }

    /// A place is no longer kept for anybody.
    fn withdraw(&mut self, place: Want<EndpointId>) {
        match place {
            Want::Any => {}
            Want::Permit(id) => self.table[id].offered -= 1,
            Want::Connection(id) => self.table[id].connections.offered -= 1,
        }
    }

    pub(super) fn offer_on(
        &mut self,
        now: Instant,
        policy: &Rules,
        place: Want<EndpointId>,
        wakes: &mut Wakes,
    ) {
        match place {
            Want::Any => {}
            Want::Permit(id) => self.offer_permit(now, policy, id, wakes),
            Want::Connection(id) => self.offer_connection(now, policy, id, wakes),
        }
    }
}

/// The netloc that somebody waits for, if it is one.
fn waited_for(table: &Table, want: Want<EndpointId>) -> Option<Netloc> {
    match want {
        Want::Any => None,
        // Who waits is among the holders; who has just left may have been the last.
        Want::Permit(id) | Want::Connection(id) => Some(table.get(id)?.netloc.clone()),
    }
}
