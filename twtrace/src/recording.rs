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
mod open_error;
mod reader;
mod rows;
pub mod schema;
mod seeds;
mod stream;
mod times;
mod vet;

pub use cache::{Caches, Known};
pub use encoder::{EncodeError, Encoder};
pub use meta::{Command, Ending, Exit, FORMAT, Head, Namespace, Stop, Tail, Usage};
pub use open_error::OpenError;
pub use reader::{Ended, Events, Recording};
pub use rows::{Malformed, Rows};

#[cfg(test)]
pub(crate) mod tests;
