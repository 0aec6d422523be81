//! Owns: values found by key once and by handle from then on.
//! Must not know: what is kept.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

/// Keyed anew in each map, since strangers choose names, addresses and ports.
pub(super) type Hasher = foldhash::quality::RandomState;

/// A handle in an arena. It goes stale when its value goes, and then leads nowhere, even if the handle is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Handle {
    at: u32,
    generation: u32,
}

impl Handle {
    /// Leads nowhere.
    pub(super) const NONE: Self = Self { at: u32::MAX, generation: 0 };
}

impl Default for Handle {
    fn default() -> Self {
        Self::NONE
    }
}

#[derive(Debug)]
struct Slot<K, V> {
    generation: u32,
    item: Option<(K, V)>,
}

/// Values by key. Keys are kept once, with their values; the index holds numbers only.
#[derive(Debug)]
pub(super) struct Arena<K, V> {
    index: HashTable<u32>,
    slots: Vec<Slot<K, V>>,
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
        let at = *self.index.find(self.hasher.hash_one(key), |&at| holds(&self.slots, at, key))?;
        Some(Handle { at, generation: self.slots[at as usize].generation })
    }

    /// Adds a value whose key is not there yet.
    pub(super) fn add(&mut self, key: K, value: V) -> Handle {
        let hash = self.hasher.hash_one(&key);
        let item = Some((key, value));
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize].item = item;
                at
            }
            None => {
                self.slots.push(Slot { generation: 0, item });
                (self.slots.len() - 1) as u32
            }
        };
        let Self { index, slots, hasher, .. } = self;
        let rehash = |&at: &u32| slots[at as usize].item.as_ref().map_or(0, |(key, _)| hasher.hash_one(key));
        index.insert_unique(hash, at, rehash);
        Handle { at, generation: slots[at as usize].generation }
    }

    pub(super) fn remove_at(&mut self, handle: Handle) -> Option<V> {
        let hash = self.hasher.hash_one(self.get(handle)?.0);
        let slot =
            self.slots.get_mut(handle.at as usize).filter(|slot| slot.generation == handle.generation)?;
        let (_, value) = slot.item.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        if let Ok(entry) = self.index.find_entry(hash, |&at| at == handle.at) {
            entry.remove();
        }
        self.free.push(handle.at);
        Some(value)
    }

    pub(super) fn get(&self, handle: Handle) -> Option<(&K, &V)> {
        let slot = self.slots.get(handle.at as usize).filter(|slot| slot.generation == handle.generation)?;
        slot.item.as_ref().map(|(key, value)| (key, value))
    }

    pub(super) fn get_mut(&mut self, handle: Handle) -> Option<&mut V> {
        let slot =
            self.slots.get_mut(handle.at as usize).filter(|slot| slot.generation == handle.generation)?;
        slot.item.as_mut().map(|(_, value)| value)
    }
}

fn holds<K: Eq, V>(slots: &[Slot<K, V>], at: u32, key: &K) -> bool {
    slots[at as usize].item.as_ref().is_some_and(|(known, _)| known == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_leads_to_its_value_and_never_to_a_later_one() {
        let mut arena = Arena::default();
        let handles: Vec<Handle> = (0..1009_u32).map(|key| arena.add(key, key * 3)).collect();
        assert!((0..1009).all(|key| arena.handle(&key) == Some(handles[key as usize])
            && arena.get(handles[key as usize]) == Some((&key, &(key * 3)))));
        assert_eq!(arena.remove_at(handles[7]), Some(21));
        assert_eq!((arena.handle(&7), arena.get(handles[7])), (None, None));
        let again = arena.add(2000, 1);
        assert_eq!((again.at, arena.get(handles[7])), (handles[7].at, None));
        assert_eq!(arena.remove_at(handles[7]), None);
        assert_eq!(arena.get(again), Some((&2000, &1)));
        assert_eq!(arena.get(Handle::NONE), None);
    }
}
