//! The record of an attempt under way: where it is charged, and what its exchanges said.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::admission::Grant;
use super::endpoint::EndpointId;
use crate::http::advice::Advice;
use crate::instant::nanos;
use crate::machine::circuit::Pass;
use crate::machine::queue::Rank;
use crate::machine::slab;
use crate::refusal::Refusal;
use crate::shared_limit::Grants;
use crate::{Class, Instant, Phase, Scheme, Target};

/// Names an attempt under way. Never names another one later, so a call handle that was kept after its
/// attempt ended finds nothing.
pub(crate) type AttemptId = slab::Name;

/// It is small, since there are as many as calls under way: what most have nothing of has a box of its own.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) call: u64,
    pub(super) started: Instant,
    /// What the attempt is charged to.
    pub(super) charged: Visit,
    pub(super) number: u32,
    /// Exchanges under way that must not happen twice and have no answer yet.
    pub(super) unsafe_open: u32,
    pub(super) flags: Flags,
    /// Where its exchanges wait in the queue.
    pub(super) rank: Rank,
    rare: Option<Box<Rare>>,
}

/// What most attempts have nothing of.
#[derive(Debug, Default)]
struct Rare {
    /// Other netlocs that it had exchanges with.
    others: Vec<Visit>,
    /// What answers said of trying again, beside what their classes say.
    advice: Advice,
    /// The picked target, if its netloc shares an entry with others.
    target: Option<Box<Target>>,
    /// The last exchange that dace refused.
    refusal: Option<Box<Refusal>>,
    /// What it holds of shared limits. It is given back after unlocking.
    grants: Option<Box<Grants>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Flags {
    /// The scheme of relative URLs, if a balancer picked the endpoint.
    pub(super) picked: Option<Scheme>,
    /// An exchange that must not happen twice may have reached its server.
    pub(super) unsafe_sent: bool,
    /// The function asked for another attempt.
    pub(super) retry_requested: bool,
    /// How far its last exchange came.
    pub(super) phase: Phase,
    /// The attempt beside it sent what must not happen twice: this one sends nothing more.
    pub(super) outdone: bool,
    /// It ended; answers that outlived it are still being read.
    pub(super) over: bool,
}

/// What an attempt has to do with one netloc.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) endpoint: EndpointId,
    pub(super) pass: Pass,
    pub(super) since: Instant,
    /// The hint of the worst class, in nanoseconds.
    hint: u64,
    /// Exchanges under way here, up to the end of their bodies.
    pub(super) exchanges: u32,
    /// The worst class among the exchanges that ended here: its place among all, but for the hint.
    worst: u8,
    /// Whether a permit is held here.
    pub(super) permit: bool,
    /// An exchange was dropped before its answer began.
    pub(super) cut: bool,
}

