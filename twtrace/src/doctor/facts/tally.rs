//! Owns: what the doctor counts in events beyond what the tracker counts: who failed to get which port, and whose
//! TIME_WAIT sockets were refused or ended by RSTs.
//! Must not know: where events come from.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::{BindFailure, Process, Share};
use crate::event::{Event, Kind, Reason, Substate};
use crate::identity::Identity;
use crate::tracker::{PortKey, ProcessKey, TupleKey};

/// Things that are told apart, of each kind; what comes later is only in the tracker's sums.
const MOST: usize = 4096;

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Tally {
    connects: HashMap<(TupleKey, bool, ProcessKey), Calls>,
    binds: HashMap<(u32, IpAddr, u16, ProcessKey), Calls>,
    concerned: HashMap<(u32, ProcessKey), Calls>,
    resets: HashMap<u32, u64>,
}

#[derive(Clone, Debug, Default)]
struct Calls {
    count: u64,
    who: Process,
}

fn count<K: Hash + Eq>(map: &mut HashMap<K, Calls>, key: K, event: &Event) {
    if map.len() >= MOST && !map.contains_key(&key) {
        return;
    }
    let calls = map.entry(key).or_default();
    calls.count += 1;
    if calls.count == 1 {
        calls.who = who(event);
    }
}

fn who(event: &Event) -> Process {
    let Some(owner) = &event.owner else { return Process::default() };
    process(owner.pid, &owner.comm.text(), event.identity.as_deref())
}

/// A process of which so much is known.
pub(super) fn process(pid: u32, comm: &str, identity: Option<&Identity>) -> Process {
    Process {
        pid: Some(pid),
        comm: comm.to_owned(),
        exe: identity.and_then(|identity| identity.exe.clone()),
        container: identity.and_then(|identity| identity.container.as_ref()).map(ToString::to_string),
    }
}

impl Tally {
    /// Counts an event, complete as the tracker makes it.
    pub fn take(&mut self, event: &Event) {
        let Some(conn) = &event.conn else { return };
        let key = event.owner.as_ref().map_or(ProcessKey::UNKNOWN, ProcessKey::from);
        match event.kind {
            Kind::ConnectFailed => count(&mut self.connects, (conn.into(), conn.sport != 0, key), event),
            Kind::BindFailed => count(&mut self.binds, (conn.netns, conn.saddr, conn.sport, key), event),
            Kind::Overflow => count(&mut self.concerned, (conn.netns, key), event),
            Kind::Ended if is_killed_early(event) => {
                *self.resets.entry(conn.netns).or_default() += 1;
                count(&mut self.concerned, (conn.netns, key), event);
            }
            Kind::Created | Kind::Ended | Kind::Listed | Kind::Aborted | Kind::SynRefused | Kind::Lost => {}
        }
    }

    /// TIME_WAIT sockets that an RST ended, those in FIN_WAIT2 left out.
    pub fn resets(&self, netns: u32) -> u64 {
        self.resets.get(&netns).copied().unwrap_or(0)
    }

    /// connect() failures towards a tuple from a port that the caller had bound.
    pub fn failed_bound(&self, tuple: &TupleKey) -> u64 {
        let ours = self.connects.iter().filter(|((key, is_bound, _), _)| key == tuple && *is_bound);
        ours.map(|(_, calls)| calls.count).sum()
    }

    /// connect() failures of one process towards a tuple.
    pub(super) fn failed_by(&self, tuple: &TupleKey, process: &ProcessKey) -> u64 {
        let calls = [false, true].map(|is_bound| self.connects.get(&(*tuple, is_bound, *process)));
        calls.into_iter().flatten().map(|calls| calls.count).sum()
    }

    /// bind() and listen() failures of one process on a port.
    pub(super) fn not_bound_by(&self, port: &PortKey, process: &ProcessKey) -> u64 {
        let ours = self
            .binds
            .iter()
            .filter(|((netns, _, sport, who), _)| (*netns, *sport, who) == (port.netns, port.sport, process));
        ours.map(|(_, calls)| calls.count).sum()
    }

