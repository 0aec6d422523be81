//! Owns: the state as the events tell it: which TIME_WAIT sockets live, who made them, how many came and went.
//! Must not know: the kernel, clocks, files, screens. Events and times are handed in.

mod arena;
mod compact;
mod compared;
mod counting;
mod counts;
pub(crate) mod failures;
pub(crate) mod groups;
mod history;
mod homes;
pub(crate) mod intern;
pub(crate) mod key;
mod keys;
pub(crate) mod ledger;
mod limits;
mod live;
mod owners;
mod pattern;
mod pools;
mod processes;
mod read;
mod recent;
pub(crate) mod row;
mod snapshot;
mod sockets;
mod spread;
mod surroundings;
mod table;
mod unknown;

use std::collections::{HashMap, HashSet};

pub(crate) use counting::Engine;
pub use counts::{Counts, Otherwise};
pub use history::{Flow, HISTORY_S, History, Rates};
pub(crate) use intern::Hasher;
pub use keys::{By, PortKey, ProcessKey, RowKey, Target, TupleKey};
pub use limits::Limits;
pub use live::{Live, Seed};
pub use pattern::{Evidence, Pattern};
pub use pools::Capacity;
pub use read::Figures;
pub(crate) use read::Index;
pub use snapshot::{
    AnyRow, BareRow, ContainerRow, Detail, Dropped, Extent, FAILING_S, Fold, FoldRow, Fullest, LinkRow,
    NetnsRow, NotBound, PeerRow, PortRow, ProcessRow, ShareRow, Snapshot, Survey, TupleRow,
};
pub use spread::{Percentiles, Spread};

use crate::model::event::{Conn, Event, Kind, Reason};
use crate::model::filter::Omissions;
pub use crate::model::pool::Pressure;
use live::LiveEntry;
use owners::Owners;
use processes::Processes;
use recent::{Recent, RecentBirth};
use row::{Named, Row};
use sockets::Sockets;
use surroundings::ChosenNetns;
use unknown::Missed;

const SECOND_NS: u64 = 1_000_000_000;
/// How often memory of what is long past is given back.
const REST_EVERY_S: u32 = 30;
/// How often room is made, at most: it takes as long as a hundred thousand events.
const ROOM_EVERY_S: u32 = 5;
/// A process that is gone and has no live socket stays for as long as a rate still shows it.
const GONE_STAYS_NS: u64 = 60 * SECOND_NS;

/// What came of an event.
#[derive(Debug, PartialEq)]
pub struct Applied {
    /// To be told before it: the `ended` of a socket that it takes the place of, the `listed` of one that nobody knew, the `lost` of what cannot
    /// be told.
    pub before: Vec<Event>,
    /// It is news. Where it is not, a `listed` was told of a socket that is known, or an `ended` of one that was told as missed: it is not
    /// counted, and not to be told.
    pub is_new: bool,
}

/// What is known of this moment: which sockets live, and what was counted.
#[derive(Debug)]
pub struct Tracker {
    live: Sockets,
    processes: Processes,
    owners: Owners,
    recent: Recent,
    pub(crate) engine: Engine,
    /// Live sockets that there was no room for.
    dropped_sockets: u64,
    /// Those of them whose end was not heard of.
    unfollowed: u64,
    /// Sockets that were told as ended though nobody saw their end.
    missed: Missed,
    /// Groups that had to make room for others.
    folded: u64,
    /// The first time heard of, CLOCK_MONOTONIC in nanoseconds.
    began_ns: Option<u64>,
    now_ns: u64,
    rested: u32,
    /// From this second on, room may be made again.
    room_at: u32,
    /// Number of the last listing, and whether there were sockets when it began that there was no room for.
    listing: (u8, bool),
    /// No timer of a socket that lives runs out before, CLOCK_MONOTONIC in nanoseconds.
    soonest_ns: u64,
    /// Connections whose sockets ended since somebody wanted to know.
    ends: Option<HashSet<Conn, Hasher>>,
    /// The network namespaces that were asked for.
    asked: ChosenNetns,
}

impl Default for Tracker {
    fn default() -> Self {
        Self::with_limits(Limits::default())
    }
}

impl Tracker {
    /// An empty tracker.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty tracker with other bounds.
    pub fn with_limits(limits: Limits) -> Self {
        Self {
            live: Sockets::default(),
            processes: Processes::default(),
            owners: Owners::new(&limits),
            recent: Recent::default(),
            engine: Engine::new(limits),
            dropped_sockets: 0,
            unfollowed: 0,
            missed: Missed::default(),
            folded: 0,
            began_ns: None,
            now_ns: 0,
            rested: 0,
            room_at: 0,
            listing: (0, false),
            soonest_ns: u64::MAX,
            ends: None,
            asked: ChosenNetns::default(),
        }
    }

