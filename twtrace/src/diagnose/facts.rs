//! Owns: everything that the doctor's rules look at, as plain values: what a live trace and the kernel's lists, or a
//! recording, say of a machine.
//! Must not know: how any of it was come by, what it means.
//!
//! What is not known is `None`, never a guess: a rule that needs it then says that it is unknown, or keeps silent.

mod calls;
pub(crate) mod count;
mod crowd;
pub mod glance;
pub mod join;
pub mod kept;
mod piles;
mod proc;
pub mod room;
pub mod samples;
pub mod together;
pub mod told;
mod who;

use std::net::IpAddr;

pub use calls::{
    AbortReasons, Aborted, BindFailure, Call, ConnectTimes, Outgoing, Ranged, Refusal, SynRefused,
};
pub use crowd::{Around, Caller};
pub use piles::{Pile, Side};
pub use proc::{Conntrack, DeadSetting, Ipvs, Slab};
use serde::Serialize;
pub use who::{Habits, Process, Share};

use crate::engine::{Counts, TupleKey};
use crate::host::net::counters::Counters;
use crate::model::escape::printable;
use crate::model::event::Reason;
use crate::model::filter::{Filter, Omissions};
use crate::model::limitation::Limitation;
pub use crate::model::ports::{Ports, State};
pub use crate::model::settings::Settings;

/// Where the facts come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A trace of this machine, and the kernel's lists.
    #[default]
    Live,
    /// A recording.
    Recording,
    /// What a live view knows, and nothing else.
    View,
    /// What a view knows to which a recording is played, and nothing else.
    Replay,
}

/// A machine as the rules see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Facts {
    /// Where from.
    pub source: Source,
    /// Of a replay: which machine's, up to when. Escaped.
    #[serde(skip)]
    pub replayed: String,
    /// How long it was looked at, in milliseconds.
    pub observed_ms: u64,
    /// How long calls that failed and sockets that were refused were counted, where that is another time: a view remembers them for longer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failures_ms: Option<u64>,
    /// It could have been looked at for longer, but the case was clear.
    pub stopped_early: bool,
    /// What told the events; empty where nobody knows.
    pub backend: String,
    /// Events lost while looking.
    pub lost: u64,
    /// Ports that a NAT gateway in front has for one destination, where the user said so.
    pub nat_ports: Option<u32>,
    /// Kernel memory of the machine's TIME_WAIT sockets.
    pub slab: Option<Slab>,
    /// `/proc/sys` cannot be written where this runs, as in most containers.
    pub is_read_only: bool,
    /// Network namespaces, by inode.
    pub namespaces: Vec<Netns>,
    /// Settings that files of this machine ask for and this kernel does not have.
    pub dead_settings: Vec<DeadSetting>,
    /// What could not be looked at, in words for a user.
    pub unknown: Vec<String>,
    /// What was left out before anything was counted.
    #[serde(skip)]
    pub part: Omissions,
    /// Findings that are left out as those whom they are to be about have no part in them.
    #[serde(skip)]
    pub of_others: u64,
    /// Whom findings are to be about; what was looked at is more.
    #[serde(skip)]
    pub about: Filter,
    /// What cannot be seen on this machine, or could not where it was recorded.
    pub limitations: Vec<Limitation>,
}

impl Facts {
    /// How long it was looked at, in seconds: at least one, so that a rate is never made of a moment.
    pub fn observed_s(&self) -> f64 {
        self.observed_ms.max(1000) as f64 / 1000.0
    }

    /// How long failures were counted, in seconds: as [`Self::observed_s`].
    pub fn failures_s(&self) -> f64 {
        self.failures_ms.unwrap_or(self.observed_ms).max(1000) as f64 / 1000.0
    }

