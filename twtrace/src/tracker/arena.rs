//! Owns: values found by key once and by place from then on.
//! Must not know: what is kept.

use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

/// Keyed anew in each map, since peers choose addresses and ports.
pub(super) type Hasher = foldhash::quality::RandomState;

/// A place in an arena. It goes stale when its value goes, and then leads nowhere, even if the place is taken again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    at: u32,
    generation: u32,
}

impl Place {
    /// Leads nowhere.
    pub(super) const NONE: Self = Self { at: u32::MAX, generation: 0 };
}

impl Default for Place {
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
    pub(super) fn len(&self) -> usize {
        self.index.len()
    }

    /// Where the value of `key` is.
    pub(super) fn place(&self, key: &K) -> Option<Place> {
        let at = *self.index.find(self.hasher.hash_one(key), |&at| holds(&self.slots, at, key))?;
        Some(Place { at, generation: self.slots[at as usize].generation })
    }

    /// Adds a value whose key is not there yet.
    pub(super) fn add(&mut self, key: K, value: V) -> Place {
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
        Place { at, generation: slots[at as usize].generation }
    }

    pub(super) fn remove_at(&mut self, place: Place) -> Option<V> {
        let slot =
            self.slots.get_mut(place.at as usize).filter(|slot| slot.generation == place.generation)?;
        let (key, value) = slot.item.take()?;
        slot.generation = slot.generation.wrapping_add(1);
        if let Ok(entry) = self.index.find_entry(self.hasher.hash_one(&key), |&at| at == place.at) {
            entry.remove();
        }
        self.free.push(place.at);
        Some(value)
    }

    pub(super) fn find(&self, key: &K) -> Option<&V> {
        self.get(self.place(key)?).map(|(_, value)| value)
    }

    pub(super) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        let place = self.place(key)?;
        self.get_mut(place)
    }

    pub(super) fn get(&self, place: Place) -> Option<(&K, &V)> {
        let slot = self.slots.get(place.at as usize).filter(|slot| slot.generation == place.generation)?;
        slot.item.as_ref().map(|(key, value)| (key, value))
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut V> {
        let slot =
            self.slots.get_mut(place.at as usize).filter(|slot| slot.generation == place.generation)?;
        slot.item.as_mut().map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().filter_map(|slot| slot.item.as_ref().map(|(key, value)| (key, value)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.slots.iter_mut().filter_map(|slot| slot.item.as_mut().map(|(key, value)| (&*key, value)))
    }
}

fn holds<K: Eq, V>(slots: &[Slot<K, V>], at: u32, key: &K) -> bool {
    slots[at as usize].item.as_ref().is_some_and(|(known, _)| known == key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_leads_to_its_value_and_never_to_a_later_one() {
        let mut arena = Arena::default();
        let places: Vec<Place> = (0..1009_u32).map(|key| arena.add(key, key * 3)).collect();
        assert!((0..1009).all(
            |key| arena.find(&key) == Some(&(key * 3)) && arena.place(&key) == Some(places[key as usize])
        ));
        assert_eq!(arena.remove_at(places[7]), Some(21));
        assert_eq!((arena.place(&7), arena.get(places[7]), arena.len()), (None, None, 1008));
        let again = arena.add(2000, 1);
        assert_eq!((again.at, arena.get(places[7])), (places[7].at, None));
        assert_eq!(arena.remove_at(places[7]), None);
        assert_eq!(arena.get(again), Some((&2000, &1)));
        assert_eq!(arena.get(Place::NONE), None);
    }
}
