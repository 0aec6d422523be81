//! Owns: facts as the kernel's lists have them: which sockets are on which ports, looked at again and again.
//! Must not know: how a list is got, what events are.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::piles::{CLOSE, Piles, median};
use super::who::Shares;
use super::{Conntrack, Ports, Process, Settings, Share, State};
use crate::engine::{Hasher, TupleKey};
use crate::host::net::counters::Counters;
use crate::host::net::sockdiag::{DiagSocket, listening_ports};
use crate::model::event::Substate;
use crate::recording::lists::LeftOut;

/// A look has sockets in their tens of thousands, and each is looked up several times.
type Map<K, V> = HashMap<K, V, Hasher>;
type Set<K> = HashSet<K, Hasher>;

/// Connections that are kept to be asked for, and sockets of a crowd.
const MOST_KEPT: usize = 100_000;
/// Addresses of listeners on one port that are told apart. One more, and any address counts as one of them.
pub(super) const MOST_LISTENERS: usize = 16;
/// Pools that are remembered though they are empty now, at most.
const MOST_POOLS: usize = 1 << 16;

/// One look at a namespace.
#[derive(Debug, Default)]
pub struct Sample {
    /// Inode of the namespace.
    pub netns: u32,
    /// See [`super::Netns::name`].
    pub name: Option<String>,
    /// See [`super::Netns::enter`]; `None` where there is no way in.
    pub enter: Option<String>,
    /// What it allows.
    pub settings: Settings,
    /// TCPTimeWaitOverflow in the kernel's books.
    pub overflow: u64,
    /// The kernel's other counters.
    pub counters: Option<Counters>,
    /// Its own addresses; empty where they are not known.
    pub addresses: HashSet<IpAddr>,
    /// Connection tracking.
    pub conntrack: Option<Conntrack>,
    /// IPVS.
    pub ipvs: Option<super::Ipvs>,
    /// Its sockets.
    pub sockets: Vec<DiagSocket>,
    /// Which open connections have TCP timestamps, as far as was asked.
    pub timestamps: Vec<(TupleKey, bool)>,
    /// Who holds full sockets, by the socket's inode, as far as was asked.
    pub holders: HashMap<u32, Process>,
    /// See [`super::Netns::lists_bound`].
    pub lists_bound: Option<bool>,
    /// A call had just failed: this look shows what was in its way.
    pub is_asked: bool,
    /// When it was, CLOCK_MONOTONIC in milliseconds.
    pub mono_ms: u64,
}

/// A socket on a port of the range, as it was when a call had just failed.
#[derive(Clone, Debug)]
pub(super) struct SampledSocket {
    pub(super) port: u16,
    /// What it is connected to, or was.
    pub(super) tuple: TupleKey,
    pub(super) state: State,
    /// It listens, or is bound and nothing else.
    pub(super) is_pin: bool,
    /// Who holds it; nobody looks for whom a TIME_WAIT socket was, which events tell.
    pub(super) who: Option<Process>,
}

/// What is on one local port.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    pub(super) listening: bool,
    /// On these addresses, the first few.
    pub(super) listens_on: Vec<IpAddr>,
    pub(super) time_wait: u64,
    pub(super) open: u64,
    /// Of those, by state; bound ones without a connection are `others`.
    pub(super) states: Ports,
    /// How long the last TIME_WAIT socket has left, in milliseconds.
    pub(super) left_ms: u64,
    /// `listening`, `states` and `left_ms` are of a look after a call had failed.
    pub(super) is_asked: bool,
    /// Who listens on it, or else has it open.
    pub(super) holders: HashMap<Process, u64>,
}

/// What is on one pool.
#[derive(Clone, Debug, Default)]
pub(super) struct OnTuple {
    pub(super) now: Ports,
    pub(super) peak: Ports,
    pub(super) timestamps: Option<bool>,
    /// Who had it open when most ports were in use.
    pub(super) holders: HashMap<Process, u64>,
}

/// All looks at one namespace together.
#[derive(Debug, Default)]
pub struct Samples {
    pub(super) first_overflow: Option<u64>,
    pub(super) first_counters: Option<Counters>,
    pub(super) last: Sample,
    pub(super) tuples: Map<TupleKey, OnTuple>,
    pub(super) locals: Map<u16, Local>,
    pub(super) time_wait: u64,
    pub(super) fin_wait2: u64,
    pub(super) peak_time_wait: u64,
    pub(super) pinned: u32,
    pub(super) pins: Vec<Share>,
    pub(super) range_in_use: u32,
    /// What was on the range when a call had failed and most of it was in use.
    pub(super) crowd: Vec<SampledSocket>,
    pub(super) piles: Piles,
    /// Connections on ports out of the range or in it, when a call had failed: those of listeners left out.
    pub(super) connections: Set<(TupleKey, u16)>,
    /// What there is no room for.
    pub(super) left_out: LeftOut,
}

