//! Owns: the state of a recording at one moment of its time, and going on from there.
//! Must not know: how fast that is, real clocks.

use std::io;

use super::feed::{Feed, OpenReplay};
use super::hidden::Hidden;
use crate::engine::Tracker;
use crate::model::clock::Clock;
use crate::model::event::{Event, Kind};
use crate::model::filter::{Filter, Omissions};
use crate::model::limitation::{Limitation, Limitations};
use crate::recording::{Ended, OpenError};
use crate::source::{Flow, View};

/// A tracker that is told from a recording.
pub(super) struct Cursor {
    feed: Feed,
    filter: Filter,
    /// What is tracked: the filter, whatever the reasons of ends.
    scope: Filter,
    /// Events that passed the filter, `lost` left out.
    pub(super) passed: u64,
    /// Events that the view was told, `lost` among them.
    told: u64,
    pub(super) tracker: Tracker,
    /// What the filter hides: the recording has all of it.
    hidden: Hidden,
    /// CLOCK_MONOTONIC of the recorded machine in nanoseconds: all before is told.
    pub(super) now_ns: u64,
    last_event_ns: u64,
}

impl Cursor {
    pub(super) fn new(open: OpenReplay, filter: Filter) -> Result<Self, OpenError> {
        let feed = Feed::new(open)?;
        let scope = Filter { reasons: Vec::new(), ..filter.clone() };
        let now_ns = feed.head().mono_ns;
        let (tracker, hidden) = (Tracker::new(), Hidden::default());
        let mut cursor =
            Self { feed, filter, scope, passed: 0, told: 0, tracker, hidden, now_ns, last_event_ns: now_ns };
        cursor.begin();
        Ok(cursor)
    }

    /// The state as it was when the recording began.
    fn begin(&mut self) {
        self.now_ns = self.feed.head().mono_ns;
        self.last_event_ns = self.now_ns;
        (self.tracker, self.hidden) = (Tracker::new(), Hidden::default());
        self.tracker.advance(self.now_ns);
        // Whoever recorded may have left some out already.
        let flags = self.feed.head().flags().chain(self.scope.words()).collect::<Vec<_>>();
        self.tracker.count_a_part(Omissions::of(&flags));
        let Self { scope, tracker, hidden, feed, now_ns, passed, .. } = self;
        let seeds = feed.seeds().iter().map(|seed| seed.event(*now_ns)).collect::<Vec<_>>();
        let is_before = |event: &Event| event.kind == Kind::Listed && event.mono_ns <= *now_ns;
        let listed =
            std::iter::from_fn(|| if feed.peek().is_some_and(is_before) { feed.take() } else { None });
        for mut event in seeds.into_iter().chain(listed) {
            if scope.passes(&event) {
                *passed += 1;
                tracker.apply(&mut event);
            } else if tracker.hides_sockets() {
                hidden.note(&event);
            }
        }
        self.inform();
    }

    /// Goes back to the beginning.
    pub(super) fn rewind(&mut self, view: &mut dyn View) -> Result<(), OpenError> {
        self.feed.rewind()?;
        self.begin();
        view.restarted();
        view.listed(&mut self.tracker);
        Ok(())
    }

    /// What ties recorded times to the calendar.
    pub(super) fn clock(&self) -> Clock {
        self.feed.head().clock()
    }

    /// The word for what told the events.
    pub(super) fn backend(&self) -> &str {
        &self.feed.head().backend
    }

    /// What could not be seen where it was recorded, as far as that was told by now: what was found out on the way is at the end.
    pub(super) fn limitations(&self) -> Vec<Limitation> {
        let tail = self.feed.ended().and_then(Ended::tail);
        let at_end = tail.map(|tail| tail.limitations.as_slice()).unwrap_or_default();
        let all: Limitations = self.feed.head().limitations.iter().chain(at_end).cloned().collect();
        all.all().to_vec()
    }

    /// When the next event is due; `None` after the last.
    pub(super) fn next_ns(&self) -> Option<u64> {
        self.feed.peek().map(|event| event.mono_ns.max(self.now_ns))
    }

    /// When the recording ends; `None` while there are events.
    pub(super) fn end_ns(&self) -> Option<u64> {
        let ended = self.feed.ended()?;
        let end_ns = ended.tail().map_or(self.last_event_ns, |tail| tail.mono_ns);
        Some(end_ns.max(self.last_event_ns))
    }

    /// In words for a user: what is not there of the recording, once that is known.
    pub(super) fn trouble(&self) -> Option<String> {
        self.feed.ended()?.trouble()
    }

    /// Tells all that happened up to a time, `most` events at most; says how many there were.
    pub(super) fn run(&mut self, until_ns: u64, most: usize, view: &mut dyn View) -> io::Result<usize> {
        let mut told = 0;
        while told < most && self.next_ns().is_some_and(|next_ns| next_ns <= until_ns) {
            told += 1;
            if self.step(view)? == Flow::Stop {
                break;
            }
        }
        if told < most {
            let until_ns = self.end_ns().map_or(until_ns, |end_ns| until_ns.min(end_ns));
            self.now_ns = self.now_ns.max(until_ns);
        }
        self.tracker.advance(self.now_ns);
        self.inform();
        Ok(told)
    }

    /// Goes on to the next event that the filter lets pass, past `most` others at most.
    pub(super) fn step_on(&mut self, most: usize, view: &mut dyn View) -> io::Result<()> {
        let told = self.told;
        for _ in 0..most {
            if self.step(view)? == Flow::Stop || self.told != told {
                break;
            }
        }
        self.run(self.now_ns, 0, view).map(drop)
    }

    /// Tells the next event.
    fn step(&mut self, view: &mut dyn View) -> io::Result<Flow> {
        let Some(mut event) = self.feed.take() else { return Ok(Flow::Go) };
        self.now_ns = self.now_ns.max(event.mono_ns);
        self.last_event_ns = self.last_event_ns.max(event.mono_ns);
        self.tell(&mut event, view)
    }

    fn tell(&mut self, event: &mut Event, view: &mut dyn View) -> io::Result<Flow> {
        if !self.scope.passes(event) {
            if self.tracker.hides_sockets() {
                self.hidden.note(event);
            }
            return Ok(Flow::Go);
        }
        self.hidden.passes(event);
        let applied = self.tracker.apply(event);
        for told in applied.before.iter().chain(applied.is_new.then_some(&*event)) {
            if !self.filter.passes(told) {
                continue;
            }
            self.passed += u64::from(told.kind != Kind::Lost);
            self.told += 1;
            if view.event(told)? == Flow::Stop {
                return Ok(Flow::Stop);
            }
        }
        Ok(Flow::Go)
    }

    /// Tells the tracker what the namespaces in it allow.
    fn inform(&mut self) {
        let Self { feed, tracker, .. } = self;
        let unknown = tracker.capacities().filter(|(_, known)| known.is_none());
        let told = unknown.filter_map(|(netns, _)| Some((netns, feed.capacity(netns)?.clone())));
        let told: Vec<_> = told.collect();
        if !told.is_empty() {
            tracker.set_capacities(told);
        }
        if tracker.hides_sockets() {
            self.hidden.tell(tracker, self.now_ns, feed.ended().is_some());
        }
    }
}
