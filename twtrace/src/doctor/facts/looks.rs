//! Owns: facts as the kernel's lists have them: which sockets are on which ports, looked at again and again.
//! Must not know: how a list is got, what events are.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::{Conntrack, Ports, Process, Settings};
use crate::event::Substate;
use crate::net::sockdiag::DiagSocket;
use crate::tracker::TupleKey;

/// States of include/net/tcp_states.h.
const ESTABLISHED: u8 = 1;
const LISTEN: u8 = 10;
/// What a socket that is bound and nothing else is listed as: it is asked for by the bit of TCP_BOUND_INACTIVE, and has its
/// own state (`inet_diag_dump_icsk`, net/ipv4/inet_diag.c).
const CLOSE: u8 = 7;

/// One look at a namespace.
#[derive(Debug, Default)]
pub struct Look {
    /// Inode of the namespace.
    pub netns: u32,
    /// See [`super::Netns::name`].
    pub name: Option<String>,
    /// See [`super::Netns::enter`].
    pub enter: String,
    /// What it allows.
    pub settings: Settings,
    /// TCPTimeWaitOverflow in the kernel's books.
    pub overflow: u64,
    /// Its own addresses; empty where they are not known.
    pub addresses: HashSet<IpAddr>,
    /// Connection tracking.
    pub conntrack: Option<Conntrack>,
    /// Its sockets.
    pub sockets: Vec<DiagSocket>,
    /// Which open connections have TCP timestamps, as far as was asked.
    pub timestamps: Vec<(TupleKey, bool)>,
    /// Who holds full sockets, by the socket's inode, as far as was asked.
    pub holders: HashMap<u32, Process>,
}

/// What is on one local port.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    pub(super) listening: bool,
    pub(super) time_wait: u64,
    pub(super) open: u64,
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
pub struct Looks {
    pub(super) first_overflow: Option<u64>,
    pub(super) last: Look,
    pub(super) tuples: HashMap<TupleKey, OnTuple>,
    pub(super) locals: HashMap<u16, Local>,
    pub(super) time_wait: u64,
    pub(super) fin_wait2: u64,
    pub(super) peak_time_wait: u64,
    pub(super) pinned: u32,
    pub(super) range_in_use: u32,
}

impl Looks {
    /// Takes in another look.
    pub fn take(&mut self, mut look: Look) {
        self.first_overflow.get_or_insert(look.overflow);
        let sockets = std::mem::take(&mut look.sockets);
        self.count(&sockets, &look.settings);
        self.place(&sockets, &look);
        for (tuple, has) in std::mem::take(&mut look.timestamps) {
            self.tuples.entry(tuple).or_default().timestamps = Some(has);
        }
        self.last = look;
    }

    fn count(&mut self, sockets: &[DiagSocket], settings: &Settings) {
        let waiting = sockets.iter().filter(|socket| socket.is_time_wait());
        self.time_wait = waiting.clone().count() as u64;
        self.fin_wait2 = waiting.filter(|socket| socket.substate() == Substate::FinWait2).count() as u64;
        self.peak_time_wait = self.peak_time_wait.max(self.time_wait);
        let in_range = |of: fn(&&DiagSocket) -> bool| {
            let ports = sockets.iter().filter(of).map(|socket| socket.sport);
            ports.filter(|port| settings.has(*port)).collect::<HashSet<u16>>().len() as u32
        };
        self.range_in_use = self.range_in_use.max(in_range(|_| true));
        self.pinned =
            self.pinned.max(in_range(|socket| matches!(socket.state, LISTEN | CLOSE) && socket.dport == 0));
    }

    fn place(&mut self, sockets: &[DiagSocket], look: &Look) {
        let listening = sockets.iter().filter(|socket| socket.state == LISTEN);
        let listeners: HashSet<u16> = listening.map(|socket| socket.sport).collect();
        let mut locals: HashMap<u16, Local> = HashMap::new();
        let mut tuples: HashMap<TupleKey, HashMap<u16, &DiagSocket>> = HashMap::new();
        for socket in sockets {
            locals.entry(socket.sport).or_default().note(socket, look);
            let is_client = socket.dport != 0 && !listeners.contains(&socket.sport);
            if is_client && look.settings.has(socket.sport) {
                let key = TupleKey::from(&socket.conn(look.netns));
                tuples.entry(key).or_default().insert(socket.sport, socket);
            }
        }
        self.tuples.values_mut().for_each(|tuple| tuple.now = Ports::default());
        for (key, on) in tuples {
            self.tuples.entry(key).or_default().note(on.values().copied(), look);
        }
        self.locals.values_mut().for_each(|local| local.listening = false);
        for (port, seen) in locals {
            let local = self.locals.entry(port).or_default();
            local.listening = seen.listening;
            local.time_wait = local.time_wait.max(seen.time_wait);
            local.open = local.open.max(seen.open);
            if !seen.holders.is_empty() {
                local.holders = seen.holders;
            }
        }
    }
}

impl OnTuple {
    fn note<'a>(&mut self, sockets: impl Iterator<Item = &'a DiagSocket> + Clone, look: &Look) {
        self.now = ports(sockets.clone());
        if self.now.all() >= self.peak.all() {
            self.peak = self.now;
            self.holders.clear();
            for holder in sockets.filter_map(|socket| look.holders.get(&socket.inode)) {
                *self.holders.entry(holder.clone()).or_default() += 1;
            }
        }
    }
}

