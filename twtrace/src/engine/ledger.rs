//! Owns: which ports TIME_WAIT sockets hold from moment to moment, as events tell, and how that stood when connect() failed for
//! want of a port.
//! Must not know: which ports a namespace allows, sockets that are open.
//!
//! What holds ports at the end of a trace may not be what held them when a call failed: so it is looked at at that moment.

use std::collections::{BTreeMap, HashMap};

use super::intern::{Hasher, OTHERS};
use super::row::{Owner, Row};
use crate::model::event::{Kind, PortVia, Role, Substate};

/// Sockets that are kept, and destinations whose failures are: where there are more, a moment is not known rather than half known.
const MOST: usize = 200_000;
/// Namespaces whose ports are told apart: each has a table of its own.
const MOST_NETNS: usize = 4096;
const MOST_DESTINATIONS: usize = 64;
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

/// All that is on a port. One that connect() chose may be that of several connections, but mostly is not.
#[derive(Clone, Debug, Default)]
struct Slot {
    first: Option<Held>,
    more: Vec<Held>,
}

impl Slot {
    fn all(&self) -> impl Iterator<Item = &Held> {
        self.first.iter().chain(&self.more)
    }

    fn all_mut(&mut self) -> impl Iterator<Item = &mut Held> {
        self.first.iter_mut().chain(&mut self.more)
    }
}

/// The ports of a namespace.
type Slots = HashMap<u16, Slot, Hasher>;

/// Every port that a namespace's TIME_WAIT sockets held when connect() failed.
pub(crate) type MomentIds = BTreeMap<u16, Vec<Held>>;

#[derive(Debug, Default)]
struct Failing {
    calls: u64,
    moment: MomentIds,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    netns: Vec<(u32, Slots)>,
    index: HashMap<u32, usize, Hasher>,
    /// Where the namespace of the last event is.
    last: usize,
    len: usize,
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

    fn slots(&mut self, netns: u32) -> Option<&mut Slots> {
        if self.netns.get(self.last).is_none_or(|(inode, _)| *inode != netns) {
            self.last = *self.index.get(&netns)?;
        }
        self.netns.get_mut(self.last).map(|(_, slots)| slots)
    }

    fn hold(&mut self, row: &Row) {
        let is_full =
            self.len >= MOST || (self.netns.len() >= MOST_NETNS && !self.index.contains_key(&row.netns));
        if is_full || row.daddr == OTHERS || row.saddr == OTHERS {
            self.let_go(row);
            self.is_short = true;
            return;
        }
        let held = Held {
            pool: PoolId::of(row),
            is_client: row.role == Role::Client,
            substate: row.substate.unwrap_or(Substate::TimeWait),
            via: row.port_via,
            ends_ns: row.mono_ns.saturating_add(u64::from(row.timeout_ms) * 1_000_000),
            who: row.owner.map(|owner| (owner, row.exe)),
        };
        if self.slots(row.netns).is_none() {
            self.index.insert(row.netns, self.netns.len());
            self.netns.push((row.netns, Slots::default()));
        }
        let Some(slots) = self.slots(row.netns) else { return };
        let slot = slots.entry(row.sport).or_default();
        // Its end was not heard of.
        if let Some(known) = slot.all_mut().find(|known| known.pool == held.pool) {
            *known = held;
            return;
        }
        match slot.first {
            None => slot.first = Some(held),
            Some(_) => slot.more.push(held),
        }
        self.len += 1;
    }

    /// `None` where nothing was held.
    fn let_go(&mut self, row: &Row) -> Option<()> {
        let pool = PoolId::of(row);
        let slots = self.slots(row.netns)?;
        let slot = slots.get_mut(&row.sport)?;
        if slot.first.is_some_and(|held| held.pool == pool) {
            slot.first = slot.more.pop();
            if slot.first.is_none() {
                slots.remove(&row.sport);
            }
        } else {
            let at = slot.more.iter().position(|held| held.pool == pool)?;
            slot.more.swap_remove(at);
        }
        self.len -= 1;
        Some(())
    }

