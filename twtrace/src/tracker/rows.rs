//! Owns: the rows of the world, and which of them an event belongs to.
//! Must not know: sockets, the present time.

use std::net::IpAddr;
use std::sync::Arc;

use super::arena::Place;
use super::history::{Flow, History};
use super::keys::{PortKey, ProcessKey, Target, TupleKey};
use super::limits::Limits;
use super::pressure::Capacity;
use super::stats::Stats;
use super::table::{Row, Table, WhenFull};
use crate::event::{Comm, Conn, Event, Kind, Process, Reason, Role};
use crate::identity::{Container, Identity};

/// A process's row.
#[derive(Debug, Default)]
pub(super) struct ProcessStats {
    pub(super) stats: Stats,
    /// Its name when last seen.
    pub(super) name: Comm,
    pub(super) uid: u32,
    pub(super) identity: Option<Arc<Identity>>,
    /// Row of its container, for as long as `identity` is the same.
    container: Place,
    pub(super) gone: bool,
}

/// A pool's row.
#[derive(Debug, Default)]
pub(super) struct TupleStats {
    pub(super) stats: Stats,
    /// TIME_WAIT sockets on ephemeral ports.
    pub(super) ephemeral: u32,
    /// Ephemeral ports in use by sockets in other states.
    pub(super) others: u32,
    /// When connect() last took the port of one of its TIME_WAIT sockets, CLOCK_MONOTONIC in nanoseconds.
    pub(super) reused_ns: Option<u64>,
    /// All that was created and ended, where `stats` has a part only: how long ports last depends on all of it.
    pub(super) flow: Option<Box<History>>,
}

/// A network namespace's row.
#[derive(Debug, Default)]
pub(super) struct NetnsStats {
    pub(super) stats: Stats,
    pub(super) capacity: Option<Capacity>,
}

/// A process and what it deals with. Also the short way from an event to its rows.
#[derive(Debug, Default)]
pub(super) struct Link {
    pub(super) live: u32,
    pub(super) created: u64,
    /// Overflows, and failures of connect() and bind().
    pub(super) failed: u64,
    /// Of those, failures of connect() while TIME_WAIT sockets held at least half of the ports.
    pub(super) starved: u64,
    last_ns: u64,
    pub(super) process: Place,
    pub(super) tuple: Place,
    pub(super) port: Place,
    /// Of a tuple: there, all connections have the same.
    peer: Place,
    pub(super) netns: Place,
}

/// Names a [`Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LinkKey {
    pub(super) process: ProcessKey,
    pub(super) target: Target,
}

impl LinkKey {
    pub(super) fn netns(&self) -> u32 {
        match &self.target {
            Target::Tuple(tuple) => tuple.netns,
            Target::Port(port) => port.netns,
        }
    }
}

macro_rules! rows {
    ($($type:ty),+) => { $(
        impl Row for $type {
            fn is_idle(&self) -> bool { self.stats.live == 0 }
            fn last_ns(&self) -> u64 { self.stats.last_ns }
        }
    )+ };
}

rows!(ProcessStats, TupleStats, NetnsStats);

impl Row for Stats {
    fn is_idle(&self) -> bool {
        self.live == 0
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

impl Row for Link {
    fn is_idle(&self) -> bool {
        self.live == 0
    }

    fn last_ns(&self) -> u64 {
        self.last_ns
    }
}

/// What is known of an event, or of a listed socket, that decides on its rows.
pub(super) struct Sighting<'a> {
    pub(super) kind: Kind,
    pub(super) conn: &'a Conn,
    pub(super) role: Role,
    pub(super) owner: Option<&'a Process>,
    pub(super) identity: Option<&'a Arc<Identity>>,
    /// The present second.
    pub(super) second: u32,
}

impl<'a> Sighting<'a> {
    pub(super) fn of(event: &'a Event, conn: &'a Conn, second: u32) -> Self {
        let (owner, identity) = (event.owner.as_ref(), event.identity.as_ref());
        Self { kind: event.kind, conn, role: event.role, owner, identity, second }
    }

    fn target(&self) -> Option<Target> {
        let port = PortKey { netns: self.conn.netns, sport: self.conn.sport };
        match (self.kind, self.role) {
            // Any port would have done: no port to blame.
            (Kind::BindFailed, _) if port.sport == 0 => None,
            (Kind::BindFailed, _) => Some(Target::Port(port)),
            (Kind::ConnectFailed, _) | (_, Role::Client | Role::Unknown) => {
                Some(Target::Tuple(self.conn.into()))
            }
            (_, Role::Server) => Some(Target::Port(port)),
        }
    }
}

fn is_served(sighting: &Sighting<'_>) -> bool {
    sighting.kind != Kind::BindFailed && matches!(sighting.target(), Some(Target::Port(_)))
}

/// The rows that an event belongs to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Places {
    pub(super) link: Place,
    pub(super) process: Place,
    pub(super) tuple: Place,
    pub(super) port: Place,
    pub(super) peer: Place,
    pub(super) container: Place,
    pub(super) netns: Place,
    /// A row is missing because there was no room for it.
    pub(super) lacks_room: bool,
}