impl Samples {
    /// Takes in another look.
    pub fn take(&mut self, mut sample: Sample) {
        self.first_overflow.get_or_insert(sample.overflow);
        self.first_counters = self.first_counters.or(sample.counters);
        let sockets = std::mem::take(&mut sample.sockets);
        self.count(&sockets, &sample);
        self.count_ports(&sockets, &sample);
        self.crowd(&sockets, &sample);
        self.piles.take(&sockets, &sample.holders, sample.mono_ms);
        for (tuple, has) in std::mem::take(&mut sample.timestamps) {
            self.tuples.entry(tuple).or_default().timestamps = Some(has);
        }
        self.last = sample;
    }

    /// Nobody has looked yet.
    pub(super) fn is_empty(&self) -> bool {
        self.last.netns == 0
    }

    /// What the namespace allowed at the last look, if there was any; by its inode.
    pub fn settings(&self) -> Option<(u32, Settings)> {
        (!self.is_empty()).then(|| (self.last.netns, self.last.settings.clone()))
    }

    /// What the next looks are to be added to, where those so far are a thing of the past: what waits is known to have waited, and the
    /// kernel's counters go on.
    #[must_use]
    pub fn afresh(&self) -> Self {
        let has_looked = !self.is_empty();
        Self {
            first_overflow: if has_looked { Some(self.last.overflow) } else { self.first_overflow },
            first_counters: if has_looked { self.last.counters } else { self.first_counters },
            piles: self.piles.afresh(),
            ..Self::default()
        }
    }

    /// What was seen and not kept.
    pub(in crate::diagnose) fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// Sockets on the range when a call had failed, those that are not kept included.
    pub(super) fn crowded(&self) -> u64 {
        self.crowd.len() as u64 + self.left_out.crowd
    }

    /// TIME_WAIT sockets that the kernel refused while looking.
    pub(super) fn overflowed(&self) -> u64 {
        self.last.overflow.saturating_sub(self.first_overflow.unwrap_or(self.last.overflow))
    }

    /// What the kernel counted while looking.
    pub(super) fn counted(&self) -> Option<Counters> {
        let (first, last) = self.first_counters.zip(self.last.counters)?;
        Some(last.since(&first))
    }

    /// Whether a full socket of this connection was seen on this port after a call had failed.
    pub(super) fn has_connection(&self, tuple: &TupleKey, port: u16) -> bool {
        self.connections.contains(&(*tuple, port))
    }

    fn count(&mut self, sockets: &[DiagSocket], sample: &Sample) {
        let waiting = sockets.iter().filter(|socket| socket.is_time_wait());
        self.time_wait = waiting.clone().count() as u64;
        self.fin_wait2 = waiting.filter(|socket| socket.substate() == Substate::FinWait2).count() as u64;
        self.peak_time_wait = self.peak_time_wait.max(self.time_wait);
        let in_range = |of: fn(&&DiagSocket) -> bool| {
            let ports = sockets.iter().filter(of).map(|socket| socket.sport);
            different(ports.filter(|port| sample.settings.has(*port)))
        };
        self.range_in_use = self.range_in_use.max(in_range(|_| true));
        let pinned = in_range(is_pin);
        if pinned >= self.pinned {
            self.pinned = pinned;
            let mut pins = Shares::default();
            for socket in sockets.iter().filter(is_pin).filter(|socket| sample.settings.has(socket.sport)) {
                pins.of(sample.holders.get(&socket.inode).unwrap_or(&Process::default())).open += 1;
            }
            self.pins = pins.sorted();
        }
    }

    /// Of looks after failures, the fullest counts.
    fn crowd(&mut self, sockets: &[DiagSocket], sample: &Sample) {
        if !sample.is_asked {
            return;
        }
        let on_range: Vec<_> = sockets.iter().filter(|socket| sample.settings.has(socket.sport)).collect();
        if (on_range.len() as u64) < self.crowded() {
            return;
        }
        let connected = sockets.iter().filter(|socket| socket.dport != 0 && !socket.listens());
        let (connected, connections) = fullest(connected.collect());
        self.connections =
            connected.iter().map(|socket| ((&socket.conn(sample.netns)).into(), socket.sport)).collect();
        let (on_range, crowd) = fullest(on_range);
        self.left_out = LeftOut { crowd, connections, ..self.left_out };
        let seen = on_range.iter().map(|socket| SampledSocket {
            port: socket.sport,
            tuple: (&socket.conn(sample.netns)).into(),
            state: State::of(socket),
            is_pin: is_pin(socket),
            who: sample.holders.get(&socket.inode).cloned(),
        });
        self.crowd = seen.collect();
    }

