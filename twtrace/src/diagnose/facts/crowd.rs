//! Owns: who was on a namespace's ports when connect() failed for want of one, by name: on the pool's own, and on all others.
//! Must not know: how either was come by or kept, what it means.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde::Serialize;

use super::samples::SampledSocket;
use super::who::Shares;
use super::{Ports, Process, Settings, Share, Tuple};
use crate::engine::TupleKey;
use crate::model::event::{PortVia, Substate};

/// Where a connect() goes. A failed one may not have come as far as to have a source address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct ConnectTarget {
    /// Inode of the network namespace.
    pub(super) netns: u32,
    /// Remote address.
    pub(super) daddr: IpAddr,
    /// Remote port.
    pub(super) dport: u16,
}

impl From<&TupleKey> for ConnectTarget {
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
    /// Whose it was; nobody's where that is not known.
    pub(super) who: Process,
}

/// Every port that a namespace's TIME_WAIT sockets held when connect() failed.
pub(super) type HeldPorts = BTreeMap<u16, Vec<Holding>>;

/// What was on ports of the range when connect() failed, beside the pool's own.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Around {
    /// Ports of the range that only sockets of other pools were on.
    pub others: u32,
    /// Of those, by TIME_WAIT sockets whose port connect() is known to have chosen: they are open to other destinations.
    pub shared: u32,
    /// Of `others`, by TIME_WAIT sockets whose port is known to have come from bind().
    pub bound: u32,
    /// Ports of the range that the callers' sockets have of their own which connect() could not have: those of the pool, and those of
    /// `others` that are not `shared`, and what is bound or listens.
    pub in_own_range: u32,
    /// Who was on `others`.
    pub shares: Vec<Share>,
    /// Ports of the pool's own that programs which failed were on, by their names. Hostile until escaped.
    pub callers: Vec<Caller>,
}

/// A program that failed to get a port, and those that it had.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Caller {
    /// Its name. Hostile until escaped.
    pub comm: String,
    /// Ports that its connections to this destination were on.
    pub ports: BTreeSet<u16>,
}

/// What is known of one moment: from events, and from a list where there is one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crowd<'a> {
    pub(super) moment: Option<&'a HeldPorts>,
    pub(super) seen: &'a [SampledSocket],
    pub(super) settings: &'a Settings,
}

