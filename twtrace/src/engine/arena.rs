//! Owns: values found by key once and by handle from then on.
//! Must not know: what is kept.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

/// Keyed anew in each map, since strangers choose names, addresses and ports.
pub(super) type Hasher = foldhash::quality::RandomState;

/// Where a value is in an arena, until it is removed: its place is another's then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle(u32);

impl Handle {
    /// Leads nowhere.
    pub(super) const NONE: Self = Self(u32::MAX);
}

impl Default for Handle {
    fn default() -> Self {
        Self::NONE
    }
}

/// Values by key. Keys are kept once, with their values; the index holds numbers only.
#[derive(Debug)]
pub(super) struct Arena<K, V> {
    index: HashTable<u32>,
    slots: Vec<Option<(K, V)>>,
    free: Vec<u32>,
    hasher: Hasher,
}

impl<K, V> Default for Arena<K, V> {
    fn default() -> Self {
        Self { index: HashTable::new(), slots: Vec::new(), free: Vec::new(), hasher: Hasher::default() }
    }
}

impl<K: Eq + Hash, V> Arena<K, V> {
    /// Where the value of `key` is.
    pub(super) fn handle(&self, key: &K) -> Option<Handle> {
        let is_it = |at: &u32| self.get(Handle(*at)).is_some_and(|(known, _)| known == key);
        self.index.find(self.hasher.hash_one(key), is_it).copied().map(Handle)
    }

    /// Adds a value whose key is not there yet.
    pub(super) fn add(&mut self, key: K, value: V) -> Handle {
        let hash = self.hasher.hash_one(&key);
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let Self { index, slots, hasher, .. } = self;
        slots[at as usize] = Some((key, value));
        let rehash = |&at: &u32| slots[at as usize].as_ref().map_or(0, |(key, _)| hasher.hash_one(key));
        index.insert_unique(hash, at, rehash);
        Handle(at)
    }

    pub(super) fn remove_at(&mut self, handle: Handle) -> Option<V> {
        let (key, value) = self.slots.get_mut(handle.0 as usize)?.take()?;
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(&key), |&at| at == handle.0) {
            entry.remove();
        }
        self.free.push(handle.0);
        Some(value)
    }

    pub(super) fn get(&self, handle: Handle) -> Option<(&K, &V)> {
        self.slots.get(handle.0 as usize)?.as_ref().map(|(key, value)| (key, value))
    }

    #[inline]
    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<(&K, &mut V)> {
        self.slots.get_mut(handle.0 as usize)?.as_mut().map(|(key, value)| (&*key, value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_leads_to_its_value_until_that_is_removed() {
        let mut arena = Arena::default();
        let handles: Vec<Handle> = (0..1009_u32).map(|key| arena.add(key, key * 3)).collect();
        assert!((0..1009).all(|key| arena.handle(&key) == Some(handles[key as usize])
            && arena.get(handles[key as usize]) == Some((&key, &(key * 3)))));
        assert_eq!(arena.remove_at(handles[7]), Some(21));
        assert_eq!((arena.handle(&7), arena.get(handles[7])), (None, None));
        assert_eq!(arena.remove_at(handles[7]), None);
        let again = arena.add(2000, 1);
        assert_eq!((again, arena.handle(&2000)), (handles[7], Some(again)));
        assert_eq!((arena.get(again), arena.handle(&7)), (Some((&2000, &1)), None));
        assert_eq!(arena.get(Handle::NONE), None);
    }
}
