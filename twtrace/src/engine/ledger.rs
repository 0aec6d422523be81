//! Owns: which ports TIME_WAIT sockets hold from moment to moment, as events tell, and how that stood when connect() failed for
//! want of a port.
//! Must not know: which ports a namespace allows, sockets that are open.
//!
//! What holds ports at the end of a trace may not be what held them when a call failed: so it is looked at at that moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::intern::{Hasher, OTHERS};
use super::row::{Owner, Row};
use crate::model::event::{Kind, PortVia, Role, Substate};
use crate::model::ordering::Ordered as _;

/// Sockets that are kept, in all and on one port, which is walked for each event on it: where there are more, a moment is not known rather
/// than half known.
const MOST: usize = 200_000;
const MOST_ON_PORT: usize = 128;
/// Namespaces whose ports are told apart: each has a table of its own.
const MOST_NETNS: usize = 4096;
/// Destinations whose failures are kept, and sockets of all their moments together.
const MOST_DESTINATIONS: usize = 64;
const MOST_OF_MOMENTS: usize = 2 * MOST;
/// Where there is no room for another moment, one of the same namespace that is no older than this stands in for it.
const RECENT_NS: u64 = 1_000_000_000;
/// Failed bind()s of which it is kept what held the port.
const MOST_PORTS: usize = 1024;

/// A pool of ports, in numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PoolId {
    pub(crate) netns: u32,
    pub(crate) saddr: u32,
    pub(crate) daddr: u32,
    pub(crate) dport: u16,
}

impl PoolId {
    pub(crate) fn of(row: &Row) -> Self {
        Self { netns: row.netns, saddr: row.saddr, daddr: row.daddr, dport: row.dport }
    }

    /// Where its connections go: a failed one may not have come as far as to have a source address.
    fn destination(&self) -> DestinationId {
        (self.netns, self.daddr, self.dport)
    }
}

type DestinationId = (u32, u32, u16);

/// A port that a client's TIME_WAIT socket holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    pub(crate) pool: PoolId,
    /// It is known to be a client's.
    pub(crate) is_client: bool,
    /// What it was in when it was made.
    pub(crate) substate: Substate,
    /// How it had its port.
    pub(crate) via: Option<PortVia>,
    /// When it ends of itself, CLOCK_MONOTONIC in nanoseconds.
    pub(crate) ends_ns: u64,
    /// Whose it was, and its program.
    pub(crate) who: Option<(Owner, u32)>,
}

/// What is held, and where what else is held on the same port is.
#[derive(Debug)]
struct LedgerEntry {
    held: Held,
    /// In [`Entries`]; [`NOWHERE`] at the end, and it leads to the next one that is free where this one is.
    next: u32,
}

/// Leads to no entry.
const NOWHERE: u32 = u32::MAX;

/// All that is held, of all namespaces. Places are taken again, the last one first: that is still in the processor's cache.
#[derive(Debug)]
struct Entries {
    all: Vec<LedgerEntry>,
    free: u32,
    len: usize,
}

impl Default for Entries {
    fn default() -> Self {
        Self { all: Vec::new(), free: NOWHERE, len: 0 }
    }
}

impl Entries {
    fn add(&mut self, held: Held) -> u32 {
        self.len += 1;
        let entry = LedgerEntry { held, next: NOWHERE };
        let at = self.free;
        match self.all.get_mut(at as usize) {
            Some(slot) => {
                self.free = slot.next;
                *slot = entry;
                at
            }
            None => {
                self.all.push(entry);
                (self.all.len() - 1) as u32
            }
        }
    }

    /// Makes a place free, and returns what came after it.
    fn remove(&mut self, at: u32) -> u32 {
        self.len -= 1;
        let entry = &mut self.all[at as usize];
        let next = std::mem::replace(&mut entry.next, self.free);
        self.free = at;
        next
    }

    /// What is held from there on.
    fn from(&self, first: u32) -> impl Iterator<Item = &Held> {
        let mut at = first;
        std::iter::from_fn(move || {
            let entry = self.all.get(at as usize)?;
            at = entry.next;
            Some(&entry.held)
        })
    }
}

/// Ports of a [`Block`].
const BLOCK: usize = 256;

/// Where the first of what is held on each of some neighbouring ports is.
type Block = [u32; BLOCK];

/// The ports of a namespace: which are held is asked for each event, so it is looked up and not searched.
#[derive(Debug)]
struct Slots {
    blocks: [Option<Box<Block>>; 65_536 / BLOCK],
    /// All that is held on them.
    held: usize,
}

impl Default for Slots {
    fn default() -> Self {
        Self { blocks: [const { None }; 65_536 / BLOCK], held: 0 }
    }
}

