//! Owns: rows with a bound on their number, found by key once and by place from then on.
//! Must not know: what a row holds, beyond whether it may go.

use std::collections::HashMap;
use std::hash::Hash;

/// Keyed anew in each map, since peers choose addresses and ports.
pub(super) type Hasher = foldhash::quality::RandomState;

/// What decides which rows may go.
pub(super) trait Row: Default {
    /// Whether sockets depend on it.
    fn is_idle(&self) -> bool;
    /// When something last happened, CLOCK_MONOTONIC in nanoseconds.
    fn last_ns(&self) -> u64;
}

/// A place in a table. It goes stale when its row goes, and then leads nowhere, even if the place is taken again.
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
    row: Option<(K, V)>,
}

/// What happens when a table is full of rows that may not go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WhenFull {
    /// There is no new row.
    Refuse,
    /// There is one nevertheless: something else bounds them.
    Grow,
}

/// Rows by key.
#[derive(Debug)]
pub(super) struct Table<K, V> {
    places: HashMap<K, u32, Hasher>,
    slots: Vec<Slot<K, V>>,
    free: Vec<u32>,
    limit: usize,
    when_full: WhenFull,
    /// No row could go in this second: look again in the next, not for each event.
    full_at: Option<u32>,
    evicted: u64,
}

impl<K: Clone + Eq + Hash, V: Row> Table<K, V> {
    pub(super) fn new(limit: usize, when_full: WhenFull) -> Self {
        Self {
            places: HashMap::default(),
            slots: Vec::new(),
            free: Vec::new(),
            limit: limit.max(1),
            when_full,
            full_at: None,
            evicted: 0,
        }
    }

    /// The row of `key`, made if there is none; [`Place::NONE`] where there is no room. `second` is the present one.
    pub(super) fn enter(&mut self, key: &K, second: u32) -> Place {
        if let Some(&at) = self.places.get(key) {
            return Place { at, generation: self.slots[at as usize].generation };
        }
        if self.places.len() >= self.limit && !self.make_room(second) && self.when_full == WhenFull::Refuse {
            return Place::NONE;
        }
        let row = Some((key.clone(), V::default()));
        let at = match self.free.pop() {
            Some(at) => {
                self.slots[at as usize].row = row;
                at
            }
            None => {
                self.slots.push(Slot { generation: 0, row });
                (self.slots.len() - 1) as u32
            }
        };
        self.places.insert(key.clone(), at);
        Place { at, generation: self.slots[at as usize].generation }
    }

    /// Lets go of a sixteenth of the rows, those that have been idle longest: one look at all rows pays for many new ones.
    fn make_room(&mut self, second: u32) -> bool {
        if self.full_at == Some(second) {
            return false;
        }
        let rows = self.slots.iter().enumerate();
        let idle = rows.filter_map(|(at, slot)| slot.row.as_ref().map(|(_, row)| (at, row)));
        let mut idle: Vec<(u64, usize)> =
            idle.filter(|(_, row)| row.is_idle()).map(|(at, row)| (row.last_ns(), at)).collect();
        if idle.is_empty() {
            self.full_at = Some(second);
            return false;
        }
        let going = (self.limit / 16).clamp(1, idle.len());
        idle.select_nth_unstable(going - 1);
        for (_, at) in &idle[..going] {
            self.remove_at(*at);
        }
        self.evicted += going as u64;
        true
    }

    fn remove_at(&mut self, at: usize) {
        let slot = &mut self.slots[at];
        if let Some((key, _)) = slot.row.take() {
            slot.generation = slot.generation.wrapping_add(1);
            self.places.remove(&key);
            self.free.push(at as u32);
        }
    }

    /// Lets go of rows that are of no interest any more, which is no loss.
    pub(super) fn retire(&mut self, is_over: impl Fn(&V) -> bool) {
        for at in 0..self.slots.len() {
            if self.slots[at].row.as_ref().is_some_and(|(_, row)| row.is_idle() && is_over(row)) {
                self.remove_at(at);
            }
        }
    }

    pub(super) fn find(&self, key: &K) -> Option<&V> {
        let at = *self.places.get(key)?;
        self.slots[at as usize].row.as_ref().map(|(_, row)| row)
    }

    pub(super) fn find_mut(&mut self, key: &K) -> Option<&mut V> {
        let at = *self.places.get(key)?;
        self.slots[at as usize].row.as_mut().map(|(_, row)| row)
    }

    pub(super) fn is_at(&self, place: Place) -> bool {
        self.slots
            .get(place.at as usize)
            .is_some_and(|slot| slot.generation == place.generation && slot.row.is_some())
    }

    pub(super) fn get(&self, place: Place) -> Option<(&K, &V)> {
        let slot = self.slots.get(place.at as usize).filter(|slot| slot.generation == place.generation)?;
        slot.row.as_ref().map(|(key, row)| (key, row))
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut V> {
        let slot =
            self.slots.get_mut(place.at as usize).filter(|slot| slot.generation == place.generation)?;
        slot.row.as_mut().map(|(_, row)| row)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.slots.iter().filter_map(|slot| slot.row.as_ref().map(|(key, row)| (key, row)))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = (&K, &mut V)> {
        self.slots.iter_mut().filter_map(|slot| slot.row.as_mut().map(|(key, row)| (&*key, row)))
    }

    /// Rows that had to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}
