//! Owns: facts as the kernel's lists have them: which sockets are on which ports, looked at again and again.
//! Must not know: how a list is got, what events are.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::crowd::Shares;
use super::piles::Piles;
use super::ports::{CLOSE, LISTEN, State};
use super::{Conntrack, Ports, Process, Settings, Share};
use crate::engine::TupleKey;
use crate::host::net::counters::Counters;
use crate::host::net::sockdiag::DiagSocket;
use crate::model::event::Substate;

/// Connections that are kept to be asked for.
const MOST_KEPT: usize = 100_000;

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
pub(super) struct Seen {
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
    pub(super) time_wait: u64,
    pub(super) open: u64,
    /// Of those, by state; bound ones without a connection are `others`.
    pub(super) states: Ports,
    /// How long the last TIME_WAIT socket has left, in milliseconds.
    pub(super) left_ms: u64,
    is_asked: bool,
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
    first_counters: Option<Counters>,
    pub(super) last: Sample,
    pub(super) tuples: HashMap<TupleKey, OnTuple>,
    pub(super) locals: HashMap<u16, Local>,
    pub(super) time_wait: u64,
    pub(super) fin_wait2: u64,
    pub(super) peak_time_wait: u64,
    pub(super) pinned: u32,
    pub(super) pins: Vec<Share>,
    pub(super) range_in_use: u32,
    /// What was on the range when a call had failed and most of it was in use.
    pub(super) crowd: Vec<Seen>,
    pub(super) piles: Piles,
    /// Connections on ports out of the range or in it, when a call had failed: those of listeners left out.
    connections: HashSet<(TupleKey, u16)>,
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
        self.piles.take(&sockets, &sample);
        for (tuple, has) in std::mem::take(&mut sample.timestamps) {
            self.tuples.entry(tuple).or_default().timestamps = Some(has);
        }
        self.last = sample;
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
            ports.filter(|port| sample.settings.has(*port)).collect::<HashSet<u16>>().len() as u32
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
        let on_range = || sockets.iter().filter(|socket| sample.settings.has(socket.sport));
        if !sample.is_asked || on_range().count() < self.crowd.len() {
            return;
        }
        let connected = sockets.iter().filter(|socket| socket.dport != 0 && socket.state != LISTEN);
        self.connections = connected
            .take(MOST_KEPT)
            .map(|socket| ((&socket.conn(sample.netns)).into(), socket.sport))
            .collect();
        let seen = on_range().map(|socket| Seen {
            port: socket.sport,
            tuple: (&socket.conn(sample.netns)).into(),
            state: State::of(socket),
            is_pin: is_pin(&socket),
            who: sample.holders.get(&socket.inode).cloned(),
        });
        self.crowd = seen.collect();
    }

    fn count_ports(&mut self, sockets: &[DiagSocket], sample: &Sample) {
        let listening = sockets.iter().filter(|socket| socket.state == LISTEN);
        let listeners: HashSet<u16> = listening.map(|socket| socket.sport).collect();
        let mut locals: HashMap<u16, Local> = HashMap::new();
        let mut tuples: HashMap<TupleKey, HashMap<u16, &DiagSocket>> = HashMap::new();
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
        self.locals.values_mut().for_each(|local| local.listening = false);
        for (port, seen) in locals {
            let local = self.locals.entry(port).or_default();
            local.listening = seen.listening;
            // What is there when a call has just failed is what was in its way.
            if sample.is_asked || !local.is_asked {
                (local.is_asked, local.states, local.left_ms) = (sample.is_asked, seen.states, seen.left_ms);
            }
            local.time_wait = local.time_wait.max(seen.time_wait);
            local.open = local.open.max(seen.open);
            if !seen.holders.is_empty() {
                local.holders = seen.holders;
            }
        }
    }
}

