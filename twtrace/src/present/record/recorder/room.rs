//! Owns: what becomes of events: into the batch that is being filled, or, where a reader is so slow that there is no room, counted.
//! Must not know: where batches are written to, how a recording begins and ends.
//!
//! A batch that was closed is always handed over: its dictionaries are needed by all that follow. So room is looked for before an event is
//! taken in, and what waits is the bound of the output and one batch at most.

use std::io;
use std::time::Instant;

use super::{BATCH_EVENTS, Recorder, SECOND_SIGNAL, signals};
use crate::model::event::{Event, Kind};
use crate::output::READING;
use crate::recording::Tail;

/// What is known of the room for more.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// There was none when it was looked for last.
    is_full: bool,
    /// Events and sockets from before in the batch that is being filled.
    pub(super) held: u64,
    /// A loss that there was no room to tell of.
    lost: Option<Event>,
    /// Those that were not written to outputs before this one.
    unwritten_before: u64,
    /// What went wrong where nobody could be told.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Events that were written; what was taken in lately may not be yet.
    pub fn written(&self) -> u64 {
        self.events - self.unwritten
    }

    /// Events that a reader was too slow for, and sockets from before.
    pub fn unread(&self) -> u64 {
        self.room.unwritten_before + self.output.reader().map_or(0, crate::output::Writer::unwritten)
    }

    /// Events that were taken in and will not be written: what could not be is gone. To be asked once.
    pub fn give_up(&mut self) -> u64 {
        self.events -= self.unwritten;
        std::mem::take(&mut self.unwritten)
    }

    /// Takes an event into the batch, or counts it.
    pub(super) fn take_in(&mut self, event: &Event) -> io::Result<()> {
        if self.encoder.is_none() {
            return Ok(());
        }
        if self.room.is_full {
            self.look_for_room()?;
        }
        match self.output.reader().filter(|_| self.room.is_full) {
            None => self.append(event),
            Some(_) if event.kind == Kind::Lost => {
                self.lose(event);
                Ok(())
            }
            Some(reader) => {
                reader.lose(1);
                Ok(())
            }
        }
    }

    /// Looks whether there is room, and tells what was lost once there is.
    pub(super) fn look_for_room(&mut self) -> io::Result<()> {
        self.room.is_full = !self.output.has_room();
        if self.room.is_full { Ok(()) } else { self.tell_loss() }
    }

    fn tell_loss(&mut self) -> io::Result<()> {
        self.room.lost.take().map_or(Ok(()), |lost| self.append(&lost))
    }

    /// Keeps a loss until it can be told of.
    fn lose(&mut self, event: &Event) {
        let mut event = event.clone();
        let before = self.room.lost.take().and_then(|lost| lost.loss);
        if let (Some(before), Some(loss)) = (before, &mut event.loss) {
            **loss = loss.and(&before);
        }
        self.room.lost = Some(event);
    }

    fn append(&mut self, event: &Event) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.append(event);
        let waiting = encoder.waiting();
        let counts = u64::from(event.kind != Kind::Listed);
        (self.events, self.unwritten) = (self.events + counts, self.unwritten + counts);
        self.room.held += u64::from(event.kind != Kind::Lost);
        self.first_ns.get_or_insert(event.mono_ns);
        if let Some(conn) = &event.conn {
            self.met.meet(conn.netns);
        }
        if waiting >= BATCH_EVENTS { self.close_batch() } else { Ok(()) }
    }

    pub(super) fn close_batch(&mut self) -> io::Result<()> {
        self.first_ns = None;
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.close_batch().map_err(|error| self.output.failed(error))?;
        self.output.write_events(encoder.bytes(), std::mem::take(&mut self.room.held))?;
        self.unwritten = 0;
        self.room.is_full = !self.output.has_room();
        Ok(())
    }

    /// Hands over what is left, for a reader to have it before the trace ends.
    pub(super) fn hand_over_last(&mut self) {
        if self.output.reader().is_some() {
            self.room.failed = self.tell_loss().and_then(|()| self.close_batch()).err();
        }
    }

    /// Writes the end, and lets a reader have it until `until`, or where that is not said, until a signal.
    pub(super) fn end_in_time(&mut self, tail: &Tail, until: Option<Instant>) -> io::Result<()> {
        if let Some(failed) = self.room.failed.take() {
            return Err(failed);
        }
        self.write_end(tail)?;
        let until = until.map(|until| until.max(Instant::now() + READING));
        let first = self.signalled.map(|(first, _)| first);
        let is_told =
            || signals::take().is_some() && first.is_none_or(|first| first.elapsed() >= SECOND_SIGNAL);
        self.output.read_out(|| until.is_some_and(|until| Instant::now() >= until) || is_told())
    }

    /// Lets a reader have what was made before something failed.
    pub fn leave_to_reader(&self) {
        let until = Instant::now() + READING;
        // What failed is said already.
        let _ = self.output.read_out(|| Instant::now() >= until);
    }

    /// Goes on in an output that was just opened.
    pub(super) fn room_anew(&mut self, unwritten_before: u64) -> io::Result<()> {
        self.room = Room { unwritten_before, ..Room::default() };
        self.output.wait_for_nobody()
    }
}
