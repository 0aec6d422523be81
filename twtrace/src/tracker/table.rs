//! Owns: rows with a bound on their number.
//! Must not know: what a row holds, beyond whether it may go.

use std::hash::Hash;
use std::ops::{Deref, DerefMut};

use super::arena::{Arena, Place};

/// What decides which rows may go.
pub(super) trait Row: Default {
    /// Whether no socket depends on it.
    fn is_idle(&self) -> bool;
    /// When something last happened, CLOCK_MONOTONIC in nanoseconds.
    fn last_ns(&self) -> u64;
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
    rows: Arena<K, V>,
    limit: usize,
    when_full: WhenFull,
    /// No row could go in this second: look again in the next, not for each event.
    full_at: Option<u32>,
    evicted: u64,
}

impl<K, V> Deref for Table<K, V> {
    type Target = Arena<K, V>;

    fn deref(&self) -> &Arena<K, V> {
        &self.rows
    }
}

impl<K, V> DerefMut for Table<K, V> {
    fn deref_mut(&mut self) -> &mut Arena<K, V> {
        &mut self.rows
    }
}

impl<K: Clone + Eq + Hash, V: Row> Table<K, V> {
    pub(super) fn new(limit: usize, when_full: WhenFull) -> Self {
        Self { rows: Arena::default(), limit: limit.max(1), when_full, full_at: None, evicted: 0 }
    }

    /// The row of `key`, made if there is none; [`Place::NONE`] where there is no room. `second` is the present one.
    pub(super) fn enter(&mut self, key: &K, second: u32) -> Place {
        if let Some(place) = self.rows.place(key) {
            return place;
        }
        if self.rows.len() >= self.limit && !self.make_room(second) && self.when_full == WhenFull::Refuse {
            return Place::NONE;
        }
        self.rows.add(key.clone(), V::default())
    }

    /// Lets go of a sixteenth of the rows, those that have been idle longest: one look at all rows pays for many new
    /// ones.
    fn make_room(&mut self, second: u32) -> bool {
        if self.full_at == Some(second) {
            return false;
        }
        let idle = self.rows.places().filter(|(.., row)| row.is_idle());
        let mut idle: Vec<(u64, Place)> = idle.map(|(place, _, row)| (row.last_ns(), place)).collect();
        if idle.is_empty() {
            self.full_at = Some(second);
            return false;
        }
        let going = (self.limit / 16).clamp(1, idle.len());
        idle.select_nth_unstable_by_key(going - 1, |(last_ns, _)| *last_ns);
        for (_, place) in &idle[..going] {
            self.rows.remove_at(*place);
        }
        self.evicted += going as u64;
        true
    }

    /// Lets go of rows that are of no interest any more, which is no loss.
    pub(super) fn retire(&mut self, is_over: impl Fn(&V) -> bool) {
        let over = self.rows.places().filter(|(.., row)| row.is_idle() && is_over(row));
        let over: Vec<Place> = over.map(|(place, ..)| place).collect();
        for place in over {
            self.rows.remove_at(place);
        }
    }

    /// Rows that had to make room.
    pub(super) fn evicted(&self) -> u64 {
        self.evicted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Toy {
        live: bool,
        last_ns: u64,
    }

    impl Row for Toy {
        fn is_idle(&self) -> bool {
            !self.live
        }

        fn last_ns(&self) -> u64 {
            self.last_ns
        }
    }

    fn full(when_full: WhenFull, live: impl Fn(u32) -> bool) -> Table<u32, Toy> {
        let mut table = Table::new(33, when_full);
        for key in 0..33 {
            let place = table.enter(&key, 0);
            *table.get_mut(place).unwrap() = Toy { live: live(key), last_ns: u64::from(key ^ 5) };
        }
        table
    }

    #[test]
    fn the_longest_idle_make_room() {
        let mut table = full(WhenFull::Refuse, |key| key == 5);
        assert_ne!(table.enter(&100, 1), Place::NONE);
        // A sixteenth of 33 is 2; 5 is the oldest but live, then come 4 and 7.
        let gone: Vec<u32> = (0..33).filter(|key| table.find(key).is_none()).collect();
        assert_eq!((gone, table.evicted(), table.len()), (vec![4, 7], 2, 32));
    }

    #[test]
    fn live_rows_never_go() {
        let mut table = full(WhenFull::Refuse, |_| true);
        assert_eq!(table.enter(&100, 1), Place::NONE);
        table.find_mut(&31).unwrap().live = false;
        assert_eq!(table.enter(&100, 1), Place::NONE, "a full table is looked through once a second");
        assert_ne!(table.enter(&100, 2), Place::NONE);
        assert!(table.find(&31).is_none());
        let mut table = full(WhenFull::Grow, |_| true);
        assert_ne!(table.enter(&100, 1), Place::NONE);
        assert_eq!(table.len(), 34);
    }

    #[test]
    fn retiring_is_no_eviction() {
        let mut table = full(WhenFull::Refuse, |key| key % 2 == 0);
        table.retire(|row| row.last_ns < 10);
        assert_eq!((table.len(), table.evicted()), (28, 0));
    }
}
