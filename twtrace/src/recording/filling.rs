//! Owns: columns that are filled: numbers, words and texts, with what some rows say at a time, or with what one does. A row that nothing is
//! said of is null and costs nothing.
//! Must not know: which column is which, what a row is.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};

use arrow_array::builder::StringBuilder;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int32Type};
use arrow_array::{Array as _, ArrayRef, DictionaryArray, PrimitiveArray, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow_schema::{ArrowError, DataType};
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// A dictionary that has grown beyond this is begun anew with the next batch, so that memory stays bounded here and in
/// every reader.
const DICTIONARY: usize = 8192;

/// Rows that a column has room for from its beginning, where the one before had as many: growing copies.
const ROOM: usize = 8192;

/// Of which of some rows something is said.
pub(super) enum Said<F> {
    Nothing,
    All,
    /// Of those of which this is so.
    Where(F),
}

/// Some rows that follow one another, and of which of them something is said.
pub(super) struct Rows<'a, R, F> {
    /// Number of the first, a multiple of eight.
    pub(super) first: usize,
    pub(super) rows: &'a [R],
    pub(super) said: Said<F>,
}

/// A column of numbers.
pub(super) struct NumberBuilder<T: ArrowPrimitiveType> {
    values: Vec<T::Native>,
    /// Which rows say anything, a bit each, the lowest of a byte first; none, as long as all do.
    valid: Option<Vec<u8>>,
    data_type: DataType,
}

impl<T: ArrowPrimitiveType> NumberBuilder<T> {
    pub(super) fn new() -> Self {
        Self::of(T::DATA_TYPE)
    }

    /// Of a type that says more than its numbers do, such as a time zone.
    pub(super) fn of(data_type: DataType) -> Self {
        Self { values: Vec::new(), valid: None, data_type }
    }

    /// Says what stands in a row; rows come in their order. For what is seldom said.
    pub(super) fn set(&mut self, row: usize, value: T::Native) {
        if self.values.len() != row {
            self.skip_to(row);
        }
        self.values.push(value);
        if let Some(valid) = &mut self.valid {
            if valid.len() <= row / 8 {
                valid.push(0);
            }
            valid[row / 8] |= 1 << (row % 8);
        }
    }

    /// Says what stands in some rows. To fill one column after the other takes two thirds of what it takes to go through all of them for
    /// each row.
    #[inline]
    pub(super) fn fill<R>(
        &mut self,
        Rows { first, rows, said }: &Rows<'_, R, impl Fn(&R) -> bool>,
        get: impl Fn(&R) -> T::Native,
    ) {
        if matches!(said, Said::Nothing) {
            return;
        }
        if self.values.len() != *first {
            self.skip_to(*first);
        }
        self.values.extend(rows.iter().map(get));
        if let Said::Where(is_said) = said {
            let valid = self.valid.get_or_insert_with(|| vec![u8::MAX; first / 8]);
            valid.extend(rows.chunks(8).map(|rows| {
                rows.iter().enumerate().fold(0, |bits, (at, row)| bits | u8::from(is_said(row)) << at)
            }));
        } else if let Some(valid) = &mut self.valid {
            valid.resize((first + rows.len()).div_ceil(8), u8::MAX);
        }
    }

    /// What was filled in, of so many rows; the next row is the first again.
    pub(super) fn column(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(self.finish(rows)?))
    }

    fn finish(&mut self, rows: usize) -> Result<PrimitiveArray<T>, ArrowError> {
        if self.values.is_empty() && rows != 0 {
            let nothing = ScalarBuffer::new(zeros(rows * size_of::<T::Native>()), 0, rows);
            let column = PrimitiveArray::try_new(nothing, Some(NullBuffer::new_null(rows)))?;
            return Ok(column.with_data_type(self.data_type.clone()));
        }
        let room = self.values.len().min(ROOM);
        if self.values.len() != rows {
            self.skip_to(rows);
        }
        let values = std::mem::replace(&mut self.values, Vec::with_capacity(room));
        let bits = |valid: Vec<u8>| NullBuffer::new(BooleanBuffer::new(valid.into(), 0, rows));
        let valid = self.valid.take().map(bits);
        Ok(PrimitiveArray::try_new(values.into(), valid)?.with_data_type(self.data_type.clone()))
    }

    /// Nothing is said up to a row. Behind it a byte of bits begins with what the row says.
    #[cold]
    fn skip_to(&mut self, row: usize) {
        let filled = self.values.len();
        let valid = self.valid.get_or_insert_with(|| {
            let mut valid = vec![u8::MAX; filled / 8];
            valid.extend((!filled.is_multiple_of(8)).then_some((1 << (filled % 8)) - 1));
            valid
        });
        valid.resize(row.div_ceil(8), 0);
        self.values.resize(row, T::Native::default());
    }
}

/// Zeros that are kept: of as many rows as a batch has at most, eight bytes each.
const ZEROS: usize = 512 << 10;

/// What stands in a column of which nothing is said: one piece of memory for all of them, as there are many, and none has to be written.
fn zeros(bytes: usize) -> Buffer {
    static KEPT: OnceLock<Buffer> = OnceLock::new();
    // The kernel has such pages at hand: none is taken for what is only read.
    let new = |bytes: usize| Buffer::from(vec![0_u64; bytes.div_ceil(8)]);
    let zeros = KEPT.get_or_init(|| new(ZEROS));
    let zeros = if bytes <= zeros.len() { zeros.clone() } else { new(bytes) };
    zeros.slice_with_length(0, bytes)
}

