//! Owns: what becomes of events: into the batch that is being filled, or, where a reader or a disk is so slow that there is no room, counted, and
//! told in the recording once there is.
//! Must not know: where batches are written to, how a recording begins and ends.
//!
//! A batch that was closed is always handed over: its dictionaries are needed by all that follow. So room is looked for before an event is
//! taken in, and what waits is the bound of the output and one batch at most.
//!
//! What was left out only the recording knows in time: whoever traces looks once a second, and then another file may have begun, or the end. So
//! `unwritten` is told from here, between the last event that was left out and the next that is not.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::{BATCH_EVENTS, Recorder, SECOND_SIGNAL, signals};
use crate::model::event::{Event, Kind, Loss};
use crate::present::record::output::Output;
use crate::recording::Tail;

/// How long what was handed over is waited for when an output is let go, by the engine.
const LETTING_GO: Duration = Duration::from_millis(100);

/// What is known of the room for more.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// There was none when it was looked for last.
    is_full: bool,
    /// What was lost and is not told of yet, for want of room.
    lost: Loss,
    /// When the last of that was, CLOCK_MONOTONIC in nanoseconds.
    lost_ns: u64,
    /// Events and sockets from before in the batch that is being filled.
    pub(super) held: u64,
    /// Of these, events.
    events: u64,
    /// Those that were not written to outputs before this one.
    unwritten_before: u64,
    /// Batches that are not written yet, as far as was looked: bytes that were handed over with it and before, and its events.
    handed: VecDeque<(u64, u64)>,
    /// Events of those that are.
    written: u64,
    /// What went wrong where nobody could be told.
    failed: Option<io::Error>,
}

impl Recorder {
    /// Events that were written; what was taken in lately may not be yet.
    pub fn written(&self) -> u64 {
        let total = self.output.total();
        let done = self.room.handed.iter().take_while(|(given, _)| *given <= total);
        self.room.written + done.map(|(_, events)| events).sum::<u64>()
    }

    /// Events that a reader or a disk was too slow for, or that were handed over before it failed; and sockets from before.
    pub fn unread(&self) -> u64 {
        self.room.unwritten_before + self.output.writer().unwritten()
    }

    /// What is said of a reader or a disk that was too slow for an event, where one was.
    pub fn slow(&self) -> Option<String> {
        let writer = self.output.writer();
        (writer.unwritten() != 0 && writer.error().is_none())
            .then(|| format!("{} {}", writer.name(), writer.slow()))
    }

    /// Events that were taken in and not handed over, which they will not be: something failed. To be asked once.
    pub fn give_up(&mut self) -> u64 {
        std::mem::take(&mut self.room.events)
    }

    /// Whether it is one of those that are recorded or missed: what lives is listed again where a recording begins anew, and a loss is no event.
    pub fn counts(event: &Event) -> bool {
        !matches!(event.kind, Kind::Listed | Kind::Lost)
    }

    /// Takes an event into the batch, or counts it.
    pub(super) fn take_in(&mut self, event: &Event) -> io::Result<()> {
        if self.encoder.is_none() {
            return Ok(());
        }
        if self.room.is_full
            && let Err(error) = self.check_room()
        {
            // Whoever goes on lists what lives, and knows what was lost.
            self.output.writer().lose(u64::from(Self::counts(event)));
            return Err(error);
        }
        let loss = match &event.loss {
            // What could not be written is told already, or will be.
            Some(loss) => Loss { unwritten: 0, ..**loss },
            None if self.room.is_full => {
                self.output.writer().lose(1);
                Loss { unwritten: 1, ..Loss::default() }
            }
            None => return self.append(event),
        };
        if loss.is_empty() {
            return Ok(());
        }
        self.room.lost = self.room.lost.and(&loss);
        self.room.lost_ns = self.room.lost_ns.max(event.mono_ns);
        if self.room.is_full { Ok(()) } else { self.tell_loss() }
    }