    /// Says what was left out; to be said once all namespaces are there.
    pub fn count_a_part(&mut self, part: Omissions) {
        if part.flags.is_empty() {
            return;
        }
        let is_of_owners = !part.of_owners.is_empty();
        for netns in &mut self.namespaces {
            (netns.is_part, netns.pools_are_parts) = (true, is_of_owners);
        }
        let flags = printable(&part.flags.join(" ")).into_owned();
        let what =
            if is_of_owners { ": at what rate ports are used up by all, and who else does" } else { "" };
        self.unknown.push(format!("what {flags} leaves out{what}"));
        self.part = part;
    }
}

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Netns {
    /// Its inode.
    pub netns: u32,
    /// Its name, where it has one. Hostile until escaped.
    pub name: Option<String>,
    /// What goes before a command that is to run in it, with a space behind it; empty for the caller's own, and where no
    /// way in is known. Safe for a shell.
    pub enter: String,
    /// `tcp_tw_reuse` of the caller's own namespace, where this is another one: they do not inherit.
    pub outside_tw_reuse: Option<u32>,
    /// No way in is known, though it is not the caller's own: no command can be given that acts on it.
    pub is_closed: bool,
    /// What it allows.
    pub settings: Settings,
    /// TIME_WAIT sockets, of either substate.
    pub time_wait: u64,
    /// Of those, in FIN_WAIT2; `None` where no list was to be had.
    pub fin_wait2: Option<u64>,
    /// Of `time_wait`, on the server's side.
    pub server_time_wait: u64,
    /// The most TIME_WAIT sockets that were there at one time.
    pub peak_time_wait: u64,
    /// Some events were left out before anything was counted.
    #[serde(skip)]
    pub is_part: bool,
    /// Among them those of some who draw from the same pools as the rest, whose rates and shares these are.
    #[serde(skip)]
    pub pools_are_parts: bool,
    /// TIME_WAIT sockets made while looking.
    pub created: u64,
    /// TIME_WAIT sockets refused while looking, by events or by the kernel's own counter, whichever says more.
    pub overflow: u64,
    /// TIME_WAIT sockets that an RST ended while looking, those in FIN_WAIT2 left out.
    pub reset: u64,
    /// Who lost TIME_WAIT sockets by either.
    pub concerned: Vec<Share>,
    /// Connection tracking here.
    pub conntrack: Option<Conntrack>,
    /// IPVS here; `None` where it has no service, or nobody could look.
    pub ipvs: Option<Ipvs>,
    /// Ports of the range that a listener or a socket that is bound and nothing else pins, for all destinations.
    pub pinned: Option<u32>,
    /// Whether the kernel shows sockets that are bound and nothing else; `None` where nobody has looked.
    pub lists_bound: Option<bool>,
    /// Who pins them, most first.
    pub pins: Vec<Share>,
    /// Ports of the range that any socket is on, whatever its destination.
    pub range_in_use: Option<u32>,
    /// Pools of ports, the fullest first.
    pub tuples: Vec<Tuple>,
    /// Ports that connections come in on, or that could not be bound.
    pub served: Vec<Served>,
    /// Failures of bind() and listen().
    pub binds: Vec<BindFailure>,
    /// Calls that failed for another reason than the want of a port.
    pub refusals: Vec<Refusal>,
    /// Connections that this host ended with an RST of its own, as events tell: by whom and why.
    pub aborted: Vec<Aborted>,
    /// SYNs that met a TIME_WAIT socket and were refused, as events tell: on which port, from whom.
    pub syn_refused: Vec<SynRefused>,
    /// What the kernel's counters say of the time of looking; `None` where nobody could read them.
    pub counters: Option<Counters>,
    /// Sockets that wait for somebody who does not act, most first.
    pub piles: Vec<Pile>,
    /// How long connect() looked for a port while looking; `None` where that was not measured.
    pub connect_times: Option<ConnectTimes>,
}

/// How far away a destination is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reach {
    /// A loopback address: what the kernel takes for loopback when `tcp_tw_reuse` is 2 (tcp_twsk_unique(),
    /// net/ipv4/tcp_ipv4.c, 5.10 to 7.3).
    Loopback,
    /// Another address of this very namespace.
    ThisHost,
    /// Another machine or namespace.
    Elsewhere,
    /// The namespace's addresses are not known.
    #[default]
    Unknown,
}

