//! Owns: how a pattern is compared with a process name, on both sides alike: by words and masks, with no loop over bytes.
//! Must not know: how a pattern was spelled, who asks.

use crate::wire::Words;
use crate::{COMM_LEN, Plain};

/// A process name as it is wanted: how it begins, how it ends, and how long it is at least. A whole name begins with all of
/// its bytes, the NULs behind it included.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NamePattern {
    /// What the name begins with.
    pub head: Words,
    /// Bits of `head` that count.
    pub head_mask: Words,
    /// What the name ends with, moved to the last bytes.
    pub tail: Words,
    /// Bits of `tail` that count.
    pub tail_mask: Words,
    /// Bytes of `head` and `tail` together: they must not overlap in a shorter name.
    pub least: u64,
}

// SAFETY: repr(C), u64 only.
unsafe impl Plain for NamePattern {}

impl NamePattern {
    /// Whole names.
    pub fn whole(name: [u8; COMM_LEN]) -> Self {
        let head = crate::wire::words_of_bytes(name);
        Self { head, head_mask: [u64::MAX; 2], ..Self::default() }
    }

    /// Names that begin with `head` and end with `tail`. `None` where no name of the kernel is long enough.
    pub fn around(head: &[u8], tail: &[u8]) -> Option<Self> {
        let least = head.len() + tail.len();
        if least >= COMM_LEN {
            return None;
        }
        let spread = |bytes: &[u8], at: usize| {
            let (mut value, mut mask) = ([0; COMM_LEN], [0; COMM_LEN]);
            value[at..at + bytes.len()].copy_from_slice(bytes);
            mask[at..at + bytes.len()].fill(0xff);
            (crate::wire::words_of_bytes(value), crate::wire::words_of_bytes(mask))
        };
        let ((head, head_mask), (tail, tail_mask)) = (spread(head, 0), spread(tail, COMM_LEN - tail.len()));
        Some(Self { head, head_mask, tail, tail_mask, least: least as u64 })
    }
}

/// A name with nothing behind its NUL: older kernels leave there what a longer name was.
#[inline(always)]
pub fn cut([low, high]: Words) -> Words {
    let (low_kept, high_kept) = (before_nul(low), before_nul(high));
    [low & low_kept, if low_kept == u64::MAX { high & high_kept } else { 0 }]
}

/// All ones for the bytes before the first NUL. Bytes are in memory order from the lowest: both sides are little-endian.
#[inline(always)]
fn before_nul(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    // The lowest of these bits is exact; a borrow can only spoil those above it.
    let nuls = word.wrapping_sub(ONES) & !word & (ONES << 7);
    let first = nuls & nuls.wrapping_neg();
    (first >> 7).wrapping_sub(1)
}

/// A name from [`cut`], moved so that its last byte is the last of the words, and its length.
#[inline(always)]
pub fn at_end([mut low, mut high]: Words) -> (Words, u64) {
    let mut length = 16;
    if high == 0 {
        (low, high, length) = (0, low, 8);
    }
    if high >> 32 == 0 {
        (low, high, length) = (low << 32, high << 32 | low >> 32, length - 4);
    }
    if high >> 48 == 0 {
        (low, high, length) = (low << 16, high << 16 | low >> 48, length - 2);
    }
    if high >> 56 == 0 {
        (low, high, length) = (low << 8, high << 8 | low >> 56, length - 1);
    }
    ([low, high], if high == 0 { 0 } else { length })
}

/// Whether the bits of `name` that count are those of `wanted`.
#[inline(always)]
pub fn agrees(name: Words, wanted: Words, mask: Words) -> bool {
    (name[0] & mask[0]) ^ wanted[0] | (name[1] & mask[1]) ^ wanted[1] == 0
}
