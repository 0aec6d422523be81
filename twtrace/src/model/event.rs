//! Owns: the event as every part of the user side knows it: one flat record, the same from the live kernel, from a
//! recording and from a test script.
//! Must not know: where it came from, how it is shown.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use crate::model::identity::Identity;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// The kernel made a TIME_WAIT socket and armed its timer.
    Created,
    /// A TIME_WAIT socket left the kernel's table.
    Ended,
    /// A TIME_WAIT socket that was there when it was first looked for, or first heard of when it ended. Each is told once: so at any
    /// time `created + listed - ended` is what lives.
    Listed,
    /// A connection ended with no TIME_WAIT socket because one was refused.
    Overflow,
    /// connect() failed; for want of a port, unless all failures were asked for.
    ConnectFailed,
    /// bind() or listen() failed because the port is in use.
    BindFailed,
    /// This host ended a connection with an RST of its own: no TIME_WAIT socket follows.
    Aborted,
    /// A SYN met a TIME_WAIT socket and was not taken.
    SynRefused,
    /// Events the kernel side had to drop.
    Lost,
}

words!(Kind, ALL, {
    Created => "created", Ended => "ended", Listed => "listed", Overflow => "overflow", ConnectFailed => "connect_failed",
    BindFailed => "bind_failed", Aborted => "aborted", SynRefused => "syn_refused", Lost => "lost",
});

/// Which end of the connection this is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Not known.
    #[default]
    Unknown,
    /// This end connected.
    Client,
    /// This end was connected to.
    Server,
}

words!(Role, ALL, { Client => "client", Server => "server", Unknown => "unknown" });

impl Role {
    /// Of an event that does not say it: whoever calls connect() is a client.
    pub fn usual(kind: Kind) -> Self {
        if kind == Kind::ConnectFailed { Self::Client } else { Self::Unknown }
    }
}

/// What a TIME_WAIT socket is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Substate {
    /// Both FINs are through (RFC 9293, 3.3.2).
    TimeWait,
    /// An orphan that waits for its peer's FIN in a mini-socket.
    FinWait2,
}

words!(Substate, ALL, { TimeWait => "TIME_WAIT", FinWait2 => "FIN_WAIT2" });

/// Why a TIME_WAIT socket ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Its timer ran out.
    Expired,
    /// A new connect() took the port.
    ReusedOutgoing,
    /// A new SYN from the peer took it.
    ReusedIncoming,
    /// An RST ended it early.
    Reset,
    /// `ss -K`.
    Killed,
    /// Its network namespace went away.
    Purged,
    /// Nobody saw its end: when it was asked after, it was gone. The time is that of the question.
    Missed,
    /// The backend in use cannot tell.
    Unknown,
}

words!(Reason, ALL, {
    Expired => "expired", ReusedOutgoing => "reused_outgoing", ReusedIncoming => "reused_incoming", Reset => "reset",
    Killed => "killed", Purged => "purged", Missed => "missed", Unknown => "unknown",
});

/// How the owner is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Via {
    /// It called close().
    Close,
    /// It called shutdown().
    Shutdown,
    /// It was exiting.
    Exit,
    /// The kernel closed it by itself; the opener stands in.
    Opener,
    /// Closed before twtrace began, or its closing was lost.
    #[default]
    None,
}

words!(Via, ALL, { Close => "close", Shutdown => "shutdown", Exit => "exit", Opener => "opener", None => "none" });

mod comm;
mod loss;
mod outcome;
pub use comm::Comm;
pub use loss::Loss;
pub use outcome::{AbortWhy, Errno, PortVia};

/// A process in the act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    /// What user space calls pid.
    pub pid: u32,
    /// What user space calls tid.
    pub tid: u32,
    /// Real uid.
    pub uid: u32,
    /// Id of its cgroup v2 directory, 0 where unknown.
    pub cgroup_id: u64,
    /// When it started, nanoseconds of CLOCK_BOOTTIME; with `pid` it names a process for good.
    pub start_ns: u64,
    /// Its name.
    pub comm: Comm,
}

/// Who opened a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Opener {
    /// What user space calls pid.
    pub pid: u32,
    /// See [`Process::start_ns`].
    pub start_ns: u64,
    /// Its name.
    pub comm: Comm,
}