/// All rows.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) processes: Table<ProcessKey, ProcessStats>,
    pub(super) tuples: Table<TupleKey, TupleStats>,
    pub(super) peers: Table<IpAddr, Stats>,
    pub(super) ports: Table<PortKey, Stats>,
    pub(super) containers: Table<Option<Container>, Stats>,
    pub(super) netns: Table<u32, NetnsStats>,
    pub(super) links: Table<LinkKey, Link>,
}

impl Rows {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            processes: Table::new(limits.processes, WhenFull::Refuse),
            tuples: Table::new(limits.tuples, WhenFull::Refuse),
            peers: Table::new(limits.peers, WhenFull::Refuse),
            ports: Table::new(limits.ports, WhenFull::Refuse),
            containers: Table::new(limits.containers, WhenFull::Refuse),
            netns: Table::new(limits.netns, WhenFull::Refuse),
            // Every live socket has one, or it could not be taken from its rows when it ends.
            links: Table::new(limits.links, WhenFull::Grow),
        }
    }

    /// The rows that a sighting belongs to, made where there are none.
    pub(super) fn enter(&mut self, sighting: &Sighting<'_>) -> Places {
        let Sighting { conn, second, .. } = *sighting;
        let process = sighting.owner.map_or(ProcessKey::UNKNOWN, ProcessKey::from);
        let mut places = match sighting.target() {
            Some(target) => self.enter_link(&LinkKey { process, target }, second),
            None => Places {
                process: self.processes.enter(&process, second),
                netns: self.netns.enter(&conn.netns, second),
                ..Places::default()
            },
        };
        if is_served(sighting) {
            places.peer = self.peers.enter(&conn.daddr, second);
        }
        let in_container = sighting.identity.is_some_and(|identity| identity.cgroup.is_some());
        places.container = self.introduce(places.process, sighting);
        let missing = |place| place == Place::NONE;
        let target = places.link != Place::NONE && missing(places.tuple) && missing(places.port);
        let peer = sighting.kind != Kind::BindFailed && missing(places.peer);
        let container = in_container && missing(places.container);
        places.lacks_room = missing(places.process) || missing(places.netns) || target || peer || container;
        places
    }

    fn enter_link(&mut self, key: &LinkKey, second: u32) -> Places {
        let place = self.links.enter(key, second);
        let Self { links, processes, tuples, peers, ports, netns, .. } = self;
        let Some(link) = links.get_mut(place) else { return Places::default() };
        // While it has live sockets, its rows cannot go, and must not change: the sockets are counted in them.
        if link.live == 0 {
            if processes.get(link.process).is_none() {
                link.process = processes.enter(&key.process, second);
            }
            let inode = match &key.target {
                Target::Tuple(tuple) => {
                    if tuples.get(link.tuple).is_none() {
                        link.tuple = tuples.enter(tuple, second);
                    }
                    if peers.get(link.peer).is_none() {
                        link.peer = peers.enter(&tuple.daddr, second);
                    }
                    tuple.netns
                }
                Target::Port(port) => {
                    if ports.get(link.port).is_none() {
                        link.port = ports.enter(port, second);
                    }
                    port.netns
                }
            };
            if netns.get(link.netns).is_none() {
                link.netns = netns.enter(&inode, second);
            }
        }
        let Link { process, tuple, port, peer, netns, .. } = *link;
        Places { link: place, process, tuple, port, peer, netns, ..Places::default() }
    }

    /// Takes in who a process is, and finds its container's row.
    fn introduce(&mut self, place: Place, sighting: &Sighting<'_>) -> Place {
        let Self { processes, containers, .. } = self;
        let mut row = processes.get_mut(place);
        if let (Some(row), Some(owner)) = (row.as_mut(), sighting.owner) {
            row.name = owner.comm;
            row.uid = owner.uid;
        }
        // Without a cgroup, nobody knows whether it is in a container.
        let Some(identity) = sighting.identity.filter(|identity| identity.cgroup.is_some()) else {
            if let (Some(row), Some(identity)) = (row, sighting.identity) {
                row.identity.get_or_insert_with(|| identity.clone());
            }
            return Place::NONE;
        };
        let Some(row) = row else { return containers.enter(&identity.container, sighting.second) };
        let same = row.identity.as_ref().is_some_and(|known| Arc::ptr_eq(known, identity));
        if !same || containers.get(row.container).is_none() {
            row.container = containers.enter(&identity.container, sighting.second);
            row.identity = Some(identity.clone());
        }
        row.container
    }

    /// The rows of a live socket, by what it remembers of them.
    pub(super) fn places(&self, link: Place, peer: Place, container: Place) -> Places {
        let Some((_, found)) = self.links.get(link) else { return Places::default() };
        let Link { process, tuple, port, netns, .. } = *found;
        Places { link, process, tuple, port, peer, container, netns, lacks_room: false }
    }

    /// Does the same to every row that an event belongs to.
    pub(super) fn each(&mut self, places: &Places, mut work: impl FnMut(&mut Stats)) {
        if let Some(row) = self.processes.get_mut(places.process) {
            work(&mut row.stats);
        }
        if let Some(row) = self.tuples.get_mut(places.tuple) {
            work(&mut row.stats);
        }
        if let Some(row) = self.netns.get_mut(places.netns) {
            work(&mut row.stats);
        }
        let Self { ports, peers, containers, .. } = self;
        let rows =
            [ports.get_mut(places.port), peers.get_mut(places.peer), containers.get_mut(places.container)];
        rows.into_iter().flatten().for_each(work);
    }

    /// Notes that a socket came or went, whether or not that is counted.
    pub(super) fn note_flow(&mut self, places: &Places, event: &Event, second: u32) {
        let flow = match event.kind {
            Kind::Created => Flow::Created,
            Kind::Ended => Flow::Ended,
            _ => return,
        };
        if let Some(tuple) = self.tuples.get_mut(places.tuple) {
            tuple.flow.get_or_insert_default().add(second, flow);
        }
    }

    /// Counts an event in its link, and notes that a port was used again.
    pub(super) fn link(&mut self, places: &Places, event: &Event) {
        if event.reason == Some(Reason::ReusedOutgoing)
            && let Some(tuple) = self.tuples.get_mut(places.tuple)
        {
            tuple.reused_ns = Some(event.mono_ns);
        }
        let Some(link) = self.links.get_mut(places.link) else { return };
        link.last_ns = link.last_ns.max(event.mono_ns);
        match event.kind {
            Kind::Created => link.created += 1,
            Kind::Overflow | Kind::BindFailed => link.failed += 1,
            Kind::ConnectFailed => {
                link.failed += 1;
                let held = self.tuples.get(places.tuple).map_or(0, |(_, row)| row.ephemeral);
                let capacity = self.netns.get(places.netns).and_then(|(_, row)| row.capacity.as_ref());
                link.starved +=
                    u64::from(capacity.is_some_and(|capacity| held >= capacity.ports.div_ceil(2)));
            }
            Kind::Ended | Kind::Listed | Kind::Aborted | Kind::SynRefused | Kind::Lost => {}
        }
    }

    /// One live socket more.
    pub(super) fn move_in(&mut self, places: &Places, ephemeral: bool) {
        if let Some(link) = self.links.get_mut(places.link) {
            link.live += 1;
        }
        if let Some(tuple) = self.tuples.get_mut(places.tuple) {
            tuple.ephemeral += u32::from(ephemeral);
        }
    }

    /// One live socket less.
    pub(super) fn move_out(&mut self, places: &Places, ephemeral: bool) {
        if let Some(link) = self.links.get_mut(places.link) {
            link.live -= 1;
        }
        if let Some(tuple) = self.tuples.get_mut(places.tuple) {
            tuple.ephemeral -= u32::from(ephemeral);
        }
    }

    /// Rows that had to make room, links left out: those are not shown as rows.
    pub(super) fn evicted(&self) -> u64 {
        self.processes.evicted()
            + self.tuples.evicted()
            + self.peers.evicted()
            + self.ports.evicted()
            + self.containers.evicted()
            + self.netns.evicted()
    }

    /// Lets go of what no window reaches any more. `second` is the present one.
    pub(super) fn rest(&mut self, second: u32) {
        self.processes.iter_mut().for_each(|(_, row)| row.stats.history.rest(second));
        self.tuples.iter_mut().for_each(|(_, row)| row.stats.history.rest(second));
        self.netns.iter_mut().for_each(|(_, row)| row.stats.history.rest(second));
        self.peers.iter_mut().for_each(|(_, row)| row.history.rest(second));
        self.ports.iter_mut().for_each(|(_, row)| row.history.rest(second));
        self.containers.iter_mut().for_each(|(_, row)| row.history.rest(second));
    }
}
