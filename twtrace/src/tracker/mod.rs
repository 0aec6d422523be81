//! Owns: the world as the events tell it: which TIME_WAIT sockets live, who made them, how many came and went.
//! Must not know: the kernel, clocks, files, screens. Events and times are handed in.

mod arena;
mod counts;
mod history;
mod keys;
mod limits;
mod live;
mod pattern;
mod people;
mod pressure;
mod rows;
mod sketch;
mod snapshot;
mod stats;
mod table;

use std::collections::HashMap;

pub use counts::Counts;
pub use history::{Flow, HISTORY_S, History, Rates};
pub use keys::{By, PortKey, ProcessKey, RowKey, Target, TupleKey};
pub use limits::Limits;
pub use live::{Live, Seed};
pub use pattern::{Evidence, Pattern};
pub use pressure::{Capacity, Pressure};
pub use sketch::{Percentiles, Sketch};
pub(crate) use sketch::{bucket, range};
pub use snapshot::{
    ContainerRow, Detail, Dropped, Figures, Fullest, LinkRow, NetnsRow, PeerRow, PortRow, ProcessRow,
    Snapshot, TupleRow,
};
pub use stats::Stats;

use crate::event::{Conn, Event, Kind, Reason};
use arena::Arena;
use live::Entry;
use people::People;
use rows::{Places, Rows, Sighting};

const SECOND_NS: u64 = 1_000_000_000;
/// How often memory of what is long past is given back.
const REST_EVERY_S: u32 = 30;
/// A process that is gone and has no live socket stays for as long as a rate still shows it.
const GONE_STAYS_NS: u64 = 60 * SECOND_NS;

/// What came of an event.
#[derive(Debug, PartialEq)]
pub struct Applied {
    /// To be told before it: the `ended` of a socket that it takes the place of, or the `listed` of one that nobody knew.
    pub before: Option<Box<Event>>,
    /// It is news. Where it is not, a `listed` was told of a socket that is known: nothing is counted, and nothing to be told.
    pub is_new: bool,
}

/// The world.
#[derive(Debug)]
pub struct Tracker {
    live: Arena<Conn, Entry>,
    people: People,
    rows: Rows,
    total: Stats,
    limits: Limits,
    /// Ends for other reasons are not counted; none: all are.
    reasons: Vec<Reason>,
    /// Live sockets that there was no room for.
    dropped_sockets: u64,
    /// Events that are missing in a row because there was no room for it.
    unlisted: u64,
    /// The first time heard of, CLOCK_MONOTONIC in nanoseconds.
    began_ns: Option<u64>,
    now_ns: u64,
    rested: u32,
    /// Some process is known to be gone.
    has_gone: bool,
}

impl Default for Tracker {
    fn default() -> Self {
        Self::with_limits(Limits::default())
    }
}

