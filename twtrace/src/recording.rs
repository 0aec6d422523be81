//! Owns: the recording: a file of events that every program which reads Arrow can open, and what must be known about them.
//! Must not know: where events come from, what is made of a recording.
//!
//! A recording is an Arrow IPC stream (<https://arrow.apache.org/docs/format/Columnar.html#ipc-streaming-format>):
//!
//! 1. the schema; its metadata hold the [`Head`];
//! 2. every dictionary, empty or not, and a batch of no rows: pyarrow wants all dictionaries before the first batch;
//! 3. batches of events, each after what its dictionaries have gained since; and between them *notes*;
//! 4. a note with the [`Tail`], and the mark of the end.
//!
//! A note is a batch of no rows whose message carries custom metadata. Readers that do not know of notes see nothing.
//! What was not known at the start goes into a note, never into a rewritten head: a recording that was cut off anywhere is
//! read up to its last complete batch, and lacks nothing but its tail.

mod cache;
mod column;
mod columns;
mod encoder;
pub mod exercise;
mod filling;
mod frame;
pub mod lists;
mod meta;
mod note;
mod reader;
mod rows;
pub mod schema;
mod seeds;
mod stream;
mod times;
mod vet;

pub use cache::{Caches, Dictionary};
pub use encoder::{EncodeError, Encoder};
pub use meta::{Command, Ending, Exit, FORMAT, Head, Namespace, Stop, Tail, Usage};
pub use reader::{Ended, Events, Recording};
pub use rows::{Malformed, Rows};

use std::io;

#[cfg(test)]
pub(crate) mod tests;

/// Why a file cannot be read as a recording at all.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is no such file, or it may not be read.
    #[error("cannot open {path}: {error}")]
    Io {
        /// Its path, escaped.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is a folder.
    #[error("{0} is a folder: name one recording (*.twt) in it")]
    Folder(
        /// Its path, escaped.
        String,
    ),
    /// It is something else, or was cut off in its head.
    #[error("{path} is no recording of twtrace: {why}")]
    Foreign {
        /// Its path, escaped.
        path: String,
        /// What it is instead.
        why: String,
    },
    /// It was made by a twtrace from the future.
    #[error("{path} has version {format} of the format, this twtrace reads up to {FORMAT}: use a newer one")]
    TooNew {
        /// Its path, escaped.
        path: String,
        /// Its version.
        format: u32,
    },
}
