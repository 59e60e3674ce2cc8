//! The limits that a dependency may ask for, at one netloc: rate, adaptive limit, throttle.
//!
//! A dependency without them has no rules, and its endpoints no state for them.

use core::time::Duration;

use alloc::vec::Vec;

use super::Cluster;
use super::admission::Ask;
use super::attempt::Visit;
use super::endpoint::{Endpoint, EndpointId};
use crate::machine::accepts::Accepts;
use crate::machine::gcra::Gcra;
use crate::machine::gradient::Gradient;
use crate::machine::queue::{OFFER, Rank, TicketId, Want};
use crate::policy::{LimitRules, Rules};
use crate::refusal::{Reason, Refusal};
use crate::{Class, Instant};

/// What the limits know of one netloc; made at its first attempt.
#[derive(Debug, Default)]
pub(crate) struct Limits {
    rate: Gcra,
    gradient: Option<Gradient>,
    accepts: Accepts,
}

/// When somebody who waits for a token looks again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// When its token is due, if those ahead take theirs.
    pub(super) due: Instant,
    pub(super) look: Instant,
}

impl Limits {
    fn on_start(&mut self, now: Instant, rules: &LimitRules, open: u32) {
        if let Some(rate) = &rules.rate {
            // Whoever comes here has seen that there is one; and nobody goes into debt.
            let _ = self.rate.try_take(now, rate);
        }
        if let Some(adaptive) = &rules.adaptive {
            self.gradient.get_or_insert_with(|| Gradient::new(now, adaptive)).on_start(open);
        }
        if let Some(throttle) = &rules.throttle {
            self.accepts.on_request(now, throttle);
        }
    }

    fn on_end(
        &mut self,
        now: Instant,
        rules: &LimitRules,
        since: Instant,
        class: Class,
        took: Duration,
    ) {
        if let (Some(rate), Class::Unsent | Class::Rejected) = (&rules.rate, class) {
            self.rate.give_back(rate);
        }
        let good = match class {
            Class::Success | Class::CallerFault => Some(true),
            Class::Unsent
            | Class::Refused
            | Class::Throttled(_)
            | Class::Transient
            | Class::Timeout
            | Class::Failure => Some(false),
            Class::Rejected | Class::RetryRequested | Class::Cancelled | Class::Ignored => None,
        };
        if let (Some(adaptive), Some(gradient)) = (&rules.adaptive, &mut self.gradient) {
            match good {
                Some(true) => gradient.on_success(now, adaptive, took),
                Some(false) => gradient.on_failure(now, adaptive),
                None => {}
            }
        }
        if let Some(throttle) = &rules.throttle {
            match good {
                Some(true) => self.accepts.on_accept(now, throttle),
                Some(false) => {}
                None => self.accepts.on_neutral(now, throttle, since),
            }
        }
    }

    fn is_fresh(&self, now: Instant, rules: &LimitRules) -> bool {
        let full = |rate| self.rate.available(now, rate) >= rate.banked();
        rules.rate.as_ref().is_none_or(full)
            && rules.throttle.as_ref().is_none_or(|throttle| self.accepts.is_fresh(now, throttle))
            && match (&rules.adaptive, &self.gradient) {
                (Some(adaptive), Some(gradient)) => gradient.is_forgettable(now, adaptive),
                _ => true,
            }
    }
}

impl Endpoint {
    /// Operations that may be open: the smaller one of the limit and the adaptive limit.
    #[inline]
    pub(super) fn limit(&self, policy: &Rules) -> u32 {
        let most = self.max_open.unwrap_or(policy.max_open_per_netloc);
        self.adaptive_limit(policy).map_or(most, |limit| limit.min(most))
    }

    #[inline]
    pub(super) fn adaptive_limit(&self, policy: &Rules) -> Option<u32> {
        let adaptive = policy.limits.as_ref()?.adaptive.as_ref()?;
        let gradient = self.limits.as_ref().and_then(|limits| limits.gradient.as_ref());
        let start = || adaptive.start.clamp(adaptive.floor, adaptive.ceiling);
        Some(gradient.map_or_else(start, |gradient| gradient.limit(adaptive)))
    }

    /// When there is a token beside those that are kept for waiters, if there is none now.
    #[inline]
    pub(super) fn lacks_token(&self, now: Instant, policy: &Rules) -> Option<Instant> {
        let rate = policy.limits.as_ref()?.rate.as_ref()?;
        let next = self.rate().next(now, rate, self.offered);
        (next > now).then_some(next)
    }

    /// Tokens that are there, if there is a rate limit.
    pub(super) fn tokens(&self, now: Instant, policy: &Rules) -> Option<u32> {
        let rate = policy.limits.as_ref()?.rate.as_ref()?;
        Some(self.rate().available(now, rate))
    }

    /// The share of attempts that the throttle refuses, in thousandths, if there is one.
    pub(super) fn throttled_thousandths(&self, now: Instant, policy: &Rules) -> Option<u32> {
        let throttle = policy.limits.as_ref()?.throttle.as_ref()?;
        let share = |limits: &Limits| limits.accepts.thousandths(now, throttle);
        Some(self.limits.as_deref().map_or(0, share))
    }

