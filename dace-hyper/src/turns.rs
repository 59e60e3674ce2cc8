//! Who makes the connection that all will share.
//!
//! Without turns, as many connections would be made as exchanges begin before the first is there, and
//! all but one for nothing. Whoever has the turn and fails, or is dropped, hands it on.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dace_core::Instant;
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

use crate::Net;
use crate::net::within;
use crate::route::Route;

/// As many routes are remembered to speak HTTP/1.1; it is only a hint.
const REMEMBERED: usize = 1024;

#[derive(Debug)]
pub(crate) struct Turns<P>(Mutex<Known<P>>);

#[derive(Debug)]
struct Known<P> {
    dialling: HashMap<Route<P>, Arc<Turn<()>>>,
    http1: HashSet<Route<P>>,
}

/// The turn of one exchange on a route.
pub(crate) struct Mine<'a, P: Clone + Eq + Hash> {
    turns: &'a Turns<P>,
    route: Route<P>,
    guard: Option<OwnedMutexGuard<()>>,
}

impl<P: Clone + Eq + Hash> Turns<P> {
    /// Waits for the turn on `route`: none if it does not come in time.
    pub(crate) async fn wait(
        &self,
        net: &impl Net,
        route: &Route<P>,
        deadline: Instant,
    ) -> Option<Mine<'_, P>> {
        let turn = self.lock().dialling.entry(route.clone()).or_default().clone();
        // Before the wait: one that is dropped while it waits cleans up too.
        let mut mine = Mine { turns: self, route: route.clone(), guard: None };
        mine.guard = Some(within(net, deadline, turn.lock_owned()).await?);
        Some(mine)
    }

    /// Whether the last connection on `route` spoke HTTP/1.1: then everybody needs one of their own.
    pub(crate) fn is_http1(&self, route: &Route<P>) -> bool {
        self.lock().http1.contains(route)
    }

    pub(crate) fn speaks_http1(&self, route: &Route<P>) {
        let mut known = self.lock();
        if known.http1.len() >= REMEMBERED {
            known.http1.clear();
        }
        known.http1.insert(route.clone());
    }

    /// The last connection on `route` can be shared: so will the next one be, perhaps.
    pub(crate) fn speaks_http2(&self, route: &Route<P>) {
        self.lock().http1.remove(route);
    }

    fn lock(&self) -> MutexGuard<'_, Known<P>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<P> Default for Turns<P> {
    fn default() -> Self {
        Self(Mutex::new(Known { dialling: HashMap::new(), http1: HashSet::new() }))
    }
}

impl<P: Clone + Eq + Hash> Drop for Mine<'_, P> {
    fn drop(&mut self) {
        drop(self.guard.take());
        let mut known = self.turns.lock();
        // This map's own is the only one left when nobody waits.
        if known.dialling.get(&self.route).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            known.dialling.remove(&self.route);
        }
    }
}
