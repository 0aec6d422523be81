//! Owns: reading a recording: its head, its complete batches or its events, and what became of its end.
//! Must not know: what is made of them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::{Schema, SchemaRef};

use super::cache::Caches;
use super::encoder::{FORMAT_KEY, HEAD_KEY};
use super::frame::Stop;
use super::meta::{FORMAT, Head, Namespace, Tail};
use super::rows::Rows;
use super::stream::{Item, Stream};
use super::times::Times;
use super::{OpenError, note, schema, seeds};
use crate::engine::Seed;
use crate::model::escape::{self, printable};
use crate::model::event::Event;

/// Sockets from before that are read, at most: as many as a live view keeps.
const MOST_SEEDS: usize = 1 << 20;
const BUFFER_BYTES: usize = 1 << 20;

/// What became of the end of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is there.
    Complete(Box<Tail>),
    /// It is not: what was recorded after the last complete batch is lost. Every reader says so.
    Missing {
        /// In words for a user: how it breaks off.
        why: String,
    },
    /// Some events in it cannot be read, and were left out; the others are there. Every reader says so.
    Damaged {
        /// In words for a user: how many, and where the first is; and whether the end is missing as well.
        why: String,
        /// The end, where it is there.
        tail: Option<Box<Tail>>,
    },
}

impl Ended {
    /// The tail, where there is one.
    pub fn tail(&self) -> Option<&Tail> {
        match self {
            Self::Complete(tail) => Some(tail),
            Self::Missing { .. } => None,
            Self::Damaged { tail, .. } => tail.as_deref(),
        }
    }

    /// In words for a user: what is not there of it; `None` where all is.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Complete(_) => None,
            Self::Missing { why } => Some(format!("its end is missing: {why}")),
            Self::Damaged { why, .. } => Some(why.clone()),
        }
    }
}

/// A recording that is being read. No bytes make it panic, and none make it take memory out of proportion.
pub struct Recording {
    stream: Stream<Box<dyn Read + Send>>,
    head: Head,
    seeds: Vec<Seed>,
    met: Vec<Namespace>,
    /// Batches that were read while looking for seeds, or to find out which clock is right.
    early: VecDeque<RecordBatch>,
    tail: Option<Tail>,
    times: Times,
    ended: Option<Ended>,
}