    /// From now on, ends for other reasons than these are not counted, and rows without an end for one of these are in no snapshot.
    /// What lives, what is created, what fails and how long ports last are told as ever.
    pub fn count_only(&mut self, reasons: &[Reason]) {
        self.engine.reasons = reasons.to_vec();
    }

    /// Says what is left out of what is counted: where that may draw from the same pools of ports, it is not told when one will be full, as
    /// nobody knows at what rate it fills.
    pub fn count_a_part(&mut self, part: Omissions) {
        self.engine.part = part;
    }

    /// Whether TIME_WAIT sockets may be left out that draw from the same pools as those that are counted.
    pub fn hides_sockets(&self) -> bool {
        self.engine.part.hides_sockets
    }

    /// Events are counted by network namespace alone, and no row is ever shown: which sockets live is all that is known of them besides.
    /// To be said before the first event.
    pub fn count_by_netns(&mut self) {
        self.engine.tells_apart = false;
    }

    /// From now on, keeps what the doctor wants to know of failures.
    pub fn keep_failures(&mut self) {
        self.engine.failures.get_or_insert_default();
    }

    /// Says that it is now `mono_ns` of CLOCK_MONOTONIC; an earlier time than one heard of before changes nothing. The
    /// first time heard of, here or from an event, is when the first second begins.
    pub fn advance(&mut self, mono_ns: u64) {
        self.began_ns.get_or_insert(mono_ns);
        if mono_ns <= self.now_ns {
            return;
        }
        self.now_ns = mono_ns;
        let second = self.second(mono_ns);
        if second - self.rested >= REST_EVERY_S {
            self.rested = second;
            self.engine.groups.all.iter_mut().for_each(|group| group.history.rest(second));
        }
    }

    /// The present second, counted from when the tracker began.
    fn second(&self, mono_ns: u64) -> u32 {
        let since_ns = mono_ns.saturating_sub(self.began_ns.unwrap_or(mono_ns));
        u32::try_from(since_ns / SECOND_NS).unwrap_or(u32::MAX)
    }

    /// Takes in an event, in the order of the ring, and completes it: an `ended` gets what is known since its
    /// `created`. What is returned is to be told as well.
    pub fn apply(&mut self, event: &mut Event) -> Applied {
        self.advance(event.mono_ns);
        let hash = event.conn.map_or(0, |conn| self.live.hash(&conn));
        let known = event.conn.as_ref().and_then(|conn| self.live.find_by(hash, conn));
        let same = known.map(|known| known.has_cookie(event.cookie));
        let before = match (event.kind, event.conn, same) {
            (Kind::Listed, _, Some(true)) => return Applied { before: Vec::new(), is_new: false },
            // The same connection a second time: the end of the first was lost.
            (Kind::Created | Kind::Listed, Some(conn), Some(_)) => {
                self.miss(&conn, event.mono_ns).into_iter().collect()
            }
            (Kind::Ended, Some(conn), None | Some(false)) => {
                return self.end_of_unknown((conn, hash), same.is_some(), event);
            }
            _ => Vec::new(),
        };
        self.take(event, hash);
        Applied { before, is_new: true }
    }

    /// `hash` is that of the event's connection.
    fn take(&mut self, event: &mut Event, hash: u64) {
        if event.kind == Kind::Lost {
            if let Some(loss) = &event.loss {
                self.engine.loss = self.engine.loss.and(loss);
            }
            return;
        }
        let Some(conn) = event.conn else { return };
        if event.kind == Kind::Ended {
            self.end(conn, hash, event);
            return;
        }
        let Some(group) = self.count(event, conn.netns) else { return };
        if matches!(event.kind, Kind::Created | Kind::Listed) {
            self.insert((conn, hash), group, event);
        }
    }

    /// Counts anything but an end; returns where.
    fn count(&mut self, event: &Event, netns: u32) -> Option<u32> {
        if !self.engine.tells_apart {
            return Some(self.engine.count_in_netns(netns, event));
        }
        let second = self.second(event.mono_ns);
        let known = self.recent.find(event).or_else(|| self.enter(event, second));
        let (named, group) = known?;
        let row = Row::of(event, named)?;
        self.engine.count(group, &row, Some(second));
        self.engine.tell_failures(&row);
        Some(group)
    }

    /// What an event names and its group, both perhaps new.
    #[cold]
    fn enter(&mut self, event: &Event, second: u32) -> Option<RecentBirth> {
        self.make_room(second);
        let named = self.named(event)?;
        let group = self.engine.enter(&Row::of(event, named)?).0;
        // What there is no room for is to be counted as such each time.
        if !self.engine.is_full() {
            self.recent.put(event, (named, group));
        }
        Some((named, group))
    }

    /// An event as it is counted.
    fn row(&mut self, event: &Event) -> Option<Row> {
        Row::of(event, self.named(event)?)
    }

