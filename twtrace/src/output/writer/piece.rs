//! Owns: a piece to be written, what is done before that, and what of it counts as missing where it was not.
//! Must not know: where it is written to.

use std::fmt;
use std::io;
use std::os::fd::OwnedFd;

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

/// What the thread does with the descriptor that it writes to, once all before it is written: whatever takes a disk may take its time. It may
/// give another descriptor to write to. An error is the writer's from then on, and names what it is about.
pub type Turn = Box<dyn FnOnce(&OwnedFd) -> io::Result<Option<Next>> + Send>;

/// Another descriptor to write to.
#[derive(Debug)]
pub struct Next {
    /// It.
    pub fd: OwnedFd,
    /// What it is called.
    pub name: String,
}

/// Something to write.
pub(super) struct Piece {
    /// To be done first; gone once it is begun.
    pub(super) turn: Option<Turn>,
    pub(super) bytes: Bytes,
    pub(super) units: Units,
    /// Bytes of it that were written.
    pub(super) written: usize,
}

impl fmt::Debug for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} bytes, {:?}", self.written, self.bytes.len(), self.units)
    }
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
