//! Owns: a piece to be written, and what of it counts as missing where it was not.
//! Must not know: where it is written to.

use bytes::Bytes;

/// Counts for what a piece holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    /// Each line is one.
    Lines(u64),
    /// All of it is one.
    One,
    /// All of it is so many, and a part of it none.
    Whole(u64),
    /// It counts for nothing when it is missing.
    None,
}

impl Units {
    pub(super) fn count(self) -> u64 {
        match self {
            Self::Lines(units) | Self::Whole(units) => units,
            Self::One => 1,
            Self::None => 0,
        }
    }
}

/// Something to write.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) bytes: Bytes,
    pub(super) units: Units,
    /// Bytes of it that were written.
    pub(super) written: usize,
}

impl Piece {
    /// What it holds that was not written. Half a line is none.
    pub(super) fn unwritten(&self) -> u64 {
        let written = self.bytes.get(..self.written).unwrap_or_default();
        match self.units {
            Units::Lines(lines) => lines - written.iter().filter(|byte| **byte == b'\n').count() as u64,
            Units::One | Units::Whole(_) | Units::None => self.units.count(),
        }
    }
}
