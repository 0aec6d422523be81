//! Owns: a recording being counted: its rows go into the engine one by one, and what only a recording is asked for is counted beside.
//! Must not know: files, Arrow, how a report looks.
//!
//! Memory grows with what is different in a recording, not with its length, and has an end: see [`Limits`].

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::namings::Namings;
use super::strips::Strips;
use super::timeline::{Count, Timeline};
use crate::engine::groups::Table;
use crate::engine::intern::{Hasher, OTHERS, UNWANTED};
use crate::engine::key::Side;
use crate::engine::row::{Owner, Row};
use crate::engine::{Engine, Limits};
use crate::model::event::{Conn, Errno, Event, Kind, Loss, Process};
use crate::model::filter::{Failures, Filter, Unwanted};
use crate::model::identity::Identity;

const SECOND_NS: u64 = 1_000_000_000;

/// TIME_WAIT sockets in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Population {
    /// That were there before, or were heard of when they ended.
    pub(super) listed: u64,
    pub(super) most: u64,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub(super) most_at_ns: u64,
}

/// The most created in one second.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Busiest {
    second: u64,
    /// In that second, and in the one before: events come a little out of order.
    counts: [u64; 2],
    pub(super) most: u64,
    /// Second in which that was, from the beginning.
    pub(super) most_second: u64,
}

impl Busiest {
    pub(super) fn add(&mut self, second: u64) {
        if second > self.second {
            self.counts = [0, if second == self.second + 1 { self.counts[0] } else { 0 }];
            self.second = second;
        }
        let Some(count) = self.counts.get_mut((self.second - second) as usize) else { return };
        *count += 1;
        if *count > self.most {
            (self.most, self.most_second) = (*count, second);
        }
    }
}

/// What is counted of a recording.
#[derive(Clone, Debug, Default)]
pub(super) struct CountOptions {
    /// Which events count.
    pub(super) filter: Filter,
    /// All count, for the doctor; of those that pass this one it is known how many there are.
    pub(super) looked_at: Option<Filter>,
    /// As for [`Timeline::new`].
    pub(super) every_ns: Option<u64>,
    /// Where the timeline begins, if that is before the recording does; as its times are, in nanoseconds.
    pub(super) origin_ns: Option<u64>,
}

/// All that was counted.
#[derive(Debug)]
pub(super) struct Counting {
    pub(super) engine: Engine,
    pub(super) timeline: Timeline,
    pub(super) strips: Strips,
    pub(super) namings: Namings,
    pub(super) population: Population,
    pub(super) busiest: Busiest,
    /// Events that passed, `lost` left out.
    pub(super) events: u64,
    /// CLOCK_MONOTONIC in nanoseconds: where the recording begins, and the latest event.
    pub(super) began_ns: u64,
    pub(super) last_ns: u64,
    filter: Filter,
    /// Every group counts, whatever passes.
    counts_all: bool,
    /// By group: whether the filter lets it pass.
    passing: Vec<bool>,
    /// Format 1: groups of the sockets that were there when the recording began and have not ended. What came after another recording
    /// listed them without their owners, but their ends may know them.
    /// `None`: the filter left it out, so it is not counted among the living.
    seeds: HashMap<Tuple, Option<u32>, Hasher>,
}

/// Where a socket is: no other is there at the same time.
type Tuple = (u32, [u32; 2], [u16; 2]);

fn tuple_of(row: &Row) -> Tuple {
    (row.netns, [row.saddr, row.daddr], [row.sport, row.dport])
}

impl Counting {
    /// Nothing counted yet. `began_ns` is CLOCK_MONOTONIC.
    pub(super) fn new(began_ns: u64, asked: &CountOptions, limits: Limits) -> Self {
        let mut engine = Engine::new(limits);
        engine.pools.follow_fullest();
        // A pool counts whole for the doctor, whoever is asked about.
        if asked.filter.is_empty() {
            engine.failures = Some(Box::default());
        }
        Self {
            engine,
            timeline: Timeline::new(asked.origin_ns.unwrap_or(began_ns), asked.every_ns),
            strips: Strips::new(began_ns),
            namings: Namings::default(),
            population: Population::default(),
            busiest: Busiest::default(),
            events: 0,
            began_ns,
            last_ns: began_ns,
            filter: asked.looked_at.clone().unwrap_or_else(|| asked.filter.clone()),
            counts_all: asked.looked_at.is_some(),
            passing: Vec::new(),
            seeds: HashMap::default(),
        }
    }