    /// The numbers of what an event names.
    fn named(&mut self, event: &Event) -> Option<Named> {
        let Self { owners, engine, .. } = self;
        let number = |owner| owners.number(owner, event.identity.as_ref(), engine);
        let (owner, exe) = event.owner.as_ref().map(number).unzip();
        event.conn.map(|conn| engine.named(&conn, (owner, exe.unwrap_or(intern::NONE))))
    }

    /// Where there is no room to tell anything new apart, what has been quiet longest makes some.
    fn make_room(&mut self, second: u32) {
        if !self.engine.is_full() || second < self.room_at {
            return;
        }
        self.room_at = second + ROOM_EVERY_S;
        // Numbers that were kept of what failed would lead elsewhere.
        if self.engine.failures.is_some() {
            return;
        }
        let Some(compacted) = self.engine.compact() else { return };
        self.folded += compacted.folded;
        self.owners.forget(&self.engine);
        self.recent = Recent::default();
        for (conn, entry) in self.live.iter_mut() {
            entry.group = compacted.groups[entry.group as usize];
            let pool = self.engine.groups.pool_of(entry.group);
            self.engine.pools.take(pool, conn.sport, self.now_ns);
        }
    }

    /// The end of a socket; `hash` is that of its connection.
    fn end(&mut self, conn: Conn, hash: u64, event: &mut Event) {
        let entry = self.live.remove_by(hash, &conn);
        if let Some(ends) = self.ends.as_mut().filter(|ends| ends.len() < surroundings::MOST_ENDS) {
            ends.insert(conn);
        }
        if let Some(entry) = &entry {
            entry.complete(event, &self.processes);
            entry.release(&mut self.processes);
        }
        if !self.engine.tells_apart {
            self.engine.count_in_netns(conn.netns, event);
            if let Some(entry) = entry {
                self.engine.leave_one(entry.group, conn.sport);
            }
            return;
        }
        let second = self.second(event.mono_ns);
        let Some(entry) = entry else {
            // There was no room for it: nothing but the namespace is certain.
            let Some(row) = self.row(event) else { return };
            let (group, _) = self.engine.enter(&Row { via: None, ..row });
            self.engine.count(group, &row, Some(second));
            return;
        };
        let row = match self.engine.group(entry.group).named() {
            None if self.engine.failures.is_some() => self.row(event),
            named => Row::of(event, named.unwrap_or_default()),
        };
        let Some(row) = row else { return };
        self.engine.count(entry.group, &row, Some(second));
        self.engine.tell_failures(&row);
        self.engine.leave_one(entry.group, conn.sport);
    }

    /// What is known of a connection's TIME_WAIT socket.
    pub fn socket(&self, conn: &Conn) -> Option<Live> {
        self.live.find(conn).map(|entry| entry.live(&self.processes))
    }

    /// How many TIME_WAIT sockets live.
    pub fn live(&self) -> usize {
        self.live.len()
    }

    /// Whether the TIME_WAIT socket that an event is about is known to live.
    pub fn knows_socket_of(&self, event: &Event) -> bool {
        let entry = event.conn.and_then(|conn| self.live.find(&conn));
        entry.is_some_and(|entry| entry.has_cookie(event.cookie))
    }

    /// Whether a TIME_WAIT socket of this connection is known to live.
    pub fn knows(&self, conn: &Conn) -> bool {
        self.live.find(conn).is_some()
    }

    /// Every live socket.
    pub fn sockets(&self) -> impl Iterator<Item = (Conn, Live)> {
        self.live.iter().map(|(conn, entry)| (conn, entry.live(&self.processes)))
    }

    /// What came and went in all.
    pub fn total(&self) -> Counts {
        self.engine.counts_in_all()
    }

    /// What was lost.
    pub fn loss(&self) -> &crate::model::event::Loss {
        &self.engine.loss
    }

    /// What came and went in each network namespace that anything was heard from, and how many live in it.
    pub fn by_netns(&self) -> HashMap<u32, (Counts, u64), impl std::hash::BuildHasher + use<>> {
        self.engine.by_netns()
    }

    fn latest(&self, groups: &[u32]) -> Option<&groups::Group> {
        groups.iter().map(|at| self.engine.group(*at)).max_by_key(|group| group.last_ns)
    }

    fn insert(&mut self, (conn, hash): (Conn, u64), group: u32, event: &Event) {
        if self.live.len() >= self.engine.limits.sockets {
            self.dropped_sockets += 1;
            self.unfollowed += 1;
            return;
        }
        let mut entry = LiveEntry::new(event, &mut self.processes);
        entry.group = group;
        if event.kind == Kind::Listed {
            entry.listed = self.listing.0;
        }
        self.soonest_ns = self.soonest_ns.min(entry.ends_ns());
        self.engine.enter_one(group, conn.sport, event.mono_ns);
        self.live.add_by(hash, conn, entry);
    }
}

#[cfg(test)]
mod tests;
