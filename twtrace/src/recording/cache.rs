//! Owns: what was made of a dictionary's texts, kept from batch to batch: a dictionary grows by a few texts a batch, and only those are
//! looked at.
//! Must not know: what is made of a text.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::cast::AsArray as _;
use arrow_array::{Array as _, ArrayRef, StringArray};

/// Bytes of a text, at most: the kernel's paths have 4096, of which each may have become three of U+FFFD.
const MOST_TEXT: usize = 3 * 4096;

/// The texts of a dictionary as they were last seen, and what was made of each.
#[derive(Debug)]
pub struct Dictionary<T> {
    texts: Option<ArrayRef>,
    made: Arc<Vec<T>>,
}

impl<T> Default for Dictionary<T> {
    fn default() -> Self {
        Self { texts: None, made: Arc::default() }
    }
}

impl<T: Clone> Dictionary<T> {
    /// What is made of each text. `make` is called for texts that were not there the last time.
    ///
    /// # Errors
    /// In words for a user: where it holds no texts, or one that no recording has; else what `make` says.
    pub fn of(
        &mut self,
        texts: &ArrayRef,
        mut make: impl FnMut(&str) -> Result<T, String>,
    ) -> Result<Arc<Vec<T>>, String> {
        if self.texts.as_ref().is_some_and(|known| Arc::ptr_eq(known, texts)) {
            return Ok(self.made.clone());
        }
        let found: &StringArray = texts
            .as_string_opt()
            .ok_or_else(|| format!("its dictionary holds no text but {}", texts.data_type()))?;
        let known = self.texts.as_ref().and_then(|known| known.as_string_opt::<i32>());
        let same = known.filter(|known| begins_with(found, known)).map_or(0, |known| known.len());
        let made = Arc::make_mut(&mut self.made);
        made.truncate(same);
        // Half of it must not be taken for all.
        self.texts = None;
        for text in found.iter().skip(same) {
            let text = text.unwrap_or_default();
            if text.len() > MOST_TEXT {
                return Err(format!(
                    "a text of {} bytes, of which a recording has {MOST_TEXT} at most",
                    text.len()
                ));
            }
            made.push(make(text)?);
        }
        self.texts = Some(texts.clone());
        Ok(self.made.clone())
    }
}

/// Whether a dictionary is another one with more behind it.
fn begins_with(texts: &StringArray, start: &StringArray) -> bool {
    let count = start.len();
    if count > texts.len() || start.null_count() + texts.null_count() != 0 {
        return false;
    }
    let (all, first) = (texts.value_offsets(), start.value_offsets());
    let bytes = |array: &StringArray, offsets: &[i32]| {
        let (from, to) = (offsets.first().copied()?, offsets.get(count).copied()?);
        let range = usize::try_from(from).ok()?..usize::try_from(to).ok()?;
        Some(array.value_data().get(range)?.to_vec())
    };
    let lengths =
        |offsets: &[i32]| offsets.windows(2).take(count).map(|pair| pair[1] - pair[0]).collect::<Vec<_>>();
    bytes(texts, all) == bytes(start, first) && lengths(all) == lengths(first)
}

/// One for each column, whatever is made of its texts.
#[derive(Default)]
pub struct Caches(HashMap<&'static str, Box<dyn Any + Send>>);

impl Caches {
    /// That of a column.
    pub(super) fn of<T: Send + Sync + 'static>(&mut self, column: &'static str) -> &mut Dictionary<T> {
        let cache = self.0.entry(column).or_insert_with(|| Box::new(Dictionary::<T>::default()));
        if !cache.is::<Dictionary<T>>() {
            *cache = Box::new(Dictionary::<T>::default());
        }
        match cache.downcast_mut() {
            Some(known) => known,
            None => unreachable!("it was just made of this type"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_are_new_are_looked_at() {
        let dictionary = |texts: &[&str]| -> ArrayRef { Arc::new(StringArray::from(texts.to_vec())) };
        let mut known = Dictionary::<usize>::default();
        let mut looked_at = Vec::new();
        for texts in [&["a", "bb"][..], &["a", "bb", "ccc"], &["a", "bb", "ccc"], &["ab", "b"], &["ab"]] {
            let made = known.of(&dictionary(texts), |text| {
                looked_at.push(text.to_owned());
                Ok(text.len())
            });
            assert_eq!(*made.unwrap(), texts.iter().map(|text| text.len()).collect::<Vec<_>>());
        }
        assert_eq!(looked_at, ["a", "bb", "ccc", "ab", "b", "ab"]);
        let failed =
            known.of(&dictionary(&["x", "y"]), |text| if text == "y" { Err("no".into()) } else { Ok(1) });
        assert_eq!(failed, Err("no".to_owned()));
        assert_eq!(*known.of(&dictionary(&["x"]), |_| Ok(7)).unwrap(), [7], "half of one is none");
        let long = known.of(&dictionary(&[&"x".repeat(MOST_TEXT + 1)]), |_| Ok(7));
        assert!(long.unwrap_err().contains("12289 bytes"));
    }
}