impl Tracker {
    /// An empty world.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty world with other bounds.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            live: Arena::default(),
            people: People::default(),
            rows: Rows::new(&limits),
            total: Stats::default(),
            limits,
            reasons: Vec::new(),
            dropped_sockets: 0,
            unlisted: 0,
            began_ns: None,
            now_ns: 0,
            rested: 0,
            has_gone: false,
        }
    }

    /// From now on, ends for other reasons than these are not counted, and rows without an end for one of these are in no snapshot.
    /// What lives, what is created, what fails and how long ports last are told as ever.
    pub fn count_only(&mut self, reasons: &[Reason]) {
        self.reasons = reasons.to_vec();
    }

    /// Says that it is now `mono_ns` of CLOCK_MONOTONIC; an earlier time than one heard of before changes nothing. The
    /// first time heard of, here or from an event, is when the first second begins.
    pub fn advance(&mut self, mono_ns: u64) {
        let before = self.second(self.now_ns);
        self.began_ns.get_or_insert(mono_ns);
        self.now_ns = self.now_ns.max(mono_ns);
        let second = self.second(self.now_ns);
        if second == before {
            return;
        }
        let now_ns = self.now_ns;
        if self.has_gone {
            self.rows
                .processes
                .retire(|row| row.gone && row.stats.last_ns.saturating_add(GONE_STAYS_NS) < now_ns);
            self.has_gone = self.rows.processes.iter().any(|(_, row)| row.gone);
        }
        if second - self.rested >= REST_EVERY_S {
            self.rested = second;
            self.rows.rest(second);
        }
    }

    /// The present second, counted from when the world began.
    fn second(&self, mono_ns: u64) -> u32 {
        let since_ns = mono_ns.saturating_sub(self.began_ns.unwrap_or(mono_ns));
        u32::try_from(since_ns / SECOND_NS).unwrap_or(u32::MAX)
    }

    /// Takes in an event, in the order of the ring, and completes it: an `ended` gets what is known since its
    /// `created`. What is returned is to be told as well.
    pub fn apply(&mut self, event: &mut Event) -> Applied {
        self.advance(event.mono_ns);
        let same = event.conn.and_then(|conn| Some(self.live.find(&conn)?.has_cookie(event.cookie)));
        let before = match (event.kind, event.conn, same) {
            // Known already; or told as missed when another one took its place.
            (Kind::Listed, _, Some(true)) | (Kind::Ended, _, Some(false)) => {
                return Applied { before: None, is_new: false };
            }
            // The same connection a second time: the end of the first was lost.
            (Kind::Created | Kind::Listed, Some(conn), Some(_)) => self.miss(&conn, event.mono_ns),
            (Kind::Ended, Some(conn), None) => Some(self.hear_of(conn, event)),
            _ => None,
        }
        .map(Box::new);
        self.take(event);
        Applied { before, is_new: true }
    }

    fn take(&mut self, event: &mut Event) {
        let second = self.second(event.mono_ns);
        if self.counts(event) {
            self.total.count(event, second);
        }
        let Some(conn) = event.conn else { return };
        if event.kind == Kind::Ended {
            self.end(conn, event, second);
            return;
        }
        let places = self.rows.enter(&Sighting::of(event, &conn, second));
        self.unlisted += u64::from(places.lacks_room);
        self.count(&places, event, second);
        if matches!(event.kind, Kind::Created | Kind::Listed) {
            let entry = Entry::new(event, &mut self.people);
            self.insert(conn, entry, &places);
        }
    }

    /// An end of which nobody knows the beginning: the socket is told first, so that no end is without one.
    fn hear_of(&mut self, conn: Conn, ended: &Event) -> Event {
        let mut listed = Event::new(Kind::Listed, ended.mono_ns, Some(conn));
        (listed.role, listed.owner, listed.identity) = (ended.role, ended.owner, ended.identity.clone());
        (listed.opener, listed.via) = (ended.opener, Some(ended.via.unwrap_or_default()));
        (listed.substate, listed.cookie) = (ended.substate, ended.cookie);
        (listed.timeout_ms, listed.lifetime_ns) = (Some(0), ended.lifetime_ns);
        self.take(&mut listed);
        listed
    }

    /// Says that a socket is gone though nobody saw its end; returns what tells so. `None` where it is not known to live.
    pub fn miss(&mut self, conn: &Conn, mono_ns: u64) -> Option<Event> {
        let entry = self.live.find(conn)?;
        let mut event = Event::new(Kind::Ended, mono_ns, Some(*conn));
        event.cookie = entry.cookie();
        event.substate = Some(entry.live(&self.people).substate);
        event.reason = Some(Reason::Missed);
        self.advance(mono_ns);
        self.take(&mut event);
        Some(event)
    }

    /// Says that somebody looked and the socket is there: its timer may have been armed anew. Whether it is the one that is known.
    pub fn renew(&mut self, seed: &Seed) -> bool {
        let entry = self.live.find_mut(&seed.conn).filter(|entry| entry.has_cookie(seed.cookie));
        entry.map(|entry| entry.renew(seed)).is_some()
    }

    /// Up to `most` sockets whose timer should have run out before `before_ns` of CLOCK_MONOTONIC: the connection, the cookie and that time.
    pub fn overdue(&self, before_ns: u64, most: usize) -> Vec<(Conn, Option<u64>, u64)> {
        let late = self.live.iter().filter(|(_, entry)| entry.ends_ns() < before_ns);
        late.map(|(conn, entry)| (*conn, entry.cookie(), entry.ends_ns())).take(most).collect()
    }

    fn counts(&self, event: &Event) -> bool {
        self.reasons.is_empty()
            || event.kind != Kind::Ended
            || event.reason.is_some_and(|reason| self.reasons.contains(&reason))
    }

    fn count(&mut self, places: &Places, event: &Event, second: u32) {
        if self.counts(event) {
            self.rows.each(places, |stats| stats.count(event, second));
        } else {
            self.rows.each(places, |stats| stats.seen(event.mono_ns));
        }
        if !self.reasons.is_empty() {
            self.rows.note_flow(places, event, second);
        }
        self.rows.link(places, event);
    }

    fn end(&mut self, conn: Conn, event: &mut Event, second: u32) {
        let place = self.live.place(&conn);
        let Some(entry) = place.and_then(|place| self.live.remove_at(place)) else {
            // There was no room for it: nothing but the namespace is certain.
            let netns = self.rows.netns.enter(&conn.netns, second);
            self.count(&Places { netns, ..Places::default() }, event, second);
            return;
        };
        entry.complete(event, &self.people);
        let places = self.rows.places(entry.link, entry.peer, entry.container);
        self.count(&places, event, second);
        self.leave(&entry);
    }

    /// Takes in sockets that were there before, as a recording of format 1 names them.
    pub fn seed(&mut self, seeds: impl IntoIterator<Item = Seed>) {
        for seed in seeds {
            self.apply(&mut seed.event(self.now_ns));
        }
    }

    /// What is known of a connection's TIME_WAIT socket.
    pub fn socket(&self, conn: &Conn) -> Option<Live> {
        self.live.find(conn).map(|entry| entry.live(&self.people))
    }

    /// How many TIME_WAIT sockets live.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// How many live in one network namespace.
    pub fn live_in(&self, netns: u32) -> u64 {
        self.rows.netns.find(&netns).map_or(0, |row| row.stats.live)
    }

    /// Whether this connection's TIME_WAIT socket is known to live.
    pub fn knows(&self, conn: &Conn) -> bool {
        self.live.place(conn).is_some()
    }

    /// Every live socket.
    pub fn sockets(&self) -> impl Iterator<Item = (&Conn, Live)> {
        self.live.iter().map(|(conn, entry)| (conn, entry.live(&self.people)))
    }

    /// What came and went in all.
    pub fn total(&self) -> &Counts {
        &self.total.counts
    }

    /// What came and went in one network namespace.
    pub fn counts_in(&self, netns: u32) -> Counts {
        self.rows.netns.find(&netns).map_or_else(Counts::default, |row| row.stats.counts)
    }

    /// The network namespaces that events came from.
    pub fn namespaces(&self) -> impl Iterator<Item = u32> {
        let busy = self.rows.netns.iter().filter(|(_, row)| row.stats.counts.events() != 0);
        busy.map(|(inode, _)| *inode)
    }

    /// Says what a network namespace allows.
    pub fn set_capacity(&mut self, netns: u32, capacity: Capacity) {
        self.set_capacities([(netns, capacity)]);
    }

    /// As [`Tracker::set_capacity`] for many namespaces: the live sockets are gone through once.
    pub fn set_capacities(&mut self, told: impl IntoIterator<Item = (u32, Capacity)>) {
        let second = self.second(self.now_ns);
        let (mut news, mut live) = (HashMap::new(), 0);
        for (netns, capacity) in told {
            let place = self.rows.netns.enter(&netns, second);
            let Some(row) = self.rows.netns.get_mut(place) else { continue };
            if row.capacity.as_ref() != Some(&capacity) {
                row.capacity = Some(capacity.clone());
                live += row.stats.live;
                news.insert(netns, capacity);
            }
        }
        if live == 0 {
            return;
        }
        for (conn, entry) in self.live.iter_mut() {
            let Some(capacity) = news.get(&conn.netns) else { continue };
            let places = self.rows.places(entry.link, entry.peer, entry.container);
            if let Some(tuple) = self.rows.tuples.get_mut(places.tuple) {
                let ephemeral = capacity.has(conn.sport);
                tuple.ephemeral = tuple.ephemeral + u32::from(ephemeral) - u32::from(entry.ephemeral);
                entry.ephemeral = ephemeral;
            }
        }
    }

    /// Every network namespace that has a row, and what it allows where that was said.
    pub fn capacities(&self) -> impl Iterator<Item = (u32, Option<&Capacity>)> {
        self.rows.netns.iter().map(|(netns, row)| (*netns, row.capacity.as_ref()))
    }

    /// Says how many ephemeral ports sockets in other states than TIME_WAIT hold in a network namespace, tuple by tuple.
    /// Tuples that are not named hold none; those that no event was about are left out.
    pub fn set_other_ports(&mut self, netns: u32, held: impl IntoIterator<Item = (TupleKey, u32)>) {
        for (_, row) in self.rows.tuples.iter_mut().filter(|(key, _)| key.netns == netns) {
            row.others = 0;
        }
        for (key, count) in held {
            if let Some(row) = self.rows.tuples.find_mut(&key) {
                row.others = count;
            }
        }
    }

    /// The processes that are not known to be gone.
    pub fn present(&self) -> impl Iterator<Item = ProcessKey> {
        let here = self.rows.processes.iter().filter(|(key, row)| !row.gone && !key.is_unknown());
        here.map(|(key, _)| *key)
    }

    /// Says that a process is gone. Its row stays while it has live sockets, and for a minute after its last event.
    pub fn mark_gone(&mut self, process: &ProcessKey) {
        if let Some(row) = self.rows.processes.find_mut(process) {
            (row.gone, self.has_gone) = (true, true);
        }
    }

    fn insert(&mut self, conn: Conn, mut entry: Entry, places: &Places) {
        if self.live.len() >= self.limits.sockets {
            self.dropped_sockets += 1;
            entry.release(&mut self.people);
            return;
        }
        (entry.link, entry.peer, entry.container) = (places.link, places.peer, places.container);
        let capacity = self.rows.netns.get(places.netns).and_then(|(_, row)| row.capacity.as_ref());
        entry.ephemeral = capacity.is_some_and(|capacity| capacity.has(conn.sport));
        self.rows.each(places, Stats::enter);
        self.rows.move_in(places, entry.ephemeral);
        self.total.enter();
        self.live.add(conn, entry);
    }

    fn leave(&mut self, entry: &Entry) {
        let places = self.rows.places(entry.link, entry.peer, entry.container);
        self.rows.each(&places, Stats::leave);
        self.rows.move_out(&places, entry.ephemeral);
        self.total.leave();
        entry.release(&mut self.people);
    }
}

#[cfg(test)]
mod tests;
