//! Owns: the way in for bytes that nobody vouches for, shared by the fuzzer and by the tests.
//! Must not know: where the bytes come from.

use std::io::Cursor;

use super::{Ended, Recording};

/// What a reader got out of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Read {
    /// Rows of complete batches.
    pub rows: usize,
    /// Events that could be made of them.
    pub events: usize,
    /// Sockets from before.
    pub seeds: usize,
    /// Whether the end was there, for whoever read batches and for whoever read events.
    pub complete: [bool; 2],
}

/// Reads `bytes` as a recording in every way there is: by batch and by event. `None` where they are none.
pub fn exercise(bytes: &[u8]) -> Option<Read> {
    let open = || Recording::read(Cursor::new(bytes.to_vec()), "bytes").ok();
    let is_complete = |recording: Recording| matches!(recording.end(), Ended::Complete(_));
    let mut by_batch = open()?;
    let rows = by_batch.batches().map(|batch| batch.num_rows()).sum();
    let seeds = by_batch.seeds().len();
    let mut by_event = open()?;
    let events = by_event.events().count();
    Some(Read { rows, events, seeds, complete: [is_complete(by_batch), is_complete(by_event)] })
}
