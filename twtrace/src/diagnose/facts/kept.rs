//! Owns: the kernel's lists between the form that a recording has and the one that facts are made of.
//! Must not know: how lists are looked at, files.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap, HashSet};

use super::piles::Piles;
use super::room::Room;
use super::samples::{Local, MOST_LISTENERS, OnTuple, Sample, SampledSocket, Samples};
use super::{Conntrack, Ipvs, Pile, Process, Settings, Share, Side};
use crate::engine::TupleKey;
use crate::model::ordering::Ordered as _;
use crate::model::ports::State;
use crate::recording::lists::{
    Connections, Crowd, HeldBy, Holder, LeftOut, Listed, ListedPool, ListedPort, Lists, Towards, Waiting,
};

/// Pools of a namespace that are kept, the fullest ones. Ports run short towards few destinations, and a load balancer may have thousands.
const MOST_POOLS: usize = 4096;
/// No count of a file is larger, whatever it says: they are added up.
const MOST: u64 = 1 << 32;
const MOST_PORTS: u32 = 1 << 16;

/// Calls that failed, as far as it decides on what is kept.
#[derive(Clone, Debug, Default)]
pub struct Failed {
    /// Network namespaces in which connect() failed for want of a port: of others nobody asks what was in the way.
    pub netns: HashSet<u32>,
    /// There may be more of them.
    pub elsewhere: bool,
    /// Ports that bind() was refused, by namespace.
    pub ports: HashSet<(u32, u16)>,
}

impl Failed {
    fn in_netns(&self, netns: u32) -> bool {
        self.elsewhere || self.netns.contains(&netns)
    }
}

/// What was seen of all namespaces. `own_tw_reuse` is `tcp_tw_reuse` where we are.
pub fn keep(all: &BTreeMap<u32, Samples>, failed: &Failed, own_tw_reuse: Option<u32>) -> Lists {
    let mut looked_at: Vec<&Samples> = all.values().filter(|samples| !samples.is_empty()).collect();
    looked_at.order_by_key(|samples| {
        let in_the_way = if failed.in_netns(samples.last.netns) {
            samples.crowd.len() + samples.connections.len()
        } else {
            0
        };
        samples.tuples.len() + in_the_way
    });
    let mut keeper = Keeper { holders: Vec::new(), indices: HashMap::new(), failed, room: Room::new() };
    let mut namespaces = Vec::new();
    for (at, samples) in looked_at.iter().enumerate() {
        let part = keeper.room.part(looked_at.len() - at);
        let mut rest = std::mem::replace(&mut keeper.room, part);
        namespaces.push(keeper.namespace(samples, own_tw_reuse));
        rest.add(&keeper.room);
        keeper.room = rest;
    }
    namespaces.order_by_key(|listed| listed.netns);
    Lists { processes: keeper.holders, namespaces, ..Lists::default() }
}

struct Keeper<'a> {
    holders: Vec<Holder>,
    indices: HashMap<Process, u32>,
    failed: &'a Failed,
    /// For the namespace whose turn it is.
    room: Room,
}

