//! Owns: what the doctor counts in events beyond what the tracker counts: who failed to get which port, and whose
//! TIME_WAIT sockets were refused or ended by RSTs.
//! Must not know: where events come from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;

use super::crowd::Crowd;
use super::ledger::Ledger;
use super::looks::Looks;
use super::{Aborted, BindFailure, Call, Netns, Outgoing, Process, Refusal, Served, Share, SynRefused};
use crate::event::{AbortWhy, Conn, Errno, Event, Kind, Reason, Substate};
use crate::identity::Identity;
use crate::tracker::{PortKey, ProcessKey, TupleKey};

/// Things that are told apart, of each kind; what comes later is only in the tracker's sums.
const MOST: usize = 4096;

/// See the head of the file.
#[derive(Debug, Default)]
pub struct Tally {
    connects: Counted<(TupleKey, bool), ProcessKey>,
    /// By namespace and port.
    binds: Counted<(u32, u16), (IpAddr, ProcessKey)>,
    /// By namespace, call and where to, with what it returned.
    refusals: Counted<(u32, Call, IpAddr, u16), (Errno, ProcessKey)>,
    /// By pool: failed calls that are in `refusals`, and connections that were seen to exist when they were asked for again.
    others: HashMap<TupleKey, u64>,
    taken: HashMap<TupleKey, (u64, BTreeSet<u16>)>,
    aborted: Counted<u32, (ProcessKey, AbortWhy)>,
    syn_refused: Counted<u32, (u16, IpAddr)>,
    concerned: Counted<u32, ProcessKey>,
    resets: HashMap<u32, u64>,
    ledger: Ledger,
}

/// Calls of a kind, by what is asked for in one go, and by what is told apart in that.
#[derive(Debug)]
struct Counted<A, B> {
    all: HashMap<A, HashMap<B, Calls>>,
    len: usize,
    /// Of the first kind, which of a namespace there are.
    of_netns: HashMap<u32, Vec<A>>,
}

impl<A, B> Default for Counted<A, B> {
    fn default() -> Self {
        Self { all: HashMap::new(), len: 0, of_netns: HashMap::new() }
    }
}

impl<A: Copy + Hash + Eq, B: Hash + Eq> Counted<A, B> {
    fn count(&mut self, netns: u32, (one, other): (A, B), event: &Event) {
        let is_full = self.len >= MOST;
        let calls = match self.all.get_mut(&one) {
            Some(calls) => calls,
            None if is_full => return,
            None => {
                self.of_netns.entry(netns).or_default().push(one);
                self.all.entry(one).or_default()
            }
        };
        if is_full && !calls.contains_key(&other) {
            return;
        }
        let calls = calls.entry(other).or_default();
        calls.count += 1;
        calls.resets += u64::from(event.reason == Some(Reason::Reset));
        if calls.count == 1 {
            self.len += 1;
            calls.who = who(event);
        }
    }

    /// All of one kind.
    fn of(&self, one: &A) -> impl Iterator<Item = (&B, &Calls)> {
        self.all.get(one).into_iter().flatten()
    }

    /// All of a namespace.
    fn within(&self, netns: u32) -> impl Iterator<Item = (&A, &B, &Calls)> {
        let here = self.of_netns.get(&netns).into_iter().flatten();
        here.flat_map(|one| self.of(one).map(move |(other, calls)| (one, other, calls)))
    }
}

#[derive(Clone, Debug, Default)]
struct Calls {
    count: u64,
    /// Of those, RSTs.
    resets: u64,
    who: Process,
}

fn who(event: &Event) -> Process {
    let Some(owner) = &event.owner else { return Process::default() };
    process(&ProcessKey::from(owner), &owner.comm.text(), event.identity.as_deref())
}