impl Recording {
    /// Opens a file; `-` is stdin.
    ///
    /// # Errors
    /// See [`OpenError`]. A file that was cut off after its head is none of them.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        if path.as_os_str() == "-" {
            return Self::read(io::stdin(), "-");
        }
        let shown = escape::path(path);
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.is_dir(), file)));
        match opened {
            Ok((true, _)) => Err(OpenError::Folder(shown)),
            Ok((false, file)) => Self::read(file, &shown),
            Err(error) => Err(OpenError::Io { path: shown, error }),
        }
    }

    /// Reads from anywhere; `name` is for errors.
    ///
    /// # Errors
    /// As [`Recording::open`].
    pub fn read(input: impl Read + Send + 'static, name: &str) -> Result<Self, OpenError> {
        let input: Box<dyn Read + Send> = Box::new(BufReader::with_capacity(BUFFER_BYTES, input));
        let foreign = |why: String| OpenError::Foreign { path: printable(name).into_owned(), why };
        let is_known = |name: &str| schema::COLUMNS.iter().any(|(known, _)| *known == name);
        let stream = Stream::open(input, is_known).map_err(|stop| foreign(said(stop)))?;
        let head = head(stream.schema(), name)?;
        let times = Times::new(head.clock());
        let mut recording = Self {
            stream,
            times,
            head,
            seeds: Vec::new(),
            met: Vec::new(),
            early: VecDeque::new(),
            tail: None,
            ended: None,
        };
        recording.read_seeds();
        Ok(recording)
    }

    /// The network namespaces that a file tells of after its head, in notes and at its end. No row is unpacked for that.
    ///
    /// # Errors
    /// As [`Recording::open`].
    pub fn namespaces(path: &Path) -> Result<Vec<Namespace>, OpenError> {
        let mut recording = Self::open(path)?;
        recording.only(&[]);
        while recording.next_batch().is_some() {}
        let mut told = std::mem::take(&mut recording.met);
        told.extend(recording.end().tail().into_iter().flat_map(|tail| tail.namespaces.iter().cloned()));
        Ok(told)
    }

    /// What is known from the start.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Format 1: the TIME_WAIT sockets that were there before the first event: a tracker is to be seeded with them, at
    /// `head().mono_ns`. Since then they are `listed` events.
    pub fn seeds(&self) -> &[Seed] {
        &self.seeds
    }

    /// Network namespaces that were met after the start, with their values of then; complete once all batches are read.
    pub fn met(&self) -> &[Namespace] {
        &self.met
    }

    /// The columns of this recording. Batches have those of them that are known, [`schema::COLUMNS`].
    pub fn schema(&self) -> SchemaRef {
        self.stream.schema().clone()
    }

    /// From the next batch on, unpacks only the columns of these names. Half of the time goes into unpacking: whoever counts a few columns
    /// should say so. What an earlier call left out stays so. Batches that were read already keep what they have.
    pub fn only(&mut self, columns: &[&str]) {
        self.stream.only(columns);
    }

    /// The next complete batch that has rows; `None` after the last.
    pub fn next_batch(&mut self) -> Option<RecordBatch> {
        loop {
            if let Some(batch) = self.early.pop_front() {
                // All of its rows may have been left out.
                if batch.num_rows() == 0 {
                    continue;
                }
                return Some(batch);
            }
            if !self.advance() {
                return None;
            }
        }
    }

    /// The remaining batches.
    pub fn batches(&mut self) -> impl Iterator<Item = RecordBatch> {
        std::iter::from_fn(|| self.next_batch())
    }

    /// The remaining events, in the order in which they were told.
    pub fn events(&mut self) -> Events<'_> {
        Events { recording: self, rows: None, row: 0, caches: Caches::default() }
    }

    /// Reads what is left, and says whether the end is there.
    pub fn end(mut self) -> Ended {
        while self.next_batch().is_some() {}
        let ended = self.ended.unwrap_or_else(|| Ended::Missing { why: String::new() });
        match (self.times.damage().said(), ended) {
            (None, ended) => ended,
            (Some(why), Ended::Complete(tail)) => Ended::Damaged { why, tail: Some(tail) },
            (Some(why), ended) => {
                let trouble = ended.trouble().unwrap_or_default();
                Ended::Damaged { why: format!("{why}; {trouble}"), tail: None }
            }
        }
    }

    fn read_seeds(&mut self) {
        let mut left = self.head.seed_notes;
        while left != 0 {
            let before = self.seeds.len();
            if !self.advance() {
                return;
            }
            left -= u32::from(self.seeds.len() != before);
            // They come first: where there are rows already, there are no more of them.
            if !self.early.is_empty() {
                return;
            }
        }
    }

    /// Reads one message that is of any interest; `false` once there is none.
    fn advance(&mut self) -> bool {
        if self.ended.is_some() {
            return false;
        }
        if self.read_on() {
            return true;
        }
        let rest = self.times.rest();
        self.keep(rest) && !self.early.is_empty()
    }

    fn read_on(&mut self) -> bool {
        match self.stream.next() {
            Ok(Item { batch, notes, at }) => {
                if batch.num_rows() != 0 {
                    let vetted = self.times.vet(batch, at);
                    if !self.keep(vetted) {
                        return false;
                    }
                }
                notes.iter().all(|(key, text)| self.take_note(key, text))
            }
            Err(stop) => {
                self.ended = Some(match (stop, self.tail.take()) {
                    (Stop::End, Some(tail)) => Ended::Complete(Box::new(tail)),
                    (Stop::End, None) => Ended::Missing { why: "it ends without a tail".to_owned() },
                    (Stop::Broken(why), _) => Ended::Missing { why },
                });
                false
            }
        }
    }

    fn keep(&mut self, vetted: Result<Vec<RecordBatch>, String>) -> bool {
        match vetted {
            Ok(batches) => {
                self.early.extend(batches);
                true
            }
            Err(why) => {
                self.break_off(why);
                false
            }
        }
    }

    fn take_note(&mut self, key: &str, text: &str) -> bool {
        let taken = match key {
            note::TAIL => {
                serde_json::from_str(text).map(|tail| self.tail = Some(tail)).map_err(|e| e.to_string())
            }
            note::NAMESPACES => serde_json::from_str::<Vec<Namespace>>(text)
                .map(|met| self.met.extend(met))
                .map_err(|error| error.to_string()),
            note::SEEDS => {
                seeds::read(text).map_err(|error| error.to_string()).and_then(|seeds| self.add_seeds(seeds))
            }
            // Of a later version.
            _ => Ok(()),
        };
        match taken {
            Ok(()) => true,
            Err(why) => {
                self.break_off(format!("a note {key} is not what it should be: {why}"));
                false
            }
        }
    }

    fn add_seeds(&mut self, seeds: Vec<Seed>) -> Result<(), String> {
        if self.seeds.len() + seeds.len() > MOST_SEEDS {
            return Err(format!("more than {MOST_SEEDS} sockets from before, which is all that is read"));
        }
        self.seeds.extend(seeds);
        Ok(())
    }

    fn break_off(&mut self, why: String) {
        self.early.clear();
        self.ended = Some(Ended::Missing { why: printable(&why).into_owned() });
    }
}

