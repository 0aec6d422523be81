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
const BOUND_INACTIVE: u8 = 13;

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
        self.pinned = self.pinned.max(in_range(|socket| matches!(socket.state, LISTEN | BOUND_INACTIVE)));
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
