//! Owns: values seen once and numbered from then on, so that rows are counted by number.
//! Must not know: what the values are.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use hashbrown::HashTable;

/// Keyed anew each time: strangers choose names and addresses.
pub(crate) type Hasher = foldhash::fast::RandomState;

/// Numbered values. There may be so many and no more: what comes after that is [`OTHERS`], which is counted and said.
#[derive(Debug)]
pub(crate) struct Interner<T> {
    index: HashTable<u32>,
    values: Vec<T>,
    hasher: Hasher,
    most: usize,
    /// Bytes of all values that say how many they have.
    bytes: usize,
    /// How often there was no room for a value.
    refused: u64,
}

/// Stands for no value.
pub(crate) const NONE: u32 = 0;
/// Stands for every value that there was no room for.
pub(crate) const OTHERS: u32 = 1;
/// Stands for every value that nobody asks for.
pub(crate) const UNWANTED: u32 = u32::MAX;
/// Bytes of all values together, at most.
const MOST_BYTES: usize = 24 << 20;
/// Number of the first value.
pub(crate) const FIRST: u32 = 2;

impl<T> Interner<T> {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            index: HashTable::new(),
            values: Vec::new(),
            hasher: Hasher::default(),
            most,
            bytes: 0,
            refused: 0,
        }
    }

    /// The value with this number; `None` for [`NONE`], [`OTHERS`] and [`UNWANTED`].
    pub(crate) fn get(&self, id: u32) -> Option<&T> {
        self.values.get(id.checked_sub(FIRST)? as usize)
    }

    /// The number of a value that is known.
    pub(crate) fn find<Q>(&self, value: &Q) -> Option<u32>
    where
        T: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let same = |id: &u32| self.values[(id - FIRST) as usize].borrow() == value;
        self.index.find(self.hasher.hash_one(value), same).copied()
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Whether there is no room for another value, or was none for one that is longer than what is left.
    pub(crate) fn is_full(&self) -> bool {
        self.values.len() >= self.most || self.bytes >= MOST_BYTES || self.refused != 0
    }

    /// How often there was no room for a value.
    pub(crate) fn refused(&self) -> u64 {
        self.refused
    }

    /// The number of a value, a new one where it was not seen before.
    pub(crate) fn id<Q>(&mut self, value: &Q) -> u32
    where
        T: Borrow<Q> + for<'a> From<&'a Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.id_of(value, 0)
    }

    /// As [`Interner::id`], of a value that takes so many bytes: of all together there are so many and no more.
    pub(crate) fn id_of<Q>(&mut self, value: &Q, bytes: usize) -> u32
    where
        T: Borrow<Q> + for<'a> From<&'a Q>,
        Q: Hash + Eq + ?Sized,
    {
        let hash = self.hasher.hash_one(value);
        let Self { index, values, .. } = self;
        let same = |id: &u32| values[(id - FIRST) as usize].borrow() == value;
        if let Some(id) = index.find(hash, same) {
            return *id;
        }
        if values.len() >= self.most || self.bytes + bytes > MOST_BYTES {
            self.refused += 1;
            return OTHERS;
        }
        self.bytes += bytes;
        let id = FIRST + values.len() as u32;
        values.push(T::from(value));
        let hasher = &self.hasher;
        index.insert_unique(hash, id, |id| hasher.hash_one(values[(id - FIRST) as usize].borrow()));
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_number_and_the_last_ones_share_one() {
        let mut texts = Interner::<Box<str>>::new(3);
        let ids: Vec<u32> = ["a", "b", "a", "", "d", "e", "b"].map(|text| texts.id(text)).to_vec();
        assert_eq!(ids, [2, 3, 2, 4, OTHERS, OTHERS, 3]);
        assert_eq!(texts.get(3).map(|text| &**text), Some("b"));
        assert_eq!((texts.get(NONE), texts.get(OTHERS), texts.get(5)), (None, None, None));
    }

    #[test]
    fn it_is_full_once_a_value_was_too_long_for_what_is_left() {
        let mut texts = Interner::<Box<str>>::new(9);
        assert_eq!((texts.id_of("a", MOST_BYTES - 4095), texts.is_full()), (FIRST, false));
        assert_eq!((texts.id_of("b", 4096), texts.is_full()), (OTHERS, true));
        // What is shorter finds its place all the same.
        assert_eq!((texts.id_of("c", 4095), texts.refused()), (FIRST + 1, 1));
    }
}
