//! Owns: the form in which a recording keeps what the kernel's lists showed while it was made: sockets of every state, summed up, and who
//! held them.
//! Must not know: how lists are looked at, what is made of them.
//!
//! As in [`super::Tail`], a field that is added later has a default.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::host::net::counters::Counters;
use crate::model::ports::{Ports, State};

/// All that was seen of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Lists {
    /// Processes that held sockets; everything else names them by their place in here.
    pub processes: Vec<Holder>,
    /// Network namespaces that were looked at.
    pub namespaces: Vec<Listed>,
    /// `/proc/slabinfo` of TIME_WAIT sockets: the size of one and the memory held, in bytes.
    pub slab: Option<(u64, u64)>,
    /// Lines of files of sysctl.d(5) that set what this kernel does not have: file, name, value.
    pub dead_settings: Vec<(String, String, String)>,
}

/// A process. Its texts are hostile until escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Holder {
    /// What user space calls pid; `None` where nobody knows who it was.
    pub pid: Option<u32>,
    /// When it started, CLOCK_BOOTTIME in nanoseconds; 0 where that is not known.
    pub start_ns: u64,
    /// Its name.
    pub comm: String,
    /// Its program.
    pub exe: Option<String>,
    /// Its systemd service.
    pub unit: Option<String>,
}

/// The place of a process in [`Lists::processes`], and how many sockets it held.
pub type HeldBy = (u32, u64);

/// A network namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Listed {
    /// Its inode.
    pub netns: u32,
    /// Its name, where it has one. Hostile until escaped.
    pub name: Option<String>,
    /// No way into it was known.
    pub is_closed: bool,
    /// `tcp_tw_reuse` of the namespace that the recording was made in, where this is another one.
    pub outside_tw_reuse: Option<u32>,
    /// What the kernel would have set `tcp_max_tw_buckets` to.
    pub max_tw_buckets_default: Option<u32>,
    /// `tcp_tw_recycle`, which no kernel since 4.12 has.
    pub tw_recycle: Option<u32>,
    /// TCPTimeWaitOverflow while it was looked at.
    pub overflow: u64,
    /// The kernel's other counters, of the same time.
    pub counters: Option<Counters>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// `nf_conntrack_count`, `nf_conntrack_max`, and `nf_conntrack_tcp_timeout_time_wait` in seconds.
    pub conntrack: Option<(u64, u64, Option<u32>)>,
    /// IPVS: services, active connections, inactive ones.
    pub ipvs: Option<(u64, u64, u64)>,
    /// Whether the kernel showed sockets that are bound and nothing else.
    pub lists_bound: Option<bool>,
    /// TIME_WAIT sockets when it was looked at last, of either substate.
    pub time_wait: u64,
    /// Of those, in FIN_WAIT2.
    pub fin_wait2: u64,
    /// The most TIME_WAIT sockets at one look.
    pub peak_time_wait: u64,
    /// Ports of the range that a listener or a socket that was bound and nothing else pinned, at most.
    pub pinned: u32,
    /// Who pinned them.
    pub pins: Vec<HeldBy>,
    /// Ports of the range that any socket was on, at most.
    pub range_in_use: u32,
    /// Pools of ports, the fullest first, up to a bound.
    pub pools: Vec<ListedPool>,
    /// Local ports: of listeners, and those that bind() was refused.
    pub ports: Vec<ListedPort>,
    /// What was on the ports of the range when a call had failed, the most crowded destinations first, up to a bound; nothing where no connect()
    /// failed for want of a port.
    pub crowd: Vec<Crowd>,
    /// Connections that were there then, up to a bound.
    pub connections: Vec<Connections>,
    /// Sockets that waited for somebody who did not act.
    pub piles: Vec<Waiting>,
    /// What was beyond the bounds.
    #[serde(skip_serializing_if = "LeftOut::is_nothing")]
    pub left_out: LeftOut,
}

/// How much of each there was no room for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LeftOut {
    /// Pools of ports.
    pub pools: u64,
    /// Local ports.
    pub ports: u64,
    /// Sockets on ports of the range when a call had failed.
    pub crowd: u64,
    /// Connections that were there when a call had failed.
    pub connections: u64,
}

impl LeftOut {
    /// Whether all was kept.
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// One end, and the address and port of the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Towards {
    /// Local address.
    pub saddr: IpAddr,
    /// Remote address.
    pub daddr: IpAddr,
    /// Remote port.
    pub dport: u16,
}

/// A pool of ports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListedPool {
    /// What its connections have in common.
    #[serde(flatten)]
    pub towards: Towards,
    /// Its ports at the last look.
    #[serde(default)]
    pub now: Ports,
    /// Its ports when most of them were in use.
    #[serde(default)]
    pub peak: Ports,
    /// Whether its connections had TCP timestamps.
    #[serde(default)]
    pub timestamps: Option<bool>,
    /// Who had it open when most ports were in use.
    #[serde(default)]
    pub holders: Vec<HeldBy>,
}

/// A local port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ListedPort {
    /// The port.
    pub port: u16,
    /// Somebody listened on it.
    pub listening: bool,
    /// On these addresses, the first few; none in recordings of before this was known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listens_on: Vec<IpAddr>,
    /// TIME_WAIT sockets on it, at most.
    pub time_wait: u64,
    /// Connections on it in other states, at most.
    pub open: u64,
    /// Those by state when bind() had failed, or else when it was looked at last.
    pub states: Ports,
    /// How long its last TIME_WAIT socket had left then, in milliseconds.
    pub left_ms: u64,
    /// Who listened on it, or else had it open.
    pub holders: Vec<HeldBy>,
}

/// Sockets of one kind on ports of the range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// What they are connected to, or were.
    #[serde(flatten)]
    pub towards: Towards,
    /// Their state.
    pub state: State,
    /// They listen, or are bound and nothing else.
    #[serde(default)]
    pub is_pin: bool,
    /// Who holds them, by its place in [`Lists::processes`].
    #[serde(default)]
    pub who: Option<u32>,
    /// Their ports.
    pub ports: Vec<u16>,
}

/// Connections with the same ends but for the local port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connections {
    /// What they have in common.
    #[serde(flatten)]
    pub towards: Towards,
    /// Their local ports.
    pub ports: Vec<u16>,
}

/// Sockets that stayed in a state in which somebody had to act.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// The state.
    pub state: State,
    /// The remote address, where this was the client's side.
    #[serde(default)]
    pub daddr: Option<IpAddr>,
    /// The remote port there, the local port on a server's side.
    pub port: u16,
    /// How many there were at most.
    pub count: u64,
    /// For how long the oldest was seen in it, in milliseconds.
    pub longest_ms: u64,
    /// Who held them.
    #[serde(default)]
    pub holders: Vec<HeldBy>,
}
