//! Owns: which ports TIME_WAIT sockets hold from moment to moment, as events tell, and how that stood when connect() failed for
//! want of a port.
//! Must not know: which ports a namespace allows, sockets that are open.
//!
//! What holds ports at the end of a trace may not be what held them when a call failed: so it is looked at at that moment.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use super::Process;
use crate::event::{Conn, Event, Kind, PortVia, Role, Substate};
use crate::tracker::TupleKey;

/// Sockets that are kept, and destinations whose failures are: where there are more, a moment is not known rather than half known.
const MOST: usize = 200_000;
const MOST_DESTINATIONS: usize = 64;

/// Where a connect() goes. A failed one may not have come as far as to have a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Destination {
    /// Inode of the network namespace.
    pub(super) netns: u32,
    /// Remote address.
    pub(super) daddr: IpAddr,
    /// Remote port.
    pub(super) dport: u16,
}

impl From<&TupleKey> for Destination {
    fn from(key: &TupleKey) -> Self {
        Self { netns: key.netns, daddr: key.daddr, dport: key.dport }
    }
}

/// A port that a client's TIME_WAIT socket holds.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    /// Where its connection went.
    pub(super) tuple: TupleKey,
    /// It is known to be a client's.
    pub(super) is_client: bool,
    /// What it was in when it was made.
    pub(super) substate: Substate,
    /// How it had its port.
    pub(super) via: Option<PortVia>,
    /// When it ends of itself, CLOCK_MONOTONIC in nanoseconds.
    pub(super) ends_ns: u64,
    /// Whose it was; nobody's where that is not known.
    pub(super) who: Process,
}

/// Failed bind()s of which it is kept what held the port, of each namespace.
const MOST_PORTS: usize = 1024;

/// What held a port when bind() failed for the last time, and when that was.
type Taken = (u64, Vec<Holding>);

/// Every port that a namespace's TIME_WAIT sockets held when connect() failed.
pub(super) type Moment = BTreeMap<u16, Vec<Holding>>;

#[derive(Debug, Default)]
struct Failing {
    calls: u64,
    moment: Moment,
}

/// See the head of the file.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// By namespace, by port: a port that connect() chose may be that of several connections.
    held: HashMap<u32, HashMap<u16, Vec<Holding>>>,
    len: usize,
    /// Something had no room: what is held is not all.
    is_short: bool,
    failing: HashMap<Destination, Failing>,
    taken: HashMap<(u32, u16), Taken>,
}

impl Ledger {
    /// Takes in an event. Ends are told apart by their connection alone.
    pub(super) fn take(&mut self, event: &Event, conn: &Conn, who: impl FnOnce() -> Process) {
        match event.kind {
            Kind::Created | Kind::Listed if event.role != Role::Server => self.hold(event, conn, who()),
            Kind::Ended => self.let_go(conn),
            Kind::ConnectFailed if conn.sport == 0 => self.fail(conn),
            Kind::BindFailed | Kind::ConnectFailed => self.refuse(event.mono_ns, conn),
            _ => {}
        }
    }

    fn hold(&mut self, event: &Event, conn: &Conn, who: Process) {
        self.let_go(conn);
        if self.len >= MOST {
            self.is_short = true;
            return;
        }
        self.len += 1;
        let substate = event.substate.unwrap_or(Substate::TimeWait);
        let ends_ns = event.mono_ns + u64::from(event.timeout_ms.unwrap_or(0)) * 1_000_000;
        let is_client = event.role == Role::Client;
        let holding = Holding { tuple: conn.into(), is_client, substate, via: event.port_via, ends_ns, who };
        self.held.entry(conn.netns).or_default().entry(conn.sport).or_default().push(holding);
    }

    fn let_go(&mut self, conn: &Conn) {
        let Some(ports) = self.held.get_mut(&conn.netns) else { return };
        let Some(all) = ports.get_mut(&conn.sport) else { return };
        let (before, tuple) = (all.len(), TupleKey::from(conn));
        all.retain(|holding| holding.tuple != tuple);
        self.len -= before - all.len();
        if all.is_empty() {
            ports.remove(&conn.sport);
        }
    }

    /// The first failure is looked at, and the second, the fourth, the eighth: a look is as long as the range.
    fn fail(&mut self, conn: &Conn) {
        let to = Destination { netns: conn.netns, daddr: conn.daddr, dport: conn.dport };
        if self.failing.len() >= MOST_DESTINATIONS && !self.failing.contains_key(&to) {
            return;
        }
        let failing = self.failing.entry(to).or_default();
        failing.calls += 1;
        let held = self.held.get(&conn.netns);
        if failing.calls.is_power_of_two() && held.map_or(0, HashMap::len) >= failing.moment.len() {
            let all = held.into_iter().flatten();
            failing.moment = all.map(|(port, holdings)| (*port, holdings.clone())).collect();
        }
    }

