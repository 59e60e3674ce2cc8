//! The endpoints of a dependency by name, at most so many.
//!
//! Whoever chooses the URLs chooses the names, so the table is bounded. Only entries that know
//! nothing worth knowing are forgotten, the longest unused first; when the cap is reached and none of
//! the eight that are looked at is such, new names share one entry.

use core::ops::{Index, IndexMut};

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use slotmap::SlotMap;

use alloc::sync::Arc;

use super::endpoint::{Endpoint, EndpointId};
use crate::policy::Rules;
use crate::{Instant, Netloc};

/// Entries that are looked at for one to forget.
const LOOKED_AT: usize = 8;

#[derive(Debug)]
pub(crate) struct Table {
    endpoints: SlotMap<EndpointId, Entry>,
    names: HashMap<Netloc, EndpointId, FixedState>,
    /// Ends of the list in order of last use.
    oldest: Option<EndpointId>,
    newest: Option<EndpointId>,
    cap: usize,
    overflow: Option<EndpointId>,
}

#[derive(Debug)]
struct Entry {
    endpoint: Endpoint,
    older: Option<EndpointId>,
    newer: Option<EndpointId>,
}

impl Table {
    pub(crate) fn new(cap: usize, seed: u64) -> Self {
        Self {
            endpoints: SlotMap::with_key(),
            names: HashMap::with_hasher(FixedState::with_seed(seed)),
            oldest: None,
            newest: None,
            cap,
            overflow: None,
        }
    }

    /// How many names it may hold. Those that it has beyond stay until they are forgotten.
    pub(crate) fn set_cap(&mut self, cap: usize) {
        self.cap = cap;
    }

    /// An entry outside the names: the dependency's own.
    pub(crate) fn insert_unnamed(&mut self, netloc: Netloc) -> EndpointId {
        let mut endpoint = Endpoint::new(netloc);
        endpoint.holders = 1;
        self.endpoints.insert(Entry { endpoint, older: None, newer: None })
    }

    /// The entry called `netloc`, made if there is none; a shared one if there is no room.
    pub(crate) fn intern(&mut self, now: Instant, policy: &Rules, netloc: &Netloc) -> EndpointId {
        let is_new = self.names.len() >= self.cap && !self.names.contains_key(netloc);
        if is_new && !self.forget_one(now, policy) {
            return self.overflow();
        }
        self.intern_listed(netloc)
    }

    /// The entry called `netloc`, made if there is none, whether there is room or not: a list of
    /// targets is bounded by whoever wrote it.
    pub(crate) fn intern_listed(&mut self, netloc: &Netloc) -> EndpointId {
        if let Some(&id) = self.names.get(netloc) {
            self.touch(id);
            return id;
        }
        let endpoint = Endpoint::new(netloc.clone());
        let id = self.endpoints.insert(Entry { endpoint, older: None, newer: None });
        self.names.insert(netloc.clone(), id);
        self.link_newest(id);
        id
    }

    pub(crate) fn find(&self, netloc: &str) -> Option<EndpointId> {
        self.names.get(netloc).copied()
    }

    pub(crate) fn get(&self, id: EndpointId) -> Option<&Endpoint> {
        self.endpoints.get(id).map(|entry| &entry.endpoint)
    }

    /// All entries, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (EndpointId, &Endpoint)> {
        self.endpoints.iter().map(|(id, entry)| (id, &entry.endpoint))
    }

    fn overflow(&mut self) -> EndpointId {
        if let Some(id) = self.overflow {
            return id;
        }
        let id = self.insert_unnamed(Netloc::of_dependency(&Arc::from("other")));
        self.overflow = Some(id);
        id
    }

    /// Forgets one of the longest unused entries, if one of them may be.
    fn forget_one(&mut self, now: Instant, policy: &Rules) -> bool {
        for _ in 0..LOOKED_AT {
            let Some(id) = self.oldest else { return false };
            if self[id].is_forgettable(now, policy) {
                self.unlink(id);
                if let Some(entry) = self.endpoints.remove(id) {
                    self.names.remove(&entry.endpoint.netloc);
                }
                return true;
            }
            self.touch(id);
        }
        false
    }

    fn touch(&mut self, id: EndpointId) {
        if self.newest != Some(id) {
            self.unlink(id);
            self.link_newest(id);
        }
    }

    fn link_newest(&mut self, id: EndpointId) {
        let older = self.newest.replace(id);
        self.endpoints[id].older = older;
        self.endpoints[id].newer = None;
        match older {
            Some(older) => self.endpoints[older].newer = Some(id),
            None => self.oldest = Some(id),
        }
    }

    fn unlink(&mut self, id: EndpointId) {
        let Entry { older, newer, .. } = self.endpoints[id];
        match older {
            Some(older) => self.endpoints[older].newer = newer,
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.endpoints[newer].older = older,
            None => self.newest = older,
        }
    }
}

/// Whoever holds an id has made sure that the endpoint stays: it is among its holders.
impl Index<EndpointId> for Table {
    type Output = Endpoint;

    #[inline]
    fn index(&self, id: EndpointId) -> &Endpoint {
        &self.endpoints[id].endpoint
    }
}

impl IndexMut<EndpointId> for Table {
    #[inline]
    fn index_mut(&mut self, id: EndpointId) -> &mut Endpoint {
        &mut self.endpoints[id].endpoint
    }
}
