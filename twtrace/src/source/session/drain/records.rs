//! Owns: a batch of raw records on its way to the engine.
//! Must not know: what a record says, where records come from.

use bytes::{BufMut as _, BytesMut};

use crate::host::buffers::{Buffers, Filled};

/// Records in a batch: bounds how long the engine is at one.
const BATCH_RECORDS: usize = 1024;
/// Bytes in a batch.
const BATCH_BYTES: usize = 128 << 10;
/// With room for the last record: a buffer that grows is copied.
const BUFFER_BYTES: usize = BATCH_BYTES + 1024;
/// Buffers that are kept.
const MOST_SPARE: usize = 8;

/// A batch of raw records: each with its length before it.
#[derive(Debug)]
pub(in crate::source::session) struct Records(Filled);

impl Records {
    /// One after the other.
    pub(in crate::source::session) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut left = &self.0[..];
        std::iter::from_fn(move || {
            let (len, rest) = left.split_first_chunk()?;
            let record;
            (record, left) = rest.split_at(rest.len().min(u32::from_ne_bytes(*len) as usize));
            Some(record)
        })
    }
}

/// A batch that is being filled.
pub(super) struct Filling {
    bytes: BytesMut,
    records: usize,
    buffers: Buffers,
}

impl Filling {
    pub(super) fn new() -> Self {
        let buffers = Buffers::new(BUFFER_BYTES, MOST_SPARE);
        Self { bytes: buffers.take(), records: 0, buffers }
    }

    /// Whether another record belongs into the next batch.
    pub(super) fn is_full(&self) -> bool {
        self.records >= BATCH_RECORDS || self.bytes.len() >= BATCH_BYTES
    }

    pub(super) fn put(&mut self, record: &[u8]) {
        self.bytes.put_u32_ne(u32::try_from(record.len()).unwrap_or(u32::MAX));
        self.bytes.extend_from_slice(record);
        self.records += 1;
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// What was put in since the last time; `None` if there is nothing.
    pub(super) fn finish(&mut self) -> Option<Records> {
        if std::mem::take(&mut self.records) == 0 {
            return None;
        }
        Some(Records(self.buffers.finish(&mut self.bytes)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(records: &[&[u8]]) -> Records {
        let mut filling = Filling::new();
        records.iter().for_each(|record| filling.put(record));
        filling.finish().unwrap()
    }

    #[test]
    fn a_batch_gives_its_records_and_no_more() {
        let batch = filled(&[b"seven", b"", b"thirteen"]);
        assert_eq!(batch.iter().collect::<Vec<_>>(), [&b"seven"[..], b"", b"thirteen"]);
        // One that is torn is what there is of it.
        let mut torn = BytesMut::from(&batch.0[..20]);
        let torn = Records(Buffers::new(BUFFER_BYTES, 0).finish(&mut torn));
        assert_eq!(torn.iter().last(), Some(&b"thi"[..]));
    }

    #[test]
    fn buffers_are_filled_again_and_never_grow() {
        let (mut filling, record) = (Filling::new(), [7; 409]);
        assert!(filling.finish().is_none());
        let mut waiting = Vec::new();
        for _ in 0..3 * MOST_SPARE {
            while !filling.is_full() {
                filling.put(&record);
            }
            let batch = filling.finish().unwrap();
            assert!(batch.iter().all(|it| it == record) && batch.0.capacity() == BUFFER_BYTES);
            waiting.push(batch);
        }
        waiting.clear();
        let kept = |filling: &Filling| filling.buffers.kept();
        assert_eq!(kept(&filling), MOST_SPARE);
        filling.put(b"seventeen");
        let batch = filling.finish().unwrap();
        assert_eq!(
            (batch.iter().collect::<Vec<_>>(), kept(&filling)),
            (vec![&b"seventeen"[..]], MOST_SPARE - 1)
        );
    }
}