/// Listens, or is bound and nothing else: no connect() may have its port.
fn is_pin(socket: &&DiagSocket) -> bool {
    matches!(socket.state, LISTEN | CLOSE) && socket.dport == 0
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
        if socket.state == LISTEN {
            if !std::mem::replace(&mut self.listening, true) {
                self.holders.clear();
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
mod tests {
    use super::*;
    use crate::diagnose::facts::piles::Side;
    use crate::diagnose::facts::{BindFailure, Netns, Reach, join};
    use crate::host::net::sockdiag::TIMER_TIME_WAIT;
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

    fn sample(sockets: Vec<DiagSocket>) -> Sample {
        let settings =
            Settings { port_range: Some((40_000, 40_099)), ports: Some(100), ..Settings::default() };
        let holder = |pid, comm: &str| Process { pid: Some(pid), comm: comm.into(), ..Process::default() };
        let holders = HashMap::from([(97, holder(7, "proxy")), (101, holder(11, "nginx"))]);
        let addresses = HashSet::from([IpAddr::from(HERE)]);
        Sample { netns: 5, settings, sockets, holders, addresses, ..Sample::default() }
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

    fn joined(samples: &Samples) -> Netns {
        let mut netns = Netns { netns: 5, ..Netns::default() };
        netns.binds.push(BindFailure {
            saddr: Some(HERE.into()),
            port: 0,
            failed: 3,
            caller: Process::default(),
            ..BindFailure::default()
        });
        join::join(&mut netns, samples);
        netns
    }

    #[test]
    fn a_sample_tells_what_holds_which_ports() {
        let mut samples = Samples::default();
        samples.take(sample(busy()));
        let netns = joined(&samples);
        assert_eq!(
            (netns.time_wait, netns.fin_wait2, netns.pinned, netns.range_in_use),
            (3, Some(1), Some(2), Some(8))
        );
        let [tuple] = &netns.tuples[..] else { panic!("{:?}", netns.tuples) };
        let want = Ports { time_wait: 2, fin_wait2: 1, established: 2, close_wait: 1, ..Ports::default() };
        assert_eq!(tuple.now, want);
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
    fn a_sample_after_a_failure_is_kept_before_a_fuller_one() {
        let mut samples = Samples::default();
        samples.take(sample(busy()));
        assert!(samples.crowd.is_empty());
        samples.take(Sample { is_asked: true, ..sample(vec![socket(6, TIMER_TIME_WAIT, 40_001, 80, 0)]) });
        samples.take(sample(busy()));
        let kept: Vec<_> = samples.crowd.iter().map(|seen| (seen.port, seen.state, seen.is_pin)).collect();
        assert_eq!(kept, [(40_001, State::TimeWait, false)]);
    }

    #[test]
    fn what_waits_for_seconds_is_a_pile_and_what_passes_is_none() {
        let socket = |state, cookie, inode| DiagSocket { cookie, ..socket(state, 0, 40_001, 80, inode) };
        let mut samples = Samples::default();
        for (mono_ms, sockets) in [
            (1000, vec![socket(8, 7, 97), socket(8, 9, 97), socket(5, 11, 97), socket(5, 13, 0)]),
            (2000, vec![socket(8, 7, 97), socket(8, 17, 97), socket(5, 11, 97), socket(5, 13, 0)]),
            (3500, vec![socket(8, 7, 97), socket(8, 17, 97), socket(1, 11, 97), socket(5, 13, 0)]),
        ] {
            samples.take(Sample { mono_ms, ..sample(sockets) });
        }
        let piles = samples.piles.all();
        let [pile] = &piles[..] else { panic!("{piles:?}") };
        assert_eq!((pile.state, pile.count, pile.longest_ms), (State::CloseWait, 1, 2500));
        assert_eq!((pile.side, pile.shares[0].process.pid), (Side::To(THERE.into(), 80), Some(7)));
        samples.take(Sample { mono_ms: 4000, ..sample(vec![socket(1, 19, 97)]) });
        assert_eq!(samples.piles.all(), [], "it was closed after all");
    }

    #[test]
    fn the_fullest_moment_is_kept() {
        let mut samples = Samples::default();
        samples.take(Sample { overflow: 100, ..sample(busy()) });
        samples.take(Sample { overflow: 107, ..sample(vec![socket(6, TIMER_TIME_WAIT, 40_001, 80, 0)]) });
        let netns = joined(&samples);
        assert_eq!((netns.time_wait, netns.peak_time_wait, netns.overflow), (1, 3, 7));
        let tuple = &netns.tuples[0];
        assert_eq!((tuple.now.all(), tuple.peak.all()), (1, 6));
        assert_eq!(tuple.shares[0].open, 3);
    }
}