    fn refuse(&mut self, now_ns: u64, conn: &Conn) {
        let held = self.held.get(&conn.netns).and_then(|ports| ports.get(&conn.sport));
        let (key, held) = ((conn.netns, conn.sport), held.cloned().unwrap_or_default());
        if held.is_empty() || (self.taken.len() >= MOST_PORTS && !self.taken.contains_key(&key)) {
            return;
        }
        self.taken.insert(key, (now_ns, held));
    }

    /// What held a port that a call was refused: a client's TIME_WAIT sockets, each with the time that it had left in milliseconds.
    pub(super) fn taken(&self, netns: u32, port: u16) -> impl Iterator<Item = (&Holding, u64)> {
        let taken = self.taken.get(&(netns, port));
        taken.into_iter().flat_map(|(now_ns, all)| {
            all.iter().map(move |holding| (holding, holding.ends_ns.saturating_sub(*now_ns) / 1_000_000))
        })
    }

    /// How many TIME_WAIT sockets of each pool of a namespace have a port that bind() took.
    pub(super) fn bound(&self, netns: u32) -> HashMap<TupleKey, u32> {
        let mut bound = HashMap::new();
        let all = self.held.get(&netns).into_iter().flat_map(HashMap::values).flatten();
        for holding in all.filter(|holding| matches!(holding.via, Some(PortVia::Bind | PortVia::BindAny))) {
            *bound.entry(holding.tuple).or_insert(0) += 1;
        }
        bound
    }

    /// Which ports were held when connect() towards a destination failed; `None` where none failed, or not all was kept.
    pub(super) fn moment(&self, to: &Destination) -> Option<&Moment> {
        (!self.is_short).then_some(())?;
        self.failing.get(to).map(|failing| &failing.moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: Kind, sport: u16, dport: u16) -> Event {
        let here = IpAddr::from([127, 0, 0, 1]);
        let conn = Conn { netns: 7, ifindex: 0, saddr: here, daddr: here, sport, dport };
        Event { role: Role::Client, ..Event::new(kind, 1, Some(conn)) }
    }

    #[test]
    fn a_failure_is_told_by_what_was_held_then_and_not_later() {
        let mut ledger = Ledger::default();
        let mut tell = |kind, sport, dport| {
            let event = event(kind, sport, dport);
            ledger.take(&event, &event.conn.unwrap(), Process::default);
        };
        tell(Kind::Created, 40_001, 80);
        tell(Kind::Created, 40_001, 443);
        tell(Kind::Listed, 40_003, 80);
        tell(Kind::ConnectFailed, 0, 80);
        tell(Kind::Ended, 40_003, 80);
        tell(Kind::Ended, 40_001, 443);
        tell(Kind::ConnectFailed, 0, 443);
        let moment = |dport| {
            let here = IpAddr::from([127, 0, 0, 1]);
            let moment = ledger.moment(&Destination { netns: 7, daddr: here, dport });
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
        let mut tell = |mono_ns, event: Event| {
            let event = Event { mono_ns, timeout_ms: Some(60_000), ..event };
            ledger.take(&event, &event.conn.unwrap(), Process::default);
        };
        tell(1_000_000_000, event(Kind::Created, 40_001, 80));
        tell(8_000_000_000, event(Kind::BindFailed, 40_001, 0));
        tell(8_000_000_000, event(Kind::BindFailed, 40_003, 0));
        tell(9_000_000_000, event(Kind::Ended, 40_001, 80));
        let left: Vec<u64> = ledger.taken(7, 40_001).map(|(_, left_ms)| left_ms).collect();
        assert_eq!((left, ledger.taken(7, 40_003).count()), (vec![53_000], 0));
    }

    #[test]
    fn what_had_no_room_makes_no_half_truths() {
        let mut ledger = Ledger::default();
        for at in 0..=MOST {
            let event = event(Kind::Created, (at % 60_000) as u16, (at / 60_000) as u16 + 1);
            ledger.take(&event, &event.conn.unwrap(), Process::default);
        }
        let failed = event(Kind::ConnectFailed, 0, 80);
        ledger.take(&failed, &failed.conn.unwrap(), Process::default);
        assert!(ledger.moment(&(&TupleKey::from(&failed.conn.unwrap())).into()).is_none());
        assert_eq!(ledger.len, MOST);
    }
}