impl Slots {
    #[inline]
    fn first(&self, port: u16) -> u32 {
        let block = self.blocks[usize::from(port) / BLOCK].as_ref();
        block.map_or(NOWHERE, |block| block[usize::from(port) % BLOCK])
    }

    /// Ports on which something is held, with the first of that.
    fn all(&self) -> impl Iterator<Item = (u16, u32)> {
        let blocks = (0..=u16::MAX).step_by(BLOCK).zip(&self.blocks);
        let ports = blocks.filter_map(|(first, block)| Some((first, block.as_ref()?)));
        ports
            .flat_map(|(first, block)| (first..=u16::MAX).zip(block.iter().copied()))
            .filter(|(_, at)| *at != NOWHERE)
    }

    fn set(&mut self, port: u16, first: u32) {
        let block = &mut self.blocks[usize::from(port) / BLOCK];
        let block = block.get_or_insert_with(|| Box::new([NOWHERE; BLOCK]));
        block[usize::from(port) % BLOCK] = first;
    }
}

/// Every port that a namespace's TIME_WAIT sockets held when connect() failed.
pub(crate) type MomentIds = BTreeMap<u16, Vec<Held>>;

/// What was held at one moment. Several destinations may share it.
#[derive(Debug)]
struct LedgerMoment {
    netns: u32,
    /// CLOCK_MONOTONIC.
    at_ns: u64,
    /// Sockets in it.
    held: usize,
    ports: MomentIds,
}

#[derive(Debug, Default)]
struct Failing {
    calls: u64,
    /// The one with the most ports; `None` where there was no room for any.
    moment: Option<Arc<LedgerMoment>>,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    entries: Entries,
    netns: Vec<(u32, Box<Slots>)>,
    index: HashMap<u32, usize, Hasher>,
    /// Where the namespace of the last event is.
    last: usize,
    /// Something had no room: what is held is not all.
    is_short: bool,
    failing: HashMap<DestinationId, Failing>,
    /// What held a port when a call was refused it for the last time, and when that was.
    taken: HashMap<(u32, u16), (u64, Vec<Held>)>,
}

impl Ledger {
    /// Takes in an event. Ends are told apart by their connection alone.
    #[inline]
    pub(crate) fn take(&mut self, row: &Row) {
        match row.kind {
            Kind::Created | Kind::Listed if row.role != Role::Server => self.hold(row),
            Kind::Ended => drop(self.let_go(row)),
            Kind::ConnectFailed if row.sport == 0 => self.fail(row),
            Kind::BindFailed | Kind::ConnectFailed => self.refuse(row),
            _ => {}
        }
    }

    /// Where the namespace of an event is.
    fn find(&mut self, netns: u32) -> Option<usize> {
        if self.netns.get(self.last).is_none_or(|(inode, _)| *inode != netns) {
            self.last = *self.index.get(&netns)?;
        }
        Some(self.last)
    }

    /// As [`Self::find`], for one that may be new; `None` where there is no room for it.
    fn enter(&mut self, netns: u32) -> Option<usize> {
        if let Some(at) = self.find(netns) {
            return Some(at);
        }
        if self.netns.len() >= MOST_NETNS {
            return None;
        }
        let at = self.netns.len();
        self.index.insert(netns, at);
        self.netns.push((netns, Box::default()));
        Some(at)
    }

    fn hold(&mut self, row: &Row) {
        let is_full = self.entries.len >= MOST || row.daddr == OTHERS || row.saddr == OTHERS;
        let Some(at) = (if is_full { None } else { self.enter(row.netns) }) else {
            self.let_go(row);
            self.is_short = true;
            return;
        };
        let held = Held {
            pool: PoolId::of(row),
            is_client: row.role == Role::Client,
            substate: row.substate.unwrap_or(Substate::TimeWait),
            via: row.port_via,
            ends_ns: row.mono_ns.saturating_add(u64::from(row.timeout_ms) * 1_000_000),
            who: row.owner.map(|owner| (owner, row.exe)),
        };
        let Self { entries, netns, .. } = self;
        let slots = &mut netns[at].1;
        let (mut at, mut last, mut on_port) = (slots.first(row.sport), NOWHERE, 0);
        while let Some(entry) = entries.all.get_mut(at as usize) {
            // Its end was not heard of.
            if entry.held.pool == held.pool {
                entry.held = held;
                return;
            }
            (last, at, on_port) = (at, entry.next, on_port + 1);
        }
        if on_port >= MOST_ON_PORT {
            self.is_short = true;
            return;
        }
        slots.held += 1;
        let added = entries.add(held);
        match entries.all.get_mut(last as usize) {
            Some(last) => last.next = added,
            None => slots.set(row.sport, added),
        }
    }

