//! What a cache holds: at most so many values, the least recently used goes first.
//!
//! Values are handed out and taken in as they are: `V` is a pointer, and what it points to is cloned,
//! compared and dropped by the caller, after unlocking.

use alloc::collections::VecDeque;

use super::index::{Index, IndexId, Mark};

/// Values of one hash that are kept. Honest keys never have so many: the hash has 64 bits, and a seed.
/// A key type whose `Hash` is bad, or an attacker who found the seed, gets a small cache, not a slow one.
pub const ALIKE: usize = 8;

/// So many hashes of keys that were forgotten are remembered, for calls that began before.
const FORGOTTEN: usize = 64;

/// Values in order of their last use.
#[derive(Debug)]
pub struct Shelf<V> {
    index: Index<Kept<V>>,
    /// The hashes that were forgotten last, and how many were before them.
    forgotten: VecDeque<u64>,
    passed: u64,
    capacity: usize,
    oldest: Option<IndexId>,
    newest: Option<IndexId>,
}

#[derive(Debug)]
struct Kept<V> {
    value: V,
    older: Option<IndexId>,
    newer: Option<IndexId>,
}

impl<V: Clone> Shelf<V> {
    /// Room for `capacity` values, at least one.
    pub fn new(capacity: usize) -> Self {
        Self {
            index: Index::default(),
            forgotten: VecDeque::new(),
            passed: 0,
            capacity: capacity.max(1),
            oldest: None,
            newest: None,
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// This moment.
    pub fn mark(&self) -> Mark {
        self.index.mark()
    }

    /// The `n`th value with this hash, whose key is to be compared after unlocking. It counts as used.
    pub fn find(&mut self, hash: u64, n: usize) -> Option<(IndexId, V)> {
        let (id, value) =
            self.index.scan(hash).nth(n).map(|(id, kept)| (id, kept.value.clone()))?;
        self.unlink(id);
        self.link(id);
        Some((id, value))
    }

    /// Puts a value in, in place of `old` if that is there. What had to go is for the caller to drop,
    /// after unlocking.
    ///
    /// # Errors
    /// The value, if others with its hash came after `mark`: they are to be compared first.
    pub fn try_put(
        &mut self,
        hash: u64,
        mark: Mark,
        old: Option<IndexId>,
        value: V,
    ) -> Result<Option<V>, V> {
        if let Some(kept) = old.and_then(|old| self.index.get_mut(old)) {
            return Ok(Some(core::mem::replace(&mut kept.value, value)));
        }
        let id = self.index.try_insert(hash, mark, Kept { value, older: None, newer: None });
        let id = id.map_err(|kept| kept.value)?;
        self.link(id);
        let crowd = self.index.first(hash).filter(|(_, alike)| *alike > ALIKE).map(|(id, _)| id);
        let full = self.oldest.filter(|_| self.index.len() > self.capacity);
        Ok(crowd.or(full).and_then(|id| self.remove(id)))
    }

    /// Keys of this hash are forgotten: what was asked for before is not to be put in.
    pub fn forget(&mut self, hash: u64) {
        if self.forgotten.len() == FORGOTTEN {
            self.forgotten.pop_front();
            self.passed += 1;
        }
        self.forgotten.push_back(hash);
    }

    /// How often something was forgotten so far.
    pub fn forgets(&self) -> u64 {
        self.passed + self.forgotten.len() as u64
    }

    /// Whether a key of this hash may have been forgotten since there were so many.
    pub fn forgot_since(&self, forgets: u64, hash: u64) -> bool {
        let Some(seen) = forgets.checked_sub(self.passed) else {
            return true;
        };
        self.forgotten.iter().skip(usize::try_from(seen).unwrap_or(usize::MAX)).any(|h| *h == hash)
    }

    /// Takes a value out, for the caller to drop after unlocking.
    pub fn remove(&mut self, id: IndexId) -> Option<V> {
        self.unlink(id);
        self.index.remove(id).map(|kept| kept.value)
    }

    fn unlink(&mut self, id: IndexId) {
        let Some(kept) = self.index.get_mut(id) else { return };
        let (older, newer) = (kept.older.take(), kept.newer.take());
        match older {
            Some(older) => self.at(older, |kept| kept.newer = newer),
            None => self.oldest = newer,
        }
        match newer {
            Some(newer) => self.at(newer, |kept| kept.older = older),
            None => self.newest = older,
        }
    }

    fn link(&mut self, id: IndexId) {
        let newest = self.newest.replace(id);
        self.at(id, |kept| kept.older = newest);
        match newest {
            Some(newest) => self.at(newest, |kept| kept.newer = Some(id)),
            None => self.oldest = Some(id),
        }
    }

    fn at(&mut self, id: IndexId, act: impl FnOnce(&mut Kept<V>)) {
        if let Some(kept) = self.index.get_mut(id) {
            act(kept);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;

    /// Puts as a cache does: finds the key among its alikes, then puts.
    fn put(shelf: &mut Shelf<u32>, hash: u64, key: u32) -> Option<u32> {
        let mark = shelf.mark();
        let old = shelf.index.scan(hash).find(|(_, kept)| kept.value == key).map(|(id, _)| id);
        shelf.try_put(hash, mark, old, key).unwrap()
    }

    fn has(shelf: &mut Shelf<u32>, hash: u64, key: u32) -> bool {
        (0..).map_while(|n| shelf.find(hash, n)).any(|(_, value)| value == key)
    }

    #[test]
    fn the_least_recently_used_goes_first_as_in_a_list() {
        let mut rng = fastrand::Rng::with_seed(1);
        for capacity in [1, 2, 7, 40] {
            let (mut shelf, mut list) = (Shelf::new(capacity), VecDeque::new());
            for _ in 0..5_000 {
                let key = rng.u32(0..60);
                let hash = u64::from(key);
                let known = list.iter().position(|known| *known == key);
                match rng.u8(0..3) {
                    0 => {
                        assert_eq!(has(&mut shelf, hash, key), known.is_some());
                        if let Some(at) = known {
                            list.remove(at);
                            list.push_back(key);
                        }
                    }
                    1 if known.is_none() => {
                        put(&mut shelf, hash, key);
                        list.push_back(key);
                        if list.len() > capacity {
                            list.pop_front();
                        }
                    }
                    _ => {
                        let id = shelf.find(hash, 0).map(|(id, _)| id);
                        assert_eq!(id.and_then(|id| shelf.remove(id)), known.map(|_| key));
                        list.retain(|known| *known != key);
                    }
                }
                assert_eq!(shelf.len(), list.len());
                assert_eq!(shelf.is_empty(), list.is_empty());
                let mut walked = std::vec::Vec::new();
                let mut next = shelf.oldest;
                while let Some(id) = next {
                    let kept = shelf.index.get(id).unwrap();
                    walked.push(kept.value);
                    next = kept.newer;
                }
                assert_eq!(walked, std::vec::Vec::from(list.clone()));
            }
        }
    }

    #[test]
    fn keys_of_one_hash_are_told_apart_and_are_few() {
        let mut shelf = Shelf::new(1_000);
        for key in 0..10_000 {
            put(&mut shelf, 7, key);
        }
        assert_eq!(shelf.len(), ALIKE);
        assert!((9_992..10_000).all(|key| has(&mut shelf, 7, key)));
        put(&mut shelf, 8, 1);
        assert_eq!(shelf.len(), ALIKE + 1, "another hash is none of them");
    }

    #[test]
    fn what_was_forgotten_is_known_for_a_while_and_then_taken_to_be_all() {
        let mut shelf = Shelf::<u32>::new(1);
        let began = shelf.forgets();
        assert!(!shelf.forgot_since(began, 7));
        shelf.forget(7);
        assert!(shelf.forgot_since(began, 7) && !shelf.forgot_since(began, 8));
        assert!(!shelf.forgot_since(shelf.forgets(), 7), "it was asked for after that");
        for _ in 1..FORGOTTEN {
            shelf.forget(9);
        }
        assert!(shelf.forgot_since(began, 7) && !shelf.forgot_since(began, 8));
        shelf.forget(9);
        assert!(shelf.forgot_since(began, 8), "who knows");
        assert!(!shelf.forgot_since(began + 1, 8) && shelf.forgotten.len() == FORGOTTEN);
    }

    #[test]
    fn who_did_not_see_an_alike_that_came_has_to_look_again() {
        let mut shelf = Shelf::new(10);
        let before = shelf.mark();
        put(&mut shelf, 7, 1);
        assert_eq!(shelf.try_put(7, before, None, 2), Err(2));
        assert_eq!(shelf.try_put(8, before, None, 3), Ok(None), "of another hash");
        let now = shelf.mark();
        assert_eq!(shelf.try_put(7, now, None, 2), Ok(None));
    }
}
