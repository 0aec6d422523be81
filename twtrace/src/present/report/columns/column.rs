//! Owns: one column of a batch: what it says of a row, or to some rows one after the other.
//! Must not know: which columns there are, what is made of them.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int32Type};
use arrow_array::{Array as _, ArrayRef, PrimitiveArray, RecordBatch, StringArray};

use crate::engine::intern::NONE;
use crate::engine::row::Row;
use crate::recording::Dictionary;

/// A column of numbers; `None` where all is null.
pub(super) struct ReportNumbers<T: ArrowPrimitiveType>(Option<PrimitiveArray<T>>);

impl<T: ArrowPrimitiveType> ReportNumbers<T> {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, String> {
        let Some(column) = batch.column_by_name(name) else { return Ok(Self(None)) };
        let column = column.as_primitive_opt::<T>().ok_or_else(|| wrong(name, column))?;
        Ok(Self(told(column)))
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        let column = self.0.as_ref()?;
        column.is_valid(row).then(|| column.value(row))
    }

    /// Whether it says something.
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// Says to each of some rows, which begin at `from`, what the column has there; nothing where it has nothing.
    #[inline]
    pub(super) fn fill(&self, from: usize, rows: &mut [Row], set: impl Fn(&mut Row, T::Native)) {
        let Some(column) = &self.0 else { return };
        for (at, row) in (from..).zip(rows) {
            if column.is_valid(at) {
                set(row, column.value(at));
            }
        }
    }
}

/// The column, unless it says nothing: most columns of most batches do not, and every row asks them all.
fn told<T: ArrowPrimitiveType>(column: &PrimitiveArray<T>) -> Option<PrimitiveArray<T>> {
    (column.null_count() < column.len()).then(|| column.clone())
}

fn wrong(name: &str, column: &ArrayRef) -> String {
    format!("column {name} is a {}", column.data_type())
}

/// A column of words known beforehand.
pub(super) struct Words<T> {
    keys: Option<PrimitiveArray<Int8Type>>,
    values: Vec<T>,
}

impl<T: Copy + FromStr<Err: std::fmt::Display>> Words<T> {
    pub(super) fn of(batch: &RecordBatch, name: &str) -> Result<Self, String> {
        let Some(column) = batch.column_by_name(name) else {
            return Ok(Self { keys: None, values: Vec::new() });
        };
        let words = column.as_dictionary_opt::<Int8Type>().ok_or_else(|| wrong(name, column))?;
        let values = texts(name, words.values())?
            .iter()
            .map(|word| word.unwrap_or_default().parse::<T>().map_err(|why| format!("column {name}: {why}")));
        Ok(Self { values: values.collect::<Result<_, _>>()?, keys: told(words.keys()) })
    }

    #[inline]
    pub(super) fn get(&self, row: usize) -> Option<T> {
        let keys = self.keys.as_ref().filter(|keys| keys.is_valid(row))?;
        self.values.get(keys.value(row) as usize).copied()
    }

    /// As [`ReportNumbers::fill`].
    #[inline]
    pub(super) fn fill(&self, from: usize, rows: &mut [Row], set: impl Fn(&mut Row, T)) {
        if self.keys.is_some() {
            (from..).zip(rows).for_each(|(at, row)| {
                if let Some(value) = self.get(at) {
                    set(row, value);
                }
            });
        }
    }
}

fn texts<'a>(name: &str, values: &'a ArrayRef) -> Result<&'a StringArray, String> {
    values.as_string_opt().ok_or_else(|| wrong(name, values))
}

/// A column of texts or addresses, as numbers.
pub(super) struct Texts {
    keys: Option<PrimitiveArray<Int32Type>>,
    numbers: Arc<Vec<u32>>,
}

impl Texts {
    /// The numbers of a column's texts.
    pub(super) fn of(
        known: &mut Dictionary<u32>,
        batch: &RecordBatch,
        name: &str,
        number: impl FnMut(&str) -> Result<u32, String>,
    ) -> Result<Self, String> {
        let Some(column) = batch.column_by_name(name) else {
            return Ok(Self { keys: None, numbers: Arc::default() });
        };
        let dictionary = column.as_dictionary_opt::<Int32Type>().ok_or_else(|| wrong(name, column))?;
        let numbers = known.of(dictionary.values(), number).map_err(|why| format!("column {name}: {why}"))?;
        Ok(Self { keys: told(dictionary.keys()), numbers })
    }

    /// [`NONE`] where there is none.
    #[inline]
    pub(super) fn get(&self, row: usize) -> u32 {
        let Some(keys) = self.keys.as_ref().filter(|keys| keys.is_valid(row)) else { return NONE };
        self.numbers.get(keys.value(row) as usize).copied().unwrap_or(NONE)
    }

    /// As [`ReportNumbers::fill`].
    #[inline]
    pub(super) fn fill(&self, from: usize, rows: &mut [Row], set: impl Fn(&mut Row, u32)) {
        if self.keys.is_some() {
            (from..).zip(rows).for_each(|(at, row)| set(row, self.get(at)));
        }
    }
}
