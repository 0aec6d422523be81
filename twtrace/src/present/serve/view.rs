//! Owns: the view that counts what it is told, records it where that was asked for, and gives a picture to whoever wants one.
//! Must not know: who asks, in which format they get it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::board::Board;
use super::picture::Picture;
use super::recording::Recording;
use super::tally::Tally;
use crate::engine::{By, Extent, Tracker};
use crate::host::notify::Manager;
use crate::host::sandbox::Needs;
use crate::host::worker::Alive;
use crate::model::clock::{self, Clock};
use crate::model::event::Event;
use crate::model::limitation::Limitation;
use crate::present::live::Upkeep;
use crate::source::session::Summary;
use crate::source::{Flow, Health, View};

/// A picture is fresh for so long at least.
const FRESH: Duration = Duration::from_millis(100);
/// And for so many times what it took to make: what pictures may take of the trace's time.
const FRESH_FACTOR: u32 = 50;

/// See the head of the file.
pub struct Service {
    board: Arc<Board>,
    tally: Tally,
    upkeep: Upkeep,
    manager: Manager,
    /// When the service manager wants to hear, CLOCK_MONOTONIC.
    watchdog_at_ns: Option<u64>,
    backend: &'static str,
    limitations: Vec<Limitation>,
    health: Health,
    recording: Option<Recording>,
    is_exported: bool,
    /// Threads without which nobody hears of the trace.
    needed: Vec<Alive>,
}

impl Service {
    /// Tells the `top` busiest apart on `board`.
    pub fn new(
        board: Arc<Board>,
        top: usize,
        upkeep: Upkeep,
        manager: Manager,
        recording: Option<Recording>,
    ) -> Self {
        Self {
            board,
            tally: Tally::new(top),
            upkeep,
            manager,
            watchdog_at_ns: None,
            backend: "",
            limitations: Vec::new(),
            health: Health::default(),
            recording,
            is_exported: false,
            needed: Vec::new(),
        }
    }

    /// What is told is exported as well: connections are made.
    #[must_use]
    pub fn exported(self) -> Self {
        Self { is_exported: true, ..self }
    }

    /// Where this thread ends before the trace, the trace ends with an error: it would go on, and be taken for well, with nobody who tells of it.
    #[must_use]
    pub fn needing(mut self, thread: Alive) -> Self {
        self.needed.push(thread);
        self
    }

    /// After tracing: the end of the recording.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self, summary: &Summary) -> io::Result<()> {
        self.recording.map_or(Ok(()), |recording| recording.finish(summary))
    }

    /// After a trace that failed: what was recorded is left, without an end.
    pub fn leave_off(self) {
        self.recording.into_iter().for_each(Recording::leave_off);
    }

    /// What is known now.
    fn picture(&mut self, tracker: &Tracker, now_ns: u64) -> Picture {
        let began = Instant::now();
        let tallied = self.tally.tell(now_ns);
        let snapshot = tracker.snapshot_of(&tracker.survey(), &[By::Tuple, By::Netns], Extent::COUNTS);
        let fresh = FRESH.max(began.elapsed() * FRESH_FACTOR);
        Picture {
            fresh_until_ns: clock::mono_ns().saturating_add(fresh.as_nanos() as u64),
            backend: self.backend,
            tallied,
            snapshot,
            slab_bytes: self.upkeep.slab_bytes(),
            limitations: self.limitations.clone(),
            health: self.health,
            recording: self.recording.as_ref().map(Recording::state),
            ..Picture::default()
        }
    }

    fn feed_watchdog(&mut self, now_ns: u64) {
        let Some(every) = self.manager.watchdog_every() else { return };
        if self.watchdog_at_ns.is_none_or(|at_ns| now_ns >= at_ns) {
            self.manager.say("WATCHDOG=1");
            self.watchdog_at_ns = Some(now_ns.saturating_add(every.as_nanos() as u64));
        }
    }
}

impl View for Service {
    fn listed(&mut self, tracker: &mut Tracker) {
        self.recording.iter_mut().for_each(|recording| recording.listed(tracker));
    }

    fn attached(&mut self, backend: &'static str) {
        self.backend = backend;
        self.recording.iter_mut().for_each(|recording| recording.attached(backend));
    }

    fn limited(&mut self, limitations: &[Limitation]) {
        self.limitations = limitations.to_vec();
        self.recording.iter_mut().for_each(|recording| recording.limited(limitations));
    }

    fn wake_with(&mut self, waker: Arc<Notify>) {
        self.board.wake_with(waker);
    }

    fn needs(&self) -> Needs {
        let needs = self.recording.as_ref().map_or_else(Needs::default, Recording::needs);
        Needs { network: needs.network || self.is_exported, ..needs }
    }

    fn begin(&mut self, clock: Clock) -> io::Result<()> {
        self.recording.iter_mut().for_each(|recording| recording.begin(clock));
        self.manager.say("READY=1");
        Ok(())
    }

    fn due_ns(&self) -> Option<u64> {
        let of_recording = self.recording.as_ref().and_then(Recording::due_ns);
        of_recording.into_iter().chain(self.watchdog_at_ns).min()
    }

    fn event(&mut self, event: &Event) -> io::Result<Flow> {
        self.tally.count(event);
        self.upkeep.stir();
        self.recording.iter_mut().for_each(|recording| recording.event(event));
        Ok(Flow::Go)
    }

    fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) -> io::Result<Flow> {
        // Before the service manager hears that all is well.
        self.needed.iter().try_for_each(Alive::check)?;
        self.upkeep.run(tracker, now_ns)?;
        self.tally.refresh(now_ns);
        self.recording.iter_mut().for_each(|recording| recording.tick(tracker, now_ns));
        self.feed_watchdog(now_ns);
        if self.board.is_wanted(now_ns) {
            let picture = self.picture(tracker, now_ns);
            self.board.give(picture);
        }
        Ok(Flow::Go)
    }

    fn health(&mut self, health: Health) {
        self.health = health;
    }

    fn ended(&mut self, tracker: &Tracker) {
        // Whoever tells it last tells all of it.
        let picture = self.picture(tracker, clock::mono_ns());
        self.board.give(Picture { fresh_until_ns: u64::MAX, ..picture });
    }

    fn signalled(&mut self, signal: i32) -> Flow {
        self.recording.iter_mut().for_each(|recording| recording.signalled(signal));
        Flow::Stop
    }

    fn ending(&mut self) {
        self.manager.say("STOPPING=1");
        self.recording.iter_mut().for_each(Recording::ending);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::worker::Died;
    use crate::present::serve::{Server, Shared};

    #[test]
    fn a_service_that_nobody_answers_for_any_more_ends_with_an_error_that_says_so() {
        let board = Arc::new(Board::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared::new(Arc::clone(&board), None, 1));
        let server = Server::start(listener, None, shared).unwrap();
        let service = Service::new(board, 1, Upkeep::start().unwrap(), Manager::default(), None);
        let mut service = service.needing(server.alive());
        let mut tracker = Tracker::new();
        assert_eq!(service.tick(&mut tracker, 0).unwrap(), Flow::Go);
        server.stop().unwrap();
        let error = service.tick(&mut tracker, 0).unwrap_err();
        assert_eq!(error.downcast::<Died>().unwrap().name, "http");
    }
}
