//! The record of an attempt under way: where it is charged, and what its exchanges said.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::admission::Grant;
use super::endpoint::EndpointId;
use crate::http::advice::Advice;
use crate::machine::circuit::Pass;
use crate::machine::queue::Rank;
use crate::refusal::Refusal;
use crate::shared_limit::Grants;
use crate::{Class, Instant, Phase, Scheme, Target};

slotmap::new_key_type! {
    /// Names an attempt under way. Never names another one later, so a call handle that was kept
    /// after its attempt ended finds nothing.
    pub struct AttemptId;
}

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) call: u64,
    pub(super) number: u32,
    pub(super) flags: Flags,
    pub(super) started: Instant,
    pub(super) deadline: Instant,
    /// What the attempt is charged to.
    pub(super) charged: Visit,
    /// Other netlocs that it had exchanges with.
    #[expect(
        clippy::box_collection,
        reason = "most attempts have none, and each record pays for it"
    )]
    pub(super) others: Option<Box<Vec<Visit>>>,
    /// Exchanges under way that must not happen twice and have no answer yet.
    pub(super) unsafe_open: u32,
    /// What answers said of trying again, beside what their classes say.
    pub(super) advice: Advice,
    /// Where its exchanges wait in the queue.
    pub(super) rank: Rank,
    /// The picked target, if its netloc shares an entry with others.
    pub(super) target: Option<Box<Target>>,
    /// The last exchange that dace refused.
    pub(super) refusal: Option<Box<Refusal>>,
    /// What it holds of shared limits. It is given back after unlocking.
    pub(super) grants: Option<Box<Grants>>,
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
    /// The worst class among the exchanges that ended here.
    pub(super) worst: Option<Class>,
    /// Exchanges under way here, up to the end of their bodies.
    pub(super) exchanges: u32,
    /// Whether a permit is held here.
    pub(super) permit: bool,
    /// An exchange was dropped before its answer began.
    pub(super) cut: bool,
}

impl Attempt {
    pub(super) fn new(
        now: Instant,
        call: u64,
        number: u32,
        deadline: Instant,
        grant: Grant,
    ) -> Self {
        Self {
            call,
            number,
            flags: Flags {
                picked: grant.picked,
                unsafe_sent: false,
                retry_requested: false,
                phase: Phase::Function,
                outdone: false,
                over: false,
            },
            started: now,
            deadline,
            charged: Visit::new(now, grant.endpoint, grant.pass),
            others: None,
            unsafe_open: 0,
            advice: Advice::default(),
            rank: Rank::default(),
            target: None,
            refusal: None,
            grants: None,
        }
    }

    /// It runs with what the shared limits granted.
    pub(super) fn take_grants(&mut self, mut grants: Option<Box<Grants>>) {
        if let Some(grants) = &mut grants {
            grants.note_sent(true);
        }
        self.grants = grants;
    }

    pub(super) fn others(&self) -> &[Visit] {
        self.others.as_ref().map_or(&[], |others| others.as_slice())
    }

    pub(super) fn visits(&mut self) -> impl Iterator<Item = &mut Visit> {
        let others = self.others.as_mut().map(|others| others.iter_mut());
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
            && core::iter::once(&self.charged).chain(others).all(|v| v.worst.is_none_or(unsent))
    }

    /// Nothing is to be told of it but what its function returned.
    #[inline]
    pub(super) fn is_plain(&self) -> bool {
        let Visit { worst, exchanges, permit, .. } = self.charged;
        !self.flags.over
            && self.others.is_none()
            && self.grants.is_none()
            && exchanges == 0
            && permit
            && matches!(worst, None | Some(Class::Success))
    }

    pub(super) fn push(&mut self, visit: Visit) {
        self.others.get_or_insert_default().push(visit);
    }

    /// Charges the attempt to another netloc that it has been at.
    pub(super) fn charge_to(&mut self, endpoint: EndpointId) {
        let Some(others) = &mut self.others else {
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

impl Visit {
    pub(super) fn new(now: Instant, endpoint: EndpointId, pass: Pass) -> Self {
        Self { endpoint, pass, since: now, worst: None, exchanges: 0, permit: true, cut: false }
    }

    pub(super) fn hear(&mut self, class: Class) {
        self.worst = Some(self.worst.map_or(class, |worst| worst.worse(class)));
    }
}
