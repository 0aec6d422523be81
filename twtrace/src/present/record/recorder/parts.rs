//! Owns: the files of a recording: how each begins, with what lives, and how it ends.
//! Must not know: when one is to end.

use std::io;

use super::{BATCH_EVENTS, Recorder};
use crate::diagnose::gather::beside::Beside;
use crate::engine::Tracker;
use crate::host::net::netns::Netns;
use crate::model::clock::Clock;
use crate::model::settings::Settings;
use crate::present::record::namespaces::{self, Met};
use crate::present::record::output::Output;
use crate::recording::{Encoder, Ending, Head, Namespace, Stop, Tail};

impl Recorder {
    /// Goes on in another output, where the one before was let go: what was told meanwhile is left out, what lives is in it.
    ///
    /// # Errors
    /// Of writing; it is to be let go as well then, so that the next try has its name.
    pub fn go_on_in(&mut self, output: Output, tracker: &Tracker) -> io::Result<()> {
        self.change_output(output);
        self.begin_anew(tracker)
    }

    /// Begins to look at the kernel's lists, where that is wanted and not done.
    pub(super) fn start_beside(&mut self) -> io::Result<()> {
        if let (None, Some(rhythm)) = (&self.beside, self.setup.rhythm) {
            self.beside = Some(Beside::start(self.setup.netns.clone(), rhythm)?);
        }
        Ok(())
    }

    /// Hears that whoever looks has died. Whoever tries again begins anew with that.
    pub(super) fn check_beside(&mut self) -> io::Result<()> {
        let dead = self.beside.take_if(|beside| beside.check().is_err());
        dead.map_or(Ok(()), |beside| Err(beside.died().into()))
    }

    fn begin_anew(&mut self, tracker: &Tracker) -> io::Result<()> {
        self.start_beside()?;
        (self.encoder, self.first_ns, self.lost_before) = (None, None, *tracker.loss());
        let settings = self.beside.as_ref().map(Beside::settings);
        self.learn(settings.into_iter().flatten());
        self.forget(tracker);
        let namespaces: Vec<Namespace> = namespaces::remembered(&self.known).collect();
        let Clock { mono_ns, wall_ns } = Clock::read();
        self.head = Head { mono_ns, wall_ns, namespaces, part: 0, ..self.head.clone() };
        self.output.begin()?;
        self.begin_part()?;
        self.list(tracker)?;
        self.output.head_ends()?;
        self.output.await_head()
    }

    /// The end of a file, of the moment `until`, or of its beginning where that is later.
    pub(super) fn tail(&self, until: Clock, stop: Stop, command: Option<Ending>) -> Tail {
        let began = self.head.clock();
        let Clock { mono_ns, wall_ns } = if until.mono_ns < began.mono_ns { began } else { until };
        let limitations = self.head.limitations.clone();
        Tail { mono_ns, wall_ns, stop, command, limitations, ..Tail::default() }
    }

    pub(super) fn write_end(&mut self, tail: &Tail) -> io::Result<()> {
        let Some(encoder) = &mut self.encoder else { return Ok(()) };
        let ended = encoder.finish(tail);
        // The last batch is among them, whatever became of the tail.
        self.output.write_events(encoder.bytes(), std::mem::take(&mut self.room.held))?;
        if let Some(limitation) = ended.map_err(|error| self.output.failed(error))? {
            crate::note!("twtrace: {}: {limitation}", self.output.being_made());
        }
        Ok(())
    }

    /// Begins a file.
    pub(super) fn begin_part(&mut self) -> io::Result<()> {
        let mut encoder = Encoder::new(&self.head).map_err(|error| self.output.failed(error))?;
        self.part_began_ns = self.head.mono_ns;
        self.output.write(encoder.bytes())?;
        self.encoder = Some(encoder);
        Ok(())
    }

    /// Of the network namespaces that are asked for, none is taken for a later one. To be called before a recording begins.
    pub fn expect(&mut self, tracker: &Tracker) {
        self.met = Met::expecting(tracker.expected_netns());
    }

    /// Takes over what namespaces were set to when they were looked at last: whoever watches ports run short may have changed that since they
    /// were asked. Returns those that no event was about.
    pub(super) fn learn(&mut self, settings: impl Iterator<Item = (u32, Settings)>) -> Vec<Namespace> {
        let mut others = Vec::new();
        for (netns, settings) in settings {
            match self.known.get_mut(&netns) {
                Some(known) => known.sysctls = Some(settings),
                None => others.push(Namespace { netns, sysctls: Some(settings), ..Namespace::default() }),
            }
        }
        others
    }

    /// Forgets network namespaces in which nothing lives: by the next event from there another one may have the inode, and is asked then.
    fn forget(&mut self, tracker: &Tracker) {
        let counted = tracker.by_netns();
        let lives = |netns: &u32| counted.get(netns).is_some_and(|(_, live)| *live != 0);
        let own = Netns::own().map_or(0, |own| own.inode);
        self.known.retain(|netns, _| *netns == own || lives(netns));
        self.met.forget(&self.known);
    }

    /// Writes what lives at the head of a part: whoever has that part only must know it too.
    fn list(&mut self, tracker: &Tracker) -> io::Result<()> {
        for (conn, live) in tracker.sockets() {
            let Some(encoder) = &mut self.encoder else { return Ok(()) };
            encoder.append(&live.event(conn, self.head.mono_ns));
            if encoder.waiting() >= BATCH_EVENTS {
                self.close_batch()?;
            }
        }
        self.close_batch()
    }

    pub(super) fn rotate(&mut self, tracker: &Tracker) -> io::Result<()> {
        // What this part lost is told in it, though there may be room since a moment ago only.
        self.tell_loss()?;
        self.close_batch()?;
        // One part ends where the next begins.
        let clock = Clock::read();
        // Asking takes longer than events may wait: the thread that looks at the lists has asked.
        let (lists, settings) = self.beside.as_mut().map(Beside::take).unzip();
        // An inode may have been another namespace's in a part before: this one's lists are told with its own settings.
        let others = self.learn(settings.into_iter().flatten());
        let namespaces: Vec<Namespace> = namespaces::remembered(&self.known).chain(others).collect();
        let live = tracker.live() as u64;
        let lost = self.lost(tracker.loss());
        let tail = Tail { namespaces, live, lists, lost, ..self.tail(clock, Stop::Rotated, None) };
        self.write_end(&tail)?;
        self.output.go_on()?;
        self.forget(tracker);
        let namespaces: Vec<Namespace> = namespaces::remembered(&self.known).collect();
        let (Clock { mono_ns, wall_ns }, part) = (clock, self.output.part());
        self.head = Head { mono_ns, wall_ns, namespaces, part, ..self.head.clone() };
        self.begin_part()?;
        self.list(tracker)?;
        // What comes after this makes the part full: with many sockets the list alone may be larger than a part.
        self.output.head_ends()
    }
}