    /// A look goes on for days where nobody rotates: of pools that are empty now, those stay that were the fullest.
    fn make_room(&mut self) {
        if self.tuples.len() <= MOST_POOLS {
            return;
        }
        let middle = median(self.tuples.values().map(|on| on.peak.all().into()));
        self.tuples.retain(|_, on| on.now.all() != 0 || u64::from(on.peak.all()) > middle);
    }

    fn count_ports(&mut self, sockets: &[DiagSocket], sample: &Sample) {
        let listeners: Set<u16> = listening_ports(sockets);
        let mut locals: Map<u16, Local> = Map::default();
        let mut tuples: Map<TupleKey, Map<u16, &DiagSocket>> = Map::default();
        for socket in sockets {
            locals.entry(socket.sport).or_default().note(socket, sample);
            let is_client = socket.dport != 0 && !listeners.contains(&socket.sport);
            if is_client && sample.settings.has(socket.sport) {
                let key = TupleKey::from(&socket.conn(sample.netns));
                tuples.entry(key).or_default().insert(socket.sport, socket);
            }
        }
        self.tuples.values_mut().for_each(|tuple| tuple.now = Ports::default());
        for (key, on) in tuples {
            self.tuples.entry(key).or_default().note(on.values().copied(), sample);
        }
        self.make_room();
        // What is there when a call has just failed is what was in its way, whoever comes or goes later.
        let is_news = |local: &Local| sample.is_asked || !local.is_asked;
        for local in self.locals.values_mut().filter(|local| is_news(local)) {
            (local.listening, local.is_asked) = (false, sample.is_asked);
        }
        for (port, seen) in locals {
            let local = self.locals.entry(port).or_default();
            let is_fresh = is_news(local);
            if is_fresh {
                (local.is_asked, local.listening) = (sample.is_asked, seen.listening);
                local.listens_on = seen.listens_on;
                (local.states, local.left_ms) = (seen.states, seen.left_ms);
            }
            local.time_wait = local.time_wait.max(seen.time_wait);
            local.open = local.open.max(seen.open);
            if !seen.holders.is_empty() && (is_fresh || local.holders.is_empty()) {
                local.holders = seen.holders;
            }
        }
    }
}

/// How many different ports these are.
fn different(ports: impl Iterator<Item = u16>) -> u32 {
    let mut seen = vec![false; 1 << 16];
    ports.filter(|port| !std::mem::replace(&mut seen[usize::from(*port)], true)).count() as u32
}

/// Of more sockets than are kept, those that pin a port, and then those of the destinations that have most of them, where ports run short; and
/// how many others there are.
fn fullest(mut sockets: Vec<&DiagSocket>) -> (Vec<&DiagSocket>, u64) {
    let others = sockets.len().saturating_sub(MOST_KEPT);
    if others != 0 {
        let end = |socket: &DiagSocket| (socket.daddr, socket.dport);
        let mut counts: Map<_, usize> = Map::default();
        sockets.iter().for_each(|socket| *counts.entry(end(socket)).or_default() += 1);
        let count = |socket: &DiagSocket| counts.get(&end(socket)).copied();
        sockets.sort_by_cached_key(|socket| (!is_pin(socket), Reverse(count(socket)), end(socket)));
        sockets.truncate(MOST_KEPT);
    }
    (sockets, others as u64)
}

/// Listens, or is bound and nothing else: no connect() may have its port.
fn is_pin(socket: &&DiagSocket) -> bool {
    (socket.listens() || socket.state == CLOSE) && socket.dport == 0
}

impl OnTuple {
    fn note<'a>(&mut self, sockets: impl Iterator<Item = &'a DiagSocket> + Clone, sample: &Sample) {
        self.now = ports(sockets.clone());
        if self.now.all() >= self.peak.all() {
            self.peak = self.now;
            self.holders.clear();
            for holder in sockets.filter_map(|socket| sample.holders.get(&socket.inode)) {
                *self.holders.entry(holder.clone()).or_default() += 1;
            }
        }
    }
}

impl Local {
    fn note(&mut self, socket: &DiagSocket, sample: &Sample) {
        if socket.is_time_wait() {
            self.time_wait += 1;
            self.left_ms = self.left_ms.max(socket.expires_ms.into());
            return;
        }
        if socket.listens() {
            if !std::mem::replace(&mut self.listening, true) {
                self.holders.clear();
            }
            if self.listens_on.len() < MOST_LISTENERS {
                self.listens_on.push(socket.local_ip());
            }
        } else {
            self.open += 1;
            self.states.add_state(&State::of(socket));
            if self.listening {
                return;
            }
        }
        if let Some(holder) = sample.holders.get(&socket.inode) {
            *self.holders.entry(holder.clone()).or_default() += 1;
        }
    }
}

fn ports<'a>(sockets: impl Iterator<Item = &'a DiagSocket>) -> Ports {
    let mut ports = Ports::default();
    sockets.for_each(|socket| ports.add_state(&State::of(socket)));
    ports
}

#[cfg(test)]
pub(super) mod tests;
