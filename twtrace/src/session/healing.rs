//! Owns: when the kernel is asked again what lives, and how its answer, which is late, goes together with the events.
//! Must not know: who asks.

use std::collections::{HashMap, HashSet};

use super::listing::Listing;
use crate::event::{Conn, Event, Kind};
use crate::tracker::{Seed, Tracker};

/// What is known to be stale, and the listing on its way.
#[derive(Debug, Default)]
pub(super) struct Healing {
    /// Something was lost since the last listing was asked for.
    is_stale: bool,
    /// A listing was asked for.
    is_asked: bool,
    /// Sockets that ended since then, and when: a listing may still show them.
    ended: HashMap<Conn, u64>,
    /// A listing that was taken in, and when the kernel had said all of it: what it did not show goes once all events before
    /// that have come.
    taken: Option<(HashSet<u32>, u64)>,
}

impl Healing {
    /// Something was lost.
    pub(super) fn lost(&mut self) {
        self.is_stale = true;
    }

    /// Whether anything is to be healed, or is being healed.
    pub(super) fn is_due(&self) -> bool {
        self.is_stale || self.is_asked || self.taken.is_some()
    }

    /// Whether a listing is on its way.
    pub(super) fn is_asked(&self) -> bool {
        self.is_asked
    }

    /// Whether to ask for a listing now.
    pub(super) fn wants_listing(&self) -> bool {
        self.is_stale && !self.is_asked && self.taken.is_none()
    }

    /// Whether all that has come must be known to have come.
    pub(super) fn wants_mark(&self) -> bool {
        self.taken.is_some()
    }

    /// A listing is being asked for.
    pub(super) fn asked(&mut self, world: &mut Tracker) {
        (self.is_stale, self.is_asked) = (false, true);
        self.ended.clear();
        world.begin_listing();
    }

    /// An event has come.
    pub(super) fn note(&mut self, event: &Event) {
        if let (true, Kind::Ended, Some(conn)) = (self.is_asked, event.kind, event.conn) {
            self.ended.insert(conn, event.mono_ns);
        }
    }

    /// The listing has come; `began_ns` and `ended_ns` say when it was made.
    pub(super) fn take(
        &mut self,
        listing: Listing,
        (began_ns, ended_ns): (u64, u64),
        wanted: impl Fn(&Seed) -> bool,
        world: &mut Tracker,
    ) {
        self.is_asked = false;
        let is_over = |seed: &Seed| self.ended.get(&seed.conn).is_some_and(|ended| *ended >= began_ns);
        world.seed(listing.seeds.into_iter().filter(|seed| wanted(seed) && !is_over(seed)));
        self.ended.clear();
        self.taken = Some((listing.listed, ended_ns));
    }

    /// All events up to `at_ns` have come.
    pub(super) fn caught_up(&mut self, at_ns: u64, world: &mut Tracker) {
        if let Some((listed, _)) = self.taken.take_if(|(_, ended_ns)| *ended_ns <= at_ns) {
            world.forget_unlisted(|netns| listed.contains(&netns));
        }
    }
}