    /// Somebody is told when there is a token.
    pub(super) fn note_wait(&mut self, now: Instant, policy: &Rules) {
        if let (Some(rules), Some(limits)) = (&policy.limits, &mut self.limits) {
            if let Some(rate) = &rules.rate {
                limits.rate.on_look(now, rate);
            }
        }
    }

    fn rate(&self) -> Gcra {
        self.limits.as_ref().map_or_else(Gcra::new, |limits| limits.rate)
    }

    /// An attempt was let in.
    #[inline]
    pub(super) fn note_start(&mut self, now: Instant, policy: &Rules) {
        if let Some(rules) = &policy.limits {
            let open = self.open;
            self.limits.get_or_insert_default().on_start(now, rules, open);
        }
    }

    /// An attempt that was here before came back: it is one request to the throttle, and two to the rate.
    pub(super) fn note_return(&mut self, now: Instant, policy: &Rules) {
        if let (Some(rules), Some(limits)) = (&policy.limits, &mut self.limits) {
            if let Some(throttle) = &rules.throttle {
                limits.accepts.on_neutral(now, throttle, now);
            }
        }
    }

    /// An attempt moves on before anything was done here.
    pub(super) fn note_unused(&mut self, policy: &Rules) {
        if let (Some(rules), Some(limits)) = (&policy.limits, &mut self.limits) {
            if let Some(rate) = &rules.rate {
                limits.rate.give_back(rate);
            }
        }
    }

    /// An attempt ended.
    #[inline]
    pub(super) fn note_end(&mut self, now: Instant, policy: &Rules, visit: &Visit, class: Class) {
        if let (Some(rules), Some(limits)) = (&policy.limits, &mut self.limits) {
            limits.on_end(now, rules, visit.since, class, now.since(visit.since));
        }
    }

    /// Whether the limits know nothing that a new entry would not know.
    pub(super) fn has_fresh_limits(&self, now: Instant, policy: &Rules) -> bool {
        match (&policy.limits, &self.limits) {
            (Some(rules), Some(limits)) => limits.is_fresh(now, rules),
            _ => true,
        }
    }
}

impl Cluster {
    /// Whether the throttle refuses an attempt that the endpoint would take. A probe it lets pass: the
    /// circuit sends few, and they are what finds out that the server is well. `force`: circuits are
    /// ignored, so what goes to an open one is no probe.
    #[inline]
    pub(super) fn sheds(
        &mut self,
        now: Instant,
        policy: &Rules,
        id: EndpointId,
        force: bool,
    ) -> bool {
        let Some(throttle) = policy.limits.as_ref().and_then(|rules| rules.throttle.as_ref())
        else {
            return false;
        };
        let endpoint = &mut self.table[id];
        if !force && !endpoint.circuit.state().lets_all() {
            return false;
        }
        let limits = endpoint.limits.get_or_insert_default();
        limits.accepts.sheds(now, throttle, &mut self.rng)
    }

    /// Those that throttled it while it waited, and still would: who accepts again is asked again.
    pub(super) fn still_throttled(
        &self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
    ) -> Vec<EndpointId> {
        let throttle = policy.limits.as_ref().and_then(|rules| rules.throttle.as_ref());
        let (Some(ticket), Some(throttle)) = (ask.ticket, throttle) else { return Vec::new() };
        // Who is listed is known: of others the table may have forgotten.
        let listed = |id| self.targets.list.iter().any(|listed| listed.endpoint == id);
        let throttles = |id| {
            let limits = self.table[id].limits.as_ref();
            limits.is_some_and(|limits| limits.accepts.thousandths(now, throttle) > 0)
        };
        let declined = self.queue.declined(ticket).iter().copied();
        declined.filter(|&id| listed(id) && throttles(id)).collect()
    }

    /// The turn of somebody who waits for a token, or would; `refusal` then says when it is. `None` if it
    /// is no token that is missing.
    ///
    /// Nobody wakes it: a token comes by itself. So it looks when its own is due, or when those ahead of
    /// it could have let theirs lapse.
    pub(super) fn turn(
        &self,
        now: Instant,
        policy: &Rules,
        rank: Rank,
        want: Want<EndpointId>,
        refusal: &mut Refusal,
        ticket: Option<TicketId>,
    ) -> Option<Turn> {
        let rate = policy.limits.as_ref()?.rate.as_ref()?;
        let next = now.after(refusal.retry_after.filter(|_| refusal.reason == Reason::RateLimit)?);
        let servers = match want {
            Want::Any => self.targets.list.len() as u64,
            Want::Permit(_) | Want::Connection(_) => 1,
        };
        let ahead = self.queue.ahead(ticket, rank, want) as u64;
        let rounds = (ahead / servers.max(1)).saturating_mul(rate.interval());
        let due = next.after(Duration::from_nanos(rounds));
        refusal.retry_after = Some(due.since(now));
        let lapses = OFFER.saturating_mul(u32::try_from(ahead).unwrap_or(u32::MAX));
        let mut look = due.min(next.after(lapses));
        if let Some(ticket) = ticket.filter(|_| self.queue.has_offers()) {
            look = look.min(self.queue.look_again(now, ticket));
        }
        Some(Turn { due, look })
    }
}
