//! Owns: the view that writes what it is told to a recording, and ends with the command.
//! Must not know: how events are traced, the bytes of a recording.

mod ending;
mod following;
mod parts;
mod room;

use std::collections::BTreeMap;
use std::io;
use std::time::{Duration, Instant};

use super::Setup;
use super::cgroup::Cgroup;
use super::command::{NotRun, Running};
use super::namespaces::{Again, Met};
use super::output::Output;
use super::signals;
use crate::diagnose::gather::beside::Beside;
use crate::engine::Tracker;
use crate::host::sandbox::Needs;
use crate::model::clock::Clock;
use crate::model::event::{Event, Loss};
use crate::model::limitation::Limitation;
use crate::output::Writer;
use crate::recording::{Encoder, Head, Namespace, Stop};
use crate::source::session::Summary;
use crate::source::{Flow, View};
use room::Room;

/// A batch is closed when its first event is this old: with the drain's own delay it is on disk within a second.
const BATCH_NS: u64 = 750_000_000;
/// A batch is closed at this many events, to bound memory.
const BATCH_EVENTS: usize = 65_536;
/// A second signal this long after the first ends the recording, whatever the command does. `timeout` and shells send one
/// signal to a process and at once to its group: that is one.
const SECOND_SIGNAL: Duration = Duration::from_secs(1);

/// See the head of the file.
pub struct Recorder {
    output: Output,
    setup: Setup,
    head: Head,
    encoder: Option<Encoder>,
    /// Time of the first event of the batch that is being filled.
    first_ns: Option<u64>,
    part_began_ns: u64,
    /// Bytes of outputs before this one.
    bytes_before: u64,
    events: u64,
    /// What the trace had lost when this recording began.
    lost_before: Loss,
    room: Room,
    met: Met,
    /// What is known of network namespaces, from the start and since.
    known: BTreeMap<u32, Namespace>,
    /// The same, asked once more when the end is near.
    again: Option<Again>,
    beside: Option<Beside>,
    running: Option<Running>,
    refused: Option<NotRun>,
    ended_ns: Option<u64>,
    signalled: Option<(Instant, i32)>,
    told_to_end: bool,
    /// The command that is left running, as two signals asked for: its pid.
    left: Option<u32>,
    /// The trace ends: another part would begin after that.
    ends: bool,
    stop: Option<Stop>,
}

impl Recorder {
    /// Records to `output`.
    ///
    /// # Errors
    /// If signals cannot be watched.
    pub fn new(output: Output, setup: Setup) -> io::Result<Self> {
        signals::watch()?;
        Ok(Self {
            output,
            setup,
            head: Head::default(),
            encoder: None,
            first_ns: None,
            part_began_ns: 0,
            bytes_before: 0,
            events: 0,
            lost_before: Loss::default(),
            room: Room::default(),
            met: Met::default(),
            known: BTreeMap::new(),
            again: None,
            beside: None,
            running: None,
            refused: None,
            ended_ns: None,
            signalled: None,
            told_to_end: false,
            left: None,
            ends: false,
            stop: None,
        })
    }

    /// Bytes that were written, to this output and to those before it.
    pub fn bytes(&self) -> u64 {
        self.bytes_before + self.output.total()
    }

    /// The file that is written to, escaped.
    pub fn shown(&self) -> String {
        self.output.shown()
    }

    /// Removes what was begun.
    pub fn discard(self) {
        self.output.discard();
    }

    /// The last line for a user.
    pub fn said(&self, summary: &Summary) -> String {
        let (events, seconds) = (self.events, summary.elapsed_ns as f64 / 1e9);
        let (lost, live, bytes) = (summary.loss.events(), summary.live, self.output.total());
        let files = match self.output.part() {
            0 => self.output.shown(),
            part => format!("{} files, the last of them {}", part + 1, self.output.shown()),
        };
        format!(
            "recorded {events} events in {seconds:.1} s, lost {lost}, live at the end {live}: {bytes} bytes in {files}"
        )
    }

    fn know(&mut self, namespaces: &[Namespace]) {
        self.known.extend(namespaces.iter().map(|namespace| (namespace.netns, namespace.clone())));
    }
}

impl View for Recorder {
    fn listed(&mut self, tracker: &mut Tracker) {
        tracker.count_by_netns();
        self.expect(tracker);
    }

    fn attached(&mut self, backend: &'static str) {
        self.head = super::head::head(&self.setup, backend);
    }