impl Attempt {
    pub(super) fn new(now: Instant, call: u64, number: u32, grant: Grant) -> Self {
        Self {
            call,
            started: now,
            charged: Visit::new(now, grant.endpoint, grant.pass),
            number,
            unsafe_open: 0,
            flags: Flags {
                picked: grant.picked,
                unsafe_sent: false,
                retry_requested: false,
                phase: Phase::Function,
                outdone: false,
                over: false,
            },
            rank: Rank::default(),
            rare: None,
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    /// The picked target, if its netloc shares an entry with others.
    pub(super) fn target(&self) -> Option<&Target> {
        self.rare.as_ref()?.target.as_deref()
    }

    pub(super) fn set_target(&mut self, target: Target) {
        self.rare().target = Some(Box::new(target));
    }

    /// What answers said of trying again, beside what their classes say.
    pub(super) fn advice(&self) -> Advice {
        self.rare.as_ref().map_or_else(Advice::default, |rare| rare.advice)
    }

    pub(super) fn advise(&mut self, advice: Advice) {
        let rare = self.rare();
        rare.advice = rare.advice.and(advice);
    }

    /// dace refused an exchange of it.
    pub(super) fn set_refusal(&mut self, refusal: Refusal) {
        self.rare().refusal = Some(Box::new(refusal));
    }

    /// The last exchange that dace refused.
    pub(super) fn take_refusal(&mut self) -> Option<Box<Refusal>> {
        self.rare.as_mut()?.refusal.take()
    }

    /// It runs with what the shared limits granted.
    pub(super) fn take_grants(&mut self, mut grants: Box<Grants>) {
        grants.note_sent(true);
        self.rare().grants = Some(grants);
    }

    /// What it holds of shared limits, to be given back after unlocking.
    pub(super) fn leave_grants(&mut self) -> Option<Box<Grants>> {
        self.rare.as_mut()?.grants.take()
    }

    /// Has the shared limits know what became of an attempt that ended like this.
    pub(super) fn note_sent(&mut self, class: Class) {
        let sent = !self.is_unsent(class);
        if let Some(grants) = self.rare.as_mut().and_then(|rare| rare.grants.as_mut()) {
            grants.note_sent(sent);
        }
    }

    pub(super) fn others(&self) -> &[Visit] {
        self.rare.as_ref().map_or(&[], |rare| &rare.others)
    }

    pub(super) fn visits(&mut self) -> impl Iterator<Item = &mut Visit> {
        let others = self.rare.as_mut().map(|rare| rare.others.iter_mut());
        core::iter::once(&mut self.charged).chain(others.into_iter().flatten())
    }

    pub(super) fn visit(&mut self, endpoint: EndpointId) -> Option<&mut Visit> {
        self.visits().find(|visit| visit.endpoint == endpoint)
    }

    /// Whether any exchange is under way.
    pub(super) fn is_exchanging(&self) -> bool {
        self.charged.exchanges > 0 || self.others().iter().any(|visit| visit.exchanges > 0)
    }

    /// Nothing of it can have reached a server: it ended like this, and so did whatever it had to do
    /// with any netloc.
    pub(super) fn is_unsent(&self, class: Class) -> bool {
        let unsent = |class| matches!(class, Class::Unsent | Class::Rejected);
        let others = self.others().iter();
        unsent(class)
            && core::iter::once(&self.charged).chain(others).all(|v| v.worst().is_none_or(unsent))
    }

    /// Nothing is to be told of it but what its function returned.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        let Visit { worst, exchanges, permit, .. } = self.charged;
        !self.flags.over
            && self.rare.is_none()
            && exchanges == 0
            && permit
            && matches!(worst, NOTHING | SUCCESS)
    }

    pub(super) fn push(&mut self, visit: Visit) {
        self.rare().others.push(visit);
    }

    /// Charges the attempt to another netloc that it has been at.
    pub(super) fn charge_to(&mut self, endpoint: EndpointId) {
        let Some(Rare { others, .. }) = self.rare.as_deref_mut() else {
            return;
        };
        if let Some(visit) = others.iter_mut().find(|visit| visit.endpoint == endpoint) {
            core::mem::swap(visit, &mut self.charged);
        }
    }

    /// Charges the attempt to `visit` from now on; the old one stays known for what it heard.
    pub(super) fn move_to(&mut self, visit: Visit) {
        let old = core::mem::replace(&mut self.charged, visit);
        self.push(old);
    }
}

/// No exchange ended.
const NOTHING: u8 = u8::MAX;

const SUCCESS: u8 = Class::Success.index() as u8;

/// The class has no hint.
const UNKNOWN: u64 = u64::MAX;

impl Visit {
    pub(super) fn new(now: Instant, endpoint: EndpointId, pass: Pass) -> Self {
        Self {
            endpoint,
            pass,
            since: now,
            hint: UNKNOWN,
            exchanges: 0,
            worst: NOTHING,
            permit: true,
            cut: false,
        }
    }

    /// The worst class among the exchanges that ended here.
    pub(super) fn worst(&self) -> Option<Class> {
        Some(match Class::of_index(usize::from(self.worst))? {
            Class::Throttled(_) if self.hint != UNKNOWN => {
                Class::Throttled(Some(Duration::from_nanos(self.hint)))
            }
            class => class,
        })
    }

    pub(super) fn hear(&mut self, class: Class) {
        let worst = self.worst().map_or(class, |worst| worst.worse(class));
        self.worst = worst.index() as u8;
        self.hint = match worst {
            Class::Throttled(Some(hint)) => nanos(hint).min(UNKNOWN - 1),
            _ => UNKNOWN,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// There is one for each call under way.
    #[test]
    fn a_record_is_small() {
        assert!(size_of::<Attempt>() <= 80, "{}", size_of::<Attempt>());
    }

    #[test]
    fn a_visit_keeps_the_worst_class_with_its_hint() {
        let hint = |seconds| Class::Throttled(Some(Duration::from_secs(seconds)));
        let heard = |classes: &[Class]| {
            let pass = crate::machine::circuit::Circuit::new().bypass();
            let mut visit = Visit::new(Instant::EPOCH, EndpointId::default(), pass);
            classes.iter().for_each(|class| visit.hear(*class));
            visit.worst()
        };
        assert_eq!(heard(&[]), None);
        let all = (0..).map_while(Class::of_index);
        assert!(all.clone().all(|class| heard(&[class]) == Some(class)));
        assert_eq!(all.count(), Class::NAMES.len());
        assert_eq!(heard(&[hint(1), Class::Success, hint(2), hint(1)]), Some(hint(2)));
        assert_eq!(heard(&[hint(1), Class::Throttled(None)]), Some(hint(1)));
        assert_eq!(heard(&[hint(1), Class::Timeout]), Some(Class::Timeout));
        let longest = Some(Class::Throttled(Some(Duration::from_nanos(u64::MAX - 1))));
        assert_eq!(heard(&[Class::Throttled(Some(Duration::MAX))]), longest);
    }
}