impl Local {
    fn note(&mut self, socket: &DiagSocket, look: &Look) {
        if socket.is_time_wait() {
            self.time_wait += 1;
            return;
        }
        if socket.state == LISTEN {
            if !std::mem::replace(&mut self.listening, true) {
                self.holders.clear();
            }
        } else {
            self.open += 1;
            if self.listening {
                return;
            }
        }
        if let Some(holder) = look.holders.get(&socket.inode) {
            *self.holders.entry(holder.clone()).or_default() += 1;
        }
    }
}

fn ports<'a>(sockets: impl Iterator<Item = &'a DiagSocket>) -> Ports {
    let mut ports = Ports::default();
    for socket in sockets {
        let place = match (socket.is_time_wait(), socket.state) {
            (true, _) if socket.substate() == Substate::FinWait2 => &mut ports.fin_wait2,
            (true, _) => &mut ports.time_wait,
            (false, ESTABLISHED) => &mut ports.established,
            (false, _) => &mut ports.others,
        };
        *place += 1;
    }
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::facts::{BindFailure, Netns, Reach, join};
    use crate::net::sockdiag::TIMER_TIME_WAIT;
    use std::net::Ipv4Addr;

    const HERE: [u8; 4] = [10, 0, 0, 1];
    const THERE: [u8; 4] = [10, 0, 0, 9];

    fn socket(state: u8, timer: u8, sport: u16, dport: u16, inode: u32) -> DiagSocket {
        let mapped = |address: [u8; 4]| Ipv4Addr::from(address).to_ipv6_mapped().octets();
        let daddr = if dport == 0 { [0, 0, 0, 0] } else { THERE };
        DiagSocket {
            family: 4,
            is_mapped: false,
            state,
            timer,
            saddr: mapped(HERE),
            daddr: mapped(daddr),
            sport,
            dport,
            ifindex: 0,
            expires_ms: 0,
            uid: 0,
            inode,
            cookie: 0,
        }
    }

    fn look(sockets: Vec<DiagSocket>) -> Look {
        let settings =
            Settings { port_range: Some((40_000, 40_099)), ports: Some(100), ..Settings::default() };
        let holder = |pid, comm: &str| Process { pid: Some(pid), comm: comm.into(), ..Process::default() };
        let holders = HashMap::from([(97, holder(7, "proxy")), (101, holder(11, "nginx"))]);
        let addresses = HashSet::from([IpAddr::from(HERE)]);
        Look { netns: 5, settings, sockets, holders, addresses, ..Look::default() }
    }

    fn busy() -> Vec<DiagSocket> {
        vec![
            socket(6, TIMER_TIME_WAIT, 40_001, 80, 0),
            socket(6, TIMER_TIME_WAIT, 40_002, 80, 0),
            socket(5, TIMER_TIME_WAIT, 40_003, 80, 0),
            socket(1, 0, 40_004, 80, 97),
            socket(1, 0, 40_005, 80, 97),
            socket(8, 0, 40_006, 80, 97),
            // No port of the range; a listener in the range and a connection on it; a socket that is bound only.
            socket(1, 0, 5000, 80, 97),
            socket(10, 0, 40_050, 0, 101),
            socket(1, 0, 40_050, 80, 101),
            socket(7, 0, 40_060, 0, 97),
        ]
    }

    fn joined(looks: &Looks) -> Netns {
        let mut netns = Netns { netns: 5, ..Netns::default() };
        netns.binds.push(BindFailure {
            saddr: Some(HERE.into()),
            port: 0,
            failed: 3,
            caller: Process::default(),
            destinations: 0,
        });
        join::join(&mut netns, looks);
        netns
    }

    #[test]
    fn a_look_tells_what_holds_which_ports() {
        let mut looks = Looks::default();
        looks.take(look(busy()));
        let netns = joined(&looks);
        assert_eq!(
            (netns.time_wait, netns.fin_wait2, netns.pinned, netns.range_in_use),
            (3, Some(1), Some(2), Some(8))
        );
        let [tuple] = &netns.tuples[..] else { panic!("{:?}", netns.tuples) };
        assert_eq!(tuple.now, Ports { time_wait: 2, fin_wait2: 1, established: 2, others: 1 });
        assert_eq!((tuple.reach, tuple.dport), (Reach::Elsewhere, 80));
        assert_eq!((tuple.shares[0].process.comm.as_str(), tuple.shares[0].open), ("proxy", 3));
        let served = netns.served.iter().find(|served| served.port == 40_050).unwrap();
        assert_eq!(
            (served.listening, served.open, served.shares[0].process.comm.as_str()),
            (true, 1, "nginx")
        );
        assert_eq!(netns.binds[0].destinations, 1);
    }

    #[test]
    fn the_fullest_moment_is_kept() {
        let mut looks = Looks::default();
        looks.take(Look { overflow: 100, ..look(busy()) });
        looks.take(Look { overflow: 107, ..look(vec![socket(6, TIMER_TIME_WAIT, 40_001, 80, 0)]) });
        let netns = joined(&looks);
        assert_eq!((netns.time_wait, netns.peak_time_wait, netns.overflow), (1, 3, 7));
        let tuple = &netns.tuples[0];
        assert_eq!((tuple.now.all(), tuple.peak.all()), (1, 6));
        assert_eq!(tuple.shares[0].open, 3);
    }
}
