//! Owns: the world as the events tell it: which TIME_WAIT sockets live, who made them, how many came and went.
//! Must not know: the kernel, clocks, files, screens. Events and times are handed in.

mod counts;
mod live;

use std::collections::HashMap;

pub use counts::Counts;
pub use live::{Live, Seed};

use crate::event::{Conn, Event, Kind};

/// The world.
#[derive(Debug, Default)]
pub struct Tracker {
    live: HashMap<Conn, Live>,
    /// Live sockets per network namespace; no entry is 0.
    live_in: HashMap<u32, u64>,
    counts: HashMap<u32, Counts>,
    total: Counts,
    /// Marks entries that the last listing confirmed.
    generation: u32,
}

impl Tracker {
    /// An empty world.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in an event, in the order of the ring, and completes it: an `ended` gets what is known since its
    /// `created`.
    pub fn apply(&mut self, event: &mut Event) {
        self.total.add(event);
        let Some(conn) = event.conn else { return };
        self.counts.entry(conn.netns).or_default().add(event);
        match event.kind {
            Kind::Created => self.insert(conn, Live::born(event, self.generation)),
            Kind::Ended => {
                if let Some(live) = self.remove(&conn) {
                    live.complete(event);
                }
            }
            _ => {}
        }
    }

    /// Takes in the sockets that a listing of the kernel showed. Events that happened before the listing are to be
    /// applied before, those that happened after it afterwards.
    pub fn seed(&mut self, seeds: impl IntoIterator<Item = Seed>) {
        for seed in seeds {
            match self.live.get_mut(&seed.conn) {
                Some(live) if live.is(&seed) => live.generation = self.generation,
                _ => self.insert(seed.conn, Live::listed(&seed, self.generation)),
            }
        }
    }

    /// Begins to compare with a listing, after events were lost: call this, [`Tracker::seed`] with all sockets of the
    /// namespaces that could be listed, apply the events that came in meanwhile, and then [`Tracker::forget_unlisted`].
    pub fn begin_listing(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    /// Lets go of the sockets that the last listing did not show, in the namespaces that `listed` names: their `ended` was
    /// lost. Says how many.
    pub fn forget_unlisted(&mut self, listed: impl Fn(u32) -> bool) -> usize {
        let generation = self.generation;
        let gone: Vec<Conn> = self
            .live
            .iter()
            .filter(|(conn, live)| live.generation != generation && listed(conn.netns))
            .map(|(conn, _)| *conn)
            .collect();
        for conn in &gone {
            self.remove(conn);
        }
        gone.len()
    }

    /// How many TIME_WAIT sockets live.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// How many live in one network namespace.
    pub fn live_in(&self, netns: u32) -> u64 {
        self.live_in.get(&netns).copied().unwrap_or(0)
    }

    /// Every live socket.
    pub fn sockets(&self) -> impl Iterator<Item = (&Conn, &Live)> {
        self.live.iter()
    }

    /// What came and went in all.
    pub fn total(&self) -> &Counts {
        &self.total
    }

    /// What came and went in one network namespace.
    pub fn counts_in(&self, netns: u32) -> Counts {
        self.counts.get(&netns).copied().unwrap_or_default()
    }

    /// The network namespaces that events came from.
    pub fn namespaces(&self) -> impl Iterator<Item = u32> {
        self.counts.keys().copied()
    }

    fn insert(&mut self, conn: Conn, live: Live) {
        if self.live.insert(conn, live).is_none() {
            *self.live_in.entry(conn.netns).or_default() += 1;
        }
    }

    fn remove(&mut self, conn: &Conn) -> Option<Live> {
        let live = self.live.remove(conn)?;
        if let Some(count) = self.live_in.get_mut(&conn.netns) {
            *count -= 1;
            if *count == 0 {
                self.live_in.remove(&conn.netns);
            }
        }
        Some(live)
    }
}

#[cfg(test)]
mod tests;