    fn of_netns(&self, netns: u32) -> Option<&Slots> {
        self.index.get(&netns).and_then(|at| self.netns.get(*at)).map(|(_, slots)| slots)
    }

    /// The first failure is looked at, and the second, the fourth, the eighth: a look is as long as the range.
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
        let held = self.index.get(&row.netns).and_then(|at| self.netns.get(*at)).map(|(_, slots)| slots);
        if held.map_or(0, HashMap::len) >= failing.moment.len() {
            let all = held.into_iter().flatten();
            failing.moment = all.map(|(port, slot)| (*port, slot.all().copied().collect())).collect();
        }
    }

    fn refuse(&mut self, row: &Row) {
        let slot = self.of_netns(row.netns).and_then(|slots| slots.get(&row.sport));
        let key = (row.netns, row.sport);
        let Some(slot) = slot else { return };
        if self.taken.len() >= MOST_PORTS && !self.taken.contains_key(&key) {
            return;
        }
        let held = slot.all().copied().collect();
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
        let all = self.of_netns(netns).into_iter().flat_map(HashMap::values).flat_map(Slot::all);
        for held in all.filter(|held| matches!(held.via, Some(PortVia::Bind | PortVia::BindAny))) {
            *bound.entry(held.pool).or_insert(0) += 1;
        }
        bound
    }

    /// Which ports were held when connect() towards a destination failed; `None` where none failed, or not all was kept.
    pub(crate) fn moment(&self, (netns, daddr, dport): (u32, u32, u16)) -> Option<&MomentIds> {
        (!self.is_short).then_some(())?;
        self.failing.get(&(netns, daddr, dport)).map(|failing| &failing.moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(kind: Kind, sport: u16, dport: u16) -> Row {
        Row { sport, dport, ..super::super::row::sample(kind) }
    }

    #[test]
    fn a_failure_is_told_by_what_was_held_then_and_not_later() {
        let mut ledger = Ledger::default();
        let mut tell = |kind, sport, dport| ledger.take(&row(kind, sport, dport));
        tell(Kind::Created, 40_001, 80);
        tell(Kind::Created, 40_001, 443);
        tell(Kind::Listed, 40_003, 80);
        tell(Kind::ConnectFailed, 0, 80);
        tell(Kind::Ended, 40_003, 80);
        tell(Kind::Ended, 40_001, 443);
        tell(Kind::ConnectFailed, 0, 443);
        let moment = |dport| {
            let moment = ledger.moment((7, 3, dport));
            moment.map(|ports| ports.iter().map(|(port, all)| (*port, all.len())).collect::<Vec<_>>())
        };
        assert_eq!(moment(80), Some(vec![(40_001, 2), (40_003, 1)]));
        assert_eq!(moment(443), Some(vec![(40_001, 1)]));
        assert_eq!(moment(81), None);
        assert_eq!(ledger.len, 1);
    }

    #[test]
    fn a_port_that_is_refused_is_told_with_what_held_it_and_for_how_long_yet() {
        let mut ledger = Ledger::default();
        let mut tell = |mono_ns, row: Row| ledger.take(&Row { mono_ns, timeout_ms: 60_000, ..row });
        tell(1_000_000_000, row(Kind::Created, 40_001, 80));
        tell(8_000_000_000, row(Kind::BindFailed, 40_001, 0));
        tell(8_000_000_000, row(Kind::BindFailed, 40_003, 0));
        tell(9_000_000_000, row(Kind::Ended, 40_001, 80));
        let left: Vec<u64> = ledger.taken(7, 40_001).map(|(_, left_ms)| left_ms).collect();
        assert_eq!((left, ledger.taken(7, 40_003).count()), (vec![53_000], 0));
    }

    #[test]
    fn what_had_no_room_makes_no_half_truths() {
        let mut ledger = Ledger::default();
        for at in 0..=MOST {
            ledger.take(&row(Kind::Created, (at % 60_000) as u16, (at / 60_000) as u16 + 1));
        }
        ledger.take(&row(Kind::ConnectFailed, 0, 80));
        assert!(ledger.moment((7, 3, 80)).is_none());
        assert_eq!(ledger.len, MOST);
    }
}
