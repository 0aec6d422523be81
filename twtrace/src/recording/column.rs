//! Owns: reading one column of a batch: numbers, and words by way of a dictionary.
//! Must not know: which columns there are.

use std::str::FromStr;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::types::{ArrowPrimitiveType, Int8Type, Int32Type};
use arrow_array::{Array as _, PrimitiveArray, RecordBatch};

use super::cache::Caches;

/// A batch that holds what no recording of twtrace holds.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column}: {why}")]
pub struct Malformed {
    column: &'static str,
    why: String,
}

impl Malformed {
    pub(super) fn new(column: &'static str, why: impl Into<String>) -> Self {
        Self { column, why: why.into() }
    }
}

/// A column of numbers; all null where the batch has no such column.
pub(super) struct NumberColumn<T: ArrowPrimitiveType> {
    name: &'static str,
    values: Option<PrimitiveArray<T>>,
}

impl<T: ArrowPrimitiveType> NumberColumn<T> {
    pub(super) fn of(batch: &RecordBatch, name: &'static str) -> Result<Self, Malformed> {
        let values = match batch.column_by_name(name) {
            None => None,
            Some(column) => Some(
                column
                    .as_primitive_opt::<T>()
                    .ok_or_else(|| Malformed::new(name, format!("it is a {}", column.data_type())))?
                    .clone(),
            ),
        };
        Ok(Self { name, values })
    }

    pub(super) fn get(&self, row: usize) -> Option<T::Native> {
        let values = self.values.as_ref()?;
        values.is_valid(row).then(|| values.value(row))
    }

    pub(super) fn need(&self, row: usize) -> Result<T::Native, Malformed> {
        self.get(row).ok_or_else(|| Malformed::new(self.name, "it is null where it must not be"))
    }
}

/// A dictionary column, each text of which was turned into a value once.
pub(super) struct Table<T> {
    name: &'static str,
    keys: Option<Keys>,
    values: Arc<Vec<T>>,
}

enum Keys {
    Byte(PrimitiveArray<Int8Type>),
    Int(PrimitiveArray<Int32Type>),
}

impl<T: Clone + Send + Sync + 'static> Table<T> {
    pub(super) fn of(
        batch: &RecordBatch,
        caches: &mut Caches,
        name: &'static str,
        value: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Self, Malformed> {
        let Some(column) = batch.column_by_name(name) else {
            return Ok(Self { name, keys: None, values: Arc::default() });
        };
        let (keys, texts) = if let Some(words) = column.as_dictionary_opt::<Int8Type>() {
            (Keys::Byte(words.keys().clone()), words.values())
        } else if let Some(texts) = column.as_dictionary_opt::<Int32Type>() {
            (Keys::Int(texts.keys().clone()), texts.values())
        } else {
            return Err(Malformed::new(name, format!("it is a {}", column.data_type())));
        };
        let values = caches.of::<T>(name).of(texts, value).map_err(|why| Malformed::new(name, why))?;
        Ok(Self { name, keys: Some(keys), values })
    }
}

impl<T> Table<T> {
    pub(super) fn index(&self, row: usize) -> Option<usize> {
        let key = match self.keys.as_ref()? {
            Keys::Byte(keys) => i32::from(keys.is_valid(row).then(|| keys.value(row))?),
            Keys::Int(keys) => keys.is_valid(row).then(|| keys.value(row))?,
        };
        usize::try_from(key).ok()
    }

    pub(super) fn get_ref(&self, row: usize) -> Option<&T> {
        self.values.get(self.index(row)?)
    }
}

impl<T: Copy> Table<T> {
    pub(super) fn get(&self, row: usize) -> Option<T> {
        self.get_ref(row).copied()
    }

    pub(super) fn need(&self, row: usize) -> Result<T, Malformed> {
        self.get(row).ok_or_else(|| Malformed::new(self.name, "it is null where it must not be"))
    }
}

impl<T: FromStr + Clone + Send + Sync + 'static> Table<T> {
    /// Of texts that each must be one of `T`.
    pub(super) fn parsed(
        batch: &RecordBatch,
        caches: &mut Caches,
        name: &'static str,
    ) -> Result<Self, Malformed> {
        Self::of(batch, caches, name, |text| {
            text.parse()
                .map_err(|_| format!("'{}' is not one of its values", crate::model::escape::printable(text)))
        })
    }
}
