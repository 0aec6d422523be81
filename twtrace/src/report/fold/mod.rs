//! Owns: counting: rows of a recording go in one by one, sums for every table come out at the end.
//! Must not know: files, Arrow, how a report looks.
//!
//! Memory grows with what is different in a recording, not with its length, and has an end: see [`Limits`].

mod groups;
pub(super) mod intern;
pub(super) mod key;
pub(super) mod ports;
pub(super) mod spread;
pub(super) mod timeline;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;

pub(super) use groups::{Group, Groups, Table};
use intern::Interner;
use key::Key;
use ports::Ports;
use timeline::{Count, Timeline};

use crate::doctor::facts::tally::Tally;
use crate::event::{
    AbortWhy, Comm, Conn, Errno, Event, Kind, Loss, PortVia, Process, Reason, Role, Substate, Via,
};
use crate::filter::{Failures, Filter};
use crate::identity::Identity;
use crate::tracker::Counts;

const SECOND_NS: u64 = 1_000_000_000;

/// How much may be told apart. What comes after that goes into one row that says so; totals stay exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Names, programs, cgroups, containers.
    pub(super) texts: usize,
    /// Addresses.
    pub(super) addresses: usize,
    /// Combinations of a process, its peer and its port.
    pub(super) groups: usize,
    /// Rows of all tables together.
    pub(super) rows: usize,
}

/// See [`Limits::groups`].
pub(super) const MOST_GROUPS: usize = 1 << 17;

impl Default for Limits {
    fn default() -> Self {
        Self { texts: 1 << 18, addresses: 1 << 17, groups: MOST_GROUPS, rows: 1 << 19 }
    }
}

/// Who closed a connection. Texts are numbers of [`Fold::texts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Owner {
    pub(super) pid: u32,
    /// When it started, CLOCK_BOOTTIME in nanoseconds.
    pub(super) start: u64,
    pub(super) comm: u32,
    pub(super) uid: u32,
    pub(super) cgroup: u32,
    pub(super) container: u32,
}

/// An event as it is counted. Addresses and texts are numbers of [`Fold::addresses`] and [`Fold::texts`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Row {
    pub(super) kind: Kind,
    /// CLOCK_MONOTONIC.
    pub(super) mono_ns: u64,
    pub(super) netns: u32,
    pub(super) saddr: u32,
    pub(super) daddr: u32,
    pub(super) sport: u16,
    pub(super) dport: u16,
    pub(super) role: Role,
    pub(super) substate: Option<Substate>,
    pub(super) owner: Option<Owner>,
    /// Program of the owner.
    pub(super) exe: u32,
    pub(super) via: Option<Via>,
    pub(super) age_us: Option<u64>,
    pub(super) sent: Option<u64>,
    pub(super) received: Option<u64>,
    pub(super) reason: Option<Reason>,
    pub(super) errno: Option<Errno>,
    pub(super) port_via: Option<PortVia>,
    pub(super) why: Option<AbortWhy>,
    pub(super) lifetime_ms: Option<u64>,
}

