//! Owns: the events of a recording one by one, with a look at the next; and going back to the first.
//! Must not know: time, views.

use std::collections::HashMap;

use crate::engine::{Capacity, Seed};
use crate::model::event::Event;
use crate::model::settings::Settings;
use crate::recording::{Caches, Ended, Head, Namespace, OpenError, Recording, Rows};

/// Opens the recording, the first time and whenever the replay goes back.
pub type OpenReplay = Box<dyn FnMut() -> Result<Recording, OpenError>>;

/// A recording that is being told.
pub(super) struct Feed {
    open: OpenReplay,
    head: Head,
    seeds: Vec<Seed>,
    recording: Option<Recording>,
    rows: Option<Rows>,
    caches: Caches,
    row: usize,
    next: Option<Event>,
    /// What network namespaces allow, as far as that was told by now; the first word counts.
    capacities: HashMap<u32, Capacity>,
    /// Namespaces that were met on the way and are among them.
    met: usize,
    ended: Option<Ended>,
}

impl Feed {
    pub(super) fn new(mut open: OpenReplay) -> Result<Self, OpenError> {
        let recording = open()?;
        let (head, seeds) = (recording.head().clone(), recording.seeds().to_vec());
        let recording = Some(recording);
        let capacities = HashMap::new();
        let mut feed = Self {
            open,
            head,
            seeds,
            recording,
            rows: None,
            caches: Caches::default(),
            row: 0,
            next: None,
            capacities,
            met: 0,
            ended: None,
        };
        learn(&mut feed.capacities, &feed.head.namespaces);
        feed.advance();
        Ok(feed)
    }

    /// Goes back to the first event.
    pub(super) fn rewind(&mut self) -> Result<(), OpenError> {
        self.recording = Some((self.open)()?);
        (self.rows, self.row, self.next, self.ended, self.met) = (None, 0, None, None, 0);
        // What was told on the way is not known yet.
        self.capacities.clear();
        learn(&mut self.capacities, &self.head.namespaces);
        self.advance();
        Ok(())
    }

    pub(super) fn head(&self) -> &Head {
        &self.head
    }

    pub(super) fn seeds(&self) -> &[Seed] {
        &self.seeds
    }

    /// What a network namespace allows, as far as that was told by now.
    pub(super) fn capacity(&self, netns: u32) -> Option<&Capacity> {
        self.capacities.get(&netns)
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
        let met = recording.met();
        learn(&mut self.capacities, met.get(self.met..).unwrap_or_default());
        self.met = met.len();
        match batch.map(|batch| Rows::with(&mut self.caches, &batch)) {
            Some(Ok(rows)) => (self.rows, self.row) = (Some(rows), 0),
            Some(Err(malformed)) => self.ended = Some(Ended::Missing { why: malformed.to_string() }),
            None => {
                self.ended = self.recording.take().map(Recording::end);
                if let Some(tail) = self.ended.as_ref().and_then(Ended::tail) {
                    learn(&mut self.capacities, &tail.namespaces);
                }
            }
        }
    }
}

fn learn(capacities: &mut HashMap<u32, Capacity>, told: &[Namespace]) {
    for namespace in told {
        if let Some(settings) = namespace.sysctls.clone().and_then(Settings::counted) {
            let capacity = || Capacity { name: namespace.name.clone(), settings };
            capacities.entry(namespace.netns).or_insert_with(capacity);
        }
    }
}