/// A process of which so much is known.
pub(super) fn process(key: &ProcessKey, comm: &str, identity: Option<&Identity>) -> Process {
    Process {
        pid: Some(key.pid),
        start_ns: key.start_ns,
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
        // What failed for another reason says nothing of ports. Of bind(), an address that is not here is one.
        let is_of_ports = |errno: Errno| match event.kind {
            Kind::BindFailed => errno == Errno::AddrInUse,
            _ => errno.is_of_ports(),
        };
        if let Some(errno) = event.errno.filter(|errno| !is_of_ports(*errno)) {
            self.refuse(event, conn, errno, key);
            return;
        }
        self.ledger.take(event, conn, || who(event));
        match event.kind {
            Kind::ConnectFailed => {
                self.see_taken(conn);
                self.connects.count(conn.netns, ((conn.into(), conn.sport != 0), key), event);
            }
            Kind::BindFailed => {
                self.binds.count(conn.netns, ((conn.netns, conn.sport), (conn.saddr, key)), event);
            }
            Kind::Overflow => self.concerned.count(conn.netns, (conn.netns, key), event),
            Kind::Ended if is_killed_early(event) => {
                *self.resets.entry(conn.netns).or_default() += 1;
                self.concerned.count(conn.netns, (conn.netns, key), event);
            }
            Kind::Aborted => {
                let why = event.why.unwrap_or(AbortWhy::Other);
                self.aborted.count(conn.netns, (conn.netns, (key, why)), event);
            }
            Kind::SynRefused => {
                self.syn_refused.count(conn.netns, (conn.netns, (conn.sport, conn.daddr)), event);
            }
            Kind::Created | Kind::Ended | Kind::Listed | Kind::Lost => {}
        }
    }

    fn refuse(&mut self, event: &Event, conn: &Conn, errno: Errno, key: ProcessKey) {
        let (call, address, port) = match event.kind {
            Kind::ConnectFailed => (Call::Connect, conn.daddr, conn.dport),
            Kind::BindFailed => (Call::Bind, conn.saddr, conn.sport),
            _ => return,
        };
        self.refusals.count(conn.netns, ((conn.netns, call, address, port), (errno, key)), event);
        if call == Call::Connect && (self.others.len() < MOST || self.others.contains_key(&conn.into())) {
            *self.others.entry(conn.into()).or_default() += 1;
        }
    }

    /// connect() from a port that the caller had bound: is there such a connection already?
    fn see_taken(&mut self, conn: &Conn) {
        if conn.sport == 0 || (self.taken.len() >= MOST && !self.taken.contains_key(&conn.into())) {
            return;
        }
        let (seen, asked) = self.taken.entry(conn.into()).or_default();
        let mut holdings = self.ledger.taken(conn.netns, conn.sport);
        *seen += u64::from(holdings.any(|(holding, _)| holding.tuple == conn.into()));
        if asked.len() < MOST {
            asked.insert(conn.sport);
        }
    }

    /// connect() failures towards a tuple that had nothing to do with ports.
    pub fn failed_otherwise(&self, tuple: &TupleKey) -> u64 {
        self.others.get(tuple).copied().unwrap_or(0)
    }

    /// Who ended connections of a namespace with RSTs, most first.
    pub fn aborted(&self, netns: u32) -> Vec<Aborted> {
        let mut all: BTreeMap<Process, Aborted> = BTreeMap::new();
        for ((_, why), calls) in self.aborted.of(&netns) {
            let fresh = || Aborted { process: calls.who.clone(), ..Aborted::default() };
            let aborted = all.entry(calls.who.clone()).or_insert_with(fresh);
            *match why {
                AbortWhy::Linger => &mut aborted.linger,
                AbortWhy::UnreadData => &mut aborted.unread_data,
                AbortWhy::Other => &mut aborted.other,
            } += calls.count;
        }
        let mut all: Vec<Aborted> = all.into_values().collect();
        all.sort_by_key(|aborted| std::cmp::Reverse(aborted.all()));
        all
    }

    /// SYNs that TIME_WAIT sockets of a namespace refused, most first.
    pub fn syn_refused(&self, netns: u32) -> Vec<SynRefused> {
        let all = self.syn_refused.of(&netns);
        let mut all: Vec<SynRefused> = all
            .map(|((port, peer), calls)| SynRefused { port: *port, peer: *peer, count: calls.count })
            .collect();
        all.sort_by_key(|refused| (std::cmp::Reverse(refused.count), refused.port, refused.peer));
        all
    }

    /// Calls of a namespace that failed for another reason than the want of a port, most first.
    pub fn refusals(&self, netns: u32) -> Vec<Refusal> {
        let all = self.refusals.within(netns);
        let mut all: Vec<Refusal> = all
            .map(|((_, call, address, port), (errno, _), calls)| Refusal {
                call: *call,
                errno: *errno,
                address: *address,
                port: *port,
                failed: calls.count,
                caller: calls.who.clone(),
            })
            .collect();
        all.sort_by(|a, b| (b.failed, a.port, &a.caller).cmp(&(a.failed, b.port, &b.caller)));
        all
    }

    /// Says of each port that bind() was refused what of a client's was on it, and of each pool whose connection was asked for again
    /// whether that was seen.
    fn tell_taken(&self, netns: &mut Netns, looks: Option<&Looks>) {
        let inode = netns.netns;
        let asked: BTreeSet<u16> =
            netns.binds.iter().map(|bind| bind.port).filter(|port| *port != 0).collect();
        for port in asked {
            let outgoing: Vec<Outgoing> = self
                .ledger
                .taken(inode, port)
                .map(|(holding, left_ms)| Outgoing {
                    process: holding.who.clone(),
                    daddr: holding.tuple.daddr,
                    dport: holding.tuple.dport,
                    is_client: holding.is_client,
                    is_bound: Outgoing::is_bound(holding.via),
                    left_ms,
                })
                .collect();
            match netns.served.iter_mut().find(|served| served.port == port) {
                Some(served) => served.outgoing = outgoing,
                None if outgoing.is_empty() => {}
                None => netns.served.push(Served { port, outgoing, ..Served::default() }),
            }
        }
        for tuple in netns.tuples.iter_mut().filter(|tuple| tuple.failed_bound != 0) {
            let Some((seen, ports)) = self.taken.get(&tuple.key(inode)) else { continue };
            let is_listed =
                |port: &u16| looks.is_some_and(|looks| looks.has_connection(&tuple.key(inode), *port));
            let listed = ports.iter().any(is_listed);
            tuple.taken = if listed { tuple.failed_bound } else { *seen };
        }
    }

    /// Says of each pool of a namespace for which connect() failed what was on the ports at that time, as far as events and, where
    /// there are any, looks tell.
    pub fn tell(&self, netns: &mut Netns, looks: Option<&Looks>) {
        let inode = netns.netns;
        self.tell_taken(netns, looks);
        let bound = self.ledger.bound(inode);
        for tuple in &mut netns.tuples {
            tuple.bound = bound.get(&tuple.key(inode)).copied().unwrap_or(0);
        }
        for tuple in netns.tuples.iter_mut().filter(|tuple| tuple.failed != 0) {
            let moment = self.ledger.moment(&(&tuple.key(inode)).into());
            let seen = looks.map_or(&[][..], |looks| &looks.crowd);
            Crowd { moment, seen, settings: &netns.settings }.tell(inode, tuple);
        }
    }

    /// TIME_WAIT sockets that an RST ended, those in FIN_WAIT2 left out.
    pub fn resets(&self, netns: u32) -> u64 {
        self.resets.get(&netns).copied().unwrap_or(0)
    }

    /// connect() failures towards a tuple from a port that the caller had bound.
    pub fn failed_bound(&self, tuple: &TupleKey) -> u64 {
        self.connects.of(&(*tuple, true)).map(|(_, calls)| calls.count).sum()
    }

    /// connect() failures of one process towards a tuple.
    pub(super) fn failed_by(&self, tuple: &TupleKey, process: &ProcessKey) -> u64 {
        let calls = |is_bound| self.connects.all.get(&(*tuple, is_bound))?.get(process);
        [false, true].into_iter().filter_map(calls).map(|calls| calls.count).sum()
    }

    /// bind() and listen() failures of one process on a port.
    pub(super) fn not_bound_by(&self, port: &PortKey, process: &ProcessKey) -> u64 {
        let key = (port.netns, port.sport);
        let ours = self.binds.of(&key).filter(|((_, who), _)| who == process);
        ours.map(|(_, calls)| calls.count).sum()
    }

    /// Whose TIME_WAIT sockets were refused or ended by RSTs, most first.
    pub fn concerned(&self, netns: u32) -> Vec<Share> {
        let share = |calls: &Calls| Share {
            process: calls.who.clone(),
            lost: calls.count,
            reset: calls.resets,
            ..Share::default()
        };
        let mut shares: Vec<Share> = self.concerned.of(&netns).map(|(_, calls)| share(calls)).collect();
        shares.sort_by(|a, b| (b.lost, &a.process).cmp(&(a.lost, &b.process)));
        shares
    }

    /// Failures of bind() and listen() in a namespace, most first; who asked for what.
    pub fn binds(&self, netns: u32) -> Vec<BindFailure> {
        let failure =
            |((_, port), (saddr, _), calls): (&(u32, u16), &(IpAddr, ProcessKey), &Calls)| BindFailure {
                saddr: (!saddr.is_unspecified()).then_some(*saddr),
                port: *port,
                failed: calls.count,
                caller: calls.who.clone(),
                destinations: 0,
            };
        let mut all: Vec<BindFailure> = self.binds.within(netns).map(failure).collect();
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
    use crate::event::Comm;
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