/// TIME_WAIT sockets in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Population {
    /// That were there before, or were heard of when they ended.
    pub(super) listed: u64,
    pub(super) now: u64,
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
    fn add(&mut self, second: u64) {
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

/// All that was counted.
#[derive(Debug)]
pub(super) struct Fold {
    pub(super) texts: Interner<Box<str>>,
    pub(super) addresses: Interner<Address>,
    pub(super) groups: Groups,
    pub(super) ports: Ports,
    pub(super) timeline: Timeline,
    pub(super) population: Population,
    pub(super) busiest: Busiest,
    /// The `lost` events.
    lost: Counts,
    /// What the doctor asks for beyond that.
    pub(super) tally: Tally,
    /// By reason, in the order of `Reason::ALL`.
    pub(super) lifetimes: [spread::Spread; Reason::ALL.len()],
    /// Events that passed, `lost` left out.
    pub(super) events: u64,
    /// CLOCK_MONOTONIC in nanoseconds: where the recording begins, and the latest event.
    pub(super) began_ns: u64,
    pub(super) last_ns: u64,
    filter: Filter,
    /// Format 1: groups of the sockets that were there when the recording began and have not ended. What came after another recording
    /// listed them without their owners, but their ends may know them.
    /// `None`: the filter left it out, so it is not counted among the living.
    seeds: HashMap<Place, Option<u32>, intern::Hasher>,
}

/// Where a socket is: no other is there at the same time.
type Place = (u32, [u32; 2], [u16; 2]);

fn place(row: &Row) -> Place {
    (row.netns, [row.saddr, row.daddr], [row.sport, row.dport])
}

/// An address as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Address(pub(super) IpAddr);

impl From<&IpAddr> for Address {
    fn from(address: &IpAddr) -> Self {
        Self(*address)
    }
}

impl std::borrow::Borrow<IpAddr> for Address {
    fn borrow(&self) -> &IpAddr {
        &self.0
    }
}

impl Fold {
    /// Nothing counted yet. `began_ns` is CLOCK_MONOTONIC, `every_ns` as for [`Timeline::new`].
    pub(super) fn new(began_ns: u64, every_ns: Option<u64>, filter: Filter, limits: &Limits) -> Self {
        Self {
            texts: Interner::new(limits.texts),
            addresses: Interner::new(limits.addresses),
            groups: Groups::new(limits),
            ports: Ports::default(),
            timeline: Timeline::new(began_ns, every_ns),
            population: Population::default(),
            busiest: Busiest::default(),
            lost: Counts::default(),
            tally: Tally::default(),
            lifetimes: Default::default(),
            events: 0,
            began_ns,
            last_ns: began_ns,
            filter,
            seeds: HashMap::default(),
        }
    }

    /// A socket that a note at the start of a recording of format 1 names. Its kind is `listed`.
    pub(super) fn seed(&mut self, row: &Row) {
        let group = self.group(row);
        self.seeds.insert(place(row), group);
        let Some(group) = group else { return };
        self.list(group, row);
    }

    /// Counts an event. They come in the order of the recording, in which times may step back a little.
    pub(super) fn take(&mut self, row: &Row) {
        let now_ns = row.mono_ns;
        self.last_ns = self.last_ns.max(now_ns);
        let Self { timeline, ports, .. } = self;
        timeline.advance(now_ns, || ports.pressure());
        let Some(at) = self.group(row) else { return };
        self.events += u64::from(row.kind != Kind::Listed);
        self.trouble(row);
        if row.kind == Kind::Listed {
            self.list(at, row);
            return;
        }
        let group = &mut self.groups.all[at as usize];
        group.count(row);
        match row.kind {
            Kind::Created => {
                self.timeline.count(now_ns, Count::Created, 1);
                self.busiest.add(now_ns.saturating_sub(self.began_ns) / SECOND_NS);
                // The end of what was there before was lost.
                if let Some(Some(seed)) = self.unseed(row) {
                    self.leave(seed, row.sport);
                }
                self.enter(at, row.sport, now_ns);
            }
            Kind::Ended => {
                self.timeline.count(now_ns, Count::Ended, 1);
                if let Some(lifetime_ms) = row.lifetime_ms {
                    self.lifetimes[row.reason.unwrap_or(Reason::Unknown) as usize].add(lifetime_ms);
                }
                // Format 1: nobody saw its birth, so nobody counted it among the living.
                if row.via.is_none() {
                    self.population.listed += 1;
                    self.groups.all[at as usize].counts.listed += 1;
                } else {
                    match self.unseed(row) {
                        Some(Some(seed)) => self.leave(seed, row.sport),
                        Some(None) => {}
                        None => self.leave(at, row.sport),
                    }
                }
            }
            Kind::Overflow => self.timeline.count(now_ns, Count::Overflow, 1),
            Kind::ConnectFailed => self.timeline.count(now_ns, Count::ConnectFailed, 1),
            Kind::BindFailed => self.timeline.count(now_ns, Count::BindFailed, 1),
            Kind::Aborted => self.timeline.count(now_ns, Count::Aborted, 1),
            Kind::Listed | Kind::SynRefused | Kind::Lost => {}
        }
    }

    fn list(&mut self, group: u32, row: &Row) {
        self.groups.all[group as usize].count(row);
        self.population.listed += 1;
        self.enter(group, row.sport, row.mono_ns);
    }

    /// Tells the tally. Findings are only made where nothing is filtered, so it need not know of what is then left out.
    #[inline]
    fn trouble(&mut self, row: &Row) {
        if self.filter.is_empty()
            && let Some(event) = self.event(row)
        {
            self.tally.take(&event);
        }
    }

    /// What is known of a socket that was there when the recording began, which it is no longer.
    #[inline]
    fn unseed(&mut self, row: &Row) -> Option<Option<u32>> {
        if self.seeds.is_empty() { None } else { self.seeds.remove(&place(row)) }
    }

    /// Counts what a `lost` event says.
    pub(super) fn lose(&mut self, now_ns: u64, loss: &Loss) {
        self.last_ns = self.last_ns.max(now_ns);
        let Self { timeline, ports, .. } = self;
        timeline.advance(now_ns, || ports.pressure());
        self.timeline.count(now_ns, Count::Lost, u32::try_from(loss.events()).unwrap_or(u32::MAX));
        let mut event = Event::new(Kind::Lost, now_ns, None);
        event.loss = Some(*loss);
        self.lost.add(&event);
    }

    /// Added up from the `lost` events.
    pub(super) fn loss(&self) -> Loss {
        self.lost.loss
    }

    /// Goes on to the end of the recording.
    pub(super) fn close(&mut self, now_ns: u64) {
        let Self { timeline, ports, .. } = self;
        timeline.advance(now_ns, || ports.pressure());
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// The group of a row that passes the filter.
    fn group(&mut self, row: &Row) -> Option<u32> {
        let Self { groups, ports, .. } = self;
        let (at, is_new) = groups.enter(Key::of(row), ports);
        if is_new {
            let passes = self.passes(row);
            self.groups.all[at as usize].passes = passes;
        }
        (self.groups.all[at as usize].passes && passes_one_by_one(&self.filter, row)).then_some(at)
    }

    /// Whether the filter lets a row's whole group pass: all of it that is the same for every row of a group.
    fn passes(&self, row: &Row) -> bool {
        if self.filter.is_empty() {
            return true;
        }
        let Some(mut event) = self.event(row) else { return false };
        event.identity = row.owner.map(|owner| {
            let cgroup = self.texts.get(owner.cgroup).map(|text| text.to_string());
            Identity { cgroup, ..Identity::default() }.into()
        });
        let whole = Filter {
            sports: Vec::new(),
            dports: Vec::new(),
            ports: Vec::new(),
            reasons: Vec::new(),
            failures: Failures::All,
            ..self.filter.clone()
        };
        whole.passes(&event)
    }

    /// What is known of where a row's event was, and of whom; `None` where its addresses are not known.
    fn event(&self, row: &Row) -> Option<Event> {
        let address = |id| self.addresses.get(id).map(|Address(address)| *address);
        let daddr = address(row.daddr).or_else(|| address(row.saddr))?;
        let saddr = address(row.saddr).unwrap_or(daddr);
        let Row { netns, sport, dport, .. } = *row;
        let conn = Conn { netns, ifindex: 0, saddr, daddr, sport, dport };
        let mut event = Event::new(row.kind, row.mono_ns, Some(conn));
        (event.role, event.reason, event.substate) = (row.role, row.reason, row.substate);
        (event.errno, event.port_via, event.why) = (row.errno, row.port_via, row.why);
        event.owner = row.owner.map(|Owner { pid, start, comm, uid, .. }| {
            let comm = Comm::new(self.texts.get(comm).map_or("", |text| text));
            Process { pid, tid: pid, uid, cgroup_id: 0, start_ns: start, comm }
        });
        Some(event)
    }

    fn enter(&mut self, group: u32, port: u16, now_ns: u64) {
        let pressure = self.groups.enter_one(group, port, now_ns, &mut self.ports);
        let population = &mut self.population;
        population.now += 1;
        if population.now > population.most {
            (population.most, population.most_at_ns) = (population.now, now_ns);
        }
        self.timeline.level(population.now, pressure);
    }

    fn leave(&mut self, group: u32, port: u16) {
        self.groups.leave_one(group, port, &mut self.ports);
        self.population.now = self.population.now.saturating_sub(1);
        self.timeline.level(self.population.now, None);
    }
}

/// The part of the filter that asks about what differs within a group.
#[inline]
fn passes_one_by_one(filter: &Filter, row: &Row) -> bool {
    let Filter { sports, dports, ports, reasons, failures, .. } = filter;
    let among = |list: &[u16], port: u16| list.is_empty() || list.contains(&port);
    among(sports, row.sport)
        && among(dports, row.dport)
        && (ports.is_empty() || ports.contains(&row.sport) || ports.contains(&row.dport))
        && (*failures == Failures::All || row.errno.is_none_or(Errno::is_of_ports))
        && (reasons.is_empty() || row.reason.is_some_and(|reason| reasons.contains(&reason)))
}