    /// `None` where nothing was held.
    fn let_go(&mut self, row: &Row) -> Option<()> {
        let pool = PoolId::of(row);
        let at = self.find(row.netns)?;
        let Self { entries, netns, .. } = self;
        let slots = &mut netns[at].1;
        let (mut at, mut last) = (slots.first(row.sport), NOWHERE);
        while entries.all.get(at as usize)?.held.pool != pool {
            (last, at) = (at, entries.all[at as usize].next);
        }
        slots.held -= 1;
        let next = entries.remove(at);
        match entries.all.get_mut(last as usize) {
            Some(last) => last.next = next,
            None => slots.set(row.sport, next),
        }
        Some(())
    }

    fn of_netns(&self, netns: u32) -> Option<&Slots> {
        self.index.get(&netns).and_then(|at| self.netns.get(*at)).map(|(_, slots)| &**slots)
    }

    /// The first failure is looked at, and the second, the fourth, the eighth: a moment is as long as the range.
    fn fail(&mut self, row: &Row) {
        let to = PoolId::of(row).destination();
        if self.failing.len() >= MOST_DESTINATIONS && !self.failing.contains_key(&to) {
            return;
        }
        let failing = self.failing.entry(to).or_default();
        failing.calls += 1;
        if !failing.calls.is_power_of_two() {
            return;
        }
        let before = failing.moment.take();
        let moment = self.held_now(row);
        let ports = |moment: &Option<Arc<LedgerMoment>>| moment.as_ref().map(|moment| moment.ports.len());
        let best = if ports(&moment) >= ports(&before) { moment } else { before };
        self.failing.entry(to).or_default().moment = best;
    }

    /// What is held now; where there is no room for that, what was a short while ago.
    fn held_now(&self, row: &Row) -> Option<Arc<LedgerMoment>> {
        let slots = self.of_netns(row.netns);
        let held = slots.map_or(0, |slots| slots.held);
        let moments = || self.failing.values().filter_map(|failing| failing.moment.as_ref());
        let mut known: Vec<_> = moments().map(|moment| (Arc::as_ptr(moment), moment.held)).collect();
        known.order_by(Ord::cmp);
        known.dedup();
        if known.iter().map(|(_, held)| held).sum::<usize>() + held > MOST_OF_MOMENTS {
            let is_recent = |moment: &&Arc<LedgerMoment>| {
                moment.netns == row.netns && row.mono_ns.saturating_sub(moment.at_ns) <= RECENT_NS
            };
            return moments().filter(is_recent).max_by_key(|moment| moment.at_ns).cloned();
        }
        let all = slots.into_iter().flat_map(Slots::all);
        let ports = all.map(|(port, at)| (port, self.entries.from(at).copied().collect())).collect();
        Some(Arc::new(LedgerMoment { netns: row.netns, at_ns: row.mono_ns, held, ports }))
    }

    fn refuse(&mut self, row: &Row) {
        let first = self.of_netns(row.netns).map_or(NOWHERE, |slots| slots.first(row.sport));
        let key = (row.netns, row.sport);
        if first == NOWHERE {
            return;
        }
        if self.taken.len() >= MOST_PORTS && !self.taken.contains_key(&key) {
            return;
        }
        let held = self.entries.from(first).copied().collect();
        self.taken.insert(key, (row.mono_ns, held));
    }

    /// What held a port that a call was refused: a client's TIME_WAIT sockets, each with the time that it had left in milliseconds.
    pub(crate) fn taken(&self, netns: u32, port: u16) -> impl Iterator<Item = (&Held, u64)> {
        let taken = self.taken.get(&(netns, port));
        taken.into_iter().flat_map(|(now_ns, all)| {
            all.iter().map(move |held| (held, held.ends_ns.saturating_sub(*now_ns) / 1_000_000))
        })
    }

    /// How many TIME_WAIT sockets of each pool of a namespace have a port that bind() took.
    pub(crate) fn bound(&self, netns: u32) -> HashMap<PoolId, u32> {
        let mut bound = HashMap::new();
        let ports = self.of_netns(netns).into_iter().flat_map(Slots::all);
        let all = ports.flat_map(|(_, first)| self.entries.from(first));
        for held in all.filter(|held| matches!(held.via, Some(PortVia::Bind | PortVia::BindAny))) {
            *bound.entry(held.pool).or_insert(0) += 1;
        }
        bound
    }

    /// Which ports were held when connect() towards a destination failed; `None` where none failed, where not all was kept, and where there was
    /// no room for one more.
    pub(crate) fn moment(&self, (netns, daddr, dport): (u32, u32, u16)) -> Option<&MomentIds> {
        (!self.is_short).then_some(())?;
        let moment = self.failing.get(&(netns, daddr, dport))?.moment.as_ref()?;
        Some(&moment.ports)
    }
}

#[cfg(test)]
mod tests;