    /// Whose TIME_WAIT sockets were refused or ended by RSTs, most first.
    pub fn concerned(&self, netns: u32) -> Vec<Share> {
        let ours = self.concerned.iter().filter(|((inode, _), _)| *inode == netns);
        let share =
            |calls: &Calls| Share { process: calls.who.clone(), lost: calls.count, ..Share::default() };
        let mut shares: Vec<Share> = ours.map(|(_, calls)| share(calls)).collect();
        shares.sort_by(|a, b| (b.lost, &a.process).cmp(&(a.lost, &b.process)));
        shares
    }

    /// Failures of bind() and listen() in a namespace, most first; who asked for what.
    pub fn binds(&self, netns: u32) -> Vec<BindFailure> {
        let ours = self.binds.iter().filter(|((inode, ..), _)| *inode == netns);
        let failure = |((_, saddr, port, _), calls): (&(u32, IpAddr, u16, ProcessKey), &Calls)| BindFailure {
            saddr: (!saddr.is_unspecified()).then_some(*saddr),
            port: *port,
            failed: calls.count,
            caller: calls.who.clone(),
            destinations: 0,
        };
        let mut all: Vec<BindFailure> = ours.map(failure).collect();
        all.sort_by(|a, b| (b.failed, a.port, &a.caller).cmp(&(a.failed, b.port, &b.caller)));
        all
    }
}

fn is_killed_early(event: &Event) -> bool {
    (event.reason, event.substate) == (Some(Reason::Reset), Some(Substate::TimeWait))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Comm, Conn};
    use std::net::Ipv4Addr;

    fn event(kind: Kind, pid: u32, sport: u16) -> Event {
        let here = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let conn = Conn { netns: 7, ifindex: 0, saddr: here, daddr: here, sport, dport: 80 };
        let mut event = Event::new(kind, 1, Some(conn));
        let comm = Comm::new("app");
        event.owner = Some(crate::event::Process { pid, tid: pid, uid: 0, cgroup_id: 0, start_ns: 1, comm });
        event
    }

    #[test]
    fn calls_are_counted_by_what_was_asked_and_by_whom() {
        let mut tally = Tally::default();
        for (kind, pid, sport, times) in [
            (Kind::ConnectFailed, 11, 0, 5),
            (Kind::ConnectFailed, 11, 40_009, 3),
            (Kind::BindFailed, 11, 0, 2),
            (Kind::BindFailed, 13, 8080, 7),
            (Kind::Overflow, 13, 8080, 1),
        ] {
            (0..times).for_each(|_| tally.take(&event(kind, pid, sport)));
        }
        let tuple = TupleKey::from(&event(Kind::ConnectFailed, 11, 0).conn.unwrap());
        assert_eq!(tally.failed_bound(&tuple), 3);
        let (app, other) = (ProcessKey { pid: 11, start_ns: 1 }, ProcessKey { pid: 13, start_ns: 1 });
        assert_eq!((tally.failed_by(&tuple, &app), tally.failed_by(&tuple, &other)), (8, 0));
        let port = PortKey { netns: 7, sport: 8080 };
        assert_eq!((tally.not_bound_by(&port, &app), tally.not_bound_by(&port, &other)), (0, 7));
        let binds: Vec<_> =
            tally.binds(7).into_iter().map(|bind| (bind.port, bind.failed, bind.caller.pid)).collect();
        assert_eq!(binds, [(8080, 7, Some(13)), (0, 2, Some(11))]);
        assert_eq!(tally.concerned(7)[0].process.pid, Some(13));
        assert!(tally.binds(8).is_empty());
    }

    #[test]
    fn a_reset_counts_in_time_wait_only() {
        let mut tally = Tally::default();
        for (reason, substate) in [
            (Reason::Reset, Substate::TimeWait),
            (Reason::Reset, Substate::FinWait2),
            (Reason::Expired, Substate::TimeWait),
        ] {
            let mut ended = event(Kind::Ended, 11, 40_009);
            (ended.reason, ended.substate) = (Some(reason), Some(substate));
            tally.take(&ended);
        }
        assert_eq!((tally.resets(7), tally.resets(8)), (1, 0));
    }

    #[test]
    fn memory_is_bounded() {
        let mut tally = Tally::default();
        for pid in 1..=(MOST as u32 + 97) {
            tally.take(&event(Kind::BindFailed, pid, 80));
        }
        assert_eq!(tally.binds(7).len(), MOST);
    }
}
