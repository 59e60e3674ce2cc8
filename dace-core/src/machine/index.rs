//! Values by the hashes of their keys, for keys that are compared outside the lock.
//!
//! A key is the user's type, so its `Hash` and `Eq` are the user's code, and that never runs under a
//! lock. Hence two steps: whoever looks for a key [scans](Index::scan) what has its hash, and compares
//! keys after unlocking; whoever found none [inserts](Index::try_insert) only if nothing of that hash
//! came in between. A hash never stands for a key.

use hashbrown::HashTable;
use slotmap::SlotMap;

slotmap::new_key_type! {
    /// A value in an [`Index`]. Never names another one later.
    pub struct IndexId;
}

/// Values by hash; several may have the same.
#[derive(Debug)]
pub struct Index<V> {
    slots: SlotMap<IndexId, Slot<V>>,
    table: HashTable<IndexId>,
    born: u64,
}

#[derive(Debug)]
struct Slot<V> {
    hash: u64,
    born: u64,
    value: V,
}

/// A moment of an index: what came later is not known to whoever holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

impl<V> Default for Index<V> {
    fn default() -> Self {
        Self { slots: SlotMap::with_key(), table: HashTable::new(), born: 0 }
    }
}

impl<V> Index<V> {
    /// How many values there are.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// This moment.
    pub fn mark(&self) -> Mark {
        Mark(self.born)
    }

    /// The values with this hash, in no certain order.
    pub fn scan(&self, hash: u64) -> impl Iterator<Item = (IndexId, &V)> {
        let of = self.table.iter_hash(hash).filter_map(|id| Some((*id, self.slots.get(*id)?)));
        of.filter(move |(_, slot)| slot.hash == hash).map(|(id, slot)| (id, &slot.value))
    }

    /// The one of the values with this hash that came first, and how many there are.
    pub fn first(&self, hash: u64) -> Option<(IndexId, usize)> {
        let ids = || self.scan(hash).map(|(id, _)| id);
        let first = ids().min_by_key(|id| self.slots[*id].born)?;
        Some((first, ids().count()))
    }

    /// Whether a value with this hash came after `mark`.
    pub fn has_newer(&self, hash: u64, mark: Mark) -> bool {
        self.scan(hash).any(|(id, _)| self.slots[id].born > mark.0)
    }

    /// Inserts a value, unless one with its hash came after `mark`.
    ///
    /// # Errors
    /// The value: what came is to be compared first.
    pub fn try_insert(&mut self, hash: u64, mark: Mark, value: V) -> Result<IndexId, V> {
        if self.has_newer(hash, mark) {
            return Err(value);
        }
        self.born += 1;
        let id = self.slots.insert(Slot { hash, born: self.born, value });
        let slots = &self.slots;
        self.table.insert_unique(hash, id, |id| slots[*id].hash);
        Ok(id)
    }

    /// The value, if it is still there.
    pub fn get(&self, id: IndexId) -> Option<&V> {
        self.slots.get(id).map(|slot| &slot.value)
    }

    /// The value, if it is still there.
    pub fn get_mut(&mut self, id: IndexId) -> Option<&mut V> {
        self.slots.get_mut(id).map(|slot| &mut slot.value)
    }

    /// Takes the value out, for its caller to drop after unlocking.
    pub fn remove(&mut self, id: IndexId) -> Option<V> {
        let Slot { hash, value, .. } = self.slots.remove(id)?;
        if let Ok(entry) = self.table.find_entry(hash, |known| *known == id) {
            entry.remove();
        }
        Some(value)
    }
}