/// A pool of ports that a client's connections to one destination draw from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tuple {
    /// Local address.
    pub saddr: IpAddr,
    /// Remote address.
    pub daddr: IpAddr,
    /// Remote port.
    pub dport: u16,
    /// How far the destination is.
    pub reach: Reach,
    /// What holds ports now.
    pub now: Ports,
    /// What held them when most were held.
    pub peak: Ports,
    /// TIME_WAIT sockets made while looking.
    pub created: u64,
    /// TIME_WAIT sockets that ended while looking.
    pub ended: u64,
    /// Of those, by a connect() that took the port.
    pub reused: u64,
    /// TIME_WAIT sockets whose port is known to have come from bind(): `tcp_tw_reuse` gives none of them back to connect().
    pub bound: u32,
    /// connect() failures while looking, where the kernel was to choose the port.
    pub failed: u64,
    /// connect() failures while looking, where the caller had bound the port.
    pub failed_bound: u64,
    /// Of those, whose connection was seen to exist already.
    pub taken: u64,
    /// What the sockets of `failed` say of a range of their own.
    pub ranged: Ranged,
    /// Why no address of this namespace can be the source of a connection to there, where that was seen.
    pub no_source: Option<&'static str>,
    /// Whether its connections have TCP timestamps.
    pub timestamps: Option<bool>,
    /// Who holds its ports, made connections or failed to: most first.
    pub shares: Vec<Share>,
    /// What else was on the namespace's ports when connect() failed; `None` where none failed, or nobody could look.
    pub around: Option<Around>,
}

impl Tuple {
    /// Who failed to connect to there.
    pub fn callers(&self) -> Vec<Share> {
        self.shares.iter().filter(|share| share.failed != 0).cloned().collect()
    }

    /// A pool of which nothing is known but its name.
    pub fn empty(key: &TupleKey) -> Self {
        Self {
            saddr: key.saddr,
            daddr: key.daddr,
            dport: key.dport,
            reach: Reach::default(),
            now: Ports::default(),
            peak: Ports::default(),
            created: 0,
            ended: 0,
            reused: 0,
            bound: 0,
            failed: 0,
            failed_bound: 0,
            taken: 0,
            ranged: Ranged::default(),
            no_source: None,
            timestamps: None,
            shares: Vec::new(),
            around: None,
        }
    }

    /// A pool as events tell of it: what was counted, TIME_WAIT sockets that live and that lived at most at one time, and ports of
    /// the range that are in use, by whatever that is known of.
    pub fn counted(key: &TupleKey, counts: &Counts, (live, most): (u64, u64), in_use: u32) -> Self {
        let time_wait = in_use.min(live as u32);
        let now = Ports { time_wait, others: in_use - time_wait, ..Ports::default() };
        let reused = counts.ended_for(Reason::ReusedOutgoing);
        let is_loopback = key.saddr.is_loopback() || key.daddr.is_loopback();
        Self {
            reach: if is_loopback { Reach::Loopback } else { Reach::Unknown },
            now,
            peak: Ports { time_wait: time_wait.max(most as u32), ..now },
            created: counts.created,
            ended: counts.ended(),
            reused,
            failed: counts.connect_failed,
            // What was taken over had them.
            timestamps: (reused != 0).then_some(true),
            ..Self::empty(key)
        }
    }

    /// Its name.
    pub fn key(&self, netns: u32) -> TupleKey {
        TupleKey { netns, saddr: self.saddr, daddr: self.daddr, dport: self.dport }
    }
}

/// A local port that connections come in on, or that could not be bound.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Served {
    /// The port.
    pub port: u16,
    /// Somebody listens on it.
    pub listening: bool,
    /// On these addresses; none where they are not known, or too many.
    #[serde(skip)]
    pub listens_on: Vec<IpAddr>,
    /// TIME_WAIT sockets on it.
    pub time_wait: u64,
    /// Connections on it in other states.
    pub open: u64,
    /// Those by state when bind() had failed; sockets that are bound and nothing else are `others`.
    pub states: Ports,
    /// How long its last TIME_WAIT socket had left then, in milliseconds; `None` where no list was to be had.
    pub left_ms: Option<u64>,
    /// TIME_WAIT sockets of a client's that held it when bind() failed.
    pub outgoing: Vec<Outgoing>,
    /// Who holds it.
    pub shares: Vec<Share>,
}
