//! Owns: a recording beside the metrics: one that cannot be written stops, says so, and is tried again.
//! Must not know: what is in a recording, what is told of it.

use std::io;
use std::time::Duration;

use crate::engine::Tracker;
use crate::host::sandbox::Needs;
use crate::model::clock::{self, Clock};
use crate::model::event::{Event, Kind};
use crate::model::limitation::Limitation;
use crate::present::record::output::{Destination, Output};
use crate::present::record::{Recorder, Setup};
use crate::source::session::Summary;
use crate::source::{Flow, View as _};

/// A file that could not be written is tried again after so long, and each time after twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A recording that goes on for so long is well again: the next failure is a new one.
const WELL_NS: u64 = 60_000_000_000;

/// How a recording fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Events are being recorded.
    pub is_up: bool,
    /// Times that it could not go on.
    pub failures: u64,
    /// Events that were recorded.
    pub events: u64,
    /// Events that came meanwhile and were not.
    pub missed: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// See the head of the file.
pub struct Recording {
    recorder: Recorder,
    destination: Destination,
    is_up: bool,
    failures: u64,
    missed: u64,
    pause: Duration,
    retry_at_ns: u64,
    /// Since when it is up, CLOCK_MONOTONIC in nanoseconds.
    up_since_ns: u64,
}

impl Recording {
    /// Records to `destination`, beginning with a file that is not there yet.
    ///
    /// # Errors
    /// If the first file cannot be made.
    pub fn new(destination: Destination, setup: Setup) -> anyhow::Result<Self> {
        let output = Output::open(destination.clone())?;
        Ok(Self {
            recorder: Recorder::new(output, setup)?,
            destination,
            is_up: true,
            failures: 0,
            missed: 0,
            pause: FIRST_PAUSE,
            retry_at_ns: 0,
            up_since_ns: 0,
        })
    }

    /// How it fares.
    pub fn state(&self) -> State {
        State {
            is_up: self.is_up,
            failures: self.failures,
            events: self.recorder.written(),
            missed: self.missed + self.recorder.unread(),
            bytes: self.recorder.bytes(),
        }
    }

    /// See [`crate::source::View::listed`]: what need not be counted is for others to say.
    pub fn listed(&mut self, tracker: &Tracker) {
        self.recorder.expect(tracker);
    }

    /// See [`crate::source::View::attached`].
    pub fn attached(&mut self, backend: &'static str) {
        self.recorder.attached(backend);
    }

    /// See [`crate::source::View::limited`].
    pub fn limited(&mut self, limitations: &[Limitation]) {
        self.recorder.limited(limitations);
    }

    /// See [`crate::source::View::begin`].
    pub fn begin(&mut self, clock: Clock) {
        let done = self.recorder.begin(clock);
        self.settle(done);
    }

    /// See [`crate::source::View::needs`].
    pub fn needs(&self) -> Needs {
        self.recorder.needs()
    }

    /// See [`crate::source::View::event`].
    pub fn event(&mut self, event: &Event) {
        if !self.is_up {
            self.missed += u64::from(!matches!(event.kind, Kind::Listed | Kind::Lost));
            return;
        }
        let done = self.recorder.event(event).map(drop);
        self.settle(done);
    }

    /// See [`crate::source::View::due_ns`].
    pub fn due_ns(&self) -> Option<u64> {
        if self.is_up { self.recorder.due_ns() } else { Some(self.retry_at_ns) }
    }

    /// See [`crate::source::View::tick`].
    pub fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) {
        if self.is_up {
            let done = self.recorder.tick(tracker, now_ns).map(drop);
            self.settle(done);
            return;
        }
        if now_ns < self.retry_at_ns {
            return;
        }
        let opened = Output::open(self.destination.clone()).map_err(io::Error::other);
        let done = opened.and_then(|output| self.recorder.go_on_in(output, tracker));
        self.is_up = done.is_ok();
        match done {
            Ok(()) => {
                self.up_since_ns = now_ns;
                crate::note!("twtrace: recording again, to {}", self.recorder.shown());
            }
            Err(error) => self.fail(&error),
        }
    }

    /// See [`crate::source::View::signalled`].
    pub fn signalled(&mut self, signal: i32) {
        let _: Flow = self.recorder.signalled(signal);
    }

    /// See [`crate::source::View::ending`].
    pub fn ending(&mut self) {
        self.recorder.ending();
    }

    /// Writes the end.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(mut self, summary: &Summary) -> io::Result<()> {
        if self.is_up { self.recorder.finish(summary).map(drop) } else { Ok(()) }
    }

    fn settle(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.is_up = false;
            self.missed += self.recorder.give_up();
            if clock::mono_ns().saturating_sub(self.up_since_ns) >= WELL_NS {
                self.pause = FIRST_PAUSE;
            }
            self.fail(&error);
        }
    }

    fn fail(&mut self, error: &io::Error) {
        self.failures += 1;
        let pause = self.pause;
        crate::note!(
            "twtrace: cannot record: {error}; nothing is recorded until that helps, next try in {pause:?}"
        );
        self.retry_at_ns = clock::mono_ns().saturating_add(pause.as_nanos() as u64);
        self.pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
mod tests;