/// A connection. Two TIME_WAIT sockets never have the same one at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conn {
    /// Inode of the network namespace.
    pub netns: u32,
    /// Interface the socket is bound to, 0 for none.
    pub ifindex: u32,
    /// Local address; IPv4 for a v4-mapped IPv6 socket.
    pub saddr: IpAddr,
    /// Remote address.
    pub daddr: IpAddr,
    /// Local port.
    pub sport: u16,
    /// Remote port.
    pub dport: u16,
}

// Of IPv4 in one word, as every event is looked up by its connection several times: what is derived would be a dozen, most of them lengths
// and names of variants.
impl Hash for Conn {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        // An interface seldom tells two connections apart: it may share its bits.
        let rest = u64::from(self.netns ^ self.ifindex.rotate_left(16));
        let rest = rest << 32 | u64::from(self.sport) << 16 | u64::from(self.dport);
        match (self.saddr, self.daddr) {
            (IpAddr::V4(saddr), IpAddr::V4(daddr)) => {
                let ends = u64::from(saddr.to_bits()) << 32 | u64::from(daddr.to_bits());
                state.write_u128(u128::from(ends) << 64 | u128::from(rest));
            }
            (saddr, daddr) => {
                state.write_u64(rest);
                [saddr, daddr].into_iter().for_each(|address| match address {
                    IpAddr::V4(address) => state.write_u64(address.to_bits().into()),
                    IpAddr::V6(address) => state.write_u128(address.to_bits()),
                });
            }
        }
    }
}

impl Conn {
    /// `ipv4` or `ipv6`: what is on the wire.
    pub fn family(&self) -> &'static str {
        if self.saddr.is_ipv4() { "ipv4" } else { "ipv6" }
    }
}

/// One event. Fields that do not apply are `None`, as the table of the interface says.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// What happened.
    pub kind: Kind,
    /// CLOCK_MONOTONIC in nanoseconds.
    pub mono_ns: u64,
    /// The connection; `None` for `lost`. Of a failure: what was asked for.
    pub conn: Option<Conn>,
    /// Which end.
    pub role: Role,
    /// `created`: at birth; `ended`: at death.
    pub substate: Option<Substate>,
    /// `created`: how long the timer was armed for; `listed`: how long it still had to run; in milliseconds.
    pub timeout_ms: Option<u32>,
    /// The socket cookie.
    pub cookie: Option<u64>,
    /// Who closed it; the caller for failures.
    pub owner: Option<Process>,
    /// How the owner is known; `None` for failures and `lost`.
    pub via: Option<Via>,
    /// What user space found out about the owner.
    pub identity: Option<Arc<Identity>>,
    /// Who opened it.
    pub opener: Option<Opener>,
    /// How long the connection lived, in nanoseconds.
    pub age_ns: Option<u64>,
    /// Payload sent, in bytes.
    pub bytes_sent: Option<u64>,
    /// Payload received, in bytes.
    pub bytes_received: Option<u64>,
    /// Why it ended.
    pub reason: Option<Reason>,
    /// From created to ended, in nanoseconds; `listed`: from created to now, where that is known.
    pub lifetime_ns: Option<u64>,
    /// Of a failure.
    pub errno: Option<Errno>,
    /// How the local port was had; `None` where that is not known.
    pub port_via: Option<PortVia>,
    /// Of `bind_failed`: whether the socket has SO_REUSEADDR; `None` where that is not known.
    pub reuseaddr: Option<bool>,
    /// Of `connect_failed` and `bind_failed`: the lowest and the highest port that the socket itself allows (IP_LOCAL_PORT_RANGE),
    /// 0 for an end that is the namespace's; `None` where that was not looked at.
    pub own_range: Option<(u16, u16)>,
    /// Of `aborted`.
    pub why: Option<AbortWhy>,
    /// Of `lost`.
    pub loss: Option<Box<Loss>>,
}

impl Event {
    /// An event of which only the kind, the time and the connection are known.
    pub fn new(kind: Kind, mono_ns: u64, conn: Option<Conn>) -> Self {
        Self {
            kind,
            mono_ns,
            conn,
            role: Role::Unknown,
            substate: None,
            timeout_ms: None,
            cookie: None,
            owner: None,
            via: None,
            identity: None,
            opener: None,
            age_ns: None,
            bytes_sent: None,
            bytes_received: None,
            reason: None,
            lifetime_ns: None,
            errno: None,
            port_via: None,
            reuseaddr: None,
            own_range: None,
            why: None,
            loss: None,
        }
    }
}