    fn limited(&mut self, limitations: &[Limitation]) {
        self.head.limitations = limitations.to_vec();
    }

    fn begin(&mut self, clock: Clock) -> io::Result<()> {
        (self.head.mono_ns, self.head.wall_ns) = (clock.mono_ns, clock.wall_ns);
        self.head.namespaces = self.met.ask(&self.setup.netns);
        self.know(&self.head.namespaces.clone());
        // Before anything that a full disk refuses: whoever tries again goes on from here.
        self.start_beside()?;
        self.output.begin()?;
        self.begin_part()?;
        self.output.head_ends()?;
        self.output.await_head()?;
        let Some(command) = self.setup.command.take() else { return Ok(()) };
        let procs = self.setup.cgroup.as_ref().map(Cgroup::procs).transpose().map_err(io::Error::other)?;
        match command.start(procs) {
            Ok(running) => self.running = Some(running),
            Err(refused) => self.refused = Some(refused),
        }
        Ok(())
    }

    fn needs(&self) -> Needs {
        let of_files = self.output.needs(self.refused.is_some());
        let needs = self.setup.cgroup.iter().fold(of_files, |needs, cgroup| cgroup.needs(needs));
        self.running.iter().fold(needs, |needs, running| running.needs(needs))
    }

    fn event(&mut self, event: &Event) -> io::Result<Flow> {
        if let Some(beside) = &mut self.beside {
            beside.event(event);
        }
        self.take_in(event)?;
        Ok(Flow::Go)
    }

    fn batch(&mut self, _tracker: &Tracker) -> io::Result<Flow> {
        Ok(if self.refused.is_some() { Flow::Stop } else { Flow::Go })
    }

    fn due_ns(&self) -> Option<u64> {
        let after = |from_ns: u64, pause: Duration| from_ns.saturating_add(pause.as_nanos() as u64);
        let times = [
            self.first_ns.map(|first_ns| first_ns.saturating_add(BATCH_NS)),
            self.output
                .rotate_every()
                .filter(|_| self.output.has_room())
                .map(|every| after(self.part_began_ns, every)),
            self.ended_ns.map(|ended_ns| after(ended_ns, self.setup.settle)),
        ];
        times.into_iter().flatten().min()
    }

    fn tick(&mut self, tracker: &mut Tracker, now_ns: u64) -> io::Result<Flow> {
        self.check_room()?;
        self.check_beside()?;
        let met = self.met.poll()?;
        if !met.is_empty()
            && let Some(encoder) = &mut self.encoder
        {
            encoder.met(&met).map_err(|error| self.output.failed(error))?;
            self.know(&met);
        }
        if self.first_ns.is_some_and(|first_ns| now_ns.saturating_sub(first_ns) >= BATCH_NS) {
            self.close_batch()?;
        }
        let age_ns = now_ns.saturating_sub(self.part_began_ns);
        let is_old = self.output.rotate_every().is_some_and(|every| u128::from(age_ns) >= every.as_nanos());
        // Times of a file are read off the clock of its beginning.
        let has_stepped = || self.output.rotates() && self.head.clock().follow(Clock::read());
        // What waits has a bound, and the beginning of a file comes on top of it.
        let may = !self.ends && self.output.has_room();
        if may && (is_old || self.output.is_full() || has_stepped()) {
            self.rotate(tracker)?;
        }
        self.follow_command(now_ns)
    }

    fn output(&self) -> Option<&Writer> {
        Some(self.output.writer())
    }

    /// What was there before can wait for a reader.
    fn event_output(&self) -> Option<&Writer> {
        Some(self.output.writer())
    }

    /// What is left is handed over before that is waited for.
    fn ended(&mut self, _tracker: &Tracker) {
        self.hand_over_last();
    }

    /// With a command that runs, a signal is for the command: the recording ends when it does.
    fn signalled(&mut self, signal: i32) -> Flow {
        let _taken = signals::take();
        let again = self.signalled.is_some_and(|(first, _)| first.elapsed() >= SECOND_SIGNAL);
        self.signalled.get_or_insert_with(|| (Instant::now(), signal));
        self.stop.get_or_insert(Stop::Signal);
        match &self.running {
            Some(running) if self.ended_ns.is_none() && !again => {
                if !signals::from_terminal(signal) {
                    running.signal(signal);
                }
                Flow::Go
            }
            _ => Flow::Stop,
        }
    }

    fn ending(&mut self) {
        self.begin_end();
    }
}

#[cfg(test)]
mod tests;
