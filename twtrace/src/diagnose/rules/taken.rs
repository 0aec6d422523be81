//! Owns: what the rules for ports that bind() was refused have in common: calls of one program are one finding.
//! Must not know: any of their stories.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

use super::{EVENTS, within};
use crate::diagnose::facts::{BindFailure, Facts, Netns, Outgoing, Process, Served, Share};
use crate::diagnose::finding::{Finding, Severity, Subject};
use crate::diagnose::words::{failing, grouped, ranges, times};

/// What is on a port that bind() was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum On {
    /// Somebody listens.
    Listener,
    /// Earlier connections of the very program that asks, from ports that it bound.
    Own,
    /// Outgoing connections of somebody's: the port is one that connect() chooses from.
    Client,
    /// Earlier connections that came in on it.
    Server,
    /// Nothing that was seen.
    Nothing,
}

/// One program's failures of one kind.
#[derive(Clone, Debug)]
pub(super) struct Taken<'a> {
    pub(super) netns: &'a Netns,
    pub(super) calls: Vec<&'a BindFailure>,
    pub(super) served: Vec<&'a Served>,
}

/// Failures of a kind in a namespace, by the name of the program that asked.
pub(super) fn of_kind(facts: &Facts, on: On) -> Vec<Taken<'_>> {
    let mut all: BTreeMap<(u32, &str), Taken<'_>> = BTreeMap::new();
    for netns in &facts.namespaces {
        for bind in netns.binds.iter().filter(|bind| bind.port != 0) {
            let served = netns.served.iter().find(|served| served.port == bind.port);
            if what_is_on(netns, bind, served) != on {
                continue;
            }
            let fresh = || Taken { netns, calls: Vec::new(), served: Vec::new() };
            let taken = all.entry((netns.netns, &bind.caller.comm)).or_insert_with(fresh);
            taken.calls.push(bind);
            if let Some(served) = served
                && !taken.served.iter().any(|known| known.port == served.port)
            {
                taken.served.push(served);
            }
        }
    }
    let all = all.into_values();
    // Whoever comes back to ports of his own has a story of his own.
    if on == On::Own { all.collect() } else { together(all) }
}

/// Several programs that were refused the same ports are one finding. There may be thousands.
fn together<'a>(all: impl Iterator<Item = Taken<'a>>) -> Vec<Taken<'a>> {
    let mut told: Vec<Taken<'_>> = Vec::new();
    let mut indices: HashMap<(u32, BTreeSet<u16>), usize> = HashMap::new();
    for one in all {
        match indices.entry((one.netns.netns, one.port_numbers())) {
            Entry::Occupied(entry) => told[*entry.get()].calls.extend(one.calls),
            Entry::Vacant(entry) => {
                entry.insert(told.len());
                told.push(one);
            }
        }
    }
    told
}

fn what_is_on(netns: &Netns, bind: &BindFailure, served: Option<&Served>) -> On {
    let Some(served) = served else { return On::Nothing };
    let is_callers = |outgoing: &Outgoing| {
        let is_known = outgoing.process.pid.is_some() && outgoing.process.comm == bind.caller.comm;
        // A port out of the range is nobody's by chance.
        let was_asked = outgoing
            .is_bound
            .unwrap_or(netns.settings.port_range.is_some() && !netns.settings.has(bind.port));
        is_known && was_asked
    };
    if served.listening && bind.saddr.is_none_or(|saddr| listens_on(served, saddr)) {
        On::Listener
    } else if served.outgoing.iter().any(is_callers) {
        On::Own
    } else if served.outgoing.iter().any(|outgoing| went_out(netns, bind.port, outgoing)) {
        On::Client
    } else if !served.outgoing.is_empty() {
        On::Server
    } else if served.time_wait + served.open != 0 {
        // connect() chooses from the range; who came in on a port is known where it was closed while somebody looked.
        let has_come_in = served.shares.iter().any(|share| share.time_wait + share.created != 0);
        if !has_come_in && netns.settings.has(bind.port) { On::Client } else { On::Server }
    } else {
        On::Nothing
    }
}

/// Whether somebody listens on the port at an address that is in the way of this one (inet_rcv_saddr_equal(),
/// net/ipv4/inet_connection_sock.c, 5.10 to 7.3); a listener of IPv6 for all may be one for IPv4 as well.
fn listens_on(served: &Served, saddr: IpAddr) -> bool {
    let is_in_the_way = |other: &IpAddr| *other == saddr || other.is_unspecified() || saddr.is_unspecified();
    served.listens_on.is_empty() || served.listens_on.iter().any(is_in_the_way)
}

/// Known, or by its ports: from one that connect() chooses from to one that it does not.
fn went_out(netns: &Netns, port: u16, outgoing: &Outgoing) -> bool {
    outgoing.is_client || (netns.settings.has(port) && !netns.settings.has(outgoing.dport))
}

/// Who asked, each with his failures, most first.
pub(super) fn callers(calls: &[&BindFailure]) -> Vec<Share> {
    let shares = calls.iter().map(|bind| Share::failing(&bind.caller, bind.failed));
    Share::most_first(shares, |share| share.failed)
}

/// How many of them failed.
pub(super) fn failed(calls: &[&BindFailure]) -> u64 {
    calls.iter().map(|bind| bind.failed).sum()
}

