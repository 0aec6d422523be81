//! Owns: the events of a recording one by one, with a look at the next; and going back to the first.
//! Must not know: time, views.

use crate::event::Event;
use crate::recording::{Ended, Head, Namespace, OpenError, Recording, Rows};
use crate::tracker::Seed;

/// Opens the recording, the first time and whenever the replay goes back.
pub type Open = Box<dyn FnMut() -> Result<Recording, OpenError>>;

/// A recording that is being told.
pub(super) struct Feed {
    open: Open,
    head: Head,
    seeds: Vec<Seed>,
    recording: Option<Recording>,
    rows: Option<Rows>,
    row: usize,
    next: Option<Event>,
    /// Network namespaces that were met on the way.
    met: Vec<Namespace>,
    ended: Option<Ended>,
}

impl Feed {
    pub(super) fn new(mut open: Open) -> Result<Self, OpenError> {
        let recording = open()?;
        let (head, seeds) = (recording.head().clone(), recording.seeds().to_vec());
        let recording = Some(recording);
        let met = Vec::new();
        let mut feed =
            Self { open, head, seeds, recording, rows: None, row: 0, next: None, met, ended: None };
        feed.advance();
        Ok(feed)
    }

    /// Goes back to the first event.
    pub(super) fn rewind(&mut self) -> Result<(), OpenError> {
        self.recording = Some((self.open)()?);
        (self.rows, self.row, self.next, self.ended) = (None, 0, None, None);
        self.advance();
        Ok(())
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn seeds(&self) -> &[Seed] {
        &self.seeds
    }

    /// What is known of network namespaces so far.
    pub(super) fn namespaces(&self) -> impl Iterator<Item = &Namespace> {
        let tail = self.ended.as_ref().and_then(Ended::tail);
        self.head.namespaces.iter().chain(&self.met).chain(tail.into_iter().flat_map(|tail| &tail.namespaces))
    }

    /// How it ended; `None` while there are events.
    pub(super) fn ended(&self) -> Option<&Ended> {
        self.ended.as_ref().filter(|_| self.next.is_none())
    }

    /// The next event, which stays the next one.
    pub(super) fn peek(&self) -> Option<&Event> {
        self.next.as_ref()
    }

    /// The next event.
    pub(super) fn take(&mut self) -> Option<Event> {
        let event = self.next.take();
        self.advance();
        event
    }

    fn advance(&mut self) {
        while self.next.is_none() && self.ended.is_none() {
            match &self.rows {
                Some(rows) if self.row < rows.len() => match rows.event(self.row) {
                    Ok(event) => {
                        self.row += 1;
                        self.next = Some(event);
                    }
                    Err(malformed) => self.ended = Some(Ended::Missing { why: malformed.to_string() }),
                },
                _ => self.load(),
            }
        }
    }

    fn load(&mut self) {
        let Some(recording) = &mut self.recording else { return };
        let batch = recording.next_batch();
        if recording.met().len() > self.met.len() {
            self.met = recording.met().to_vec();
        }
        match batch.map(|batch| Rows::new(&batch)) {
            Some(Ok(rows)) => (self.rows, self.row) = (Some(rows), 0),
            Some(Err(malformed)) => self.ended = Some(Ended::Missing { why: malformed.to_string() }),
            None => self.ended = self.recording.take().map(Recording::end),
        }
    }
}