impl Keeper<'_> {
    fn namespace(&mut self, samples: &Samples, own_tw_reuse: Option<u32>) -> Listed {
        let last = &samples.last;
        let is_own = last.enter.as_ref().is_some_and(String::is_empty);
        let mut addresses: Vec<_> = last.addresses.iter().copied().collect();
        addresses.order_by(Ord::cmp);
        let mut listed = Listed {
            netns: last.netns,
            name: last.name.clone(),
            is_closed: last.enter.is_none(),
            outside_tw_reuse: own_tw_reuse.filter(|_| !is_own),
            max_tw_buckets_default: last.settings.max_tw_buckets_default,
            tw_recycle: last.settings.tw_recycle,
            overflow: samples.overflowed(),
            counters: samples.counted(),
            addresses,
            conntrack: last.conntrack.map(|all| (all.count, all.max, all.time_wait_s)),
            ipvs: last.ipvs.map(|all| (all.services, all.active, all.inactive)),
            lists_bound: last.lists_bound,
            time_wait: samples.time_wait,
            fin_wait2: samples.fin_wait2,
            peak_time_wait: samples.peak_time_wait,
            pinned: samples.pinned,
            pins: samples.pins.iter().map(|pin| (self.index(&pin.process), pin.open)).collect(),
            range_in_use: samples.range_in_use,
            piles: samples.piles.all().into_iter().map(|pile| self.pile(pile)).collect(),
            left_out: samples.left_out,
            ..Listed::default()
        };
        self.room.take(&listed);
        self.fill(&mut listed, samples);
        listed
    }

    /// What may have no room: first what there is little of.
    fn fill(&mut self, listed: &mut Listed, samples: &Samples) {
        let (ports, pools) = (self.ports(samples), self.pools(samples));
        let left_out = &mut listed.left_out;
        (listed.ports, left_out.ports) = self.room.fit(ports, |_| 1);
        (listed.pools, _) = self.room.fit(pools, |_| 1);
        left_out.pools = (samples.tuples.len() - listed.pools.len()) as u64;
        // The look at the end is made as if a call had failed, and there were much where none did.
        if !self.failed.in_netns(listed.netns) {
            (left_out.crowd, left_out.connections) = (0, 0);
            return;
        }
        let crowd = self.crowd(samples);
        let left_out = &mut listed.left_out;
        let (crowd, beyond) = self.room.fit(crowd, |crowd| crowd.ports.len());
        (listed.crowd, left_out.crowd) = (crowd, left_out.crowd + beyond);
        let (connections, beyond) = self.room.fit(connections(samples), |all| all.ports.len());
        (listed.connections, left_out.connections) = (connections, left_out.connections + beyond);
    }

    fn index(&mut self, process: &Process) -> u32 {
        *self.indices.entry(process.clone()).or_insert_with(|| {
            let Process { pid, start_ns, comm, exe, unit, .. } = process.clone();
            let holder = Holder { pid, start_ns, comm, exe, unit };
            self.room.take(&holder);
            self.holders.push(holder);
            self.holders.len() as u32 - 1
        })
    }

    fn held(&mut self, holders: &HashMap<Process, u64>) -> Vec<HeldBy> {
        let mut all: Vec<(&Process, &u64)> = holders.iter().collect();
        all.order_by(Ord::cmp);
        all.into_iter().map(|(process, count)| (self.index(process), *count)).collect()
    }

    fn pools(&mut self, samples: &Samples) -> Vec<ListedPool> {
        let mut all: Vec<(&TupleKey, &OnTuple)> = samples.tuples.iter().collect();
        all.order_by_key(|(key, on)| (std::cmp::Reverse(on.peak.all()), **key));
        let kept = all.into_iter().take(MOST_POOLS).map(|(key, on)| ListedPool {
            towards: towards(key),
            now: on.now,
            peak: on.peak,
            timestamps: on.timestamps,
            holders: self.held(&on.holders),
        });
        kept.collect()
    }

    fn ports(&mut self, samples: &Samples) -> Vec<ListedPort> {
        let is_asked = |port: &u16| self.failed.ports.contains(&(samples.last.netns, *port));
        let mut all: Vec<(&u16, &Local)> =
            samples.locals.iter().filter(|(port, local)| local.listening || is_asked(port)).collect();
        all.order_by_key(|(port, _)| **port);
        let kept = all.into_iter().map(|(port, local)| ListedPort {
            port: *port,
            listening: local.listening,
            listens_on: local.listens_on.clone(),
            time_wait: local.time_wait,
            open: local.open,
            states: local.states,
            left_ms: local.left_ms,
            holders: self.held(&local.holders),
        });
        kept.collect()
    }

    /// What pins a port comes first, and then where there is most.
    fn crowd(&mut self, samples: &Samples) -> Vec<Crowd> {
        let mut kinds: BTreeMap<(Towards, State, bool, Option<u32>), Vec<u16>> = BTreeMap::new();
        for seen in &samples.crowd {
            let who = seen.who.as_ref().map(|who| self.index(who));
            kinds.entry((towards(&seen.tuple), seen.state, seen.is_pin, who)).or_default().push(seen.port);
        }
        let kept = kinds.into_iter().map(|((towards, state, is_pin, who), ports)| Crowd {
            towards,
            state,
            is_pin,
            who,
            ports,
        });
        let mut kept: Vec<Crowd> = kept.collect();
        kept.order_by_key(|crowd| (!crowd.is_pin, Reverse(crowd.ports.len())));
        kept
    }

    fn pile(&mut self, pile: Pile) -> Waiting {
        let (daddr, port) = match pile.side {
            Side::To(daddr, dport) => (Some(daddr), dport),
            Side::On(port) => (None, port),
        };
        let holders = pile.shares.iter().map(|share| (self.index(&share.process), share.open)).collect();
        Waiting { state: pile.state, daddr, port, count: pile.count, longest_ms: pile.longest_ms, holders }
    }
}

/// The fullest first.
fn connections(samples: &Samples) -> Vec<Connections> {
    let mut all: BTreeMap<Towards, Vec<u16>> = BTreeMap::new();
    for (tuple, port) in &samples.connections {
        all.entry(towards(tuple)).or_default().push(*port);
    }
    let kept = all.into_iter().map(|(towards, ports)| Connections { towards, ports });
    let mut kept: Vec<Connections> = kept.collect();
    kept.order_by_key(|all| Reverse(all.ports.len()));
    kept
}

fn towards(key: &TupleKey) -> Towards {
    Towards { saddr: key.saddr, daddr: key.daddr, dport: key.dport }
}

