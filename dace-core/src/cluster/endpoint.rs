//! One server as the dependency knows it.

use alloc::boxed::Box;

use super::limits::Limits;
use crate::http::Url;
use crate::machine::balancer::Load;
use crate::machine::circuit::Circuit;
use crate::policy::Rules;
use crate::{Instant, Netloc};

slotmap::new_key_type! {
    /// Names an endpoint of one dependency. Never names another one later.
    pub struct EndpointId;
}

/// The live state of one netloc.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) netloc: Netloc,
    /// The root URL of the last target here that was asked for.
    pub(crate) root: Option<Url>,
    pub(crate) circuit: Circuit,
    pub(crate) load: Load,
    /// What its limits know, if the dependency has any.
    pub(crate) limits: Option<Box<Limits>>,
    /// Permits held.
    pub(crate) open: u32,
    /// Permits kept for waiters that were offered one.
    pub(crate) offered: u32,
    pub(crate) paused_until: Instant,
    pub(crate) connections: Connections,
    /// Attempts, waiters and target lists that know this endpoint: it stays while there are any.
    pub(crate) holders: u32,
    /// Whether the target list holds it, and how often.
    pub(crate) listed: u32,
    /// Its own limit of open operations, if the target list gives it one.
    pub(crate) max_open: Option<u32>,
}

/// The connection places of one netloc (`http_pool_size`).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Connections {
    pub(crate) used: u32,
    /// Places kept for waiters that were offered one.
    pub(crate) offered: u32,
    /// An answer was HTTP/2: one connection carries all, no places are counted.
    pub(crate) multiplexed: bool,
}

impl Endpoint {
    pub(crate) fn new(netloc: Netloc) -> Self {
        Self {
            netloc,
            root: None,
            circuit: Circuit::new(),
            load: Load::new(),
            limits: None,
            open: 0,
            offered: 0,
            paused_until: Instant::EPOCH,
            connections: Connections::default(),
            holders: 0,
            listed: 0,
            max_open: None,
        }
    }

    pub(crate) fn is_paused(&self, now: Instant) -> bool {
        now < self.paused_until
    }

    pub(crate) fn is_full(&self, policy: &Rules) -> bool {
        self.open.saturating_add(self.offered) >= self.limit(policy)
    }

    /// Whether one more may be open, as far as that is not its circuit's or its limits' to say.
    #[inline]
    pub(crate) fn has_place(&self, now: Instant, policy: &Rules) -> bool {
        let most = self.max_open.unwrap_or(policy.max_open_per_netloc);
        !self.is_paused(now) && self.open.saturating_add(self.offered) < most
    }

    /// One more is open.
    #[inline]
    pub(crate) fn hold(&mut self, now: Instant) {
        self.load.on_start(now, self.open);
        self.open += 1;
        self.holders += 1;
    }

    pub(crate) fn has_connection(&self, size: u32) -> bool {
        self.connections.multiplexed
            || self.connections.used.saturating_add(self.connections.offered) < size
    }

    /// Nothing is known of it that a new entry would not know as well: it may be forgotten.
    pub(crate) fn is_forgettable(&self, now: Instant, policy: &Rules) -> bool {
        self.holders == 0
            && self.open == 0
            && self.offered == 0
            && self.connections.used == 0
            && !self.is_paused(now)
            && self.circuit.is_unsuspected(now)
            && self.has_fresh_limits(now, policy)
    }
}
