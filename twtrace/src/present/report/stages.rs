//! Owns: the way of a recording's batches into the count, in three stages at once: they are unpacked on one thread, rows are made of
//! their columns on another, which looks at what failed as well, and they are counted on the caller's, after what their namespaces allow.
//! Must not know: which columns there are, how rows are counted.
//!
//! The caller numbers the texts of a batch before it counts the rows of the one before: so rows are made while others are counted, and
//! texts have one owner.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

use arrow_array::RecordBatch;

use super::Error;
use super::columns::{Columns, Piece, Reader, wanted};
use super::count::Counting;
use crate::engine::Capacity;
use crate::engine::failures::Failures;
use crate::engine::row::Row;
use crate::recording::{Ended, Namespace, Recording};

/// Batches that wait to be numbered, and to be made rows of.
const BATCHES: usize = 2;
/// Pieces that wait to be counted.
const PIECES: usize = 4;

/// A batch, and the namespaces that were met before it.
struct Load {
    batch: RecordBatch,
    met: Vec<Namespace>,
}

/// A batch of which rows are being made.
struct NumberedBatch {
    columns: Arc<Columns>,
    met: Vec<Namespace>,
}

/// What the caller has of the other stages.
struct Stages {
    loads: Receiver<Load>,
    columns: SyncSender<Arc<Columns>>,
    pieces: Receiver<Piece>,
    /// Rows that were counted: their room is used again.
    used: Sender<Vec<Row>>,
}

/// Counts a recording to its end. Returns that, and the namespaces that were met after its head.
///
/// # Errors
/// Where no thread can be started.
pub(super) fn count(
    mut recording: Recording,
    reader: &mut Reader,
    counting: &mut Counting,
) -> Result<(Ended, Vec<Namespace>), Error> {
    let (loads, columns) = (sync_channel(BATCHES), sync_channel(BATCHES));
    let (pieces, used) = (sync_channel(PIECES), channel());
    recording.only(&wanted());
    let unpack = start("unpack", move || unpack(recording, &loads.0))?;
    let failures = counting.engine.failures.take();
    let rows = start("rows", move || make_rows(&columns.1, &pieces.0, &used.1, failures))?;
    let stages = Stages { loads: loads.1, columns: columns.0, pieces: pieces.1, used: used.0 };
    let counted = stages.count(reader, counting);
    counting.engine.failures = join(rows);
    let recording = join(unpack);
    let met = recording.met().to_vec();
    let ended = match counted {
        Err(why) => Ended::Missing { why },
        Ok(()) => recording.end(),
    };
    Ok((ended, met))
}

fn start<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Error> {
    Builder::new().name(name.to_owned()).spawn(work).map_err(Error::Thread)
}

fn join<T>(thread: JoinHandle<T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn unpack(mut recording: Recording, loads: &SyncSender<Load>) -> Recording {
    let mut known = 0;
    while let Some(batch) = recording.next_batch() {
        let met = recording.met()[known..].to_vec();
        known += met.len();
        // Nobody takes it any more: what it held cannot be counted.
        if loads.send(Load { batch, met }).is_err() {
            break;
        }
    }
    recording
}

/// What failures are told of needs rows alone, so it is done where they are made. Returns that.
fn make_rows(
    columns: &Receiver<Arc<Columns>>,
    pieces: &SyncSender<Piece>,
    used: &Receiver<Vec<Row>>,
    mut failures: Option<Box<Failures>>,
) -> Option<Box<Failures>> {
    for columns in columns {
        for from in columns.pieces() {
            let piece = columns.piece(from, used.try_recv().unwrap_or_default());
            if let Some(failures) = &mut failures {
                columns.tell(&piece, failures);
            }
            let is_last = piece.whole.is_err();
            if pieces.send(piece).is_err() || is_last {
                return failures;
            }
        }
    }
    failures
}

impl Stages {
    /// Counts all batches.
    ///
    /// # Errors
    /// In words for a user, where a batch holds what no recording holds; rows before that were counted.
    fn count(self, reader: &mut Reader, counting: &mut Counting) -> Result<(), String> {
        let mut before: Option<NumberedBatch> = None;
        loop {
            let next = self.loads.recv().ok().map(|load| self.number(load, reader, counting));
            if let Some(batch) = before.take() {
                self.count_batch(&batch, reader, counting)?;
            }
            match next {
                Some(batch) => before = Some(batch?),
                None => return Ok(()),
            }
        }
    }

    /// Numbers what a batch names, and has rows made of it.
    fn number(
        &self,
        Load { batch, met }: Load,
        reader: &mut Reader,
        counting: &mut Counting,
    ) -> Result<NumberedBatch, String> {
        let columns = Arc::new(reader.columns(&batch, counting)?);
        // Where nobody takes it, the thread has died: no piece comes either, and joining it says so.
        let _ = self.columns.send(columns.clone());
        Ok(NumberedBatch { columns, met })
    }

    fn count_batch(
        &self,
        NumberedBatch { columns, met }: &NumberedBatch,
        reader: &mut Reader,
        counting: &mut Counting,
    ) -> Result<(), String> {
        met.iter().for_each(|namespace| allow(namespace, counting));
        for _ in columns.pieces() {
            let piece = self.pieces.recv().map_err(|gone| gone.to_string())?;
            reader.count(columns, &piece, counting)?;
            // As above.
            let _ = self.used.send(piece.rows);
        }
        Ok(())
    }
}

pub(super) fn capacity_of(namespace: &Namespace) -> Option<Capacity> {
    let settings = namespace.sysctls.clone()?.counted()?;
    Some(Capacity { name: namespace.name.clone(), settings })
}

/// Says what a namespace allows, where that is known and was not said before.
pub(super) fn allow(namespace: &Namespace, counting: &mut Counting) {
    let is_counted = counting.engine.pools.capacity(namespace.netns).is_some();
    if let Some(capacity) = capacity_of(namespace).filter(|_| !is_counted) {
        counting.engine.pools.allow(namespace.netns, capacity);
    }
}