fn said(stop: Stop) -> String {
    match stop {
        Stop::End => "it ends before it begins".to_owned(),
        Stop::Broken(why) => printable(&why).into_owned(),
    }
}

fn head(found: &Schema, name: &str) -> Result<Head, OpenError> {
    let path = || printable(name).into_owned();
    let foreign = |why: String| OpenError::Foreign { path: path(), why };
    let metadata = found.metadata();
    let format =
        metadata.get(FORMAT_KEY).ok_or_else(|| foreign("another program's Arrow stream".to_owned()))?;
    let format: u32 =
        format.parse().map_err(|_| foreign(format!("its format version is '{}'", printable(format))))?;
    if format > FORMAT {
        return Err(OpenError::TooNew { path: path(), format });
    }
    for (column, kind) in schema::COLUMNS {
        let found = found.field_with_name(column).ok().map(|field| field.data_type());
        if found.is_some_and(|found| *found != kind.arrow()) {
            return Err(foreign(format!("its column {column} has another type")));
        }
    }
    let json = metadata.get(HEAD_KEY).ok_or_else(|| foreign("it has no head".to_owned()))?;
    serde_json::from_str(json).map_err(|error| {
        foreign(format!("its head is not what it should be: {}", printable(&error.to_string())))
    })
}

/// The events of a recording.
pub struct Events<'a> {
    recording: &'a mut Recording,
    rows: Option<Rows>,
    row: usize,
    caches: Caches,
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(rows) = &self.rows
                && self.row < rows.len()
            {
                match rows.event(self.row) {
                    Ok(event) => {
                        self.row += 1;
                        return Some(event);
                    }
                    Err(malformed) => {
                        self.rows = None;
                        self.recording.break_off(malformed.to_string());
                        return None;
                    }
                }
            }
            let batch = self.recording.next_batch()?;
            self.row = 0;
            match Rows::with(&mut self.caches, &batch) {
                Ok(rows) => self.rows = Some(rows),
                Err(malformed) => {
                    self.recording.break_off(malformed.to_string());
                    return None;
                }
            }
        }
    }
}
