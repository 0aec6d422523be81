//! Owns: a recording beside the metrics: one that cannot be written stops, says so, and is tried again.
//! Must not know: what is in a recording, what is told of it.

use std::io;
use std::time::{Duration, Instant};

use crate::engine::Tracker;
use crate::host::sandbox::Needs;
use crate::host::worker::Worker;
use crate::model::clock::{self, Clock};
use crate::model::event::Event;
use crate::model::limitation::Limitation;
use crate::present::record::output::{Destination, Output, OutputError};
use crate::present::record::{Recorder, Setup};
use crate::source::session::Summary;
use crate::source::{Flow, View as _};

/// A file that could not be written is tried again after so long, and each time after twice as long, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// A recording that goes on for so long is well again: the next failure is a new one.
const WELL_NS: u64 = 60_000_000_000;
/// How often it is looked whether the next file is there: a disk seldom takes longer.
const POLL_NS: u64 = 100_000_000;
/// How long the end waits until a file that came to nothing is gone.
const REMOVING: Duration = Duration::from_secs(1);

/// How a recording fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Events are being recorded.
    pub is_up: bool,
    /// Times that it could not go on.
    pub failures: u64,
    /// Events that were recorded.
    pub events: u64,
    /// Events that are in no recording: none could be written, or not as fast as they came.
    pub missed: u64,
    /// Bytes written.
    pub bytes: u64,
}

/// See the head of the file.
pub struct Recording {
    recorder: Recorder,
    destination: Destination,
    /// While nothing is recorded: how that is to change, or why no thread could be started for it.
    retry: Option<io::Result<Retry>>,
    failures: u64,
    missed: u64,
    /// That its disk is too slow was said.
    is_slow: bool,
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
            retry: None,
            failures: 0,
            missed: 0,
            is_slow: false,
            pause: FIRST_PAUSE,
            retry_at_ns: 0,
            up_since_ns: 0,
        })
    }

    /// How it fares.
    pub fn state(&self) -> State {
        State {
            is_up: self.retry.is_none(),
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
        if self.retry.is_some() {
            self.missed += u64::from(Recorder::counts(event));
            return;
        }
        let done = self.recorder.event(event).map(drop);
        self.settle(done);
    }

    /// See [`crate::source::View::due_ns`].
    pub fn due_ns(&self) -> Option<u64> {
        if self.retry.is_none() { self.recorder.due_ns() } else { Some(self.retry_at_ns) }
    }

    /// See [`crate::source::View::tick`].
    pub fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) {
        let opened = match &mut self.retry {
            None => {
                let done = self.recorder.tick(tracker, now_ns).map(drop);
                self.note_slow();
                return self.settle(done);
            }
            Some(_) if now_ns < self.retry_at_ns => return,
            Some(Ok(retry)) => retry.opened(&self.destination),
            Some(Err(error)) => Err(io::Error::other(format!("no thread could be started: {error}"))),
        };
        let go_on_in = |output| self.recorder.go_on_in(output, tracker);
        match opened.and_then(|opened| opened.map(go_on_in).transpose()) {
            // poll: nothing else wakes the engine for that, and it is over soon.
            Ok(None) => self.retry_at_ns = now_ns.saturating_add(POLL_NS),
            Ok(Some(())) => {
                (self.retry, self.up_since_ns) = (None, now_ns);
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
        match self.retry {
            None => self.recorder.finish(summary).map(drop),
            Some(Ok(retry)) => Ok(retry.worker.stop(Instant::now() + REMOVING).map(drop)?),
            Some(Err(_)) => Ok(()),
        }
    }

    /// Says once that a disk is too slow. How much that cost is in the recording, and counted.
    fn note_slow(&mut self) {
        if !self.is_slow
            && let Some(slow) = self.recorder.slow()
        {
            self.is_slow = true;
            crate::note!("twtrace: {slow}: events that there is no room for are told in it as lost");
        }
    }

    /// Has what was taken in written: the trace failed, and there is no end to be told.
    pub fn leave_off(mut self) {
        if self.retry.is_none() {
            self.recorder.leave_off();
        }
    }

    fn settle(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
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
        self.retry = Some(Retry::start(self.recorder.let_go()));
    }
}

/// A thread that removes a file that came to nothing, and then opens the next once it is asked to: a disk may hang, and the engine waits for none.
struct Retry {
    worker: Worker<Destination, Result<Output, OutputError>>,
    is_asked: bool,
}

impl Retry {
    fn start(remove: Option<impl FnOnce() + Send + 'static>) -> io::Result<Self> {
        let worker = Worker::start("reopen", move |asked, replies| {
            remove.into_iter().for_each(|remove| remove());
            if let Some(destination) = asked.next() {
                replies.send(Output::open(destination));
            }
        })?;
        Ok(Self { worker, is_asked: false })
    }

    /// The next file, once it is there. It is asked for the first time that this is called.
    fn opened(&mut self, destination: &Destination) -> io::Result<Option<Output>> {
        if !std::mem::replace(&mut self.is_asked, true) {
            self.worker.ask(destination.clone());
        }
        self.worker.reply_if_any()?.transpose().map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests;