    /// Looks whether there is room, and tells what was lost once there is.
    pub(super) fn check_room(&mut self) -> io::Result<()> {
        if let Some(error) = self.output.writer().error() {
            return Err(error);
        }
        self.room.is_full = !self.output.has_room();
        if self.room.is_full { Ok(()) } else { self.tell_loss() }
    }

    /// Tells what was lost and was not told of, whether there is room or not: it is one row.
    pub(super) fn tell_loss(&mut self) -> io::Result<()> {
        let (loss, lost_ns) = (std::mem::take(&mut self.room.lost), std::mem::take(&mut self.room.lost_ns));
        if loss.is_empty() {
            return Ok(());
        }
        let mut event = Event::new(Kind::Lost, lost_ns, None);
        event.loss = Some(Box::new(loss));
        self.append(&event)
    }

    /// What was lost since the recording began, of what the trace has lost so far: what could not be written is the recording's own.
    pub(super) fn lost(&self, of_trace: &Loss) -> Loss {
        Loss { unwritten: self.output.writer().unwritten(), ..of_trace.since(&self.lost_before) }
    }

    fn append(&mut self, event: &Event) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        encoder.append(event);
        let waiting = encoder.waiting();
        let counts = u64::from(Self::counts(event));
        (self.events, self.room.events) = (self.events + counts, self.room.events + counts);
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
        // That there is some again is noticed where what was lost meanwhile is told.
        self.room.is_full |= !self.output.has_room();
        // It is looked once: more may be written by the next look.
        let total = self.output.total();
        while let Some((_, events)) = self.room.handed.front().filter(|(given, _)| *given <= total) {
            self.room.written += events;
            self.room.handed.pop_front();
        }
        self.room.handed.push_back((self.output.given(), std::mem::take(&mut self.room.events)));
        Ok(())
    }

    /// Hands over what is left, to be written before the trace ends.
    pub(super) fn hand_over_last(&mut self) {
        self.room.failed = self.tell_loss().and_then(|()| self.close_batch()).err();
    }

    /// Writes the end, until `until`, or where that is not said, until a signal. A file is not waited for so long.
    pub(super) fn end_in_time(&mut self, tail: &Tail, until: Option<Instant>) -> io::Result<()> {
        if let Some(failed) = self.room.failed.take() {
            return Err(failed);
        }
        self.tell_loss()?;
        self.write_end(tail)?;
        let until = self.output.writer().deadline(until);
        let first = self.signalled.map(|(first, _)| first);
        let is_told =
            || signals::take().is_some() && first.is_none_or(|first| first.elapsed() >= SECOND_SIGNAL);
        self.output.write_out(|| until.is_some_and(|until| Instant::now() >= until) || is_told())
    }

    /// Has what was taken in written before something failed. What does not even have its beginning then is removed.
    pub fn leave_off(&mut self) {
        self.hand_over_last();
        let now = Instant::now();
        let until = self.output.writer().deadline(Some(now)).unwrap_or(now);
        // What failed is said already.
        let _ = self.output.write_out(|| Instant::now() >= until);
        if self.output.is_torn() {
            self.output.discard();
        }
    }

    /// Writes no more to an output that failed; what it does not have by now is not written. Gives what removes a file that came to nothing, to be
    /// called by whoever may wait for its disk, and before the next is opened: it would count as one that is kept.
    pub fn let_go(&mut self) -> Option<impl FnOnce() + Send + use<>> {
        let soon = Instant::now() + LETTING_GO;
        // What failed is said already.
        let _ = self.output.write_out(|| Instant::now() >= soon);
        self.output.is_bare().then(|| self.output.removal())
    }

    /// Goes on in another output, where the one before was let go.
    pub(super) fn change_output(&mut self, output: Output) {
        let (unwritten_before, written) = (self.unread(), self.written());
        self.bytes_before += self.output.total();
        self.room = Room { unwritten_before, written, ..Room::default() };
        self.output = output;
    }
}
