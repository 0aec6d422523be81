//! Owns: the two kinds of dictionary columns that are filled row by row.
//! Must not know: which column is which.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;

use arrow_array::builder::{PrimitiveBuilder, StringBuilder};
use arrow_array::types::{Int8Type, Int32Type};
use arrow_array::{Array as _, ArrayRef, DictionaryArray, StringArray};
use arrow_schema::ArrowError;
use foldhash::fast::RandomState;
use hashbrown::HashMap;

/// A dictionary that has grown beyond this is begun anew with the next batch, so that memory stays bounded here and in
/// every reader.
const DICTIONARY: usize = 8192;

/// A column of words known beforehand.
pub(super) struct Words {
    keys: PrimitiveBuilder<Int8Type>,
    words: Arc<StringArray>,
}

impl Words {
    pub(super) fn new(words: impl IntoIterator<Item = &'static str>) -> Self {
        Self { keys: PrimitiveBuilder::new(), words: Arc::new(StringArray::from_iter_values(words)) }
    }

    /// `index` is that of the word in the list it was made of.
    pub(super) fn append(&mut self, index: Option<usize>) {
        self.keys.append_option(index.map(|index| index as i8));
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        Ok(Arc::new(DictionaryArray::try_new(self.keys.finish(), self.words.clone())?))
    }
}

/// A column of texts that come again. `K` is what a text is known by.
pub(super) struct Texts<K> {
    keys: PrimitiveBuilder<Int32Type>,
    known: HashMap<K, i32, RandomState>,
    texts: StringBuilder,
    /// The dictionary of the last batch, which need not be sent again where nothing was added.
    sent: Arc<StringArray>,
}

impl<K: Eq + Hash> Texts<K> {
    pub(super) fn new() -> Self {
        Self {
            keys: PrimitiveBuilder::new(),
            known: HashMap::default(),
            texts: StringBuilder::new(),
            sent: Arc::new(StringArray::new_null(0)),
        }
    }

    pub(super) fn append<Q>(&mut self, key: Option<&Q>, text: impl FnOnce(&Q) -> String)
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ToOwned<Owned = K> + ?Sized,
    {
        let Some(key) = key else {
            self.keys.append_null();
            return;
        };
        if let Some(index) = self.known.get(key) {
            self.keys.append_value(*index);
            return;
        }
        let index = self.known.len() as i32;
        self.texts.append_value(text(key));
        self.known.insert(key.to_owned(), index);
        self.keys.append_value(index);
    }

    pub(super) fn finish(&mut self) -> Result<ArrayRef, ArrowError> {
        if self.sent.len() != self.known.len() {
            self.sent = Arc::new(self.texts.finish_cloned());
        }
        let column = DictionaryArray::try_new(self.keys.finish(), self.sent.clone())?;
        if self.known.len() > DICTIONARY {
            *self = Self::new();
        }
        Ok(Arc::new(column))
    }
}