impl Crowd<'_> {
    /// Tells a failing pool how its ports and all others stood.
    pub(super) fn tell(&self, netns: u32, tuple: &mut Tuple) {
        if self.moment.is_none() && self.seen.is_empty() {
            return;
        }
        let to = ConnectTarget { netns, daddr: tuple.daddr, dport: tuple.dport };
        let own = self.own(&to, tuple);
        tuple.peak = own.0;
        self.share_out(&to, tuple);
        let mut around = self.others(&to, tuple, &own.1);
        around.in_own_range += own.1.iter().filter(|port| self.is_in_own_range(tuple, **port)).count() as u32;
        let failing: BTreeSet<&str> = tuple
            .shares
            .iter()
            .filter(|share| share.failed != 0 && share.process.pid.is_some())
            .map(|share| share.process.comm.as_str())
            .collect();
        let mut callers: BTreeMap<&str, BTreeSet<u16>> =
            failing.into_iter().map(|comm| (comm, BTreeSet::new())).collect();
        for (port, comm) in self.owners(&to) {
            if let Some(ports) = callers.get_mut(comm) {
                ports.insert(port);
            }
        }
        around.callers =
            callers.into_iter().map(|(comm, ports)| Caller { comm: comm.to_owned(), ports }).collect();
        tuple.around = Some(around);
    }

    fn is_own(to: &ConnectTarget, tuple: &Tuple, key: &crate::engine::TupleKey) -> bool {
        ConnectTarget::from(key) == *to && (tuple.saddr.is_unspecified() || key.saddr == tuple.saddr)
    }

    /// The pool's own ports by state, and which those are. What a list shows counts; what events tell fills it up.
    fn own(&self, to: &ConnectTarget, tuple: &Tuple) -> (Ports, BTreeSet<u16>) {
        let (mut ports, mut which) = (Ports::default(), BTreeSet::new());
        for seen in self.seen.iter().filter(|seen| !seen.is_pin) {
            if Self::is_own(to, tuple, &seen.tuple) && which.insert(seen.port) {
                ports.add_state(&seen.state);
            }
        }
        for (port, holdings) in self.in_range() {
            let holding = holdings.iter().find(|holding| Self::is_own(to, tuple, &holding.tuple));
            let Some(holding) = holding.filter(|_| which.insert(port)) else { continue };
            match holding.substate {
                Substate::FinWait2 => ports.fin_wait2 += 1,
                Substate::TimeWait => ports.time_wait += 1,
            }
        }
        (ports, which)
    }

    /// Who was on the pool's own ports then: neither who came later nor who is there still.
    fn share_out(&self, to: &ConnectTarget, tuple: &mut Tuple) {
        let mut then = Shares::default();
        let (mut told, mut ports) = (BTreeSet::new(), BTreeSet::new());
        for (port, holdings) in self.in_range() {
            let holding = holdings.iter().find(|holding| Self::is_own(to, tuple, &holding.tuple));
            if let Some(holding) = holding {
                told.insert(port);
                then.of(&holding.who).time_wait += 1;
            }
        }
        for seen in self.seen.iter().filter(|seen| !seen.is_pin && Self::is_own(to, tuple, &seen.tuple)) {
            if !ports.insert(seen.port) || (seen.state.is_time_wait() && told.contains(&seen.port)) {
                continue;
            }
            let share = then.of(seen.who.as_ref().unwrap_or(&Process::default()));
            if seen.state.is_time_wait() { share.time_wait += 1 } else { share.open += 1 }
        }
        for share in &mut tuple.shares {
            (share.time_wait, share.open) = (0, 0);
        }
        tuple.shares = Share::by_process(tuple.shares.drain(..).chain(then.0));
        tuple.shares.retain(|share| share.held() + share.created + share.failed != 0);
        Share::sort(&mut tuple.shares);
    }

    fn in_range(&self) -> impl Iterator<Item = (u16, &Vec<Holding>)> {
        let settings = self.settings;
        // Where the range is not known, every port counts.
        let has = move |port: u16| settings.port_range.is_none() || settings.has(port);
        let all = self.moment.into_iter().flatten();
        all.map(|(port, holdings)| (*port, holdings)).filter(move |(port, _)| has(*port))
    }

    fn others(&self, to: &ConnectTarget, tuple: &Tuple, own: &BTreeSet<u16>) -> Around {
        let mut around = Around::default();
        let mut shares = Shares::default();
        let mut counted: BTreeSet<u16> =
            self.seen.iter().filter(|seen| seen.is_pin).map(|seen| seen.port).collect();
        let mut closed: BTreeSet<u16> = counted.difference(own).copied().collect();
        for (port, holdings) in self.in_range().filter(|(port, _)| !own.contains(port)) {
            let Some(first) = holdings.first() else { continue };
            if !counted.insert(port) {
                continue;
            }
            around.others += 1;
            let is =
                |wanted: fn(PortVia) -> bool| holdings.iter().any(|holding| holding.via.is_some_and(wanted));
            around.bound += u32::from(is(|via| matches!(via, PortVia::Bind | PortVia::BindAny)));
            let is_shared = is(|via| via == PortVia::Connect);
            around.shared += u32::from(is_shared);
            if !is_shared {
                closed.insert(port);
            }
            shares.of(&first.who).time_wait += 1;
        }
        for seen in self.seen.iter().filter(|seen| !seen.is_pin && !Self::is_own(to, tuple, &seen.tuple)) {
            if own.contains(&seen.port) || !counted.insert(seen.port) {
                continue;
            }
            around.others += 1;
            closed.insert(seen.port);
            let share = shares.of(seen.who.as_ref().unwrap_or(&Process::default()));
            if seen.state.is_time_wait() { share.time_wait += 1 } else { share.open += 1 }
        }
        around.shares = shares.sorted();
        around.in_own_range = closed.iter().filter(|port| self.is_in_own_range(tuple, **port)).count() as u32;
        around
    }

    fn is_in_own_range(&self, tuple: &Tuple, port: u16) -> bool {
        tuple.ranged.within(self.settings).is_some_and(|(low, high)| (low..=high).contains(&port))
    }

    /// Ports of a destination's own by the name of whose they are.
    fn owners(&self, to: &ConnectTarget) -> impl Iterator<Item = (u16, &str)> {
        let to = *to;
        let told = self.moment.into_iter().flatten().flat_map(move |(port, holdings)| {
            let ours = holdings.iter().filter(move |holding| ConnectTarget::from(&holding.tuple) == to);
            ours.map(|holding| (*port, holding.who.comm.as_str()))
        });
        let seen = self.seen.iter().filter(move |seen| ConnectTarget::from(&seen.tuple) == to);
        told.chain(seen.filter_map(|seen| Some((seen.port, seen.who.as_ref()?.comm.as_str()))))
    }
}