    /// The number of a remote address. One that is not asked for gets none, so that those that are have room.
    pub(super) fn peer_id(&mut self, address: &IpAddr) -> u32 {
        if self.counts_all || self.filter.peer_passes(address) {
            self.engine.address_id(*address)
        } else {
            UNWANTED
        }
    }

    /// A socket that a note at the start of a recording of format 1 names. Its kind is `listed`.
    pub(super) fn seed(&mut self, row: &Row) {
        let (group, passes) = self.group(row);
        let counts = passes || self.counts_all;
        self.seeds.insert(tuple_of(row), counts.then_some(group));
        self.events += u64::from(passes);
        if counts {
            self.list(group, row);
        }
    }

    /// Counts an event, which is in this group (see [`Counting::group`]). They come in the order of the recording, in which times may step
    /// back a little.
    pub(super) fn take(&mut self, row: &Row, (at, passes): (u32, bool)) {
        let now_ns = row.mono_ns;
        self.last_ns = self.last_ns.max(now_ns);
        let Self { timeline, engine, .. } = self;
        timeline.advance(now_ns, || engine.pools.pressure());
        if passes {
            self.events += 1;
        } else if !self.counts_all {
            return;
        }
        self.engine.tell_failures(row);
        if row.kind == Kind::Listed {
            self.list(at, row);
            return;
        }
        self.engine.count(at, row, None);
        match row.kind {
            Kind::Created => {
                self.timeline.count(now_ns, Count::Created, 1);
                self.strips.count(at, now_ns, false);
                self.busiest.add(now_ns.saturating_sub(self.began_ns) / SECOND_NS);
                // The end of what was there before was lost.
                if let Some(Some(seed)) = self.unseed(row) {
                    self.leave(seed, row.sport);
                }
                self.enter(at, row.sport, now_ns);
            }
            Kind::Ended => self.end(at, row),
            Kind::Overflow => self.fail(at, now_ns, Count::Overflow),
            Kind::ConnectFailed => self.fail(at, now_ns, Count::ConnectFailed),
            Kind::BindFailed => self.fail(at, now_ns, Count::BindFailed),
            Kind::Aborted => self.timeline.count(now_ns, Count::Aborted, 1),
            Kind::Listed | Kind::SynRefused | Kind::Lost => {}
        }
    }

    fn fail(&mut self, at: u32, now_ns: u64, what: Count) {
        self.timeline.count(now_ns, what, 1);
        self.strips.count(at, now_ns, true);
    }

    fn end(&mut self, at: u32, row: &Row) {
        self.timeline.count(row.mono_ns, Count::Ended, 1);
        // Format 1: nobody saw its birth, so nobody counted it among the living.
        if row.via.is_none() {
            self.population.listed += 1;
            self.engine.groups.all[at as usize].counts.listed += 1;
            return;
        }
        match self.unseed(row) {
            Some(Some(seed)) => self.leave(seed, row.sport),
            Some(None) => {}
            None => self.leave(at, row.sport),
        }
    }

    fn list(&mut self, group: u32, row: &Row) {
        self.engine.count(group, row, None);
        self.population.listed += 1;
        self.enter(group, row.sport, row.mono_ns);
    }

    /// What is known of a socket that was there when the recording began, which it is no longer.
    #[inline]
    fn unseed(&mut self, row: &Row) -> Option<Option<u32>> {
        if self.seeds.is_empty() { None } else { self.seeds.remove(&tuple_of(row)) }
    }

    /// Counts what a `lost` event says.
    pub(super) fn lose(&mut self, now_ns: u64, loss: &Loss) {
        self.close(now_ns);
        self.timeline.count(now_ns, Count::Lost, u32::try_from(loss.events()).unwrap_or(u32::MAX));
        self.engine.loss = self.engine.loss.and(loss);
    }

    /// Lets go of what lives, where a recording ends and none goes on from there; returns how many those are.
    pub(super) fn let_go(&mut self) -> u64 {
        let lived = self.engine.groups.population.now;
        self.seeds.clear();
        self.engine.let_go();
        self.timeline.level(0, None);
        lived.into()
    }