/// What a recording says of a namespace, with the settings that it has there.
pub fn samples(lists: &Lists, listed: &Listed, settings: Settings) -> Samples {
    let reader = Reader { netns: listed.netns, processes: &lists.processes };
    let counters = listed.counters.map(|counters| counters.map(count));
    let last = Sample {
        netns: listed.netns,
        name: listed.name.clone(),
        enter: (!listed.is_closed).then(String::new),
        settings: Settings {
            max_tw_buckets_default: listed.max_tw_buckets_default,
            tw_recycle: listed.tw_recycle,
            ..settings
        },
        overflow: count(listed.overflow),
        counters,
        addresses: listed.addresses.iter().copied().collect(),
        conntrack: listed.conntrack.map(|(now, max, time_wait_s)| Conntrack {
            count: count(now),
            max: count(max),
            time_wait_s,
        }),
        ipvs: listed.ipvs.map(|(services, active, inactive)| Ipvs {
            services: count(services),
            active: count(active),
            inactive: count(inactive),
        }),
        lists_bound: listed.lists_bound,
        ..Sample::default()
    };
    let pins = listed.pins.iter().map(|pin| reader.share(pin)).collect();
    Samples {
        first_overflow: Some(0),
        first_counters: counters.map(|counters| counters.map(|_| 0)),
        last,
        tuples: listed.pools.iter().map(|pool| reader.pool(pool)).collect(),
        locals: listed.ports.iter().map(|port| reader.port(port)).collect(),
        time_wait: count(listed.time_wait),
        fin_wait2: count(listed.fin_wait2),
        peak_time_wait: count(listed.peak_time_wait),
        pinned: listed.pinned.min(MOST_PORTS),
        pins,
        range_in_use: listed.range_in_use.min(MOST_PORTS),
        crowd: listed.crowd.iter().flat_map(|crowd| reader.crowd(crowd)).collect(),
        piles: Piles::of(listed.piles.iter().map(|pile| reader.pile(pile))),
        connections: listed.connections.iter().flat_map(|all| reader.connections(all)).collect(),
        left_out: LeftOut {
            pools: count(listed.left_out.pools),
            ports: count(listed.left_out.ports),
            crowd: count(listed.left_out.crowd),
            connections: count(listed.left_out.connections),
        },
    }
}

struct Reader<'a> {
    netns: u32,
    processes: &'a [Holder],
}

impl Reader<'_> {
    /// Nobody, where the file has no such process.
    fn process(&self, at: u32) -> Process {
        let Some(Holder { pid, start_ns, comm, exe, unit }) = self.processes.get(at as usize).cloned() else {
            return Process::default();
        };
        Process { pid, start_ns, comm, exe, unit, ..Process::default() }
    }

    fn share(&self, (at, open): &HeldBy) -> Share {
        Share { process: self.process(*at), open: count(*open), ..Share::default() }
    }

    fn holders(&self, all: &[HeldBy]) -> HashMap<Process, u64> {
        all.iter().map(|(at, held)| (self.process(*at), count(*held))).collect()
    }

    fn key(&self, Towards { saddr, daddr, dport }: Towards) -> TupleKey {
        TupleKey { netns: self.netns, saddr, daddr, dport }
    }

    fn pool(&self, pool: &ListedPool) -> (TupleKey, OnTuple) {
        let ListedPool { towards, now, peak, timestamps, holders } = pool;
        let (now, peak) = (now.map(ports), peak.map(ports));
        let on = OnTuple { now, peak, timestamps: *timestamps, holders: self.holders(holders) };
        (self.key(*towards), on)
    }

    fn port(&self, local: &ListedPort) -> (u16, Local) {
        let ListedPort { port, listening, listens_on, time_wait, open, states, left_ms, holders } = local;
        let local = Local {
            listening: *listening,
            time_wait: count(*time_wait),
            open: count(*open),
            states: states.map(ports),
            left_ms: count(*left_ms),
            is_asked: true,
            holders: self.holders(holders),
            listens_on: listens_on.iter().take(MOST_LISTENERS).copied().collect(),
        };
        (*port, local)
    }

    fn crowd<'a>(&'a self, crowd: &'a Crowd) -> impl Iterator<Item = SampledSocket> + 'a {
        let (tuple, who) = (self.key(crowd.towards), crowd.who.map(|at| self.process(at)));
        crowd.ports.iter().map(move |port| SampledSocket {
            port: *port,
            tuple,
            state: crowd.state,
            is_pin: crowd.is_pin,
            who: who.clone(),
        })
    }

    fn connections<'a>(&self, all: &'a Connections) -> impl Iterator<Item = (TupleKey, u16)> + 'a {
        let key = self.key(all.towards);
        all.ports.iter().map(move |port| (key, *port))
    }

    fn pile(&self, pile: &Waiting) -> Pile {
        let Waiting { state, daddr, port, count: sockets, longest_ms, holders } = pile;
        Pile {
            state: *state,
            side: daddr.map_or(Side::On(*port), |daddr| Side::To(daddr, *port)),
            count: count(*sockets),
            longest_ms: count(*longest_ms),
            shares: holders.iter().map(|held| self.share(held)).collect(),
        }
    }
}

fn count(told: u64) -> u64 {
    told.min(MOST)
}

fn ports(told: u32) -> u32 {
    told.min(MOST_PORTS)
}

#[cfg(test)]
mod tests;