/// TIME_WAIT sockets on a port that are none of [`Served::outgoing`]. A list has all of them; without one events tell of those that came in.
fn untold(served: &Served) -> u64 {
    match served.left_ms {
        Some(_) => served.time_wait.saturating_sub(served.outgoing.len() as u64),
        None => served.time_wait,
    }
}

/// How long the last of some TIME_WAIT sockets had left, in seconds begun; 0 where there are none.
pub(super) fn left_s(left_ms: impl Iterator<Item = u64>) -> u64 {
    left_ms.max().unwrap_or(0).div_ceil(1000)
}

impl Taken<'_> {
    /// All that failed.
    pub(super) fn failed(&self) -> u64 {
        failed(&self.calls)
    }

    /// `port 8080`, `3 ports (20000, 20002, 20004)`.
    pub(super) fn ports(&self) -> String {
        let ports: Vec<u16> = self.port_numbers().into_iter().collect();
        match ports[..] {
            [port] => format!("port {port}"),
            _ => format!("{} ports ({})", grouped(ports.len() as u64), ranges(&ports)),
        }
    }

    fn port_numbers(&self) -> BTreeSet<u16> {
        self.calls.iter().map(|bind| bind.port).collect()
    }

    /// How many.
    pub(super) fn port_count(&self) -> u64 {
        self.port_numbers().len() as u64
    }

    /// Who asked, each with his failures, most first.
    pub(super) fn callers(&self) -> Vec<Share> {
        callers(&self.calls)
    }

    /// Who listens on the ports, and who made or has sockets that came in on them, most first.
    pub(super) fn serving(&self) -> Vec<Share> {
        let all = self.served.iter().flat_map(|served| &served.shares);
        // Calls that failed are told by who asked.
        Share::most_first(all.map(|share| Share { failed: 0, ..share.clone() }), Share::held)
    }

    /// `relay (pid 7) cannot bind port 8080 (3 times)`.
    pub(super) fn cannot(&self) -> String {
        let who = failing(&self.callers());
        format!("{who} cannot bind {} ({})", self.ports(), times(self.failed()))
    }

    /// Clients' TIME_WAIT sockets on the ports.
    pub(super) fn outgoing(&self) -> impl Iterator<Item = &Outgoing> {
        self.served.iter().flat_map(|served| &served.outgoing)
    }

    /// Whether those who have the ports asked for them by number: known of each, or as connect() chooses none of them.
    pub(super) fn was_bound(&self) -> bool {
        let settings = &self.netns.settings;
        let is_chosen = |port: &u16| settings.port_range.is_none() || settings.has(*port);
        let mut outgoing = self.outgoing().peekable();
        let are_known = outgoing.peek().is_some() && outgoing.all(|one| one.is_bound == Some(true));
        are_known || !self.port_numbers().iter().any(is_chosen)
    }

    /// Whose those were.
    pub(super) fn holders(&self) -> Vec<Share> {
        let share = |process: &Process, time_wait, open| Share {
            process: process.clone(),
            time_wait,
            open,
            ..Share::default()
        };
        let told = self.outgoing().map(|outgoing| share(&outgoing.process, 1, 0));
        // What a list showed and no event told of is nobody's. Without a list, what is untold came in: those are in the shares.
        let listed = self.served.iter().filter(|served| served.left_ms.is_some());
        let untold = listed.map(|served| share(&Process::default(), untold(served), 0));
        let open = self.served.iter().flat_map(|served| &served.shares);
        let open = open.map(|holder| share(&holder.process, 0, holder.open));
        let mut all = Share::most_first(told.chain(untold).chain(open), Share::held);
        all.retain(|share| share.held() != 0);
        all
    }

    /// How long the last of the TIME_WAIT sockets on the ports had left, in seconds begun; 0 where that is not known.
    pub(super) fn left_s(&self) -> u64 {
        let listed = self.served.iter().filter_map(|served| served.left_ms);
        let told = self.outgoing().map(|outgoing| outgoing.left_ms);
        left_s(listed.chain(told))
    }

    /// TIME_WAIT sockets on the ports.
    pub(super) fn time_wait(&self) -> u64 {
        self.served.iter().map(|served| served.outgoing.len() as u64 + untold(served)).sum()
    }

    /// Whether what is on the ports was listed.
    pub(super) fn is_listed(&self) -> bool {
        self.served.iter().any(|served| served.left_ms.is_some())
    }

    /// Sockets on the ports in other states, listeners apart.
    pub(super) fn open(&self) -> u64 {
        self.served.iter().map(|served| served.open).sum()
    }

    /// A finding about it; `sport` is set where there is one port.
    pub(super) fn finding(&self, id: &'static str, severity: Severity, what: String) -> Finding {
        let first = self.calls.first();
        let subject = Subject {
            saddr: first.and_then(|bind| bind.saddr),
            sport: first.map(|bind| bind.port).filter(|_| self.port_count() == 1),
            ..within(self.netns)
        };
        Finding::new(id, severity, what)
            .at(subject)
            .because("bind() failures on this port", self.failed(), EVENTS)
            .because("ports that were refused", self.port_count(), EVENTS)
    }
}