/// A column of words known beforehand.
pub(super) struct Words {
    keys: NumberBuilder<Int8Type>,
    words: Arc<StringArray>,
}

impl Words {
    pub(super) fn new(words: impl IntoIterator<Item = &'static str>) -> Self {
        Self { keys: NumberBuilder::new(), words: Arc::new(StringArray::from_iter_values(words)) }
    }

    /// As [`NumberBuilder::set`]; `index` is that of the word in the list it was made of.
    pub(super) fn set(&mut self, row: usize, index: usize) {
        self.keys.set(row, index as i8);
    }

    /// As [`NumberBuilder::fill`], by indexes of words.
    #[inline]
    pub(super) fn fill<R>(&mut self, rows: &Rows<'_, R, impl Fn(&R) -> bool>, get: impl Fn(&R) -> u8) {
        self.keys.fill(rows, |row| get(row) as i8);
    }

    pub(super) fn column(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(DictionaryArray::try_new(self.keys.finish(rows)?, self.words.clone())?))
    }
}

/// A column of texts that come again. `K` is what a text is known by.
pub(super) struct Texts<K> {
    keys: NumberBuilder<Int32Type>,
    known: HashMap<K, i32, RandomState>,
    /// What was asked for last, and its index: mostly it is asked for again. Two, as the two ends of a connection take turns.
    recent: [Option<(K, i32)>; 2],
    texts: StringBuilder,
    /// The dictionary of the last batch, which need not be sent again where nothing was added.
    sent: Arc<StringArray>,
}

impl<K: Eq + Hash + Clone> Texts<K> {
    pub(super) fn new() -> Self {
        Self {
            keys: NumberBuilder::new(),
            known: HashMap::default(),
            recent: [None, None],
            texts: StringBuilder::new(),
            sent: Arc::new(StringArray::new_null(0)),
        }
    }

    /// The index of a text in the dictionary, which holds until the batch is finished.
    pub(super) fn index<Q>(&mut self, key: &Q, text: impl FnOnce(&Q) -> String) -> i32
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        if let Some(index) = self.known.get(key) {
            return *index;
        }
        let index = self.known.len() as i32;
        self.texts.append_value(text(key));
        self.known.insert(key.to_owned(), index);
        index
    }

    /// As [`Self::index`], of what was most likely asked for just now.
    #[inline]
    pub(super) fn index_again(&mut self, key: &K, text: impl FnOnce(&K) -> String) -> i32
    where
        K: ToOwned<Owned = K>,
    {
        let recent = self.recent.iter().flatten().find(|(known, _)| known == key).map(|(_, index)| *index);
        recent.unwrap_or_else(|| {
            let index = self.index(key, text);
            self.recent.swap(0, 1);
            self.recent[0] = Some((key.clone(), index));
            index
        })
    }

    /// As [`NumberBuilder::fill`], by [indexes](Self::index) of texts.
    #[inline]
    pub(super) fn fill<R>(&mut self, rows: &Rows<'_, R, impl Fn(&R) -> bool>, get: impl Fn(&R) -> i32) {
        self.keys.fill(rows, get);
    }

    pub(super) fn column(&mut self, rows: usize) -> Result<ArrayRef, ArrowError> {
        if self.sent.len() != self.known.len() {
            self.sent = Arc::new(self.texts.finish_cloned());
        }
        let column = DictionaryArray::try_new(self.keys.finish(rows)?, self.sent.clone())?;
        if self.known.len() > DICTIONARY {
            *self = Self::new();
        }
        Ok(Arc::new(column))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_array::types::UInt16Type;

    #[test]
    fn each_row_says_what_was_said_of_it_and_others_nothing() {
        let patterns: [fn(usize) -> bool; 6] = [
            |_| true,
            |_| false,
            |row| row % 2 == 1,
            |row| !(13..17).contains(&row),
            |row| row >= 8,
            |row| row < 31 && row % 7 < 5,
        ];
        for (said, rows) in
            patterns.iter().flat_map(|said| [0, 1, 8, 9, 41, ZEROS / 2 + 3].map(|rows| (said, rows)))
        {
            let mut numbers = NumberBuilder::<UInt16Type>::new();
            // Twice: the second batch has nothing of the first.
            for first in [1000, 2000_u16] {
                let want: Vec<_> =
                    (0..rows).map(|row| said(row).then_some(first.wrapping_add(row as u16))).collect();
                let is_right = |column: PrimitiveArray<UInt16Type>| {
                    assert_eq!(column.iter().collect::<Vec<_>>(), want);
                    assert_eq!(column.null_count(), want.iter().filter(|value| value.is_none()).count());
                };
                for (row, value) in want.iter().enumerate().filter_map(|(row, value)| Some((row, (*value)?)))
                {
                    numbers.set(row, value);
                }
                is_right(numbers.finish(rows).unwrap());
                // Eight rows at a time, and the rest.
                for (some, first) in want.chunks(8).zip((0..).step_by(8)) {
                    let said = match some.iter().flatten().count() {
                        0 => Said::Nothing,
                        all if all == some.len() => Said::All,
                        _ => Said::Where(Option::is_some),
                    };
                    numbers.fill(&Rows { first, rows: some, said }, |value| value.unwrap_or_default());
                }
                is_right(numbers.finish(rows).unwrap());
            }
        }
    }
}