    /// Goes on to the end of the recording.
    pub(super) fn close(&mut self, now_ns: u64) {
        let Self { timeline, engine, .. } = self;
        timeline.advance(now_ns, || engine.pools.pressure());
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// The group of a row, and whether it passes the filter.
    #[inline]
    pub(super) fn group(&mut self, row: &Row) -> (u32, bool) {
        let (at, is_new) = self.engine.enter(row);
        if is_new {
            let is_others = self.engine.group(at).key.side == Side::Others;
            let passes = !is_others && self.passes(row);
            self.passing.resize(at as usize + 1, true);
            self.passing[at as usize] = passes;
            self.strips.enter(at, self.engine.group(at).row(Table::Process));
            self.engine.groups.all[at as usize].passes = passes || is_others || self.counts_all;
        }
        let passes = self.passing[at as usize] || self.passes_among_others(at, row);
        (at, passes && passes_one_by_one(&self.filter, row))
    }

    /// What there is no room to tell apart is looked at one by one.
    #[cold]
    fn passes_among_others(&self, at: u32, row: &Row) -> bool {
        self.engine.group(at).key.side == Side::Others && self.passes(row)
    }

    /// Whether the filter lets a row's whole group pass: all of it that is the same for every row of a group.
    fn passes(&self, row: &Row) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        if self.filter.asks_for_peer() && !self.peer_passes(row.daddr) {
            return false;
        }
        let Some(event) = self.event(row) else { return false };
        let whole = Filter {
            peers: Vec::new(),
            sports: Vec::new(),
            dports: Vec::new(),
            ports: Vec::new(),
            reasons: Vec::new(),
            failures: None,
            not: Unwanted { ports: Vec::new(), peers: Vec::new(), ..self.filter.not.clone() },
            ..self.filter.clone()
        };
        whole.passes(&event)
    }

    /// Whether the remote address with this number passes (see `peer_id`): of those that there is no room for it is known, unless all wanted room.
    fn peer_passes(&self, id: u32) -> bool {
        let address = self.engine.address(id);
        address.map_or(id == OTHERS && !self.counts_all, |address| self.filter.peer_passes(&address))
    }

    /// What is known of where a row's event was, and of whom, whatever the other end; `None` where the family is asked for and not known.
    fn event(&self, row: &Row) -> Option<Event> {
        let known = [row.saddr, row.daddr].into_iter().find_map(|id| self.engine.address(id));
        let any = self.filter.family.is_none().then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let saddr = known.or(any)?;
        let Row { netns, sport, dport, .. } = *row;
        let conn = Conn { netns, ifindex: 0, saddr, daddr: saddr, sport, dport };
        let mut event = Event::new(row.kind, row.mono_ns, Some(conn));
        (event.role, event.reason, event.errno) = (row.role, row.reason, row.errno);
        event.owner = row.owner.map(|Owner { pid, start, comm, uid, .. }| {
            let comm = self.engine.comm(comm);
            Process { pid, tid: pid, uid, cgroup_id: 0, start_ns: start, comm }
        });
        event.identity = row.owner.map(|owner| {
            let cgroup = self.engine.texts.get(owner.cgroup).map(|text| text.to_string());
            Identity { cgroup, ..Identity::default() }.into()
        });
        Some(event)
    }

    fn enter(&mut self, group: u32, port: u16, now_ns: u64) {
        let pressure = self.engine.enter_one(group, port, now_ns);
        let now = u64::from(self.engine.groups.population.now);
        if now > self.population.most {
            (self.population.most, self.population.most_at_ns) = (now, now_ns);
        }
        self.timeline.level(now, pressure);
    }

    fn leave(&mut self, group: u32, port: u16) {
        self.engine.leave_one(group, port);
        self.timeline.level(self.engine.groups.population.now.into(), None);
    }
}

/// The part of the filter that asks about what differs within a group.
#[inline]
fn passes_one_by_one(filter: &Filter, row: &Row) -> bool {
    let Filter { sports, dports, ports, reasons, failures, not, .. } = filter;
    let among = |list: &[u16], port: u16| list.is_empty() || list.contains(&port);
    among(sports, row.sport)
        && among(dports, row.dport)
        && (ports.is_empty() || ports.contains(&row.sport) || ports.contains(&row.dport))
        && !not.ports.contains(&row.sport)
        && !not.ports.contains(&row.dport)
        && (*failures != Some(Failures::Ports) || row.errno.is_none_or(Errno::is_of_ports))
        && (reasons.is_empty() || row.reason.is_some_and(|reason| reasons.contains(&reason)))
}
