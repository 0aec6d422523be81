//! Owns: buffers that one thread fills and another one reads, which are filled again then: memory that is new costs the kernel more than moving
//! through it what it holds.
//! Must not know: what is in them.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};

/// Where buffers come from, all of one size. That which was read last comes first, as it still lies in the processor's cache.
#[derive(Clone, Debug)]
pub struct Buffers {
    kept: Arc<Mutex<Vec<BytesMut>>>,
    bytes: usize,
    most: usize,
}

impl Buffers {
    /// Buffers of so many `bytes`, of which `most` are kept while nobody needs them.
    pub fn new(bytes: usize, most: usize) -> Self {
        Self { kept: Arc::default(), bytes, most }
    }

    /// An empty one.
    pub fn take(&self) -> BytesMut {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| BytesMut::with_capacity(self.bytes))
    }

    /// What was put into one, which is given back once that is dropped. In its place stands an empty one.
    pub fn finish(&self, buffer: &mut BytesMut) -> Filled {
        Filled { buffer: std::mem::replace(buffer, self.take()), from: self.clone() }
    }

    /// One that had to grow is not one of these any more.
    fn keep(&self, mut buffer: BytesMut) {
        buffer.clear();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < self.most && buffer.capacity() == self.bytes {
            kept.push(buffer);
        }
    }

    /// How many are kept now.
    #[cfg(test)]
    pub fn kept(&self) -> usize {
        self.kept.lock().unwrap().len()
    }
}

/// See [`Buffers::finish`].
#[derive(Debug)]
pub struct Filled {
    buffer: BytesMut,
    from: Buffers,
}

#[cfg(test)]
impl Filled {
    /// Room in it.
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }
}

impl Deref for Filled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer
    }
}

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl From<Filled> for Bytes {
    fn from(filled: Filled) -> Self {
        Self::from_owner(filled)
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.from.keep(std::mem::take(&mut self.buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_empty_once_nobody_reads_it_unless_it_grew_or_there_are_enough() {
        let buffers = Buffers::new(409, 2);
        let mut buffer = buffers.take();
        let mut fill = |bytes: usize| {
            buffer.extend_from_slice(&vec![7; bytes]);
            Bytes::from(buffers.finish(&mut buffer))
        };
        let filled = [fill(11), fill(409), fill(13)];
        assert_eq!((filled.each_ref().map(Bytes::len), buffers.kept()), ([11, 409, 13], 0));
        let part = filled[0].slice(3..5);
        drop(filled);
        assert_eq!((&part[..], buffers.kept()), (&[7, 7][..], 2));
        drop(part);
        assert_eq!(buffers.kept(), 2);
        drop(fill(410));
        assert_eq!(buffers.kept(), 1);
        assert_eq!((buffers.take().len(), buffers.kept(), buffers.take().capacity()), (0, 0, 409));
    }
}
