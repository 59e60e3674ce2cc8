//! Records with names, in pieces of memory that never move.
//!
//! A slot map like any: what is free makes a list, and a name holds a generation, so it never names
//! another record later. But it grows piece by piece. One that doubles would copy the records of all calls
//! at once, under the dependency's lock, and keep up to twice the room that is used.

use core::num::NonZeroU32;
use core::ops::{Index, IndexMut};

use alloc::vec::Vec;

/// Records in a piece.
const PIECE: usize = 32;

/// The end of the list of free slots.
const NOBODY: u32 = u32::MAX;

/// The name of a record. Never names another one later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Name {
    index: u32,
    generation: NonZeroU32,
}

/// Records by their names.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    pieces: Vec<Vec<Slot<T>>>,
    /// The slot that was freed last.
    free: u32,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    generation: NonZeroU32,
    content: Content<T>,
}

#[derive(Debug)]
enum Content<T> {
    Record(T),
    /// The next slot that is free.
    Free(u32),
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pieces: Vec::new(), free: NOBODY, len: 0 }
    }
}

impl<T> Slab<T> {
    /// How many records there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Keeps `record`, and names it.
    ///
    /// # Panics
    /// With 2<sup>32</sup> - 1 records.
    #[inline]
    pub(crate) fn insert(&mut self, record: T) -> Name {
        self.len += 1;
        let index = self.free;
        if let Some(slot) = self.slot_mut(index) {
            let generation = slot.generation;
            if let Content::Free(next) = slot.content {
                slot.content = Content::Record(record);
                self.free = next;
                return Name { index, generation };
            }
        }
        self.grow(record)
    }

    /// The record of this name.
    #[inline]
    pub(crate) fn get(&self, name: Name) -> Option<&T> {
        let index = name.index as usize;
        match self.pieces.get(index / PIECE)?.get(index % PIECE)? {
            Slot { generation, content: Content::Record(record) }
                if *generation == name.generation =>
            {
                Some(record)
            }
            _ => None,
        }
    }

    /// As [`get`](Self::get).
    #[inline]
    pub(crate) fn get_mut(&mut self, name: Name) -> Option<&mut T> {
        match self.slot_mut(name.index)? {
            Slot { generation, content: Content::Record(record) }
                if *generation == name.generation =>
            {
                Some(record)
            }
            _ => None,
        }
    }

    /// Forgets the record of this name, if there is one, and gives it back.
    #[inline]
    pub(crate) fn remove(&mut self, name: Name) -> Option<T> {
        let free = self.free;
        let slot = self.slot_mut(name.index)?;
        if slot.generation != name.generation || matches!(slot.content, Content::Free(_)) {
            return None;
        }
        let Content::Record(record) = core::mem::replace(&mut slot.content, Content::Free(free))
        else {
            return None;
        };
        // A slot that has had all its names is not used again.
        if let Some(next) = slot.generation.checked_add(1) {
            slot.generation = next;
            self.free = name.index;
        }
        self.len -= 1;
        Some(record)
    }

    #[inline]
    fn slot_mut(&mut self, index: u32) -> Option<&mut Slot<T>> {
        let index = index as usize;
        self.pieces.get_mut(index / PIECE)?.get_mut(index % PIECE)
    }

    #[cold]
    fn grow(&mut self, record: T) -> Name {
        let generation = NonZeroU32::MIN;
        let slot = Slot { generation, content: Content::Record(record) };
        let full = self.pieces.last().is_none_or(|piece| piece.len() == PIECE);
        if full {
            self.pieces.push(Vec::with_capacity(PIECE));
        }
        let before = (self.pieces.len() - 1) * PIECE;
        let piece = self.pieces.last_mut().expect("one was just made if there was none");
        let index = u32::try_from(before + piece.len()).ok().filter(|index| *index != NOBODY);
        piece.push(slot);
        Name { index: index.expect("fewer records than a u32 can name"), generation }
    }
}

impl<T> Index<Name> for Slab<T> {
    type Output = T;

    #[inline]
    fn index(&self, name: Name) -> &T {
        self.get(name).expect("the record of this name is there")
    }
}

impl<T> IndexMut<Name> for Slab<T> {
    #[inline]
    fn index_mut(&mut self, name: Name) -> &mut T {
        self.get_mut(name).expect("the record of this name is there")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn a_name_names_its_record_until_that_is_removed_and_nothing_afterwards() {
        let mut slab = Slab::default();
        let first = slab.insert("first");
        assert_eq!((slab.get(first), slab.len()), (Some(&"first"), 1));
        assert_eq!(slab.remove(first), Some("first"));
        let second = slab.insert("second");
        assert_eq!(second.index, first.index, "its room is used again");
        assert!(slab.get(first).is_none() && slab.get_mut(first).is_none());
        assert_eq!(slab.remove(first), None);
        assert_eq!((slab[second], slab.len()), ("second", 1));
    }

    #[test]
    fn a_slot_that_has_had_all_its_names_is_not_used_again() {
        let mut slab = Slab::default();
        let first = slab.insert(1);
        slab.pieces[0][0].generation = NonZeroU32::MAX;
        let last = Name { generation: NonZeroU32::MAX, ..first };
        assert_eq!(slab.remove(last), Some(1));
        let other = slab.insert(2);
        assert_ne!(other.index, last.index);
        assert_eq!((slab.get(first), slab.get(last), slab.get(other)), (None, None, Some(&2)));
    }

    #[test]
    fn it_holds_what_a_map_would_hold_and_no_more_room_than_the_most_at_a_time() {
        let (mut slab, mut map) = (Slab::default(), HashMap::new());
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut names, mut gone) = (Vec::new(), Vec::new());
        let mut most = 0;
        for round in 0..20_000_u32 {
            if names.is_empty() || rng.u32(0..1000) < if round < 10_000 { 520 } else { 480 } {
                let name = slab.insert(round);
                assert_eq!(map.insert(name, round), None, "names are new");
                names.push(name);
            } else {
                let name = names.swap_remove(rng.usize(0..names.len()));
                assert_eq!(slab.remove(name), map.remove(&name));
                gone.push(name);
            }
            most = most.max(names.len());
            assert_eq!(slab.len(), names.len());
        }
        assert!(names.iter().all(|name| slab.get(*name) == map.get(name)));
        assert!(gone.iter().all(|name| slab.get(*name).is_none()));
        let slots: usize = slab.pieces.iter().map(Vec::len).sum();
        assert_eq!(slots, most, "what is free is used first");
        assert!(slab.pieces.iter().all(|piece| piece.capacity() == PIECE), "no piece has moved");
    }
}
